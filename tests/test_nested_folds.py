"""The nested 5 x 5 cross-validation: disjoint, deterministic, and as stored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from mer.clips import Clip, Corpus, Labels
from mer.corpora import composed, load
from mer.corpora.folds import (
    NESTED,
    check_folds,
    fold_table,
    nested_cross_validation,
    quadrant,
    regression_splits,
    unstratified,
    write_folds,
)
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.evaluation.splits import nested_folds

FOLDS = Path(__file__).parents[1] / "results" / "folds"


def corpus(n: int = 60, clips_per_group: int = 2) -> Corpus:
    clips = [
        Clip(f"c{k}", f"g{k // clips_per_group}", meta={"genre": "ab"[k % 4 // 2]})
        for k in range(n)
    ]
    return Corpus(
        "c",
        clips,
        licence="",
        citation="",
        splits=regression_splits(lambda clip: str(clip.meta["genre"])),
    )


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

    def test_composed_corpus(self) -> None:
        made = composed.load(size=60, duration=5.0)
        folds = made.split(NESTED).folds
        assert len(folds) == 25
        assert sorted(sum((fold.test for fold in folds[::5]), ())) == sorted(made.ids)


class TestStored:
    def test_table(self) -> None:
        made = corpus()
        table = fold_table(made)
        assert list(table) == ["id", "outer", *(f"inner_{k}" for k in range(5))]
        folds = made.split(NESTED).folds
        for row in table.to_dict("records"):
            for outer in range(5):
                if outer == row["outer"]:
                    assert row["id"] in folds[5 * outer].test
                    assert pd.isna(row[f"inner_{outer}"])
                else:
                    assert row["id"] in folds[5 * outer + row[f"inner_{outer}"]].valid

    def test_round_trip(self, tmp_path: Path) -> None:
        path = tmp_path / "folds" / "c.csv"
        write_folds(corpus(), path)
        check_folds(corpus(), path)
        first = path.read_text().splitlines()[:2]
        assert first[0] == "id,outer,inner_0,inner_1,inner_2,inner_3,inner_4"
        assert "." not in first[1]

    def test_stored_folds_that_differ(self, tmp_path: Path) -> None:
        path = tmp_path / "c.csv"
        with pytest.raises(MissingDataError, match=r"c\.csv does not exist"):
            check_folds(corpus(), path)
        write_folds(corpus(), path)
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:-1]) + "\n")
        with pytest.raises(InvalidDataError, match="has no clip 'c59' of corpus 'c'"):
            check_folds(corpus(), path)
        path.write_text("\n".join([lines[0], lines[1] + "9", *lines[2:]]) + "\n")
        with pytest.raises(InvalidDataError, match=r"clip 'c0' has parts .* gives"):
            check_folds(corpus(), path)


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
    check_folds(load(name, folder=data_folder / labels), FOLDS / f"{name}.csv")
