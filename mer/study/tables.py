"""Tables of papers as data: rows that are systems, published cells, and their texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mer.errors import ParameterError
from mer.study.claims import NOT_RUN, Answers
from mer.study.scores import HEAD, IMPLIED, OWN_MODEL, Published, metric_name, scores
from mer.study.text import MISSING, estimate, number
from mer.systems.base import System
from mer.systems.code import plain

PUBLISHED, AT_PUBLISHED_SIZE, HERE = "published", "at published size", "here"
"""Columns of scores."""

Rows = Mapping[str, System]
"""Systems by the name of the row."""


class NamedRows(dict[str, System]):
    """Rows that say which they are where one is asked for that is not among them."""

    def __missing__(self, name: str) -> System:
        raise ParameterError(f"unknown row {name!r}; the rows are: {'; '.join(self)}")


KNOWN_ROWS = NamedRows()
"""All rows of all tables that have been defined, by name."""


@dataclass(frozen=True)
class Table:
    """A table of a paper.

    Attributes
    ----------
    number, title : str
        As in the paper, such as "4".
    rows : mapping of str to System
        In the paper's order.
    own_rows : mapping of str to System
        Ours, beside them.
    tasks : tuple of str
        Columns.
    published : mapping
        Score by row, task and metric.
    other_split : mapping
        Published scores that were measured on another split than the others: they stand in the
        table only.
    only : mapping of str to tuple of str
        By row: tasks that it is trained for, if they are fewer.
    quoted : tuple of str
        Rows of the paper that are shown as published only.
    published_on : str
        Dataset of the published values.
    beside : tuple of str
        Corpora beside whose scores the published ones make sense.
    added : tuple of str
        Names of own rows that are those of a notebook.
    """

    number: str
    title: str
    rows: Rows
    own_rows: Rows = field(default_factory=dict)
    tasks: tuple[str, ...] = ("4Q", "A", "V")
    published: Published = field(default_factory=dict)
    other_split: Published = field(default_factory=dict)
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    quoted: tuple[str, ...] = ()
    published_on: str = "EMOPIA"
    beside: tuple[str, ...] = ("emopia",)
    added: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rows", "own_rows"):
            object.__setattr__(self, name, NamedRows(getattr(self, name)))
        KNOWN_ROWS.update({n: s for n, s in self.all_rows.items() if n not in self.added})

    @cached_property
    def all_rows(self) -> NamedRows:
        """Those of the paper, then ours."""
        return NamedRows({**self.rows, **self.own_rows})

    @property
    def heading(self) -> str:
        """Number and title, such as "Table 4, ablation"."""
        return f"Table {self.number}, {self.title.lower()}" if self.number else self.title

    @property
    def order(self) -> list[str]:
        """Names of all rows, those that are only quoted included."""
        return [*self.rows, *self.quoted, *self.own_rows]

    def with_rows(self, rows: Rows) -> Table:
        """The table with further rows of one's own.

        Raises
        ------
        ParameterError
            If a row of a paper has that name, it is not text that files in UTF-8 can hold, or a
            row is no system.
        """
        for name, system in rows.items():
            if not isinstance(system, System):
                raise ParameterError(f"row {name!r} is {system!r}; expected a system")
            if not isinstance(name, str) or name != name.encode(errors="replace").decode():
                raise ParameterError(f"the name of a row is {name!r}; expected text (str)")
            if name in KNOWN_ROWS:
                raise ParameterError(f"there is a row {name!r} already; give yours another name")
        added = (*self.added, *rows)
        return replace(self, own_rows={**self.own_rows, **rows}, added=added)


def task_table(
    given: Answers,
    task: str,
    order: list[str],
    published: Published,
    *,
    quoted: tuple[str, ...] = (),
    other_split: Published | None = None,
    at_published_size: Answers | None = None,
) -> pd.DataFrame:
    """Published and reproduced accuracy of some rows on one task and split, as text.

    Those in `order` that were not run are marked, and so are `quoted` ones, which are run on
    another page, and published values that are of another split.

    Returns
    -------
    DataFrame
        Indexed by row: published (where there is any), at published size (where such networks are
        stored), here, for a binary task what answers it (where a head does), what heads
        beside an own model and what four-quadrant answers imply (where there are any), seeds,
        audio.
    """
    own = {kind: frame[frame["task"] == task] for kind, frame in given.items()}
    texts = {kind: estimates(frame) for kind, frame in own.items()}
    missing = dict.fromkeys(quoted, "on another page")
    text = [texts[OWN_MODEL].get(row, missing.get(row, NOT_RUN)) for row in order]
    table = pd.DataFrame({HERE: text}, index=pd.Index(order))
    if at_published_size:
        frame = at_published_size[OWN_MODEL]
        large = estimates(frame[frame["task"] == task])
        if large:
            table.insert(0, AT_PUBLISHED_SIZE, [large.get(row, "–") for row in order])
    known, other = (
        [number(cells.get((row, task, "accuracy"), np.nan)) for row in order]
        for cells in (published, other_split or {})
    )
    if {*known, *other} != {MISSING}:
        both = zip(known, other, strict=True)
        table.insert(0, PUBLISHED, [k if o == MISSING else f"{o} (other split)" for k, o in both])
    if HEAD in set(own[OWN_MODEL]["by"]):
        by = own[OWN_MODEL].groupby("system")["by"].first()
        table["by"] = by.reindex(order).fillna("–")
    if texts.get(HEAD):
        table["by a head"] = [texts[HEAD].get(row, "–") for row in order]
    if task != "4Q" and texts.get(IMPLIED):
        table["implied by 4Q"] = [texts[IMPLIED].get(row, "–") for row in order]
    by_system = own[OWN_MODEL].groupby("system")
    table = table.join(by_system["seed"].nunique().astype(str).rename("seeds"))
    return table.join(by_system["audio"].first().replace("none", "–")).fillna("–")


def estimates(predictions: pd.DataFrame) -> dict[str, str]:
    """Accuracy of each row of one task, as text."""
    rows = scores(predictions).to_dict("records") if len(predictions) else []
    return {str(row["system"]): score_text(row) for row in rows}


def score_text(row: Mapping[Any, Any]) -> str:
    """Mean, SD over seeds and interval of a row of scores."""
    return estimate(row["mean"], row["low"], row["high"], row["sd"])


def score_table(
    table: pd.DataFrame, order: list[str], task: str, metrics: tuple[str, ...]
) -> pd.DataFrame:
    """Scores (`mer.study.scores.scores`) of one task or dimension, as text.

    A row a system, those not run included; below the name of each metric a published column, where
    anything is published, and one of ours.
    """
    parts = {}
    for metric in metrics:
        rows = table[(table["task"] == task) & (table["metric"] == metric)]
        own = rows.set_index("system").to_dict("index")
        part = parts[metric_name(metric, task)] = pd.DataFrame(index=pd.Index(order))
        if rows["published"].notna().any():
            known = [own[row]["published"] if row in own else np.nan for row in order]
            part[PUBLISHED] = [number(value) for value in known]
        part[HERE] = [score_text(own[row]) if row in own else NOT_RUN for row in order]
    return pd.concat(parts, axis=1)


def deviations(rows: Rows, published: Rows) -> pd.DataFrame:
    """Hyper-parameters of rows as they are used that differ from those of the published rows.

    Columns System (several, if they share the row), Hyper-parameter, Published and Here.
    """
    systems: dict[tuple[str, ...], list[str]] = {}
    for name, system in rows.items():
        default = published[name]
        for key in system.differing(default):
            values = (str(plain(getattr(each, key))) for each in (default, system))
            systems.setdefault((key, *values), []).append(name)
    table = [("; ".join(names), *row) for row, names in systems.items()]
    return pd.DataFrame(table, columns=["System", "Hyper-parameter", "Published", "Here"])
