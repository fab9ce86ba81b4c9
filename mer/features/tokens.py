"""Token sequences of a performance: MIDI-like and REMI."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from mer.features.notes import check_span, transposed_pitches
from mer.libraries import load_librosa

REVISION = 1

PAD, START = 0, 1
STEP_SECONDS = 0.01
MAX_SHIFT = 100
VELOCITY_BINS = 32
_NOTE_ON = 2
_NOTE_OFF = _NOTE_ON + 128
_SHIFT = _NOTE_OFF + 128
_VELOCITY = _SHIFT + MAX_SHIFT
MIDI_LIKE_SIZE = _VELOCITY + VELOCITY_BINS
"""Vocabulary: pad, start, 128 note-on, 128 note-off, 100 time-shift, 32 velocity tokens."""

_REMI_OFFSET = 2
REMI_SIZE = 347
"""Vocabulary: pad, start, and the tokens of the MidiTok configuration below."""


def midi_like(notes: np.ndarray) -> np.ndarray:
    """MIDI-like tokens: note-on, note-off, time-shift (10 ms to 1 s) and velocity (32 bins).

    At one time step note-offs come before note-ons, and a velocity token comes before a note-on
    whose velocity bin differs from the last. Every note lasts at least one step.

    Parameters
    ----------
    notes : np.ndarray, shape (n_notes, 4)
        As from `mer.features.notes.read_notes`.

    Returns
    -------
    np.ndarray, shape (n_tokens,), int64
        In [1, `MIDI_LIKE_SIZE`), the first is `START`.

    Raises
    ------
    InvalidDataError
        If the notes span more than 24 hours.

    References
    ----------
    Oore et al.: This time with feeling: Learning expressive musical performance. Neural
    Computing and Applications 32 (2020).
    """
    check_span(notes)
    onsets = np.rint(notes[:, 0] / STEP_SECONDS).astype(np.int64)
    offsets = np.maximum(np.rint(notes[:, 1] / STEP_SECONDS).astype(np.int64), onsets + 1)
    pitches = notes[:, 2].astype(np.int64)
    bins = notes[:, 3].astype(np.int64) * VELOCITY_BINS // 128
    begins = np.stack([onsets, np.ones_like(onsets), pitches, bins], axis=1)
    ends = np.stack([offsets, np.zeros_like(onsets), pitches, np.zeros_like(onsets)], axis=1)
    events = sorted(np.concatenate([begins, ends]).tolist())
    tokens = [START]
    now = events[0][0] if events else 0
    last_velocity = -1
    for step, is_onset, pitch, velocity in events:
        while now < step:
            shift = min(step - now, MAX_SHIFT)
            tokens.append(_SHIFT + shift - 1)
            now += shift
        if is_onset:
            if velocity != last_velocity:
                tokens.append(_VELOCITY + velocity)
                last_velocity = velocity
            tokens.append(_NOTE_ON + pitch)
        else:
            tokens.append(_NOTE_OFF + pitch)
    return np.asarray(tokens, dtype=np.int64)


def midi_like_times(tokens: np.ndarray) -> np.ndarray:
    """Seconds of each MIDI-like token from the first onset, shape (n_tokens,), float64.

    They never decrease; the time of a time shift is its start.
    """
    is_shift = (tokens >= _SHIFT) & (tokens < _VELOCITY)
    steps = np.where(is_shift, tokens - _SHIFT + 1, 0)
    return (np.cumsum(steps) - steps) * STEP_SECONDS


def transposed_midi_like(tokens: np.ndarray, semitones: int) -> np.ndarray:
    """MIDI-like tokens with other pitches; see `mer.features.notes.transposed_pitches`."""
    tokens = tokens.copy()
    for first in (_NOTE_ON, _NOTE_OFF):
        is_note = (tokens >= first) & (tokens < first + 128)
        tokens[is_note] = first + transposed_pitches(tokens[is_note] - first, semitones)
    return tokens


def estimate_beats(notes: np.ndarray) -> np.ndarray:
    """Beat times of a performance, by dynamic programming over its velocity-weighted onsets.

    Shape (n_beats,): seconds, increasing, at least two. Where no pulse is found, 120 beats per
    minute from the first onset. An `InvalidDataError` if the notes span more than 24 hours.

    References
    ----------
    D. Ellis: Beat tracking by dynamic programming. Journal of New Music Research 36 (2007), as
    in `librosa.beat.beat_track`.
    """
    check_span(notes)
    librosa = load_librosa()
    from scipy.ndimage import gaussian_filter1d

    rate = 100
    first, last = (notes[0, 0], notes[-1, 0]) if len(notes) else (0.0, 0.0)
    weight = np.bincount(
        np.rint((notes[:, 0] - first) * rate).astype(int), weights=notes[:, 3], minlength=2
    )
    envelope = gaussian_filter1d(np.pad(weight, rate), sigma=2.0)
    bpm = _tempo_of_long(envelope, rate) if len(envelope) > _LONG * rate else None
    _, frames = librosa.beat.beat_track(
        onset_envelope=envelope, sr=rate, hop_length=1, trim=False, units="frames", bpm=bpm
    )
    beats = (np.asarray(frames, dtype=float) - rate) / rate + first
    if beats.size < 2:
        return np.arange(first, last + 1.0, 0.5)
    return beats


_LONG, _PIECE = 300, 20
"""Performances of more seconds have their tempogram computed in pieces of so many seconds."""


def _tempo_of_long(envelope: np.ndarray, rate: int) -> float:
    """What `librosa.feature.tempo` gives, in memory that does not grow with the length."""
    librosa = load_librosa()
    window = int(librosa.time_to_frames(8.0, sr=rate, hop_length=1))
    padded = np.pad(envelope, window // 2, mode="linear_ramp")
    starts = range(0, len(envelope), _PIECE * rate)
    options = {"sr": rate, "hop_length": 1, "win_length": window, "center": False}
    total = np.zeros(window)
    for start in starts:
        n = min(_PIECE * rate, len(envelope) - start)
        piece = padded[start : start + n + window - 1]
        if not piece.any():  # silence adds 0
            continue
        total += librosa.feature.tempogram(onset_envelope=piece, **options).sum(axis=1)
    mean = total[:, None] / len(envelope)
    return float(librosa.feature.tempo(tg=mean, sr=rate, hop_length=1)[0])


def remi(notes: np.ndarray) -> np.ndarray:
    """REMI tokens (bar, position, pitch, velocity, duration, tempo) on an estimated beat grid.

    The performance is warped so that estimated beats become quarter notes of 4/4 bars with 16
    positions; where the downbeats are is not estimated. MidiTok writes the tokens.

    Parameters
    ----------
    notes : np.ndarray, shape (n_notes, 4)

    Returns
    -------
    np.ndarray, shape (n_tokens,), int64
        In [1, `REMI_SIZE`), the first is `START`.

    Raises
    ------
    InvalidDataError
        If the notes span more than 24 hours.

    References
    ----------
    Huang, Yang: Pop music transformer. ACM Multimedia (2020). Fradet et al.: MidiTok. ISMIR
    late-breaking demos (2021).
    """
    import symusic

    if not len(notes):
        return np.asarray([START], dtype=np.int64)
    grid = _cover(estimate_beats(notes), notes[0, 0], notes[:, 1].max())
    beats = np.interp(notes[:, :2], grid, np.arange(grid.size))
    ticks = np.rint(beats * _TICKS_PER_BEAT).astype(int)
    onsets, durations = ticks[:, 0], np.maximum(ticks[:, 1] - ticks[:, 0], 1)
    times, values = (a.astype("int32") for a in (onsets, durations)), notes[:, 2:].astype("int8").T
    score = symusic.Score(_TICKS_PER_BEAT)
    track = symusic.Track()
    track.notes = symusic.Note.from_numpy(*times, *values)
    score.tracks.append(track)
    for beat, seconds in enumerate(np.diff(grid)):
        score.tempos.append(symusic.Tempo(time=beat * _TICKS_PER_BEAT, qpm=60.0 / seconds))
    ids: list[int] = _remi_tokenizer()(score)[0].ids
    return np.asarray([START, *(i + _REMI_OFFSET for i in ids)], dtype=np.int64)


_TICKS_PER_BEAT = 480


@lru_cache(maxsize=1)
def _remi_tokenizer() -> Any:
    from miditok import REMI, TokenizerConfig

    return REMI(
        TokenizerConfig(
            pitch_range=(0, 127),
            beat_res={(0, 4): 4, (4, 12): 2},
            num_velocities=VELOCITY_BINS,
            special_tokens=["PAD"],
            use_tempos=True,
            num_tempos=32,
            tempo_range=(40, 250),
        )
    )


def _cover(beats: np.ndarray, start: float, end: float) -> np.ndarray:
    """The beats, continued at their first and last period so that they reach start and end."""
    first, last = beats[1] - beats[0], beats[-1] - beats[-2]
    before = max(int(np.ceil((beats[0] - start) / first)), 0)
    after = max(int(np.ceil((end - beats[-1]) / last)), 0)
    head, tail = beats[0] - first * np.arange(before, 0, -1), last * np.arange(1, after + 1)
    return np.concatenate([head, beats, beats[-1] + tail])
