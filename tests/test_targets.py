"""Facts about targets that are stored with the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from mer.clips import Clip, Corpus, Labels
from mer.errors import MissingDataError
from mer.study import targets
from mer.study.parameters import RegressionParameters
from mer.study.session import Session
from mer.study.store import RunStore

N = 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The second half of the clips is half a second long, the rest a second."""
    folder = tmp_path_factory.mktemp("audio")
    clips = []
    for k in range(N):
        path = folder / f"{k}.wav"
        soundfile.write(path, np.zeros(8000 if k < N // 2 else 4000), 8000)
        labels = Labels(valence=k / N, arousal=-k / N)
        clips.append(Clip(f"c{k}", f"c{k}", audio=path, labels=labels))
    return Corpus("toy", clips, licence="-", citation="-")


def session(corpus: Corpus, folder: Path, *, compute: bool = True) -> Session:
    made = Session(RegressionParameters(profile="smoke", compute=compute), RunStore(folder))
    made.corpus_name = "toy"
    made.__dict__["corpus"] = corpus
    made.__dict__["card"] = {"fingerprint": corpus.fingerprint}
    return made


def ratings() -> pd.DataFrame:
    """Four listeners who agree on valence, but for noise, and not on arousal."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.repeat([f"c{k}" for k in range(N)], 4)})
    valence = np.repeat(np.arange(N) / N, 4) + 0.05 * rng.normal(size=4 * N)
    return frame.assign(valence=valence, arousal=rng.normal(size=4 * N))


def test_facts_are_stored(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "RATINGS", {"toy": ratings})
    with pytest.raises(MissingDataError, match="'targets toy' is not stored"):
        targets.target_facts(session(corpus, tmp_path, compute=False))
    found = targets.target_facts(session(corpus, tmp_path))
    assert found.loc["valence", "min"] == 0
    assert found.loc["valence", "mean"] == pytest.approx((N - 1) / 2 / N, abs=1e-5)
    assert found.loc["arousal", "ratings"] == 4 * N
    reliability = found["reliability"].to_dict()
    assert reliability["valence"] > 0.95 > reliability["arousal"]
    stored = targets.target_facts(session(corpus, tmp_path, compute=False))
    pd.testing.assert_frame_equal(stored, found)


def test_corpus_without_ratings(corpus: Corpus, tmp_path: Path) -> None:
    found = targets.target_facts(session(corpus, tmp_path))
    assert found["reliability"].isna().all()
    assert found["sd"].notna().all()


def test_short_clips_are_counted(corpus: Corpus, tmp_path: Path) -> None:
    found = targets.padding(session(corpus, tmp_path), 0.75)
    assert found["id"].tolist() == [f"c{k}" for k in range(N // 2, N)]
    assert found["seconds"].tolist() == pytest.approx([0.25] * (N // 2))
    assert targets.padding(session(corpus, tmp_path), 0.5).empty
    assert targets.padding(session(corpus, tmp_path, compute=False), 0.5).empty


@pytest.mark.realdata
@pytest.mark.usefixtures("data_folder")
def test_emotify_ratings_are_those_of_its_clips() -> None:
    found = targets.RATINGS["emotify"]()
    assert found["id"].nunique() == 400
    assert found["valence"].isna().sum() == found["arousal"].isna().sum() == 103
