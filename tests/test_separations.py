"""The stored tables of separation scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from mer.errors import MissingDataError, ParameterError
from mer.separation import SOURCES
from mer.study import separations
from mer.study.separations import (
    REFERENCES,
    Mix,
    SeparationTest,
    estimates,
    separation_table,
    summary,
)
from mer.study.store import RunStore

RATE = 8000


def clicks_and_tones(number: int) -> Mix:
    """Clicks as drums, steady tones as all else; the second mix has no bass."""
    t = np.arange(2 * RATE) / RATE
    frequencies = {"bass": 200, "other": 500, "vocals": 1250}
    stems = {
        s: (0.1 * np.sin(2 * np.pi * f * t)).astype(np.float32) for s, f in frequencies.items()
    }
    stems["drums"] = np.zeros(t.size, np.float32)
    stems["drums"][1000::2000] = 0.9
    if number:
        stems["bass"] = 0 * stems["bass"]
    stems = {source: stems[source] for source in SOURCES}
    samples = np.sum(list(stems.values()), axis=0)
    return Mix(f"mix {number}", f"song {number}", stems, samples, RATE)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store, and one test whose mixes need no data."""
    jobs = [partial(clicks_and_tones, number) for number in range(2)]
    known = SeparationTest("known", "two mixes", lambda profile: jobs, lambda profile: {})
    monkeypatch.setattr(separations, "TESTS", MappingProxyType({"known": known}))
    return RunStore(tmp_path)


def table(store: RunStore, separator: str, *, compute: bool = True) -> pd.DataFrame:
    return separation_table(store, "known", separator, profile="smoke", compute=compute, n_jobs=1)


def test_references_score_as_they_must(store: RunStore) -> None:
    mixture = table(store, "mixture").set_index(["id", "source"])["si_sdr"]
    assert len(mixture) == 8
    # One tone of three, and clicks of 6.5 times a tone's energy all in all, within rounding
    mix = clicks_and_tones(0)
    energy = {source: float(np.var(stem)) for source, stem in mix.stems.items()}
    for source in SOURCES:
        rest = sum(energy.values()) - energy[source]
        expected = 10 * np.log10(energy[source] / rest)
        assert mixture["mix 0", source] == pytest.approx(expected, abs=0.2)
    assert np.isnan(mixture["mix 1", "bass"])
    hpss = table(store, "harmonic-percussive").set_index(["id", "source"])["si_sdr"]
    assert hpss["mix 0", "drums"] > mixture["mix 0", "drums"] + 5
    assert hpss["mix 0", "vocals"] > mixture["mix 0", "vocals"]


def test_stored_once(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDataError, match="is not stored"):
        table(store, "mixture", compute=False)
    first = table(store, "mixture")
    pd.testing.assert_frame_equal(table(store, "mixture", compute=False), first)


def test_summary_leaves_out_silent_sources(store: RunStore) -> None:
    frames = [table(store, name) for name in REFERENCES]
    result = summary(pd.concat(frames, ignore_index=True))
    assert list(result.index) == [("known", name) for name in REFERENCES]
    assert list(result.columns) == [*SOURCES, "mean", "mixes"]
    assert set(result["mixes"]) == {2}
    bass = frames[0].query("source == 'bass' and id == 'mix 0'")["si_sdr"].item()
    assert result.loc[("known", "mixture"), "bass"] == pytest.approx(bass)


@pytest.mark.parametrize(("test", "separator"), [("known", "ears"), ("unknown", "mixture")])
def test_unknown_names(store: RunStore, test: str, separator: str) -> None:
    with pytest.raises(ParameterError, match="unknown"):
        separation_table(store, test, separator, profile="smoke")


def test_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match="falcon69 does not exist; expected a recording"):
        separations.TESTS["recording"].jobs("cpu")


@pytest.mark.realdata
@pytest.mark.usefixtures("data_folder")
def test_recording() -> None:
    """The real excerpt: its sources add up to its mixture, and are far from it alone."""
    (job,) = separations.TESTS["recording"].jobs("cpu")
    mix = job()
    added = np.sum(list(mix.stems.values()), axis=0)
    assert separations.separation_scores({"m": mix.samples}, {"m": added})["m"] > 10
    scores = separations.separation_scores(mix.stems, estimates(mix, "mixture"))
    assert max(scores.values()) < 3
