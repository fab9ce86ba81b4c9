"""Tests of transcribers and separators, on music with known notes and sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from mer.clips import Clip
from mer.corpora import load
from mer.errors import MissingDataError, ParameterError
from mer.evaluation.resampling import group_bootstrap
from mer.study.profiles import Profile
from mer.study.study import Study
from mer.study.text import captioned, estimate
from mer.weights import load_weights

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

OTHER_SOUNDFONT = "MuseScore General"
"""One that neither the separator nor the first transcriber was trained with."""

EXAMPLE: dict[str, Any] = {"size": 24, "duration": 10.0}
"""The composed corpus that the examples of the pages are from."""


class Benchmark(NamedTuple):
    """Music with known notes or sources.

    The profile decides the `items` that are converted and scored one by one, and the `options`,
    JSON-native, that they depend on.
    """

    description: str
    items: Callable[[Profile], Sequence[Any]]
    options: Callable[[Profile], dict[str, Any]] = lambda profile: {}


@dataclass(frozen=True)
class Evaluation:
    """Tests of one kind of converter; their scores are stored tables.

    Attributes
    ----------
    name, converter : str
        Such as "transcription" and "transcriber"; the latter is a column of the scores.
    tests : mapping of str to Benchmark
    converters : sequence of str
        Names of those that can be loaded.
    load : callable
        Loads one; raises MissingDataError if something is missing.
    revisions : callable
        What stored scores of a converter depend on.
    score : callable
        Rows of scores (id, group, seconds of audio, ...), from an item and the name of a converter.
    references : sequence of str
        Names of what converters are compared with; these always run.
    """

    name: str
    converter: str
    tests: Mapping[str, Benchmark]
    converters: Sequence[str]
    load: Callable[[str], object]
    revisions: Callable[[str], dict[str, int]]
    score: Callable[[Any, str], list[dict[str, Any]]]
    references: Sequence[str] = ()

    def scores(
        self, study: Study, test: str, converter: str, *, compute: bool = True
    ) -> pd.DataFrame:
        """Scores of a converter on one test, from the store where they are there.

        Columns test, the kind of converter, and those of `score`.

        Raises
        ------
        ParameterError
            If there is no such test or converter.
        MissingDataError
            If the scores are not stored and not to be computed, or data or weights are missing.
        """
        _check_name("test", test, self.tests)
        _check_name(self.converter, converter, (*self.converters, *self.references))
        name = f"{self.name} {test} {converter}"
        key = {
            "test": test,
            self.converter: converter,
            "revisions": self.revisions(converter),
            **self.tests[test].options(study.profile),
        }
        if not compute:
            return study.store.table(name, key, None)
        return study.table(name, key, partial(self._compute, study, test, converter))

    def _compute(self, study: Study, test: str, converter: str) -> pd.DataFrame:
        from joblib import Parallel, delayed
        from tqdm.auto import tqdm

        if converter in self.converters:
            self.load(converter)  # raises at once if something is missing
        items = self.tests[test].items(study.profile)
        calls = (delayed(self.score)(item, converter) for item in items)
        results = Parallel(n_jobs=study.settings.n_jobs or -1, return_as="generator")(calls)
        bar = tqdm(results, total=len(items), unit="clip", desc=test)
        frame = pd.DataFrame([row for rows in bar for row in rows])
        frame.insert(0, "test", test)
        frame.insert(1, self.converter, converter)
        return frame

    def collected(self, study: Study) -> pd.DataFrame:
        """Scores of all references and of the converters that the parameters name, on all tests.

        Scores of other converters are taken where they are stored.

        Raises
        ------
        MissingDataError
            As `scores`.
        """
        chosen: list[str] = getattr(study.settings, f"{self.converter}s")
        of_page = study.profile.of_page(self.name).get("tests")
        wanted = (*self.references, *chosen)
        others = [name for name in self.converters if name not in chosen]
        frames = []
        for test in study.settings.tests or of_page or self.tests:
            frames += [self.scores(study, test, name) for name in wanted]
            for name in others:
                with suppress(MissingDataError):
                    frames.append(self.scores(study, test, name, compute=False))
        return pd.concat(frames, ignore_index=True)

    def descriptions(self, scores: pd.DataFrame) -> Styler:
        """What the tests are, as a table of the book."""
        names = scores["test"].unique()
        texts = {name: self.tests[name].description for name in names}
        return captioned(pd.DataFrame({"what is heard": texts}), "Tests")


def _check_name(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ParameterError(f"unknown {kind} {name!r}; the {kind}s are: {', '.join(known)}")


def example_clip(corpus: str) -> Clip:
    """The first clip of a composed corpus that is high in valence and arousal."""
    return next(clip for clip in load(corpus, **EXAMPLE) if clip.labels.quadrant == 1)


def training_table(weights: str, caption: str) -> Styler:
    """How weights were trained, and how many parameters they have."""
    tensors, facts = load_weights(weights)
    facts["parameters"] = f"{sum(tensor.numel() for tensor in tensors.values()):,}"
    table = pd.DataFrame({"value": pd.Series(facts)})
    return captioned(table.rename(lambda name: name.replace("_", " ")), caption)


def by_converter(
    scores: pd.DataFrame, converter: str, row: Callable[[pd.DataFrame], dict[str, Any]]
) -> pd.DataFrame:
    """A row for each test and converter, in their order; index test and converter."""
    keys = ["test", converter]
    rows = {key: row(frame) for key, frame in scores.groupby(keys, sort=False)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=keys)
    return table


def mean_text(frame: pd.DataFrame, column: str, decimals: int = 3) -> str:
    """Mean over clips and, for two groups or more, its 95 % interval that resamples groups."""
    known = frame.dropna(subset=column)
    ends: Iterable[float] = ()
    if len(known["group"].unique()) > 1:
        ends = group_bootstrap(known[column], known["group"])
    return estimate(known[column].mean(), *ends, decimals=decimals)
