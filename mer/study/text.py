"""Numbers and names as text, alike in all tables, figures and sentences of the book.

Fractions have three decimals and no leading zero, counts have separators between thousands, and a
dash marks a missing value.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mer.errors import ParameterError

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

MISSING = "–"

_CORPORA = {
    "emopia": "EMOPIA",
    "composed": "composed corpus",
    "composed_band": "composed band corpus",
    "composed_trajectories": "composed corpus with trajectories",
    "maestro": "MAESTRO",
    "pop1k7": "Pop1K7",
    "emotify": "Emotify",
    "mirex_mood": "MIREX-like mood dataset",
    "pmemo": "PMEmo",
    "emotion_in_music": "Emotion in Music",
    "four_quadrants": "4Q dataset",
}
_SPLITS = {
    "split_cls": "official split",
    "split": "split of the release",
    "split_midibert": "split of MIDI-BERT",
    "official": "official split",
    "holdout": "hold-out split",
    "cv5": "5-fold cross-validation",
    "cv10": "10-fold cross-validation",
    "cv10_ungrouped": "10-fold cross-validation without groups",
    "nested5x5": "nested cross-validation",
}


def number(
    value: Any, decimals: int | None = None, *, signed: bool = False, percent: bool = False
) -> str:
    """A number for reading: ".585", "-.042", "1,078", "63%".

    `decimals` are by default 0 for whole numbers (int) and percentages, else 3; `signed` shows the
    sign of positive numbers, too; `percent` shows a fraction as percentage. A missing value is a
    dash.
    """
    if pd.isna(value):
        return MISSING
    if decimals is None:
        decimals = 0 if percent or isinstance(value, int | np.integer) else 3
    sign, kind = "+" if signed else "", "%" if percent else "f"
    # "z" turns -.000 into .000
    text = f"{float(value):{sign}z,.{decimals}{kind}}"
    return text if percent else re.sub(r"^([+-]?)0(?=\.)", r"\1", text)


def number_range(low: Any, high: Any, **form: Any) -> str:
    """The ends of some numbers for reading: "-.031 to +.120"; once where both read alike."""
    return " to ".join(dict.fromkeys(number(end, **form) for end in (low, high)))


def count(value: float) -> str:
    """A number of parameters for reading: "704 k", "15.4 M"."""
    return f"{value / 1e6:.1f} M" if value >= 999_500 else f"{max(value, 500) / 1e3:.0f} k"


def estimate(
    mean: Any,
    low: Any = np.nan,
    high: Any = np.nan,
    sd: Any = np.nan,
    *,
    signed: bool = False,
    **form: Any,
) -> str:
    """An estimate with its interval: ".585 ± .041 [.454, .702]", "+.035 [-.008, .078]".

    What is missing (the interval, the standard deviation) is left out; a missing mean is a dash.
    `signed` is for the mean; further keywords, `decimals` and `percent`, are those of `number`.
    """
    text = number(mean, signed=signed, **form)
    if pd.isna(mean):
        return text
    if not pd.isna(sd):
        text += f" ± {number(sd, **form)}"
    if not (pd.isna(low) or pd.isna(high)):
        text += f" [{number(low, **form)}, {number(high, **form)}]"
    return text


def estimate_table(
    frame: pd.DataFrame,
    index: str,
    columns: str,
    value: str = "mean",
    ends: tuple[str, str] = ("low", "high"),
    **form: Any,
) -> pd.DataFrame:
    """Estimates of a long frame as text: a row and a column for each value of two columns.

    Rows and columns stand in order of appearance; `ends` are the columns of the ends of the
    intervals, further keywords those of `estimate`.
    """
    cells: dict[Any, dict[Any, str]] = {column: {} for column in frame[columns]}
    for row in frame.to_dict("records"):
        text = estimate(row[value], row[ends[0]], row[ends[1]], **form)
        cells[row[columns]][row[index]] = text
    return pd.DataFrame(cells)


def markdown(name: Any) -> str:
    """A name as Markdown shows it as it is, whatever marks of Markdown, HTML or TeX it has."""
    bare = " ".join(str(name).split())
    return re.sub(r"[\\`*<>\[\]|$~&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", bare)


def listing(names: Iterable[Any]) -> str:
    """Names in a sentence of Markdown: "A, B and C"."""
    *rest, final = [*map(markdown, names)] or [""]
    return f"{', '.join(rest)} and {final}" if rest else final


def corpus_title(name: str, *, article: bool = False) -> str:
    """A corpus for reading: "EMOPIA", "MIREX-like mood dataset"; any other name as it is.

    With `article` as in a sentence: "EMOPIA", "the MIREX-like mood dataset".
    """
    title = _CORPORA.get(name, name)
    return f"the {title}" if article and re.search(r" (corpus|dataset)\b", title) else title


def split_title(name: str, *, article: bool = False) -> str:
    """A split for reading: "official split", "10-fold cross-validation"; another name as it is.

    With `article` as in a sentence: "the official split", "10-fold cross-validation".
    """
    title = _SPLITS.get(name, name)
    return f"the {title}" if article and re.search(r"\bsplit\b", title) else title


def captioned(
    frame: pd.DataFrame,
    caption: str,
    *,
    best: Collection[Any] = (),
    inside: Mapping[Any, Any] | None = None,
    markup: Collection[Any] = (),
    filters: Collection[str] = (),
) -> Styler:
    """A table with a caption, its cells formatted like `number`; truth is "yes" or "no".

    Texts, names of rows and columns and the caption stand as they are, not as HTML or TeX. A column
    of estimates is followed by a column of their intervals.

    Parameters
    ----------
    frame : DataFrame
    caption : str
    best : collection
        Columns whose largest estimate is bold.
    inside : mapping, optional
        By column of published values: the column of our estimates. Published values that their
        intervals hold have the class "inside".
    markup : collection
        Columns whose texts are HTML.
    filters : collection of str
        Columns by whose values the book filters the rows.

    Raises
    ------
    ParameterError
        If columns have one name, or rows of which some are to be marked.
    """
    marked = [*best, *(inside or {})]
    if not frame.columns.is_unique or (marked and not frame.index.is_unique):
        raise ParameterError(f"table {caption!r} has a name twice; expected each once")
    shown, intervals = _with_intervals(frame.map(_cell))
    values = shown.map(_first_number)
    marks = pd.DataFrame("", index=shown.index, columns=shown.columns)
    for column in best:
        marks[column] = np.where(values[column].eq(values[column].max()), "best", "")
    for column, own in (inside or {}).items():
        if own in intervals:
            holds = map(_holds, shown[intervals[own]], values[column])
            marks[column] = np.where(list(holds), "inside", "")
    styler = shown.style.format(escape="html").set_caption(html.escape(caption))
    styler = styler.format(subset=[*markup])
    styler = styler.format_index(escape="html", axis="index")
    styler = styler.format_index(_heading, axis="columns")
    if shown.index.is_unique:
        styler = styler.set_td_classes(marks)
    right: Any = [{"selector": "", "props": "text-align: right"}]
    numeric = [c for c in shown if c in intervals or _is_numeric(shown[c])]
    styler = styler.set_table_styles(dict.fromkeys([*numeric, *intervals.values()], right))
    styler = styler.hide(axis="index", names=True).hide(axis="columns", names=True)
    attributes = 'class="dataframe tex2jax_ignore mathjax_ignore"'
    if filters:
        attributes += f' data-filter="{html.escape(",".join(filters))}"'
    return styler.set_table_attributes(attributes)


def fold(summary: str, *parts: Styler) -> None:
    """Display tables that open on a click."""
    from IPython.display import HTML, display

    inner = "".join(part.to_html() for part in parts)
    title = f"<summary>{html.escape(summary)}</summary>"
    display(HTML(f'<details class="fold">{title}{inner}</details>'))


_INTERVAL = "95 % interval"
_NUMBER = r"[-+]?[\d,]*\.?\d+%?"
_ENDS = re.compile(rf"\[({_NUMBER}),\s({_NUMBER})\]")
_ESTIMATE = re.compile(rf"({_NUMBER}(?:\s±\s\S+)?) (\[{_NUMBER},\s{_NUMBER}\])")
_MARK = "\x1f"
"""Before the word for an interval in the name of its column."""


def _with_intervals(text: pd.DataFrame) -> tuple[pd.DataFrame, dict[Any, Any]]:
    """Estimates apart from their intervals, and by column the name of that of its intervals."""
    parts, intervals = {}, {}
    for column in text:
        found = [_ESTIMATE.fullmatch(cell) for cell in text[column]]
        if not any(found):
            parts[column] = list(text[column])
            continue
        *group, own = column if isinstance(column, tuple) else (column,)
        own = f"{own}{_MARK}{_INTERVAL}"
        intervals[column] = (*group, own) if group else own
        pairs = zip(found, text[column], strict=True)
        parts[column] = [match[1] if match else cell for match, cell in pairs]
        parts[intervals[column]] = [match[2] if match else "" for match in found]
    frame = pd.DataFrame(parts, index=text.index)
    if text.columns.nlevels == 1:
        frame.columns = pd.Index(list(parts), dtype=object)
    return frame, intervals


def _heading(label: Any) -> str:
    """Name of a column for reading."""
    return html.escape(str(label).rpartition(_MARK)[2])


def _first_number(cell: str) -> float:
    """Of a number or an estimate; of other text NaN."""
    found = re.fullmatch(rf"({_NUMBER})(\s±.*)?", cell)
    return float(found[1].replace(",", "").removesuffix("%")) if found else np.nan


def _is_numeric(cells: pd.Series) -> bool:
    known = [cell for cell in cells if cell not in (MISSING, "")]
    return bool(known) and all(re.match(rf"{_NUMBER}($|\s)", cell) for cell in known)


def _holds(interval: str, value: float) -> bool:
    ends = _ENDS.fullmatch(interval)
    return ends is not None and _first_number(ends[1]) <= value <= _first_number(ends[2])


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return number(value) if pd.api.types.is_number(value) or pd.isna(value) else str(value)
    # An estimate may break before its interval only, a range not at all
    return re.sub(rf" ± |(?<=[\d%]) to (?={_NUMBER})|(?<=[\d%],) (?=[+-]?[.\d])", _unbroken, value)


def _unbroken(match: re.Match[str]) -> str:
    return match[0].replace(" ", "\N{NO-BREAK SPACE}")
