"""Standard MIDI files: what a file must be before its notes or its sound are believed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mer.errors import DataWarning, InvalidDataError
from mer.files import require_file

LONGEST = 4 * 3600.0
"""Seconds; a file that claims to last longer has damaged times."""

_LONGEST_NUMBER = 4
"""Bytes."""

_LENGTHS = {0x2F: 0, 0x51: 3, 0x54: 5, 0x58: 4, 0x59: 2}
"""Bytes of the meta events whose lengths are fixed; FluidSynth refuses others."""

_MOST_TRACKS = 127
"""Of more, FluidSynth makes silence."""

_MICROSECONDS_A_BEAT = 500_000
"""Until a file says otherwise."""


def read_score(midi: Path) -> tuple[Any, float]:
    """A MIDI file whose times can be believed.

    What is read is what FluidSynth plays of `plain_content`. Notes without a note-off are left
    out, with a warning; one says, too, if there are more or fewer tracks than the header says.

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
        If it is empty or not a standard MIDI file of format 0 or 1, if it has more than 127
        tracks, if a track is cut short or holds bytes that are no events, if its clock stands
        still (no ticks a beat, or a tempo of 0), or if it lasts longer than `LONGEST`.
    """
    import symusic

    require_file(midi, "; expected a MIDI file")
    data = midi.read_bytes()
    _check_header(midi, data)
    tracks = _tracks(midi, data)
    last, unended = _check_times(midi, data, tracks)
    if len(tracks) > _MOST_TRACKS:
        raise InvalidDataError(
            f"{midi} has {len(tracks)} tracks; expected {_MOST_TRACKS} or fewer, which FluidSynth "
            "plays: join some"
        )
    try:
        score = symusic.Score.from_midi(_joined(data, tracks), ttype="second")
    except Exception as error:  # symusic raises RuntimeError, ValueError and others by cause
        raise InvalidDataError(f"{midi} is not a readable MIDI file: {error}") from None
    if unended:
        what = "note has" if unended == 1 else "notes have"
        warnings.warn(f"{midi}: {unended} {what} no note-off; left out", DataWarning, stacklevel=3)
    if (announced := _number_of_tracks(data)) != len(tracks):
        text = f"{midi}: its header says {announced} tracks, but it has {len(tracks)}; all are read"
        warnings.warn(text, DataWarning, stacklevel=3)
    return score, last


def plain_content(midi: Path) -> bytes:
    """A file that `read_score` takes with nothing but its header and tracks; errors as there.

    FluidSynth makes silence of a file with other chunks before its tracks.
    """
    data = midi.read_bytes()
    return _joined(data, _tracks(midi, data))


def _check_header(midi: Path, data: bytes) -> None:
    if not data:
        raise InvalidDataError(f"{midi} is empty (0 bytes); expected a MIDI file")
    if data.startswith(b"RIFF"):
        raise InvalidDataError(f"{midi} is a RIFF file; export it as a standard MIDI file (.mid)")
    if not data.startswith(b"MThd") or len(data) < 14 or int.from_bytes(data[4:8], "big") < 6:
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


def _check_times(midi: Path, data: bytes, tracks: Sequence[bytes]) -> tuple[float, int]:
    """Time of the last event in seconds, and the number of notes that no note-off ends."""
    last, unended, tempos = 0, 0, [(0, _MICROSECONDS_A_BEAT)]
    for number, track in enumerate(tracks, 1):
        sounding: Counter[tuple[int, int]] = Counter()
        for tick, status, values in _events(track, f"{midi}, track {number}"):
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


def _number_of_tracks(data: bytes) -> int:
    """As the header says."""
    return int.from_bytes(data[10:12], "big")


def _joined(data: bytes, tracks: Sequence[bytes]) -> bytes:
    """The header of a file, corrected, and the tracks."""
    header = b"MThd\0\0\0\6" + data[8:10] + len(tracks).to_bytes(2, "big") + data[12:14]
    return header + b"".join(b"MTrk" + len(t).to_bytes(4, "big") + t for t in tracks)


def _tracks(midi: Path, data: bytes) -> list[bytes]:
    """Contents of the chunks that are tracks, empty ones left out."""
    start = 8 + int.from_bytes(data[4:8], "big")
    tracks: list[bytes] = []
    while start + 8 <= len(data):
        kind, length = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "big")
        content = data[start + 8 : start + 8 + length]
        if kind == b"MTrk" and len(content) < length:
            raise InvalidDataError(
                f"{midi} is not a readable MIDI file: track {len(tracks) + 1} is cut short, "
                f"{len(content)} of {length} bytes are there"
            )
        if not all(0x20 <= byte < 0x7F for byte in kind):  # what follows the tracks, or no length
            break
        if kind == b"MTrk" and content:
            tracks.append(content)
        start += 8 + length
    if not tracks or (len(tracks) < _number_of_tracks(data) and start + 8 <= len(data)):
        raise InvalidDataError(
            f"{midi} is not a readable MIDI file: its header says {_number_of_tracks(data)} "
            f"tracks, but after {len(tracks)} that are not empty comes "
            f"{data[start : start + 4]!r}; expected b'MTrk'"
        )
    return tracks


def _events(track: bytes, name: str) -> Iterator[tuple[int, int, bytes]]:
    """Ticks and content of the notes (status 0x80-0x9F), tempos (0x51) and the end (0x2F).

    Of a track that is cut within an event, those before: what is wrong is for the reader to say.
    """
    at, tick, running = 0, 0, 0
    try:
        while at < len(track):
            delta, at = _number(track, at)
            tick += delta
            status = track[at]
            if status < 0x80:
                status = running
            else:
                at += 1
            if status == 0xFF:
                kind = track[at]
                length, at = _number(track, at + 1)
                if length != _LENGTHS.get(kind, length):
                    raise InvalidDataError(
                        f"{name} has a meta event 0x{kind:02X} of {length} bytes; expected "
                        f"{_LENGTHS[kind]}: its bytes are damaged"
                    )
                if kind in (0x51, 0x2F):
                    yield tick, kind, track[at : at + length]
                if kind == 0x2F:
                    return
                at += length
            elif status == 0xF0:
                length, at = _number(track, at)
                at += length
            elif status > 0xF0:
                raise InvalidDataError(
                    f"{name} has the status byte 0x{status:X}; expected 0x80-0xF0 or 0xFF: export "
                    "it again without system messages"
                )
            else:
                running = status
                length = 1 if 0xC0 <= status < 0xE0 else 2
                values = track[at : at + length]
                if len(values) < length:
                    return
                if 0x80 <= status < 0xA0:
                    yield tick, status, values
                at += length
    except IndexError:
        return


def _number(track: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next byte is."""
    value = 0
    for place in range(at, at + _LONGEST_NUMBER):
        value = value << 7 | track[place] & 0x7F
        if track[place] < 0x80:
            return value, place + 1
    raise IndexError
