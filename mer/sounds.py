"""The same music in other sounds: soundfonts, levels, filters, rooms, noise and codecs.

A corpus in another sound is an ordinary corpus whose clips have recordings, so every system takes
it as it takes any recording. The degradations are the common ones of robustness tests [1]_.

References
----------
.. [1] Mauch, M., Ewert, S.: The Audio Degradation Toolbox and its Application to Robustness
   Evaluation. Proc. ISMIR (2013).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mer import rendering
from mer.audio import resample, waveform
from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features.cache import content_digest, source_of, stored_file
from mer.paths import cache_folder
from mer.rendering import SOUNDFONTS, find_soundfont, render_midi

REVISION = 1
"""Raised whenever the samples of a sound change."""

SAMPLE_RATE = 22050
"""Of the files, in Hz."""

Codec = Literal["Opus", "MP3"]

TRAINING_SOUNDFONTS = ("TimGM6mb", "MuseScore General")
"""Those that training on varied sound draws from; the other one is for tests alone."""

_OPUS_RATE = 24_000
_KBITS: Mapping[Codec, tuple[float, float]] = {"Opus": (6.0, 256.0), "MP3": (16.0, 160.0)}
"""Range of libsndfile for one channel (MP3: at `SAMPLE_RATE`)."""

_LOWEST_KBITS: Mapping[Codec, float] = {"Opus": 6.0, "MP3": 8.0}
"""What its highest level of compression stands for."""

_EQ_CENTRES = 62.5 * 2.0 ** np.arange(8)


_RANGES: Mapping[str, tuple[float, float]] = {
    "reverb": (0.0, 1.0),
    "room": (0.0, 1.0),
    "reverberation_seconds": (0.0, 30.0),
    "reverberation_db": (-100.0, 40.0),
    "lowpass_hz": (0.0, SAMPLE_RATE / 2 - 1),
    "gain_db": (-60.0, 60.0),
    "noise_db": (-140.0, 0.0),
}
"""Of numbers that describe a sound."""

_SOFT = 2.0**-7
"""Below this peak, 16 bits would be heard as noise."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a clip is made to sound like, in the order of the attributes.

    Attributes
    ----------
    soundfont : str or None
        One of `mer.rendering.SOUNDFONTS` that plays the clip's MIDI file; None keeps the clip's
        own sound.
    reverb, room : float
        Of the synthesizer, as in `mer.rendering.Sound`; for a soundfont only.
    reverberation_seconds : float
        Time in which the sound of a room falls by 60 dB; 0 for no room. Its impulse response is
        noise that decays exponentially.
    reverberation_db : float
        Energy of that response relative to the direct sound.
    equaliser_db : tuple of float
        Gains at 62.5 Hz and the seven octaves above, linear between them; empty for none.
    lowpass_hz : float
        Edge of a Butterworth filter of order 8; 0 for none.
    gain_db : float
    noise_db : float or None
        Level of white noise, root mean square relative to full scale.
    codec : {"Opus", "MP3"} or None
    kbits : float
        Of the codec, in kbit/s.
    seed : int
        Of noise and room.
    """

    soundfont: str | None = None
    reverb: float = 0.0
    room: float = 0.2
    reverberation_seconds: float = 0.0
    reverberation_db: float = -10.0
    equaliser_db: tuple[float, ...] = ()
    lowpass_hz: float = 0.0
    gain_db: float = 0.0
    noise_db: float | None = None
    codec: Codec | None = None
    kbits: float = 64.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.soundfont is not None and self.soundfont not in SOUNDFONTS:
            raise ParameterError(
                f"soundfont is {self.soundfont!r}; expected one of {', '.join(SOUNDFONTS)}"
            )
        if self.codec is not None and self.codec not in _KBITS:
            raise ParameterError(f"codec is {self.codec!r}; expected one of {', '.join(_KBITS)}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if name != "noise_db" or value is not None:
                object.__setattr__(self, name, _number(name, value, low, high))
        gains = tuple(_number("equaliser_db", value, -60, 60) for value in self.equaliser_db)
        if gains and len(gains) != len(_EQ_CENTRES):
            raise ParameterError(
                f"equaliser_db has {len(gains)} values; expected {len(_EQ_CENTRES)}"
            )
        object.__setattr__(self, "equaliser_db", gains)
        for name, lowest in (("reverberation_seconds", 0.01), ("lowpass_hz", 20.0)):
            if 0 < getattr(self, name) < lowest:
                raise ParameterError(
                    f"{name} is {getattr(self, name)}; expected 0 for none, or {lowest:g} or more"
                )
        if self.codec is not None:
            object.__setattr__(self, "kbits", _number("kbits", self.kbits, *_KBITS[self.codec]))
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or self.seed < 0:
            raise ParameterError(f"seed is {self.seed!r}; expected a whole number from 0")
        object.__setattr__(self, "seed", int(self.seed))

    @property
    def lacks(self) -> str:
        """What is missing on this machine to make it, and how to get it; empty for nothing."""
        if self.soundfont is not None:
            try:
                find_soundfont(self.soundfont)
            except MissingDataError as error:
                return str(error)
        return (
            "" if self.codec is None or has_codec(self.codec) else f"libsndfile lacks {self.codec}"
        )

    def samples(self, clip: Clip) -> np.ndarray:
        """The clip in this sound at `SAMPLE_RATE`, shape (n_samples,), float32.

        Raises
        ------
        MissingDataError
            If the clip has no sound, or no MIDI file for a soundfont to play; if the soundfont or
            the codec is missing.
        InvalidDataError
            If a file is damaged.
        """
        if self.soundfont is None:
            return self.applied(waveform(clip, SAMPLE_RATE))
        sound = replace(rendering.DRY, reverb=self.reverb, room=self.room)
        path = find_soundfont(self.soundfont)
        played = render_midi(_source(clip, self), SAMPLE_RATE, soundfont=path, sound=sound)
        return self.applied(played)

    def applied(self, samples: np.ndarray) -> np.ndarray:
        """All but the soundfont, on samples at `SAMPLE_RATE`; shape as given, float32."""
        rng = np.random.default_rng(self.seed)
        found = np.asarray(samples, dtype=np.float64)
        if self.reverberation_seconds:
            found = _in_room(found, self.reverberation_seconds, self.reverberation_db, rng)
        if self.equaliser_db:
            found = _equalised(found, self.equaliser_db)
        if self.lowpass_hz:
            from scipy.signal import butter, sosfilt

            found = sosfilt(butter(8, self.lowpass_hz, fs=SAMPLE_RATE, output="sos"), found)
        found = found * 10 ** (self.gain_db / 20)
        if self.noise_db is not None:
            found = found + rng.normal(scale=10 ** (self.noise_db / 20), size=len(found))
        found = found.astype(np.float32)
        return found if self.codec is None else _coded(found, self.codec, self.kbits)


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) <= high:
        return float(value)
    raise ParameterError(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")


def has_codec(codec: Codec) -> bool:
    """Whether libsndfile can write and read it."""
    import soundfile

    kind, subtype = _format(codec)
    return subtype in soundfile.available_subtypes(kind)


def _format(codec: Codec) -> tuple[str, str]:
    return ("OGG", "OPUS") if codec == "Opus" else ("MP3", "MPEG_LAYER_III")


def _in_room(samples: np.ndarray, seconds: float, level: float, rng: Any) -> np.ndarray:
    from scipy.signal import fftconvolve

    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.normal(size=len(time)) * 10 ** (-3 * time / seconds)
    response *= 10 ** (level / 20) / np.sqrt((response**2).sum())
    response[0] = 1.0
    return np.asarray(fftconvolve(samples, response)[: len(samples)])


def _equalised(samples: np.ndarray, gains: Sequence[float]) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE).clip(min=_EQ_CENTRES[0])
    curve = np.interp(np.log2(frequencies), np.log2(_EQ_CENTRES), gains)
    return np.fft.irfft(spectrum * 10 ** (curve / 20), n=len(samples))


def _coded(samples: np.ndarray, codec: Codec, kbits: float) -> np.ndarray:
    """Samples after writing and reading, of the same length."""
    import soundfile

    if not has_codec(codec):
        raise MissingDataError(f"libsndfile of this machine cannot write {codec}")
    kind, subtype = _format(codec)
    rate = _OPUS_RATE if codec == "Opus" else SAMPLE_RATE
    low, high = _LOWEST_KBITS[codec], _KBITS[codec][1]
    file = io.BytesIO()
    soundfile.write(
        file,
        resample(samples.clip(-1, 1), SAMPLE_RATE, rate),
        rate,
        format=kind,
        subtype=subtype,
        compression_level=(high - kbits) / (high - low),
        bitrate_mode="CONSTANT" if codec == "MP3" else None,
    )
    file.seek(0)
    decoded = soundfile.read(file, dtype="float32")[0]
    found = resample(decoded, rate, SAMPLE_RATE)[: len(samples)]
    return np.pad(found, (0, len(samples) - len(found)))


SOUNDS: Mapping[str, Variant] = {
    "as rendered": Variant(),
    "12 dB louder": Variant(gain_db=12.0),
    "12 dB quieter": Variant(gain_db=-12.0),
    "low-pass 5 kHz": Variant(lowpass_hz=5000.0),
    "noise at -50 dB": Variant(noise_db=-50.0),
    "Opus 32 kbit/s": Variant(codec="Opus", kbits=32.0),
    "Opus 96 kbit/s": Variant(codec="Opus", kbits=96.0),
    "MP3 64 kbit/s": Variant(codec="MP3", kbits=64.0),
    "reverb": Variant(soundfont="TimGM6mb", reverb=0.6, room=0.7),
    "MuseScore General": Variant(soundfont="MuseScore General"),
    "FluidR3": Variant(soundfont="FluidR3"),
}
"""What the chapter on sounds tests; the first is the sound of training. Those with a soundfont need
MIDI files, which a recording of one's own lacks."""


def random_variant(rng: np.random.Generator, soundfont: str | None = None) -> Variant:
    """A sound for training, played by a soundfont: another level, tone, room, noise or codec."""

    def sometimes(probability: float) -> bool:
        return bool(rng.random() < probability)

    codec: Codec | None = None
    if sometimes(0.3):
        codec = "Opus" if sometimes(0.5) else "MP3"
    return Variant(
        soundfont=soundfont,
        reverberation_seconds=round(rng.uniform(0.2, 1.5), 2) if sometimes(0.4) else 0.0,
        reverberation_db=round(rng.uniform(-20, -2), 1),
        equaliser_db=tuple(np.round(rng.normal(0, 4, 8), 1).tolist()) if sometimes(0.5) else (),
        lowpass_hz=round(rng.uniform(3000, 10000)) * 1.0 if sometimes(0.3) else 0.0,
        gain_db=round(rng.uniform(-18, 6), 1),
        noise_db=round(rng.uniform(-80, -45), 1) if sometimes(0.4) else None,
        codec=codec,
        kbits=round(rng.uniform(24, 128)) * 1.0,
        seed=int(rng.integers(2**31)),
    )


def training_variant(clip: Clip, copy: int) -> Variant:
    """The sound of one copy of a training clip: random, but the same in every run.

    Clips without a recording are played by the `TRAINING_SOUNDFONTS` in turn.
    """
    digest = hashlib.sha256(f"{clip.id}/{copy}".encode()).digest()
    first = int.from_bytes(hashlib.sha256(clip.id.encode()).digest()[:4], "little")
    names = TRAINING_SOUNDFONTS
    soundfont = names[(first + copy) % len(names)] if clip.audio is None else None
    return random_variant(np.random.default_rng(list(digest[:16])), soundfont)


def sound_file(clip: Clip, variant: Variant) -> Path:
    """An audio file of the clip in that sound, in the cache; errors as `Variant.samples`.

    It is 16-bit FLAC, or WAV of floating-point numbers where samples are very soft or beyond full
    scale. A damaged one is made again.
    """
    import soundfile

    source = _source(clip, variant)
    facts: dict[str, Any] = {
        "variant": asdict(variant),
        "source": content_digest(source),
        "revisions": [REVISION, rendering.REVISION],
    }
    if variant.soundfont:
        facts["soundfont"] = content_digest(find_soundfont(variant.soundfont))
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def make() -> bytes:
        samples = variant.samples(clip)
        peak = np.abs(samples).max(initial=0)
        about = f"clip {clip.id!r} ({source})"
        if not peak > 0 and variant.soundfont:
            raise InvalidDataError(
                f"{about} is silent when soundfont {variant.soundfont} plays it; expected notes, "
                "and a soundfont with their instruments"
            )
        if not peak > 0:
            raise InvalidDataError(
                f"{about} is silent in this sound; expected a recording that is not"
            )
        whole = {"format": "FLAC", "subtype": "PCM_16"}
        kind = whole if _SOFT <= peak <= 1 else {"format": "WAV", "subtype": "FLOAT"}
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, **kind)
        return file.getvalue()

    return stored_file(cache_folder() / "sounds" / digest[:2], digest[:32], ".audio", make)


def _source(clip: Clip, variant: Variant) -> Path:
    if variant.soundfont and clip.midi is None:
        raise MissingDataError(
            f"clip {clip.id!r} has no MIDI file, which soundfont {variant.soundfont} would play"
        )
    return source_of(clip, "midi" if variant.soundfont else "audio")


def in_sound(corpus: Corpus, variant: Variant) -> Corpus:
    """The corpus with recordings in that sound; MIDI files and labels stay."""
    return corpus if variant == Variant() else _with_sounds(corpus, lambda clip: variant)


def lacking_for_copies(copies: int) -> str:
    """What `with_varied_copies` needs and this machine lacks; empty for nothing."""
    needed = [Variant(soundfont=name) for name in TRAINING_SOUNDFONTS] if copies else []
    return "; ".join(filter(None, (variant.lacks for variant in needed)))


def with_varied_copies(corpus: Corpus, copies: int) -> Corpus:
    """The clips, then each of them in a random sound, then in another one, and so on.

    Parameters
    ----------
    corpus : Corpus
    copies : int
        How many of each clip; see `training_variant`.

    Returns
    -------
    Corpus
        Of (1 + copies) times as many clips, whose ids tell the copies.
    """
    if isinstance(copies, bool) or not isinstance(copies, Integral) or copies < 0:
        raise ParameterError(f"copies is {copies!r}; expected a whole number from 0")
    if not copies:
        return corpus
    clips = list(corpus)
    for copy in range(copies):
        varied = _with_sounds(corpus, partial(training_variant, copy=copy))
        clips += [replace(clip, id=f"{clip.id}, copy {copy + 1}") for clip in varied]
    return Corpus(corpus.name, clips, licence=corpus.licence, citation=corpus.citation)


def varied(train: Corpus, valid: Corpus, copies: int) -> tuple[Corpus, Corpus]:
    """Training and validation clips with copies of each, see `with_varied_copies`."""
    return with_varied_copies(train, copies), with_varied_copies(valid, copies)


def _with_sounds(corpus: Corpus, variant_of: Callable[[Clip], Variant]) -> Corpus:
    clips = [replace(clip, audio=sound_file(clip, variant_of(clip))) for clip in corpus]
    return Corpus(corpus.name, clips, licence=corpus.licence, citation=corpus.citation)
