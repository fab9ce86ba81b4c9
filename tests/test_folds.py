"""Partitions and splits: disjoint, stratified, deterministic, and as stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer.clips import Clip, Corpus, Fold, Labels
from mer.corpora import load
from mer.corpora.folds import (
    NESTED,
    cross_validation,
    grouped_folds,
    grouped_holdout,
    holdout,
    nested_cross_validation,
    nested_folds,
    unstratified,
)
from mer.errors import MissingDataError, ParameterError

STORED = Path(__file__).parents[1] / "results" / "folds"

Clips = tuple[list[str], list[str], list[int]]
Maker = Callable[[Clips, int], list[Fold]]

MAKERS: dict[str, tuple[Maker, int]] = {
    "folds": (lambda clips, seed: grouped_folds(*clips, 5, seed=seed), 1),
    "nested": (lambda clips, seed: nested_folds(*clips, n_outer=4, n_inner=3, seed=seed), 3),
    "holdout": (lambda clips, seed: [grouped_holdout(*clips, seed=seed)], 0),
}
"""What makes folds, and how often each clip is tested (0: not every clip is)."""


def clips(n_groups: int, seed: int = 0) -> Clips:
    """Ids, groups of one to five clips, and four classes, mostly shared within a group."""
    rng = np.random.default_rng(seed)
    ids, groups, labels = [], [], []
    for group in range(n_groups):
        usual = int(rng.integers(1, 5))
        for clip in range(rng.integers(1, 6)):
            ids.append(f"{group}-{clip}")
            groups.append(f"song {group}")
            labels.append(usual if rng.random() < 0.7 else int(rng.integers(1, 5)))
    return ids, groups, labels


def parts(fold: Fold) -> tuple[tuple[str, ...], ...]:
    return fold.train, fold.valid, fold.test


@pytest.mark.parametrize("name", MAKERS)
class TestAll:
    def test_no_group_crosses(self, name: str) -> None:
        make, times = MAKERS[name]
        ids, groups, _ = data = clips(80)
        group_of = dict(zip(ids, groups, strict=True))
        folds = make(data, 3)
        for fold in folds:
            assert sorted(sum(parts(fold), ())) == sorted(ids)
            owners = [{group_of[clip] for clip in part} for part in parts(fold)]
            assert sum(map(len, owners)) == len(set(groups))
            for part in parts(fold):
                assert list(part) == [clip for clip in ids if clip in set(part)]
        tested = Counter(clip for fold in folds for clip in fold.test)
        assert not times or tested == dict.fromkeys(ids, times)

    def test_parts_keep_the_proportions_of_the_classes(self, name: str) -> None:
        ids, _, labels = data = clips(300)
        label_of, share = dict(zip(ids, labels, strict=True)), Counter(labels)
        for part in (part for fold in MAKERS[name][0](data, 0) for part in parts(fold)):
            found = Counter(label_of[clip] for clip in part)
            for label in range(1, 5):
                wanted = share[label] / len(ids)
                assert found[label] / len(part) == pytest.approx(wanted, abs=0.03)

    def test_the_seed_decides(self, name: str) -> None:
        make, data = MAKERS[name][0], clips(60)
        assert make(data, 1) == make(data, 1) != make(data, 2)


def test_validation_is_the_next_folds_test() -> None:
    folds = grouped_folds(*clips(40), 4, seed=0)
    assert [fold.valid for fold in folds] == [folds[(k + 1) % 4].test for k in range(4)]


def test_holdout_meets_its_fractions() -> None:
    data = clips(300)
    fold = grouped_holdout(*data, fractions=(0.5, 0.3, 0.2), seed=1)
    found = [len(part) / len(data[0]) for part in parts(fold)]
    assert found == pytest.approx([0.5, 0.3, 0.2], abs=0.01)


def test_holdout_of_a_few_clips_has_every_class_everywhere() -> None:
    ids, labels = [str(k) for k in range(16)], [k % 4 for k in range(16)]
    fold = grouped_holdout(ids, ids, labels, seed=0)
    found = [Counter(int(clip) % 4 for clip in part) for part in parts(fold)]
    assert found == [dict.fromkeys(range(4), times) for times in (2, 1, 1)]


def corpus(n: int, clips_per_group: int = 1) -> Corpus:
    """Clips with the four quadrants in turn."""
    made = [
        Clip(f"c{k}", f"g{k // clips_per_group}", labels=Labels(quadrant=1 + k % 4))
        for k in range(n)
    ]
    return Corpus("c", made, licence="", citation="")


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


def test_names_and_leaks() -> None:
    made = corpus(60, 3)
    splits = [cross_validation(made, n_folds=3, grouped=grouped) for grouped in (True, False)]
    found = [(split.name, split.leaky) for split in (holdout(made), *splits)]
    assert found == [("holdout", False), ("cv3", False), ("cv3_ungrouped", True)]


def test_what_cannot_be_split() -> None:
    ids = list("abcdef")
    with pytest.raises(ParameterError, match="found 5 x 1 folds; expected at least 2 x 2"):
        nested_folds(ids, ids, [0] * 6, n_outer=5, n_inner=1, seed=0)
    with pytest.raises(ParameterError, match="found 4 groups for 5 folds"):
        nested_folds(ids, list("aabbcd"), [0] * 6, n_outer=5, n_inner=2, seed=0)
    unknown = Corpus("d", [*corpus(30), Clip("x", "x")], licence="", citation="")
    with pytest.raises(MissingDataError, match="'d': 1 clips have no quadrant"):
        cross_validation(unknown, n_folds=3)


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
