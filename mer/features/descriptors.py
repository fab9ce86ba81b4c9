"""Hand-crafted descriptors: fixed-length vectors of named numbers for notes and for audio.

Descriptors of notes follow jSymbolic [1]_ and EMOPIA [2]_. The first word of a name is what the
descriptor responds to: only `register_*` change under transposition and only `dynamics_*` with
velocity, while `register_*`, `pitch_*`, `melody_*` and `bass_*` do not depend on the tempo.

Of audio statistics over time of common spectral features [3]_. Spectra are relative to the loudest
bin of the clip, so that a gain changes only the levels among `loudness_*`: mean, 10th and 90th
percentile. The tonal descriptors are relative to the estimated tonic.

References
----------
.. [1] McKay, C., Cumming, J., Fujinaga, I.: jSymbolic 2.2: Extracting Features from Symbolic Music
   for use in Musicological and MIR Research. Proc. ISMIR (2018).
.. [2] Hung, H.-T. et al.: EMOPIA: A Multi-Modal Pop Piano Dataset For Emotion Recognition and
   Emotion-based Music Generation. Proc. ISMIR (2021).
.. [3] Panda, R., Malheiro, R., Paiva, R. P.: Audio Features for Music Emotion Recognition: A
   Survey. IEEE Transactions on Affective Computing 14 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import correlate

from mer.errors import InvalidDataError, ParameterError
from mer.features import spectral
from mer.features.notes import check_span
from mer.features.spectral import Floats
from mer.features.statistics import Array, entropy, mean, median, ratio, sd, shares, trend
from mer.features.tonality import describe_chords, describe_keys
from mer.libraries import load_librosa

SYMBOLIC_REVISION = 1
"""Raised whenever the values of a descriptor change; part of the key of stored features."""

ACOUSTIC_REVISION = 1
"""The same for audio."""

ROBUST_REVISION = 1
"""The same for `robust_descriptors`."""

_CHORD_SECONDS = 1.0
_KEY_SECONDS = 8.0
_PHRASE_SECONDS = 2.0
_SIMULTANEOUS_SECONDS = 0.03
_ONSET_BINS_PER_SECOND = 50

_N_FFT = 2048
_HOP_LENGTH = 512
_N_MFCC = 20
_SPECTRAL_RANGE_DB = 80.0
_LOUDNESS_RANGE_DB = 60.0
_CONTRAST_BANDS = 6
_CONTRAST_FMIN = 200.0
_LOWEST_SAMPLE_RATE = 12_800

_ROLLOFF = 0.85
_ROBUST_LIMIT = 4000.0
_ROBUST_RANGE_DB = 30.0
_ROBUST_CONTRAST_BANDS = 4

_PERIOD_SECONDS = (0.25, 2.0)
_PREFERRED_PERIOD = 0.5
_PREFERENCE_OCTAVES = 0.9
_SMOOTHING = (0.5, 1.0, 0.5)


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
        If the array has another shape, holds NaN or infinity, a note ends before it begins, or the
        notes span more than 24 hours.
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
    check_span(notes)
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
    windows = (_edges(notes.end, seconds) for seconds in (_KEY_SECONDS, _CHORD_SECONDS))
    whole, keys, chords = (
        _pitch_class_time(notes, edges) for edges in (np.array([0.0, notes.end]), *windows)
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
    times, voices = _sounding(notes.onset, notes.offset)
    time = shares(np.diff(times))
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


def _sounding(onset: Array, offset: Array) -> tuple[Array, Array]:
    """Times at which a note begins or ends, and the number of notes that sound between them."""
    events = np.concatenate([onset, offset])
    sign = np.repeat([1.0, -1.0], len(onset))
    order = np.argsort(events, kind="stable")
    return events[order], np.cumsum(sign[order])[:-1]


def _pitch_class_time(notes: _Notes, edges: Array) -> Array:
    """Sounding time of each pitch class between the edges, shape (windows, 12), in seconds."""
    time = np.zeros((len(edges) - 1, 12))
    for pitch_class in np.unique(notes.pitch_class):
        member = notes.pitch_class == pitch_class
        times, sounding = _sounding(notes.onset[member], notes.offset[member])
        elapsed = np.append(0.0, np.cumsum(sounding * np.diff(times)))
        time[:, pitch_class] = np.diff(np.interp(edges, times, elapsed))
    return time


def _edges(end: float, width: float) -> Array:
    """Edges of the windows of about that width (at least one) which fill the time to the end."""
    return np.linspace(0.0, end, max(1, round(end / width)) + 1)


def _per_window(notes: _Notes, weights: Array) -> Array:
    """Sum of the weights of the notes that begin in each window of about 2 s."""
    edges = _edges(float(notes.onset.max()), _PHRASE_SECONDS)
    return np.histogram(notes.onset, bins=edges, weights=weights)[0] if edges[-1] else weights[:0]


def acoustic_descriptors(y: Floats, sample_rate: int = 22050) -> dict[str, float]:
    """Describe audio by timbre, loudness, rhythm and tonality.

    Parameters
    ----------
    y : array, shape (n,)
        Mono samples in [-1, 1].
    sample_rate : int
        In Hz, above 12,800 (twice the lower edge of the highest band of the spectral contrast).

    Returns
    -------
    dict of str to float
        The same names in the same order whatever the audio; every value is finite, also for
        silence and for audio shorter than a frame.

    Raises
    ------
    InvalidDataError
        If `y` is empty, not one-dimensional, not floating point, or holds NaN or infinity.
    ParameterError
        If the sample rate is too low.
    """
    _check_sample_rate(sample_rate)
    power = spectral.power_spectrogram(y, n_fft=_N_FFT, hop_length=_HOP_LENGTH)
    power = power / (power.max() or np.float32(1.0))
    bands = spectral.decibels(spectral.power_to_mel(power, sample_rate))
    bands = bands.clip(min=bands.max() - _SPECTRAL_RANGE_DB)
    level = spectral.rms(y, frame_length=_N_FFT, hop_length=_HOP_LENGTH)
    chroma = spectral.power_to_chroma(power, sample_rate).T.astype(np.float64)
    frame_rate = sample_rate / _HOP_LENGTH
    keys, chords = (
        _averaged(chroma, seconds * frame_rate) for seconds in (_KEY_SECONDS, _CHORD_SECONDS)
    )
    return {
        **_cepstral(bands),
        **_contrast(power, sample_rate),
        **_spectral_shape(y, power, sample_rate),
        **_loudness(level),
        **_flux(bands, frame_rate),
        **describe_keys(chroma.mean(axis=0), keys),
        **describe_chords(chords[chords.any(axis=1)]),
    }


def robust_descriptors(y: Floats, sample_rate: int = 22050) -> dict[str, float]:
    """Describe audio by what a recording keeps: as `acoustic_descriptors`, but of less.

    Only the band up to 4 kHz is used, and of it only what lies at most 30 dB below the loudest bin
    of the clip: a floor of noise, a codec and a low-pass at 5 kHz hardly reach that, and a gain
    changes nothing, since levels are relative to their mean over the clip. Moments of the spectrum
    are those of frames that rise above that floor, and levels those of what does. The 10th
    percentile of the flux is left out, since noise moves it.

    Parameters
    ----------
    y : array, shape (n,)
        Mono samples.
    sample_rate : int
        In Hz, above 12,800.

    Returns
    -------
    dict of str to float
        The same names in the same order whatever the audio; every value is finite.

    Raises
    ------
    InvalidDataError, ParameterError
        As `acoustic_descriptors`.
    """
    _check_sample_rate(sample_rate)
    librosa = load_librosa()
    whole = spectral.power_spectrogram(y, n_fft=_N_FFT, hop_length=_HOP_LENGTH)
    frequencies = np.linspace(0.0, sample_rate / 2, len(whole))
    inside = int((frequencies <= _ROBUST_LIMIT).sum())
    whole[inside:] = 0.0
    whole = whole / (whole.max() or np.float32(1.0))
    power, frequencies = whole[:inside], frequencies[:inside]
    floor = np.float32(10 ** (-_ROBUST_RANGE_DB / 10))
    floored = np.maximum(power, floor)
    above = np.zeros_like(whole)
    above[:inside] = floored - floor
    mel = spectral.power_to_mel(whole, sample_rate)
    mel = mel[spectral.mel_centres(sample_rate, len(mel)) < _ROBUST_LIMIT]
    bands = _within_range(spectral.decibels(mel / (mel.max() or np.float32(1.0))))
    level = _within_range(spectral.decibels(above.sum(axis=0)))
    chroma = spectral.power_to_chroma(above, sample_rate).T.astype(np.float64)
    frame_rate = sample_rate / _HOP_LENGTH
    keys, chords = (
        _averaged(chroma, seconds * frame_rate) for seconds in (_KEY_SECONDS, _CHORD_SECONDS)
    )
    sounding = above.any(axis=0)
    weights = shares(np.sqrt(above[:inside, sounding]).T.astype(np.float64))
    centroid, second = weights @ frequencies, weights @ frequencies**2
    rolloff = frequencies[(weights.cumsum(axis=1) >= _ROLLOFF).argmax(axis=1)]
    contrast = librosa.feature.spectral_contrast(
        S=np.sqrt(floored),
        sr=sample_rate,
        freq=frequencies,
        n_bands=_ROBUST_CONTRAST_BANDS,
        fmin=_CONTRAST_FMIN,
    )
    flatness = librosa.feature.spectral_flatness(S=floored, power=1.0)[0]
    left_out = ("loudness_mean", "flux_p10")
    found = {
        **_cepstral(bands),
        **_by_band(contrast),
        **_distribution("centroid", centroid),
        **_distribution("bandwidth", np.sqrt(np.maximum(second - centroid**2, 0.0))),
        **_distribution("rolloff", rolloff),
        **_distribution("flatness", np.log10(flatness)),
        **_distribution("loudness", level - level.mean()),
        "loudness_trend": trend(level),
        **_flux(bands, frame_rate),
        **describe_keys(chroma.mean(axis=0), keys),
        **describe_chords(chords[chords.any(axis=1)]),
    }
    return {name: value for name, value in found.items() if name not in left_out}


def _within_range(decibels: Floats) -> Floats:
    return decibels.clip(min=decibels.max() - _ROBUST_RANGE_DB)


def _check_sample_rate(sample_rate: int) -> None:
    if sample_rate <= _LOWEST_SAMPLE_RATE:
        raise ParameterError(
            f"sample rate {sample_rate} Hz; acoustic descriptors need more than "
            f"{_LOWEST_SAMPLE_RATE} Hz"
        )


def _cepstral(bands: Floats) -> dict[str, float]:
    coefficients = spectral.cepstrum(bands, _N_MFCC)
    changes = np.abs(np.diff(coefficients, axis=1))
    return {
        f"mfcc_{i}_{name}": value
        for i, (values, change) in enumerate(zip(coefficients, changes, strict=True))
        for name, value in (("mean", mean(values)), ("sd", sd(values)), ("change", mean(change)))
    }


def _contrast(power: Floats, sample_rate: int) -> dict[str, float]:
    librosa = load_librosa()
    contrast = librosa.feature.spectral_contrast(
        S=np.sqrt(power), sr=sample_rate, n_bands=_CONTRAST_BANDS, fmin=_CONTRAST_FMIN
    )
    return _by_band(contrast)


def _by_band(contrast: Array) -> dict[str, float]:
    return {
        f"contrast_{i}_{name}": statistic(values)
        for i, values in enumerate(contrast)
        for name, statistic in (("mean", mean), ("sd", sd))
    }


def _spectral_shape(y: Floats, power: Floats, sample_rate: int) -> dict[str, float]:
    librosa = load_librosa()
    magnitude = np.sqrt(power)
    centroid, bandwidth = _centroid_and_bandwidth(magnitude, sample_rate)
    rolloff = librosa.feature.spectral_rolloff(S=magnitude, sr=sample_rate)[0]
    flatness = librosa.feature.spectral_flatness(S=power, power=1.0)[0]
    frame = {"frame_length": _N_FFT, "hop_length": _HOP_LENGTH}
    crossings = librosa.feature.zero_crossing_rate(y, **frame)[0]
    return {
        **_distribution("centroid", centroid),
        **_distribution("bandwidth", bandwidth),
        **_distribution("rolloff", rolloff),
        **_distribution("flatness", np.log10(flatness)),
        **_distribution("zero_crossing", crossings),
    }


def _centroid_and_bandwidth(magnitude: Floats, sample_rate: int) -> tuple[Array, Array]:
    """First moment and square root of the second central moment of the spectrum, in Hz."""
    frequencies = np.linspace(0.0, sample_rate / 2, len(magnitude))
    weights = shares(magnitude.T.astype(np.float64))
    first, second = (weights @ frequencies**power for power in (1, 2))
    return first, np.sqrt(np.maximum(second - first**2, 0.0))


def _loudness(level: Floats) -> dict[str, float]:
    loudness = spectral.decibels(level**2)
    loudness = loudness.clip(min=loudness.max() - _LOUDNESS_RANGE_DB)
    return {
        **_distribution("loudness", loudness),
        "loudness_trend": trend(loudness),
        "loudness_low_share": mean(level < level.mean()),
    }


def _flux(bands: Floats, frame_rate: float) -> dict[str, float]:
    librosa = load_librosa()
    flux = np.diff(bands, axis=1, prepend=bands[:, :1]).clip(min=0.0).mean(axis=0)
    onsets = librosa.onset.onset_detect(onset_envelope=flux, sr=frame_rate, hop_length=1)
    tempo, clarity = pulse(flux, frame_rate)
    return {
        **_distribution("flux", flux),
        "rhythm_onset_density": len(onsets) * frame_rate / bands.shape[1],
        "rhythm_tempo": tempo,
        "rhythm_pulse_clarity": clarity,
    }


def _averaged(chroma: Array, frames: float) -> Array:
    """Mean chroma of consecutive windows (at least one) of about that many frames."""
    count = max(1, round(len(chroma) / frames))
    return np.stack([window.mean(axis=0) for window in np.array_split(chroma, count)])


def _distribution(name: str, values: NDArray[np.floating]) -> dict[str, float]:
    """Mean, deviation, skewness, percentiles and mean absolute change of a series."""
    spread = sd(values)
    low, high = np.percentile(values, [10, 90]) if len(values) else (0.0, 0.0)
    skewness = mean((values - values.mean()) ** 3) / spread**3 if spread > 1e-6 else 0.0
    return {
        f"{name}_mean": mean(values),
        f"{name}_sd": spread,
        f"{name}_skewness": skewness,
        f"{name}_p10": float(low),
        f"{name}_p90": float(high),
        f"{name}_change": mean(np.abs(np.diff(values))),
    }


def pulse(onsets: ArrayLike, rate: float) -> tuple[float, float]:
    """Tempo and its clarity, by autocorrelation.

    The period is the lag between 0.25 and 2 s with the largest autocorrelation, weighted towards
    120 beats per minute [1]_.

    Parameters
    ----------
    onsets : array, shape (n,)
        Onset strength, or number of onsets, in equal steps of time.
    rate : float
        Steps per second.

    Returns
    -------
    tempo : float
        In beats per minute, 30 to 240; 0 where no period shows.
    clarity : float
        Autocorrelation at the period, in [0, 1].

    References
    ----------
    .. [1] Ellis, D. P. W.: Beat Tracking by Dynamic Programming. J. New Music Research 36 (2007),
       equation 6.
    """
    shortest, longest = (round(seconds * rate) for seconds in _PERIOD_SECONDS)
    smooth = np.convolve(np.asarray(onsets, dtype=np.float64), _SMOOTHING)
    smooth = np.pad(smooth - smooth.mean(), (0, longest))
    correlation = correlate(smooth, smooth, method="fft")[len(smooth) - 1 :]
    lags = np.arange(shortest, longest + 1)
    octaves = np.log2(lags / rate / _PREFERRED_PERIOD)
    weighted = correlation[lags] * np.exp(-0.5 * (octaves / _PREFERENCE_OCTAVES) ** 2)
    best = int(weighted.argmax())
    if weighted[best] <= 1e-9 * correlation[0]:
        return 0.0, 0.0
    return float(60.0 * rate / lags[best]), float(correlation[lags[best]] / correlation[0])
