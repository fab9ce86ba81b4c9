"""Partitions and splits: disjoint, stratified, deterministic, and as stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.corpora import load
from mer.corpora.folds import (
    NESTED,
    cross_validation,
    holdout,
    nested_cross_validation,
    quadrant,
    unstratified,
)
from mer.errors import MissingDataError, ParameterError

STORED = Path(__file__).parents[1] / "results" / "folds"

Maker = Callable[..., Split]
MAKERS: dict[str, tuple[Maker, int]] = {
    "cv5": (partial(cross_validation, n_folds=5), 1),
    NESTED: (partial(nested_cross_validation, stratum=quadrant), 5),
    "holdout": (holdout, 0),
}
"""What makes a split, and how often each clip is tested (0: not every clip is)."""


def corpus(n: int, clips_per_group: int = 1) -> Corpus:
    """Clips with the four quadrants in turn."""
    return made_of(
        [(f"c{k:02d}", f"g{k // clips_per_group}", 1 + k % 4) for k in range(n)],
    )


def uneven(n_groups: int) -> Corpus:
    """Groups of one to five clips, and four quadrants, mostly shared within a group."""
    rng = np.random.default_rng(0)
    rows = []
    for group in range(n_groups):
        usual = int(rng.integers(1, 5))
        for clip in range(rng.integers(1, 6)):
            label = usual if rng.random() < 0.7 else int(rng.integers(1, 5))
            rows.append((f"{group}-{clip}", f"song {group}", label))
    return made_of(rows)


def made_of(rows: Iterable[tuple[str, str, int | None]]) -> Corpus:
    made = [Clip(name, group, labels=Labels(quadrant=label)) for name, group, label in rows]
    return Corpus("c", made, licence="", citation="")


def parts(fold: Fold) -> tuple[tuple[str, ...], ...]:
    return fold.train, fold.valid, fold.test


@pytest.mark.parametrize("name", MAKERS)
class TestAll:
    def test_no_group_crosses(self, name: str) -> None:
        make, times = MAKERS[name]
        clips = uneven(80)
        split = make(clips, seed=3)
        assert (split.name, split.leaky) == (name, False)
        for fold in split.folds:
            assert sorted(sum(parts(fold), ())) == sorted(clips.ids)
            owners = [set(clips.select(part).groups) for part in parts(fold)]
            assert sum(map(len, owners)) == len(set(clips.groups))
            for part in parts(fold):
                assert list(part) == [clip for clip in clips.ids if clip in set(part)]
        tested = Counter(clip for fold in split.folds for clip in fold.test)
        assert not times or tested == dict.fromkeys(clips.ids, times)

    def test_parts_keep_the_proportions_of_the_quadrants(self, name: str) -> None:
        clips = uneven(300)
        share = clips.to_frame()["quadrant"].value_counts(normalize=True)
        for part in (part for fold in MAKERS[name][0](clips).folds for part in parts(fold)):
            found = clips.select(part).to_frame()["quadrant"].value_counts(normalize=True)
            assert found.to_dict() == pytest.approx(share.to_dict(), abs=0.03)

    def test_the_seed_decides(self, name: str) -> None:
        make, clips = MAKERS[name][0], uneven(60)
        assert make(clips, seed=1) == make(clips, seed=1) != make(clips, seed=2)


def test_validation_is_the_next_folds_test() -> None:
    folds = cross_validation(uneven(40), n_folds=4).folds
    assert [fold.valid for fold in folds] == [folds[(k + 1) % 4].test for k in range(4)]


def test_holdout_meets_its_fractions() -> None:
    clips = uneven(300)
    found = [len(part) / len(clips) for part in parts(holdout(clips, seed=1).folds[0])]
    assert found == pytest.approx([0.7, 0.15, 0.15], abs=0.01)


def test_holdout_of_a_few_clips_has_every_class_everywhere() -> None:
    (fold,) = holdout(corpus(16)).folds
    found = [Counter(int(clip[1:]) % 4 for clip in part) for part in parts(fold)]
    assert found == [dict.fromkeys(range(4), times) for times in (2, 1, 1)]


def test_ungrouped_folds_are_leaky() -> None:
    split = cross_validation(corpus(60, 3), n_folds=3, grouped=False)
    assert (split.name, split.leaky) == ("cv3_ungrouped", True)


def test_parts_of_nested_folds() -> None:
    made = corpus(60, 2)
    split = nested_cross_validation(made)
    assert (split.name, len(split.folds), split.leaky) == (NESTED, 25, False)
    for outer in range(0, 25, 5):
        folds = split.folds[outer : outer + 5]
        assert len({fold.test for fold in folds}) == 1
        validated = [clip for fold in folds for clip in fold.valid]
        assert sorted([*validated, *folds[0].test]) == sorted(made.ids)


def test_sizes_are_even_without_strata() -> None:
    folds = nested_cross_validation(corpus(50), stratum=unstratified).folds
    assert {(len(f.train), len(f.valid), len(f.test)) for f in folds} == {(32, 8, 10)}


@pytest.mark.parametrize(
    ("make", "rows", "message"),
    [
        (cross_validation, ["aA", "bA", "cB"], "found 2 groups for 3 folds"),
        (cross_validation, ["aA", "bB", "cC", "dD"], "largest class has 2 clips for 3 folds"),
        (nested_cross_validation, ["aA", "bA", "cB", "dC", "eD"], "found 4 groups for 5 folds"),
        (holdout, ["aA", "bA", "cB"], "part would be empty"),
    ],
)
def test_too_few_clips_or_groups(make: Maker, rows: list[str], message: str) -> None:
    clips = made_of((row[0], row[1], 1 + k % 2) for k, row in enumerate(rows))
    options = {"n_folds": 3} if make is cross_validation else {}
    with pytest.raises(ParameterError, match=message):
        make(clips, **options)


def test_what_cannot_be_split() -> None:
    with pytest.raises(ParameterError, match="n_folds is 2; expected at least 3"):
        cross_validation(corpus(40), n_folds=2)
    with pytest.raises(MissingDataError, match="'c': 1 clips have no quadrant"):
        cross_validation(made_of([("a", "a", 1), ("b", "b", None)]), n_folds=3)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("emotify", "emotify"),
        ("pmemo", "annotations/pmemo"),
        ("emotion_in_music", "annotations/emomusic"),
    ],
)
@pytest.mark.filterwarnings("ignore::mer.corpora.annotations.CorpusWarning")
def test_stored_folds_of_the_project(data_folder: Path, name: str, labels: str) -> None:
    # Columns: the clip, its outer part, and its inner part while outer part 0 ... 4 is the test
    stored = pd.read_csv(STORED / f"{name}.csv", dtype={"id": str}).set_index("id")
    folds = load(name, folder=data_folder / labels).split(NESTED).folds
    for number, fold in enumerate(folds):
        outer, inner = divmod(number, 5)
        assert set(fold.test) == set(stored.index[stored["outer"] == outer])
        assert set(fold.valid) == set(stored.index[stored[f"inner_{outer}"] == inner])
