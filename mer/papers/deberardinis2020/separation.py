"""How well separators take mixes apart: tests on music whose sources are known, and their page."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.audio import load_audio
from mer.clips import Clip
from mer.composing.score import REVISION as SCORE_REVISION
from mer.composing.stems import mixture, stems
from mer.corpora import load
from mer.errors import InvalidDataError, MissingDataError
from mer.evaluation.separation import separation_scores
from mer.features.spectral import log_mel
from mer.libraries import load_librosa
from mer.paths import data_folder
from mer.rendering import REVISION as RENDERING_REVISION
from mer.rendering import default_soundfont, find_soundfont
from mer.separation import (
    SEPARATORS,
    SOURCES,
    TRUE,
    get_separator,
    separate_samples,
    separator_revision,
    source_waveform,
)
from mer.study import plots
from mer.study.converters import (
    EXAMPLE,
    OTHER_SOUNDFONT,
    Benchmark,
    Evaluation,
    by_converter,
    example_clip,
    mean_text,
)
from mer.study.players import sound
from mer.study.plots import panels
from mer.study.profiles import Profile
from mer.study.study import Study
from mer.study.text import number
from mer.study.weights import STEM_SECONDS, songs
from mer.training.rendered import STEM_RATE, Take, midi_seconds, random_stems, render_stems

REFERENCES = ("mixture", "harmonic-percussive")
"""What a separator is compared with: the mix in place of every source; and the drums as its
percussive part, every other source as its harmonic part."""
MEAN = "mean of sources"

_SEED = 7
_CLIPS = 60
"""Composed clips, where a profile does not say how many."""
_RECORDING = Path("stems") / "falcon69"
_RANGE_DB = 80
_BANDS = 40
_HOP_LENGTH = 2048


class Mix(NamedTuple):
    """Music with known sources: stems by source, and the samples that a separator is given."""

    id: str
    group: str
    stems: dict[str, np.ndarray]
    samples: np.ndarray
    sample_rate: int = STEM_RATE


Item = Callable[[], Mix]


def _composed_options(profile: Profile) -> dict[str, Any]:
    sizes = profile.corpus_options.get("composed_band", {})
    size = profile.of_page("separation").get("clips", _CLIPS)
    return {"size": size, "duration": sizes.get("duration", 30.0)}


def _composed(profile: Profile, soundfont: str | None) -> list[Item]:
    path = None if soundfont is None else find_soundfont(soundfont)
    corpus = load("composed_band", **_composed_options(profile))
    return [partial(_composed_mix, clip, path) for clip in corpus]


def _composed_mix(clip: Clip, soundfont: Path | None) -> Mix:
    if soundfont is None:
        found = {s: source_waveform(clip, s, STEM_RATE, separator=TRUE) for s in SOURCES}
        return Mix(clip.id, clip.group, found, mixture(found))
    assert clip.midi is not None, "the composed corpus has MIDI"
    take = Take(start=0.0, seconds=midi_seconds(clip.midi))
    return _rendered_mix(clip.id, clip.group, clip.midi, take, soundfont)


def _rendered_mix(name: str, group: str, midi: Path, take: Take, soundfont: Path) -> Mix:
    rendered = render_stems(midi, take, [soundfont]).astype(np.float32)
    found = dict(zip(SOURCES, rendered, strict=True))
    return Mix(name, group, found, mixture(found))


def _songs(profile: Profile, soundfont: str) -> list[Item]:
    path = find_soundfont(soundfont)
    rng = np.random.default_rng(_SEED)
    takes = ((p, random_stems(midi_seconds(p), STEM_SECONDS, 1, rng)) for p in songs().test)
    return [partial(_rendered_mix, p.stem, p.stem, p, take, path) for p, take in takes]


def _recording(profile: Profile) -> list[Item]:
    folder = data_folder() / _RECORDING
    if not folder.is_dir():
        raise MissingDataError(
            f"{folder} does not exist; expected a recording's mixture, drums, bass, other and "
            "vocals as audio files"
        )
    return [partial(_recorded_mix, folder)]


def _recorded_mix(folder: Path) -> Mix:
    def read(name: str) -> np.ndarray:
        files = sorted(folder.glob(f"{name}.*"))
        if not files:
            raise MissingDataError(f"{folder} has no {name}; expected an audio file of that name")
        return load_audio(files[0], 44100)[0]

    found = {source: read(source) for source in SOURCES}
    mix = read("mixture")
    if {stem.size for stem in found.values()} != {mix.size}:
        raise InvalidDataError(f"the files in {folder} differ in length; expected one length")
    return Mix(folder.name, folder.name, found, mix, 44100)


TESTS: Mapping[str, Benchmark] = {
    "composed": Benchmark(
        "band clips of the embedded corpus that took no part in training, played by a "
        f"soundfont that did ({default_soundfont().stem})",
        partial(_composed, soundfont=None),
        _composed_options,
    ),
    "composed, unknown instruments": Benchmark(
        "the same clips, played by a soundfont that took no part in training (MuseScore General)",
        partial(_composed, soundfont=OTHER_SOUNDFONT),
        _composed_options,
    ),
    "songs, unknown instruments": Benchmark(
        "half a minute each of MIDI songs that took no part in training, played by the "
        "same soundfont; a solo instrument or a choir stands in for the voice",
        partial(_songs, soundfont=OTHER_SOUNDFONT),
    ),
    "recording": Benchmark("six seconds of a real band with a singer", _recording),
}


def estimates(mix: Mix, separator: str) -> dict[str, np.ndarray]:
    """Sources of a mix as a separator, or one of `REFERENCES`, finds them.

    References
    ----------
    .. [1] Fitzgerald, D.: Harmonic/Percussive Separation Using Median Filtering. Proc. DAFx
       (2010). As librosa does it by default.
    """
    if separator == "mixture":
        return dict.fromkeys(SOURCES, mix.samples)
    if separator == "harmonic-percussive":
        harmonic, percussive = load_librosa().effects.hpss(mix.samples)
        return {source: percussive if source == "drums" else harmonic for source in SOURCES}
    return separate_samples(mix.samples, mix.sample_rate, get_separator(separator))


def _score(item: Item, separator: str) -> list[dict[str, Any]]:
    mix = item()
    shared = {"id": mix.id, "group": mix.group, "seconds": mix.samples.size / mix.sample_rate}
    scores = separation_scores(mix.stems, estimates(mix, separator))
    return [{**shared, "source": source, "si_sdr": score} for source, score in scores.items()]


def _revisions(separator: str) -> dict[str, int]:
    revision = separator_revision(separator) if separator in SEPARATORS else 1
    return {"rendering": RENDERING_REVISION, "score": SCORE_REVISION, "separator": revision}


EVALUATION = Evaluation(
    name="separation",
    converter="separator",
    tests=TESTS,
    converters=SEPARATORS,
    load=get_separator,
    revisions=_revisions,
    score=_score,
    references=REFERENCES,
)
"""Scores have a row a mix and source: test, separator, id, group, seconds (of audio), source,
si_sdr in dB (missing where a source is silent)."""


def gains(scores: pd.DataFrame, reference: str = "mixture") -> pd.DataFrame:
    """Scores minus those of a reference, on the same mix and source; without its own rows."""
    keys, is_reference = ["test", "id", "source"], scores["separator"] == reference
    base = scores[is_reference].set_index(keys)["si_sdr"].rename("base")
    others = scores[~is_reference].join(base, on=keys)
    return others.assign(si_sdr=others["si_sdr"] - others.pop("base"))


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """SI-SDR (or gain) in dB of each test and separator, as text, and the number of mixes.

    For each source and for the mean over the sources of a mix it is the mean over mixes in which it
    is not silent, with a 95 % bootstrap interval over groups.
    """

    def row(frame: pd.DataFrame) -> dict[str, str]:
        parts = {source: frame[frame["source"] == source] for source in SOURCES}
        parts[MEAN] = frame.groupby(["id", "group"])[["si_sdr"]].mean().reset_index()
        texts = {name: mean_text(part, "si_sdr", 1) for name, part in parts.items()}
        return {**texts, "mixes": str(frame["id"].nunique())}

    return by_converter(scores, "separator", row)


def score_summary(scores: pd.DataFrame, separators: Sequence[str]) -> str:
    """Each separator against both references on each test, and which were not run: Markdown."""
    lines = [
        f"- {test}: {name} {'; '.join(_against(frame, name, r) for r in REFERENCES)}."
        for name in separators
        for test, frame in scores.groupby("test", sort=False)
    ]
    lines += [
        f"- Separator {name} was not run here: no scores of it are stored."
        for name in SEPARATORS
        if name not in set(scores["separator"])
    ]
    return "\n".join(lines)


def _against(scores: pd.DataFrame, separator: str, reference: str) -> str:
    gain = gains(scores, reference).query("separator == @separator").dropna(subset="si_sdr")
    better = (gain["si_sdr"] > 0).groupby(gain["source"], sort=False).mean()
    parts = ", ".join(f"{source} {number(share, percent=True)}" for source, share in better.items())
    mean = number(gain["si_sdr"].mean(), 1, signed=True)
    return f"minus {reference} {mean} dB on average (above it in {parts} of the mixes)"


def distribution(scores: pd.DataFrame) -> Figure:
    """SI-SDR of every mix: a panel a source, a row a test and separator."""
    several = len(scores["test"].unique()) > 1
    named = scores.assign(
        row=scores["separator"] + ("\n" + scores["test"] if several else ""),
        panel=scores["source"].str.capitalize(),
    )
    return plots.distribution(
        named, "si_sdr", "row", column="panel", hue="separator", xlabel="SI-SDR (dB)"
    )


class Example(NamedTuple):
    """A mix taken apart: see `example_levels`; SI-SDR and an MP3 (in base64) of each source."""

    mix: Mix
    levels: pd.DataFrame
    sounds: pd.DataFrame


def example(study: Study) -> Example:
    """Ten seconds of a composed band, high in valence and arousal; what is found is stored.

    Raises
    ------
    MissingDataError
        If it is not stored and not to be computed.
    """
    separator, clip = study.settings.separators[0], example_clip("composed_band")
    rendered = stems(clip)
    sources = {source: rendered[source] for source in SOURCES}
    mix = Mix(clip.id, clip.group, sources, mixture(sources))
    key = {"clip": clip.id, "separator": separator, "revisions": _revisions(separator), **EXAMPLE}

    @cache
    def found() -> dict[str, np.ndarray]:
        return estimates(mix, separator)

    def table(kind: str, of: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        name = f"separation example {kind} {separator}"
        return study.table(name, key, lambda: of(mix, found()))

    levels = table("levels", example_levels).set_index(["source", "version"])
    return Example(mix, levels, table("sounds", _sounds).set_index("source"))


def example_levels(mix: Mix, found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Coarse mel spectrograms of true and found sources, in whole dB below the loudest of the mix.

    A row for each source, version ("true" or "found") and mel band; a column for each frame.
    """

    def decibels(samples: np.ndarray) -> np.ndarray:
        options = {"n_mels": _BANDS, "hop_length": _HOP_LENGTH, "n_fft": 2 * _HOP_LENGTH}
        return log_mel(_beginning(samples), mix.sample_rate, **options)

    top = decibels(mix.samples).max()
    frames = []
    for source in SOURCES:
        for version, samples in (("true", mix.stems[source]), ("found", found[source])):
            below = np.rint(np.clip(top - decibels(samples), 0, _RANGE_DB)).astype(int)
            frames.append(pd.DataFrame(below).assign(source=source, version=version))
    return pd.concat(frames, ignore_index=True)


def _beginning(samples: np.ndarray) -> np.ndarray:
    return samples[: int(EXAMPLE["duration"] * STEM_RATE)]


def _sounds(mix: Mix, found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    si_sdr = separation_scores(mix.stems, found)
    mp3 = [_mp3(_beginning(found[source])) for source in si_sdr]
    return pd.DataFrame({"source": list(si_sdr), "si_sdr": list(si_sdr.values()), "mp3": mp3})


def _mp3(samples: np.ndarray) -> str:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, STEM_RATE, format="MP3", compression_level=0.9)
    return b64encode(buffer.getvalue()).decode()


def example_figure(example: Example) -> Figure:
    """Mel spectrograms of a mix's sources: left as they are, right as they were found."""
    figure, axes = panels(len(SOURCES), 2, 6.0, sharex=True, sharey=True)
    style: dict[str, Any] = {"origin": "lower", "aspect": "auto", "cmap": "magma"}
    extent = (0, example.levels.shape[1] * _HOP_LENGTH / STEM_RATE, 0, _BANDS)
    for row, source in zip(axes, SOURCES, strict=True):
        si_sdr = example.sounds["si_sdr"][source]
        score = "silent" if np.isnan(si_sdr) else f"{number(si_sdr, 1)} dB"
        titles = {"true": source.capitalize(), "found": f"separated: {score}"}
        for axis, (version, title) in zip(row, titles.items(), strict=True):
            below = example.levels.xs((source, version)).to_numpy()
            image = axis.imshow(-below, extent=extent, vmin=-_RANGE_DB, vmax=0, **style)
            axis.set_title(title)
            axis.grid(visible=False)
        row[0].set_ylabel("Mel band")
    for axis in axes[-1]:
        axis.set_xlabel("Time (s)")
    figure.colorbar(image, ax=axes, label="dB", pad=0.01)
    return figure


def example_players(example: Example, separator: str) -> list[Any]:
    """Titles and players: the mix, each source, true and found, and the sum of what was found."""
    import soundfile
    from IPython.display import Markdown

    files = {str(s): io.BytesIO(b64decode(mp3)) for s, mp3 in example.sounds["mp3"].items()}
    found = {source: soundfile.read(file)[0] for source, file in files.items()}
    shown: list[Any] = [Markdown("**Mix**"), sound(example.mix.samples, STEM_RATE, "mix")]
    for source, samples in example.mix.stems.items():
        title = f"**{source.capitalize()}**: true, then by separator {separator}"
        given = {"true": samples, separator: found[source]}
        shown += [Markdown(title)]
        shown += [sound(own, STEM_RATE, f"{source}, {by}") for by, own in given.items()]
    shown += [Markdown("**All that was found**")]
    return [*shown, sound(mixture(found), STEM_RATE, "sum of what was found")]
