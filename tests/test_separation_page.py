"""The page on separation: its stored scores, tables, figures and example."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer.errors import MissingDataError, ParameterError
from mer.evaluation.separation import separation_scores
from mer.papers.deberardinis2020 import separation
from mer.papers.deberardinis2020.separation import (
    EVALUATION,
    TESTS,
    Mix,
    estimates,
    example_levels,
)
from mer.separation import SOURCES
from mer.study.converters import Benchmark
from mer.study.profiles import get_profile
from mer.study.settings import Settings
from mer.study.store import RunStore
from mer.study.study import Study

CPU = get_profile("cpu")
LEVELS = {"mixture": -5.0, "harmonic-percussive": -2.0, "small": 6.0}


def scores(n: int = 8) -> pd.DataFrame:
    """Each separator as far above the mixture in every mix; the last mix has no vocals."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(n, len(SOURCES)))
    rows = [
        {
            **{"test": "composed", "separator": name, "id": f"mix {k}", "group": f"song {k // 2}"},
            "source": source,
            "si_sdr": np.nan if (k, source) == (n - 1, "vocals") else level + base[k, place],
        }
        for name, level in LEVELS.items()
        for k in range(n)
        for place, source in enumerate(SOURCES)
    ]
    return pd.DataFrame(rows)


def study(folder: Path, *, compute: bool = True) -> Study:
    settings = Settings(profile="smoke", compute=compute, n_jobs=1)
    return Study(settings, store=RunStore(folder))


def test_summary_gives_means_and_intervals() -> None:
    frame = scores()
    table = separation.summary(frame)
    assert table.index.tolist() == [("composed", name) for name in LEVELS]
    own = frame[(frame["separator"] == "small") & (frame["source"] == "bass")]["si_sdr"]
    assert str(table.loc[("composed", "small"), "bass"]).startswith(f"{own.mean():.1f} [")
    assert table["mixes"].tolist() == ["8"] * 3
    single = separation.summary(scores(1).dropna())
    assert "[" not in str(single.loc[("composed", "small"), "bass"])
    assert single.loc[("composed", "small"), "vocals"] == "–"


def test_gains_are_paired_by_mix_and_source() -> None:
    found = separation.gains(scores())
    assert set(found["separator"]) == {"harmonic-percussive", "small"}
    small = found[found["separator"] == "small"]["si_sdr"].dropna()
    np.testing.assert_allclose(small, 11.0)
    table = separation.summary(found)
    assert table.loc[("composed", "small"), "drums"] == "11.0 [11.0, 11.0]"
    assert table.loc[("composed", "small"), separation.MEAN] == "11.0 [11.0, 11.0]"


def test_summary_says_how_often_and_by_how_much() -> None:
    line, missing = separation.score_summary(scores(), ["small"]).splitlines()
    assert line.startswith("- composed: small minus mixture +11.0 dB on average (above it in drum")
    assert "; minus harmonic-percussive +8.0 dB on average" in line
    assert missing == "- Separator htdemucs was not run here: no scores of it are stored."


@pytest.fixture
def mix() -> Mix:
    """Two seconds of noise, without vocals."""
    rng = np.random.default_rng(0)
    stems = {s: 0.1 * rng.normal(size=44100).astype(np.float32) for s in SOURCES}
    stems["vocals"] = 0 * stems["vocals"]
    return Mix("m", "m", stems, np.sum(list(stems.values()), axis=0))


def test_levels_of_a_mix_taken_apart(mix: Mix) -> None:
    levels = example_levels(mix, mix.stems)
    assert levels["source"].unique().tolist() == list(SOURCES)
    values = levels.set_index(["source", "version"])
    assert values.to_numpy().min() >= 0
    assert values.xs(("vocals", "true")).to_numpy().min() == 80


def test_example_is_separated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "separate_samples", lambda x, *_: dict.fromkeys(SOURCES, x / 4))
    monkeypatch.setattr(separation, "get_separator", lambda name: None)
    shown = study(tmp_path, compute=False)
    with pytest.raises(MissingDataError, match="separation example levels small"):
        separation.example(shown)
    first = separation.example(study(tmp_path))
    monkeypatch.delattr(separation, "separate_samples")
    second = separation.example(shown)
    pd.testing.assert_frame_equal(first.levels, second.levels)
    pd.testing.assert_frame_equal(first.sounds, second.sounds)


RATE = 8000


def clicks_and_tones(number: int) -> Mix:
    """Clicks as drums, steady tones as all else; the second mix has no bass."""
    t = np.arange(2 * RATE) / RATE
    frequencies = {"bass": 200, "other": 500, "vocals": 1250}
    stems = {source: np.zeros(t.size, np.float32) for source in SOURCES}
    for source, frequency in list(frequencies.items())[number:]:
        stems[source] += 0.1 * np.sin(2 * np.pi * frequency * t)
    stems["drums"][1000::2000] = 0.9
    samples = np.sum(list(stems.values()), axis=0)
    return Mix(f"mix {number}", f"song {number}", stems, samples, RATE)


JOBS = [partial(clicks_and_tones, number) for number in range(2)]
KNOWN = replace(EVALUATION, tests={"known": Benchmark("two mixes", lambda profile: JOBS)})
"""One test whose mixes need no data."""


def test_references_score_as_they_must(tmp_path: Path) -> None:
    mixture, hpss = (
        KNOWN.scores(study(tmp_path), "known", name).set_index(["id", "source"])["si_sdr"]
        for name in ("mixture", "harmonic-percussive")
    )
    assert len(mixture) == 8
    # One tone of three, and clicks of 6.5 times a tone's energy all in all, within rounding
    mix = clicks_and_tones(0)
    energy = {source: float(np.var(stem)) for source, stem in mix.stems.items()}
    for source in SOURCES:
        rest = sum(energy.values()) - energy[source]
        expected = 10 * np.log10(energy[source] / rest)
        assert mixture["mix 0", source] == pytest.approx(expected, abs=0.2)
    assert np.isnan(mixture["mix 1", "bass"])
    assert hpss["mix 0", "drums"] > mixture["mix 0", "drums"] + 5
    assert hpss["mix 0", "vocals"] > mixture["mix 0", "vocals"]


@pytest.mark.parametrize(("test", "separator"), [("known", "ears"), ("unknown", "mixture")])
def test_unknown_names(tmp_path: Path, test: str, separator: str) -> None:
    with pytest.raises(ParameterError, match="unknown"):
        KNOWN.scores(study(tmp_path), test, separator)


def test_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match="falcon69 does not exist; expected a recording"):
        TESTS["recording"].items(CPU)


@pytest.mark.realdata
@pytest.mark.usefixtures("data_folder")
def test_recording() -> None:
    """The real excerpt: its sources add up to its mixture, and are far from it alone."""
    (job,) = TESTS["recording"].items(CPU)
    mix = job()
    added = np.sum(list(mix.stems.values()), axis=0)
    assert separation_scores({"m": mix.samples}, {"m": added})["m"] > 10
    scores = separation_scores(mix.stems, estimates(mix, "mixture"))
    assert max(scores.values()) < 3
