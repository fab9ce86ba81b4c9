"""Text of numbers, estimates, lists and tables."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.errors import ParameterError
from mer.evaluation.resampling import Difference
from mer.study.text import (
    MISSING,
    captioned,
    corpus_title,
    estimate,
    listing,
    markdown,
    number,
    number_range,
    split_title,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (0.5851, {}, ".585"),
        (-0.0416, {}, "-.042"),
        (0.035, {"signed": True}, "+.035"),
        (-0.0001, {"signed": True}, "+.000"),
        (0.99961, {}, "1.000"),
        (1.25, {}, "1.250"),
        (10.5, {"decimals": 1}, "10.5"),
        (-10.04, {"decimals": 1}, "-10.0"),
        (1234.5, {"decimals": 1}, "1,234.5"),
        (86, {}, "86"),
        (np.int64(1078), {}, "1,078"),
        (0, {}, "0"),
        (1078.4, {"decimals": 0}, "1,078"),
        (0.634, {"percent": True}, "63%"),
        (0.6344, {"percent": True, "decimals": 1}, "63.4%"),
        (-0.02, {"percent": True, "signed": True}, "-2%"),
        (NAN, {}, "–"),
        (None, {"percent": True}, "–"),
        (pd.NA, {}, "–"),
    ],
)
def test_number(value: Any, options: dict[str, Any], expected: str) -> None:
    assert number(value, **options) == expected


def test_number_range() -> None:
    assert number_range(-0.0314, 0.12, signed=True) == "-.031 to +.120"
    assert number_range(0.1201, 0.1199) == ".120"
    assert number_range(np.nan, np.nan, signed=True) == "–"


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ((0.585, 0.454, 0.702, 0.041), {}, ".585 ± .041 [.454, .702]"),
        (Difference(0.035, -0.008, 0.078), {"signed": True}, "+.035 [-.008, .078]"),
        ((0.63, 0.51, 0.75), {"percent": True}, "63% [51%, 75%]"),
        ((5.25, 4.04, 6.51), {"decimals": 1}, "5.2 [4.0, 6.5]"),
        ((0.5, NAN, NAN, 0.1), {}, ".500 ± .100"),
        ((0.5, NAN, 0.7), {}, ".500"),
        ((NAN, 0.1, 0.2), {}, "–"),
    ],
)
def test_estimate(values: tuple[float, ...], options: dict[str, Any], expected: str) -> None:
    assert estimate(*values, **options) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], ""), (["A"], "A"), (["A", "B"], "A and B"), (["A", "B", 3], "A, B and 3")],
)
def test_listing(names: list[Any], expected: str) -> None:
    assert listing(names) == expected


def test_captioned_table_formats_cells() -> None:
    columns: dict[str, Any] = {"accuracy": [0.5, -0.25], "n": [1078, 86], "right": [True, False]}
    columns |= {"mixed": [None, 0.5], "p": [NAN, 1.0]}
    columns["text"] = [".7 ± .1 [.6, -.8]", "a, b [51%, 75%]"]
    table = pd.DataFrame(columns, index=pd.Index(["a", "b"], name="system"))
    html = captioned(table, "A caption").to_html()
    space = "\N{NO-BREAK SPACE}"
    estimates = (f".7{space}±{space}.1", f"[.6,{space}-.8]", f"a, b [51%,{space}75%]")
    for cell in (".500", "-.250", "1,078", "yes", "no", "–", "1.000", "A caption", *estimates):
        assert f">{cell}</" in html
    assert "system" not in html
    assert 'class="dataframe tex2jax_ignore mathjax_ignore"' in html


def test_estimates_and_their_intervals_have_columns_of_their_own() -> None:
    published = pd.Series([".634", ".7", ".8 (other split)", MISSING])
    here = pd.Series([".600 ± .010 [.550, .650]", ".610 [.580, .640]", ".9", "was not run"])
    table = pd.DataFrame({"published": published, "here": here})
    marks: dict[str, Any] = {"best": ("here",), "inside": {"published": "here"}}
    html = captioned(table, "t", **marks).to_html().replace("\N{NO-BREAK SPACE}", " ")
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in html.split("<tr>")[1:]]
    assert [row[1:] for row in rows] == [
        ["published", "here", "95 % interval"],
        [".634", ".600 ± .010", "[.550, .650]"],
        [".7", ".610", "[.580, .640]"],
        [".8 (other split)", ".9", ""],
        [MISSING, "was not run", ""],
    ]
    assert re.findall(r'class="[^"]*inside" >([^<]*)<', html) == [".634"]
    assert re.findall(r'class="[^"]*best" >([^<]*)<', html) == [".9"]


def test_a_range_stays_in_one_line() -> None:
    table = pd.DataFrame({"a": ["-.031 to +.120 (of 5)", "51% to 75%", "1 to many"]})
    html = captioned(table, "t").to_html()
    space = "\N{NO-BREAK SPACE}"
    for cell in (f"-.031{space}to{space}+.120 (of 5)", f"51%{space}to{space}75%", "1 to many"):
        assert f">{cell}</td>" in html


def test_only_two_numbers_are_an_interval() -> None:
    table = pd.DataFrame({"a": ["12 [see Hung et al., 2021]", "2021 [1]"]})
    assert "95 % interval" not in captioned(table, "t").to_html()
    table = pd.DataFrame({"published": ["1,500"], "here": ["1,400 [1,078, 2,000]"]})
    assert 'inside" >1,500<' in captioned(table, "t", inside={"published": "here"}).to_html()


def test_names_of_columns_stand_once() -> None:
    with pytest.raises(ParameterError, match="table 't' has a name twice"):
        captioned(pd.DataFrame([[1, 2]], columns=["a", "a"]), "t")
    with pytest.raises(ParameterError, match="table 't' has a name twice"):
        captioned(pd.DataFrame({"a": [1, 2]}, index=["x", "x"]), "t", best=["a"])
    assert captioned(pd.DataFrame({"a": [1, 2]}, index=["x", "x"]), "t").to_html().count(">x<") == 2


def test_groups_of_columns_keep_their_intervals() -> None:
    columns = pd.MultiIndex.from_tuples([("A", "here"), ("V", "here")])
    table = pd.DataFrame([[".6 [.5, .7]", ".8 [.7, .9]"]], columns=columns)
    html = captioned(table, "t", best=columns).to_html()
    assert html.count("95 % interval</th>") == 2
    assert 'colspan="2">A</th>' in html


def test_captioned_table_shows_names_as_they_are() -> None:
    table = pd.DataFrame({"<b>c": ["<script>x</script> & 'y'"]}, index=["<i>r</i>"])
    html = captioned(table, "<u>t</u>").to_html()
    assert not any(tag in html for tag in ("<b>", "<script>", "<i>", "<u>"))
    for text in ("<b>c", "<script>x</script> & 'y'", "<i>r</i>", "<u>t</u>"):
        assert f">{text}<" in unescape(html)
    assert "&amp;amp;" not in html


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LSTM-Attn + MIDI-like", "LSTM-Attn + MIDI-like"),
        ("Q1_ab_cd-e_0", "Q1_ab_cd-e_0"),
        ("<script>a</script>", r"\<script\>a\</script\>"),
        ("*a* _b_ `c`", r"\*a\* \_b\_ \`c\`"),
        ("$x$ | [a](b) &lt;", r"\$x\$ \| \[a\](b) \&lt;"),
        ("a\n\n# b", "a # b"),
    ],
)
def test_markdown(name: str, expected: str) -> None:
    assert markdown(name) == expected
    assert listing([name, "b"]) == f"{expected} and b"


def test_names_of_corpora_and_splits() -> None:
    assert corpus_title("emopia", article=True) == "EMOPIA"
    assert corpus_title("mirex_mood") == "MIREX-like mood dataset"
    assert corpus_title("composed_trajectories", article=True).startswith("the composed corpus")
    assert corpus_title("mine", article=True) == split_title("mine") == "mine"
    assert split_title("split_cls", article=True) == "the official split"
    assert split_title("cv10", article=True) == "10-fold cross-validation"
