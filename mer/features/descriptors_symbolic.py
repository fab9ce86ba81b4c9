"""Hand-crafted descriptors of a list of notes, in the manner of jSymbolic [1]_ and EMOPIA [2]_.

The first word of a name tells what the descriptor responds to: only `register_*` change under
transposition and only `dynamics_*` with velocity, while `register_*`, `pitch_*`, `melody_*` and
`bass_*` do not depend on the tempo.

References
----------
.. [1] McKay, C., Cumming, J., Fujinaga, I.: jSymbolic 2.2: Extracting Features from Symbolic Music
   for use in Musicological and MIR Research. Proc. ISMIR (2018).
.. [2] Hung, H.-T. et al.: EMOPIA: A Multi-Modal Pop Piano Dataset For Emotion Recognition and
   Emotion-based Music Generation. Proc. ISMIR (2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mer.errors import InvalidDataError
from mer.features.rhythm import pulse
from mer.features.statistics import Array, entropy, mean, median, ratio, sd, shares, trend
from mer.features.tonality import describe_chords, describe_keys

SYMBOLIC_REVISION = 1
"""Raised whenever the values of a descriptor change; part of the key of stored features."""

_CHORD_SECONDS = 1.0
_KEY_SECONDS = 8.0
_PHRASE_SECONDS = 2.0
_SIMULTANEOUS_SECONDS = 0.03
_ONSET_BINS_PER_SECOND = 50


@dataclass(frozen=True, slots=True)
class _Notes:
    """Notes in order of their chord and, within it, of pitch; the first onset is at 0.

    A chord is a group of onsets with gaps of at most 30 ms; `chord` numbers that of each note,
    `chord_onset` has its time, and `bass` and `melody` are the indices of its outer notes.
    """

    onset: Array
    offset: Array
    pitch: Array
    velocity: Array
    chord: NDArray[np.int64]
    chord_onset: Array
    bass: NDArray[np.int64]
    melody: NDArray[np.int64]

    @property
    def length(self) -> Array:
        return self.offset - self.onset

    @property
    def pitch_class(self) -> NDArray[np.int64]:
        return self.pitch.astype(np.int64) % 12

    @property
    def end(self) -> float:
        return float(self.offset.max())

    @property
    def gaps(self) -> Array:
        return np.diff(self.chord_onset)


def symbolic_descriptors(notes: Array) -> dict[str, float]:
    """Describe notes by rhythm, dynamics, register, tonality, harmony, melody and texture.

    Parameters
    ----------
    notes : array, shape (n, 4), float64
        One row a note: onset and offset in seconds, MIDI pitch, MIDI velocity. Any order.

    Returns
    -------
    dict of str to float
        The same names in the same order whatever the notes; every value is finite. What the notes
        do not define (an interval of a single note) is 0, and without notes all values are 0.

    Raises
    ------
    InvalidDataError
        If the array has another shape, holds NaN or infinity, or a note ends before it begins.
    """
    if not len(_checked(notes)):
        one_note = np.array([[0.0, 1.0, 60.0, 64.0]])
        return dict.fromkeys(symbolic_descriptors(one_note), 0.0)
    grouped = _grouped(notes)
    return {
        "n_notes": float(len(notes)),
        **_rhythm(grouped),
        **_dynamics(grouped),
        **_register(grouped),
        **_pitch(grouped),
        **_tonality(grouped),
        **_line("melody", grouped.pitch[grouped.melody]),
        **_line("bass", grouped.pitch[grouped.bass]),
        **_texture(grouped),
    }


def _checked(notes: Array) -> Array:
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise InvalidDataError(
            f"notes have shape {notes.shape}; expected (n, 4): onset, offset, pitch, velocity"
        )
    if not np.isfinite(notes).all():
        raise InvalidDataError("notes hold NaN or infinity; expected finite numbers")
    if (notes[:, 1] < notes[:, 0]).any():
        raise InvalidDataError("a note ends before it begins; expected offset >= onset")
    return notes


def _grouped(notes: Array) -> _Notes:
    in_time = notes[np.argsort(notes[:, 0], kind="stable")]
    onset = in_time[:, 0] - in_time[0, 0]
    begins = np.diff(onset, prepend=-np.inf) > _SIMULTANEOUS_SECONDS
    chord = np.cumsum(begins) - 1
    order = np.lexsort((*in_time.T, in_time[:, 2], chord))
    _, offset, pitch, velocity = in_time[order].T
    first = np.flatnonzero(begins)
    return _Notes(
        onset=onset[order],
        offset=offset - in_time[0, 0],
        pitch=pitch,
        velocity=velocity,
        chord=chord,
        chord_onset=onset[first],
        bass=first,
        melody=np.append(first[1:], len(notes)) - 1,
    )


def _rhythm(notes: _Notes) -> dict[str, float]:
    gaps = notes.gaps
    onset_bins = np.round(notes.chord_onset * _ONSET_BINS_PER_SECOND).astype(np.int64)
    tempo, clarity = pulse(np.bincount(onset_bins), _ONSET_BINS_PER_SECOND)
    density = _per_window(notes, np.ones_like(notes.onset))
    return {
        "rhythm_duration": notes.end,
        "rhythm_note_density": ratio(len(notes.onset), notes.end),
        "rhythm_onset_density": ratio(len(notes.chord_onset), notes.end),
        "rhythm_length_mean": mean(notes.length),
        "rhythm_length_sd": sd(notes.length),
        "rhythm_length_median": median(notes.length),
        "rhythm_gap_mean": mean(gaps),
        "rhythm_gap_median": median(gaps),
        "rhythm_gap_variation": ratio(sd(gaps), mean(gaps)),
        "rhythm_gap_npvi": mean(np.abs(np.diff(gaps)) / (gaps[1:] + gaps[:-1])),
        "rhythm_short_gap_share": mean(gaps < 0.15),
        "rhythm_long_gap_share": mean(gaps > 0.5),
        "rhythm_tempo": tempo,
        "rhythm_pulse_clarity": clarity,
        "rhythm_density_sd": sd(density),
        "rhythm_density_trend": trend(density),
    }


def _dynamics(notes: _Notes) -> dict[str, float]:
    velocity = notes.velocity
    melody = velocity[notes.melody]
    counts = _per_window(notes, np.ones_like(velocity))
    phrases = _per_window(notes, velocity)[counts > 0] / counts[counts > 0]
    return {
        "dynamics_mean": mean(velocity),
        "dynamics_sd": sd(velocity),
        "dynamics_min": float(velocity.min()),
        "dynamics_max": float(velocity.max()),
        "dynamics_range": float(np.ptp(np.percentile(velocity, [10, 90]))),
        "dynamics_melody_accent": mean(melody) - mean(velocity),
        "dynamics_melody_change": mean(np.abs(np.diff(melody))),
        "dynamics_phrase_sd": sd(phrases),
        "dynamics_trend": trend(phrases),
    }


def _register(notes: _Notes) -> dict[str, float]:
    pitch = notes.pitch
    return {
        "register_mean": mean(pitch),
        "register_min": float(pitch.min()),
        "register_max": float(pitch.max()),
        "register_low_share": mean(pitch < 48),
        "register_middle_share": mean((pitch >= 48) & (pitch < 72)),
        "register_high_share": mean(pitch >= 72),
        "register_melody_mean": mean(pitch[notes.melody]),
        "register_bass_mean": mean(pitch[notes.bass]),
    }


def _pitch(notes: _Notes) -> dict[str, float]:
    pitch = notes.pitch
    histogram = np.bincount(notes.pitch_class, minlength=12)
    return {
        "pitch_sd": sd(pitch),
        "pitch_range": float(np.ptp(pitch)),
        "pitch_distinct": float(len(np.unique(pitch))),
        "pitch_class_distinct": float(np.count_nonzero(histogram)),
        "pitch_class_entropy": entropy(histogram),
        "pitch_outer_distance": mean(pitch[notes.melody] - pitch[notes.bass]),
    }


def _tonality(notes: _Notes) -> dict[str, float]:
    whole, keys, chords = (
        _pitch_class_time(notes, edges)
        for edges in (
            np.array([0.0, notes.end]),
            _edges(notes.end, _KEY_SECONDS),
            _edges(notes.end, _CHORD_SECONDS),
        )
    )
    return {**describe_keys(whole[0], keys), **describe_chords(chords[chords.any(axis=1)])}


def _line(name: str, pitch: Array) -> dict[str, float]:
    steps = np.diff(pitch)
    size = np.abs(steps)
    return {
        f"{name}_interval_mean": mean(size),
        f"{name}_interval_sd": sd(steps),
        f"{name}_interval_entropy": entropy(np.unique(steps, return_counts=True)[1]),
        f"{name}_repeat_share": mean(size == 0),
        f"{name}_semitone_share": mean(size == 1),
        f"{name}_tone_share": mean(size == 2),
        f"{name}_third_share": mean((size == 3) | (size == 4)),
        f"{name}_fifth_share": mean((size == 5) | (size == 7)),
        f"{name}_leap_share": mean(size > 7),
        f"{name}_rising_share": mean(steps[steps != 0] > 0),
        f"{name}_trend": trend(pitch),
    }


def _texture(notes: _Notes) -> dict[str, float]:
    voices, time = _polyphony(notes)
    average = float(voices @ time)
    inner = notes.chord < len(notes.gaps)
    articulation = notes.length[inner] / notes.gaps[notes.chord[inner]]
    return {
        "texture_voices_mean": average,
        "texture_voices_sd": float(np.sqrt((voices - average) ** 2 @ time)),
        "texture_voices_max": float(voices.max(initial=0.0)),
        "texture_silence_share": float(time[voices == 0].sum()),
        "texture_chord_size": ratio(len(notes.onset), len(notes.chord_onset)),
        "texture_chord_share": mean(np.bincount(notes.chord) > 1),
        "texture_articulation": median(articulation),
        "texture_staccato_share": mean(articulation < 0.7),
        "texture_overlap_share": mean(articulation > 1.5),
    }


def _polyphony(notes: _Notes) -> tuple[Array, Array]:
    """Number of sounding notes between events, and the share of the time of each."""
    events = np.concatenate([notes.onset, notes.offset])
    sign = np.repeat([1.0, -1.0], len(notes.onset))
    order = np.argsort(events, kind="stable")
    return np.cumsum(sign[order])[:-1], shares(np.diff(events[order]))


def _pitch_class_time(notes: _Notes, edges: Array) -> Array:
    """Sounding time of each pitch class between the edges, shape (windows, 12), in seconds."""
    time = np.zeros((len(edges) - 1, 12))
    for pitch_class in np.unique(notes.pitch_class):
        member = notes.pitch_class == pitch_class
        events = np.concatenate([notes.onset[member], notes.offset[member]])
        sign = np.repeat([1.0, -1.0], np.count_nonzero(member))
        order = np.argsort(events, kind="stable")
        sounding = np.cumsum(sign[order])[:-1]
        elapsed = np.append(0.0, np.cumsum(sounding * np.diff(events[order])))
        time[:, pitch_class] = np.diff(np.interp(edges, events[order], elapsed))
    return time


def _edges(end: float, width: float) -> Array:
    """Edges of the windows of about that width (at least one) which fill the time to the end."""
    return np.linspace(0.0, end, max(1, round(end / width)) + 1)


def _per_window(notes: _Notes, weights: Array) -> Array:
    """Sum of the weights of the notes that begin in each window of about 2 s."""
    edges = _edges(float(notes.onset.max()), _PHRASE_SECONDS)
    return np.histogram(notes.onset, bins=edges, weights=weights)[0] if edges[-1] else weights[:0]
