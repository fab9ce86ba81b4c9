"""How well separators take mixes apart: tests on music whose sources are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mer.audio import load_audio
from mer.composing.score import REVISION as SCORE_REVISION
from mer.corpora import load
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.evaluation.separation import separation_scores
from mer.libraries import load_librosa
from mer.paths import data_folder
from mer.rendering import REVISION as RENDERING_REVISION
from mer.rendering import default_soundfont
from mer.separation import (
    SEPARATORS,
    SOURCES,
    TRUE,
    get_separator,
    separate_samples,
    source_waveform,
)
from mer.separation.rendered import SAMPLE_RATE, Take, midi_seconds, random_take, render_stems
from mer.study.executor import environment
from mer.study.profiles import get_profile
from mer.study.separator import EXCERPT_SECONDS, songs
from mer.study.store import RunStore
from mer.systems.sources import separator_revision

REFERENCES = ("mixture", "harmonic-percussive")
"""What a separator is compared with: the mix in place of every source; and the drums as its
percussive part, every other source as its harmonic part."""

_SEED = 7
_COMPOSED = {"smoke": 6, "quick": 20}
"""Composed clips by profile, where they are fewer than 60."""
_OTHER_SOUNDFONT = Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3")
_RECORDING = Path("stems") / "falcon69"


class Mix(NamedTuple):
    """Music with known sources.

    Attributes
    ----------
    id, group : str
    stems : dict of str to np.ndarray, shape (n_samples,)
        By source, in the order of `mer.separation.SOURCES`.
    samples : np.ndarray, shape (n_samples,)
        What the separator hears.
    sample_rate : int
    """

    id: str
    group: str
    stems: dict[str, np.ndarray]
    samples: np.ndarray
    sample_rate: int = SAMPLE_RATE


Job = Callable[[], Mix]


@dataclass(frozen=True, slots=True)
class SeparationTest:
    """A collection of mixes.

    Attributes
    ----------
    name, description : str
    jobs : callable
        Gives a function for each mix that makes it, from the name of the profile.
    options : callable
        What the mixes depend on beside the test, from the name of the profile.
    """

    name: str
    description: str
    jobs: Callable[[str], Sequence[Job]]
    options: Callable[[str], dict[str, Any]]


def _composed_options(profile: str) -> dict[str, Any]:
    sizes = get_profile(profile).corpus_options.get("composed_band", {})
    return {"size": _COMPOSED.get(profile, 60), "duration": sizes.get("duration", 30.0)}


def _composed(profile: str, soundfont: Path | None) -> list[Job]:
    if soundfont is not None:
        _check_soundfont(soundfont)
    corpus = load("composed_band", **_composed_options(profile))
    return [partial(_composed_mix, clip, soundfont) for clip in corpus]


def _composed_mix(clip: Any, soundfont: Path | None) -> Mix:
    if soundfont is None:
        stems = {s: source_waveform(clip, s, SAMPLE_RATE, separator=TRUE) for s in SOURCES}
    else:
        take = Take(start=0.0, seconds=midi_seconds(clip.midi))
        stems = _named(render_stems(clip.midi, take, [soundfont]))
    return Mix(clip.id, clip.group, stems, _sum(stems))


def _songs(profile: str, soundfont: Path) -> list[Job]:
    _check_soundfont(soundfont)
    rng = np.random.default_rng(_SEED)
    takes = (
        (path, random_take(midi_seconds(path), EXCERPT_SECONDS, 1, rng)) for path in songs()[2]
    )
    return [partial(_song_mix, path, take, soundfont) for path, take in takes]


def _song_mix(path: Path, take: Take, soundfont: Path) -> Mix:
    stems = _named(render_stems(path, take, [soundfont]))
    return Mix(path.stem, path.stem, stems, _sum(stems))


def _recording(profile: str) -> list[Job]:
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

    stems = {source: read(source) for source in SOURCES}
    mix = read("mixture")
    if {stem.size for stem in stems.values()} != {mix.size}:
        raise InvalidDataError(f"the files in {folder} differ in length; expected one length")
    return Mix(folder.name, folder.name, stems, mix, 44100)


def _named(stems: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(SOURCES, stems.astype(np.float32), strict=True))


def _sum(stems: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.stack(list(stems.values())).sum(axis=0, dtype=np.float32)


def _check_soundfont(soundfont: Path) -> None:
    if not soundfont.is_file():
        raise MissingDataError(
            f"{soundfont} does not exist; this test needs this soundfont (Debian's "
            "musescore-general-soundfont-small has it)"
        )


TESTS: Mapping[str, SeparationTest] = MappingProxyType(
    {
        test.name: test
        for test in (
            SeparationTest(
                "composed",
                "band clips of the embedded corpus that took no part in training, played by a "
                f"soundfont that did ({default_soundfont().stem})",
                partial(_composed, soundfont=None),
                _composed_options,
            ),
            SeparationTest(
                "composed, unknown instruments",
                "the same clips, played by a soundfont that took no part in training (MuseScore "
                "General)",
                partial(_composed, soundfont=_OTHER_SOUNDFONT),
                _composed_options,
            ),
            SeparationTest(
                "songs, unknown instruments",
                "half a minute each of MIDI songs that took no part in training, played by the "
                "same soundfont; a solo instrument or a choir stands in for the voice",
                partial(_songs, soundfont=_OTHER_SOUNDFONT),
                lambda profile: {},
            ),
            SeparationTest(
                "recording",
                "six seconds of a real band with a singer",
                _recording,
                lambda profile: {},
            ),
        )
    }
)

PROFILE_TESTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"smoke": ("composed",), "quick": ("composed",), "cpu": tuple(TESTS), "paper": tuple(TESTS)}
)


def harmonic_percussive(samples: np.ndarray) -> dict[str, np.ndarray]:
    """Sources by harmonic-percussive separation [1]_, as librosa does it by default.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)

    Returns
    -------
    dict of str to np.ndarray, shape (n_samples,)
        The percussive part as drums, the harmonic part as every other source.

    References
    ----------
    .. [1] Fitzgerald, D.: Harmonic/Percussive Separation Using Median Filtering. Proc. DAFx
       (2010).
    """
    harmonic, percussive = load_librosa().effects.hpss(samples)
    return {source: percussive if source == "drums" else harmonic for source in SOURCES}


def estimates(mix: Mix, separator: str) -> dict[str, np.ndarray]:
    """Sources of a mix as a separator, or one of `REFERENCES`, finds them."""
    if separator == "mixture":
        return dict.fromkeys(SOURCES, mix.samples)
    if separator == "harmonic-percussive":
        return harmonic_percussive(mix.samples)
    return separate_samples(mix.samples, mix.sample_rate, get_separator(separator))


def separation_table(
    store: RunStore,
    test: str,
    separator: str,
    *,
    profile: str,
    compute: bool = True,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """SI-SDR of a separator on one test, from the store where it is there.

    Parameters
    ----------
    store : RunStore
    test : str
        Name in `TESTS`.
    separator : str
        Name in `mer.separation.SEPARATORS` or in `REFERENCES`.
    profile : str
        Tells the size of the composed corpus.
    compute : bool
        Whether to compute what is not stored.
    n_jobs : int, optional
        Processes; one for each core if None.

    Returns
    -------
    DataFrame
        A row for each mix and source: test, separator, id, group, seconds (of audio), source,
        si_sdr in dB. A source that is silent in a mix has no SI-SDR: the field is empty (NaN).

    Raises
    ------
    ParameterError
        If there is no such test or separator.
    MissingDataError
        If the scores are not stored and not to be computed, or data or weights are missing.
    """
    if test not in TESTS:
        raise ParameterError(f"unknown test {test!r}; the tests are: {', '.join(TESTS)}")
    known = (*SEPARATORS, *REFERENCES)
    if separator not in known:
        raise ParameterError(f"unknown separator {separator!r}; known are: {', '.join(known)}")
    chosen = TESTS[test]
    revisions = {
        "rendering": RENDERING_REVISION,
        "score": SCORE_REVISION,
        "separator": separator_revision(separator) if separator in SEPARATORS else 1,
    }
    spec = {
        "test": test,
        "separator": separator,
        "revisions": revisions,
        **chosen.options(profile),
    }
    run = partial(_compute, chosen, separator, profile, n_jobs) if compute else None
    return store.table(f"separation {test} {separator}", spec, run)


def _compute(
    test: SeparationTest, separator: str, profile: str, n_jobs: int | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    if separator in SEPARATORS:
        get_separator(separator)  # says at once what is missing
    jobs = test.jobs(profile)
    started = time.perf_counter()
    calls = (delayed(_scored)(job, separator) for job in jobs)
    scored = Parallel(n_jobs=n_jobs or -1, return_as="generator")(calls)
    rows = [
        row for rows in tqdm(scored, total=len(jobs), unit="mix", desc=test.name) for row in rows
    ]
    frame = pd.DataFrame(rows)
    frame.insert(0, "test", test.name)
    frame.insert(1, "separator", separator)
    details = {
        "description": test.description,
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    return frame, details


def _scored(job: Job, separator: str) -> list[dict[str, Any]]:
    mix = job()
    return list(_rows(mix, separation_scores(mix.stems, estimates(mix, separator))))


def _rows(mix: Mix, scores: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    for source, score in scores.items():
        yield {
            "id": mix.id,
            "group": mix.group,
            "seconds": mix.samples.size / mix.sample_rate,
            "source": source,
            "si_sdr": score,
        }


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean SI-SDR of each test, separator and source.

    Parameters
    ----------
    scores : DataFrame
        Rows of `separation_table`, of one test or several.

    Returns
    -------
    DataFrame
        Index test and separator; a column for each source, "mean" over the sources, and "mixes",
        the number of mixes. Sources that are silent in a mix do not count there.
    """
    keys = ["test", "separator"]
    table = scores.pivot_table(
        index=keys, columns="source", values="si_sdr", aggfunc="mean", sort=False
    )[list(SOURCES)]
    table["mean"] = table.mean(axis=1)
    table["mixes"] = scores.groupby(keys)["id"].nunique()
    table.columns.name = None
    return table
