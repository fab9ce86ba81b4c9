"""Standard MIDI files: what a file must be before its notes or its sound are believed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mer.errors import DataWarning, InvalidDataError
from mer.files import require_file

LONGEST = 4 * 3600.0
"""Seconds; a file that claims to last longer has damaged times."""

_LONGEST_NUMBER = 4
"""Bytes."""

_MICROSECONDS_A_BEAT = 500_000
"""Until a file says otherwise."""


def read_score(midi: Path) -> tuple[Any, float]:
    """A MIDI file whose times can be believed.

    Notes without a note-off are left out, with a warning.

    Returns
    -------
    symusic.Score
        With times in seconds.
    float
        Time of the last event, in seconds.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it is empty or not a standard MIDI file of format 0 or 1, if its clock stands still
        (no ticks a beat, or a tempo of 0), or if it lasts longer than `LONGEST`.
    """
    import symusic

    require_file(midi, "; expected a MIDI file")
    data = midi.read_bytes()
    _check_header(midi, data)
    last, unended = _check_times(midi, data)
    try:
        score = symusic.Score.from_midi(data, ttype="second")
    except Exception as error:  # symusic raises RuntimeError, ValueError and others by cause
        raise InvalidDataError(f"{midi} is not a readable MIDI file: {error}") from None
    if unended:
        what = "note has" if unended == 1 else "notes have"
        warnings.warn(f"{midi}: {unended} {what} no note-off; left out", DataWarning, stacklevel=3)
    return score, last


def _check_header(midi: Path, data: bytes) -> None:
    if not data:
        raise InvalidDataError(f"{midi} is empty (0 bytes); expected a MIDI file")
    if data.startswith(b"RIFF"):
        raise InvalidDataError(f"{midi} is a RIFF file; export it as a standard MIDI file (.mid)")
    if not data.startswith(b"MThd") or len(data) < 14:
        raise InvalidDataError(
            f"{midi} is not a readable MIDI file: it begins with {data[:14]!r}; expected b'MThd' "
            "and a header of 14 bytes"
        )
    form, division = (int.from_bytes(data[k : k + 2], "big") for k in (8, 12))
    if form > 1:
        raise InvalidDataError(
            f"{midi} is of MIDI format {form}, whose tracks are pieces of their own; expected "
            "format 0 or 1: store each piece in a file"
        )
    if division >= 0x8000:
        raise InvalidDataError(
            f"{midi} counts time in SMPTE frames; expected ticks a beat: export it with beats"
        )
    if not division:
        raise InvalidDataError(f"{midi} has a division of 0 ticks a beat; expected 1 or more")


def _check_times(midi: Path, data: bytes) -> tuple[float, int]:
    """Time of the last event in seconds, and the number of notes that no note-off ends."""
    last, unended, tempos = 0, 0, [(0, _MICROSECONDS_A_BEAT)]
    for chunk in _tracks(data):
        sounding: Counter[tuple[int, int]] = Counter()
        for tick, status, values in _events(chunk):
            last = max(last, tick)
            if status == 0x51:
                tempos.append((tick, int.from_bytes(values, "big")))
            elif status >= 0x80:
                key = (status & 0x0F, values[0])
                if status >= 0x90 and values[1]:
                    sounding[key] += 1
                elif sounding[key]:
                    sounding[key] -= 1
        unended += sounding.total()
    seconds, division = 0.0, int.from_bytes(data[12:14], "big")
    tempos.sort(key=lambda tempo: tempo[0])
    for (tick, beat), (after, _) in zip(tempos, [*tempos[1:], (last, 0)], strict=True):
        if not beat:
            raise InvalidDataError(f"{midi} has a tempo of 0 microseconds a beat, at {seconds} s")
        seconds += (after - tick) * beat / division / 1e6
    if seconds > LONGEST:
        raise InvalidDataError(
            f"{midi} has an event at {seconds:,.2f} s; expected no more than {LONGEST:,.0f} s: "
            "its times are damaged"
        )
    return seconds, unended


def _tracks(data: bytes) -> Iterator[bytes]:
    """Contents of the chunks that are tracks."""
    start = 8 + int.from_bytes(data[4:8], "big")
    while start + 8 <= len(data):
        length = int.from_bytes(data[start + 4 : start + 8], "big")
        if data[start : start + 4] == b"MTrk":
            yield data[start + 8 : start + 8 + length]
        start += 8 + length


def _events(chunk: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Ticks and content of the notes (status 0x80-0x9F), tempos (0x51) and the end (0x2F).

    Of a damaged track, those before the damage: what is wrong with it is for the reader to say.
    """
    at, tick, running = 0, 0, 0
    try:
        while at < len(chunk):
            delta, at = _number(chunk, at)
            tick += delta
            status = chunk[at]
            if status < 0x80:
                status = running
            else:
                at += 1
            if status == 0xFF:
                kind = chunk[at]
                length, at = _number(chunk, at + 1)
                if kind in (0x51, 0x2F):
                    yield tick, kind, chunk[at : at + length]
                at += length
            elif status in (0xF0, 0xF7):
                length, at = _number(chunk, at)
                at += length
            else:
                running = status
                length = 1 if 0xC0 <= status < 0xE0 else 2
                values = chunk[at : at + length]
                if len(values) < length:
                    return
                if 0x80 <= status < 0xA0:
                    yield tick, status, values
                at += length
    except IndexError:
        return


def _number(chunk: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next byte is."""
    value = 0
    for place in range(at, at + _LONGEST_NUMBER):
        value = value << 7 | chunk[place] & 0x7F
        if chunk[place] < 0x80:
            return value, place + 1
    raise IndexError
