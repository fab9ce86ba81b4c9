"""Numbers as text, alike in all tables, figures and sentences of the book.

Fractions have three decimals and no leading zero, counts have separators between thousands, and a
dash marks a missing value.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

MISSING = "–"


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


def captioned(frame: pd.DataFrame, caption: str) -> Styler:
    """A table with a caption, its cells formatted like `number`; truth is "yes" or "no".

    Texts, names of rows and columns and the caption stand as they are, not as HTML or TeX.
    """
    styler = frame.style.format(_cell, escape="html").set_caption(html.escape(caption))
    for axis in ("index", "columns"):
        styler = styler.format_index(escape="html", axis=axis)
    styler = styler.hide(axis="index", names=True).hide(axis="columns", names=True)
    return styler.set_table_attributes('class="dataframe tex2jax_ignore mathjax_ignore"')


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return number(value) if pd.api.types.is_number(value) or pd.isna(value) else str(value)
    # An estimate may break before its interval only
    return re.sub(r" ± |(?<=[\d%],) (?=[+-]?[.\d])", _unbroken, value)


def _unbroken(match: re.Match[str]) -> str:
    return match[0].replace(" ", "\N{NO-BREAK SPACE}")
