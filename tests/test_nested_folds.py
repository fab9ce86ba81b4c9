"""The nested 5 x 5 cross-validation: disjoint, deterministic, and as stored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from mer.clips import Clip, Corpus, Labels
from mer.corpora import load
from mer.corpora.folds import (
    NESTED,
    nested_cross_validation,
    nested_folds,
    quadrant,
    regression_splits,
    unstratified,
)
from mer.errors import MissingDataError, ParameterError

FOLDS = Path(__file__).parents[1] / "results" / "folds"


def corpus(n: int = 60, clips_per_group: int = 2) -> Corpus:
    groups = [f"g{k // clips_per_group}" for k in range(n)]
    clips = [Clip(f"c{k}", g, meta={"genre": "ab"[k % 4 // 2]}) for k, g in enumerate(groups)]
    splits = regression_splits(lambda clip: str(clip.meta["genre"]))
    return Corpus("c", clips, licence="", citation="", splits=splits)


class TestFolds:
    def test_parts_are_nested(self) -> None:
        made = corpus()
        split = made.split(NESTED)
        assert (split.name, len(split.folds), split.leaky) == ("nested5x5", 25, False)
        tested: Counter[str] = Counter()
        for outer in range(5):
            folds = split.folds[5 * outer : 5 * outer + 5]
            assert len({fold.test for fold in folds}) == 1
            validated = [clip for fold in folds for clip in fold.valid]
            assert sorted([*validated, *folds[0].test]) == sorted(made.ids)
            for fold in folds:
                assert sorted(fold.train + fold.valid + fold.test) == sorted(made.ids)
            tested.update(folds[0].test)
        assert tested == Counter(made.ids)

    def test_groups_stay_together(self) -> None:
        group = dict(zip(corpus().ids, corpus().groups, strict=True))
        for fold in corpus().split(NESTED).folds:
            parts = [{group[clip] for clip in part} for part in (fold.train, fold.valid, fold.test)]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 30

    def test_strata_are_spread_evenly(self) -> None:
        made = corpus(100)
        genre = {clip.id: clip.meta["genre"] for clip in made}
        for fold in made.split(NESTED).folds:
            assert Counter(genre[clip] for clip in fold.test) == {"a": 10, "b": 10}
            assert Counter(genre[clip] for clip in fold.valid) == {"a": 8, "b": 8}

    def test_same_folds_every_time_and_others_by_seed(self) -> None:
        made = corpus()
        first = nested_cross_validation(made)
        assert first == nested_cross_validation(corpus())
        assert first != nested_cross_validation(made, seed=1)

    def test_sizes_are_even_without_strata(self) -> None:
        folds = nested_cross_validation(corpus(50, 1), stratum=unstratified).folds
        assert {(len(f.train), len(f.valid), len(f.test)) for f in folds} == {(32, 8, 10)}

    @pytest.mark.parametrize(("n_outer", "n_inner"), [(2, 3), (4, 2)])
    def test_other_numbers_of_folds(self, n_outer: int, n_inner: int) -> None:
        ids = [str(k) for k in range(24)]
        folds = nested_folds(ids, ids, [0] * 24, n_outer=n_outer, n_inner=n_inner, seed=0)
        assert len(folds) == n_outer * n_inner
        assert sorted(sum((fold.test for fold in folds[::n_inner]), ())) == sorted(ids)

    def test_too_few_folds_or_groups(self) -> None:
        ids = list("abcdef")
        with pytest.raises(ParameterError, match="found 5 x 1 folds; expected at least 2 x 2"):
            nested_folds(ids, ids, [0] * 6, n_outer=5, n_inner=1, seed=0)
        with pytest.raises(ParameterError, match="found 4 groups for 5 folds"):
            nested_folds(ids, list("aabbcd"), [0] * 6, n_outer=5, n_inner=2, seed=0)
        with pytest.raises(ParameterError, match="found 4 groups for 5 folds"):
            nested_cross_validation(corpus(10))

    def test_stratum_that_is_not_known(self) -> None:
        clips = [Clip(str(k), str(k), labels=Labels(quadrant=1 if k else None)) for k in range(30)]
        with pytest.raises(MissingDataError, match="'d': 1 clips have no quadrant"):
            nested_cross_validation(Corpus("d", clips, licence="", citation=""), stratum=quadrant)


@pytest.mark.realdata
@pytest.mark.parametrize("labels", ["emotify", "annotations/pmemo", "annotations/emomusic"])
@pytest.mark.filterwarnings("ignore::mer.corpora.annotations.CorpusWarning")
def test_stored_folds_of_the_project(data_folder: Path, labels: str) -> None:
    name = Path(labels).name.replace("emomusic", "emotion_in_music")
    # Columns: the clip, its outer part, and its inner part while outer part 0 ... 4 is the test
    stored = pd.read_csv(FOLDS / f"{name}.csv", dtype={"id": str}).set_index("id")
    folds = load(name, folder=data_folder / labels).split(NESTED).folds
    for number, fold in enumerate(folds):
        outer, inner = divmod(number, 5)
        assert set(fold.test) == set(stored.index[stored["outer"] == outer])
        assert set(fold.valid) == set(stored.index[stored[f"inner_{outer}"] == inner])
