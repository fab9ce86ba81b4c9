"""Tables, figures and texts of the page on songs of other corpora and sounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from mer.papers.across_corpora.predictions import BOTH, DESCRIPTORS, NOTES, OWN
from mer.papers.across_corpora.scores import chosen_by_others, probabilities, reliability, scores
from mer.prediction.heads import COVERAGE, DIMENSIONS, VALUES
from mer.study import plots
from mer.study.text import captioned, corpus_title, estimate, estimate_table, fold, number

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

USED = BOTH
"""Feature of the model of `mer predict`."""

CHOSEN, WITH_NOTES = "chosen", "with notes"
_SHORT = {BOTH: "both", DESCRIPTORS: "descriptors", NOTES: "notes"}
"""Names of features in tables."""

_MEASURES = {
    "R2 valence": "R² of valence",
    "R2 arousal": "R² of arousal",
    "R2 spread of valence": "R² of the spread of valence",
    "R2 spread of arousal": "R² of the spread of arousal",
    "coverage valence": "coverage of valence",
    "coverage arousal": "coverage of arousal",
    "rank correlation valence": "rank correlation of valence",
    "rank correlation arousal": "rank correlation of arousal",
    "AUC valence": "AUC of valence",
    "AUC arousal": "AUC of arousal",
}
_CLASSES = {"quadrant": "4Q", "cluster": "clusters"}


def all_scores(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Scores of all features, and of the choice among them; columns of `scores`, and others.

    Those are feature, `at_home` (whether the corpus is among those of training) and `what` (the
    corpus and the measure in words).
    """
    frames = dict(found)
    if NOTES in found and USED in found:
        frames[WITH_NOTES] = with_notes(found[USED], found[NOTES])
    compared = {name: frame for name, frame in found.items() if name != NOTES}
    if len(compared) > 1:
        frames[CHOSEN] = chosen_by_others(compared)
    table = pd.concat(
        [scores(frame).assign(feature=name) for name, frame in frames.items()], ignore_index=True
    )
    names = table["measure"].map(_MEASURES)
    names = names.where(table["measure"].ne("accuracy"), table["head"].map(_CLASSES))
    what = table["corpus"].map(corpus_title) + ": " + names.fillna(table["measure"])
    return table.assign(at_home=_is_home(table), what=what)


def _is_home(frame: pd.DataFrame) -> pd.Series:
    pairs = zip(frame["trained_on"], frame["corpus"], strict=True)
    return pd.Series([corpus in names.split(" + ") for names, corpus in pairs], frame.index)


def with_notes(first: pd.DataFrame, notes: pd.DataFrame) -> pd.DataFrame:
    """Means of the probabilities of quadrants from two features, of songs that both have."""
    keys, shares = ["corpus", "sound", "id"], [f"p_{k}" for k in range(1, 5)]
    own, other = (frame[frame["head"].eq("quadrant") & _is_home(frame)] for frame in (first, notes))
    both = own.merge(other[[*keys, *shares]], on=keys, suffixes=("", "_notes"))
    for name in shares:
        both[name] = (both[name] + both.pop(f"{name}_notes")) / 2
    return both


def show_home(scored: pd.DataFrame) -> None:
    """Display what features are worth for songs like those of training."""
    spreads = [f"R2 spread of {name}" for name in DIMENSIONS]
    measures = ["R2 valence", "R2 arousal", *spreads, "accuracy", "A", "V"]
    part = scored[scored["at_home"] & scored["sound"].eq(OWN) & scored["measure"].isin(measures)]
    _show(part.assign(row=part["what"]), "Songs whose group is in no training: R², or accuracy")


def show_sounds(scored: pd.DataFrame) -> None:
    """Display the same for songs in other sounds."""
    measures = ["R2 valence", "R2 arousal", "accuracy"]
    part = scored[scored["at_home"] & scored["measure"].isin(measures)]
    moved = set(part.loc[part["sound"].ne(OWN), "what"])
    part = part[part["what"].isin(moved)].sort_values("what", kind="stable")
    rows = part["what"] + ", " + part["sound"]
    _show(part.assign(row=rows), "Other sounds: R², or accuracy")


def show_across(scored: pd.DataFrame) -> None:
    """Display whether songs of a corpus that is not in training are in the right order."""
    part = scored[~scored["at_home"] & scored["measure"].str.contains("AUC|rank")]
    rows = part["trained_on"].map(corpus_title) + " → " + part["what"]
    caption = "Trained on one corpus, tested on another: AUC, or rank correlation with weak labels"
    _show(part.assign(row=rows), caption)


def _show(part: pd.DataFrame, caption: str) -> None:
    """A row for each value of `row`, a column a feature; with intervals where it is unfolded."""
    from IPython.display import display

    if part.empty:
        return
    part = part.replace({"feature": _SHORT})
    display(captioned(value_table(part), caption))
    intervals = estimate_table(part, "row", "feature", "value")
    fold("With 95 % intervals", captioned(intervals, f"{caption} [95 % interval]"))


def value_table(part: pd.DataFrame) -> pd.DataFrame:
    """Values as text: a row for each value of `row`, a column a feature."""
    return estimate_table(
        part.assign(low=float("nan"), high=float("nan")), "row", "feature", "value"
    )


def sure_table(scored: pd.DataFrame) -> Styler:
    """Coverage of the intervals, and errors of the probabilities, of the feature that is used."""
    measures = ["coverage valence", "coverage arousal", "calibration error"]
    part = scored[scored["feature"].eq(USED) & scored["measure"].isin(measures)]
    part = part[part["at_home"]]
    is_share = part["measure"].ne("calibration error")
    names = part["measure"].str.removeprefix("coverage ")
    names = names.where(is_share, part["head"].map(_CLASSES))
    rows = part["corpus"].map(corpus_title) + ": " + names + ", " + part["sound"]
    columns = is_share.map({True: "share inside", False: "calibration error"})
    table = part.assign(row=rows, column=columns).sort_values("row", kind="stable")
    return captioned(
        estimate_table(table, "row", "column", "value"),
        f"Share of songs inside their {number(COVERAGE, percent=True)} interval, and expected "
        "calibration error of the most probable class",
    )


def reliability_figure(predictions: pd.DataFrame) -> Figure:
    """How often the most probable class is right, against its probability."""
    part = predictions[~predictions["head"].isin(VALUES) & _is_home(predictions)]
    rows = []
    for where, own in part.groupby(["corpus", "head", "sound"], sort=False):
        corpus, head, sound = map(str, where)
        found = reliability(probabilities(own), own[head].to_numpy())
        title = f"{corpus_title(corpus)}: {_CLASSES[head]}"
        rows.append(found.assign(panel=title, sound=sound))
    if not rows:
        return plots.empty("no class was predicted")
    x, y = "Probability of the class", "Share that is right"
    frame = pd.concat(rows).rename(columns={"probability": x, "right": y})
    figure = plots.scatter(frame, x, y, diagonal=True, column="panel", hue="sound")
    worst = number((frame[x] - frame[y]).abs().max())
    text = f"Reliability of the probabilities in bins of songs; the largest gap is {worst}."
    return plots.describe(figure, text)


_ASKED = {
    "R² of valence": ("R2 valence", "emotify", OWN),
    "R² of arousal": ("R2 arousal", "emotify", OWN),
    "accuracy of mood clusters": ("accuracy", "mirex_mood", OWN),
    "accuracy of quadrants of piano music": ("accuracy", "emopia", OWN),
    "the same in FluidR3, which is in no training": ("accuracy", "emopia", "FluidR3"),
}


def summary(scored: pd.DataFrame) -> str:
    """What the feature that is used is worth, in Markdown."""
    part = scored[scored["at_home"] & scored["feature"].eq(USED)]
    rows = part.set_index(["measure", "corpus", "sound"])[["value", "low", "high"]].T
    known = [
        f"{name} {estimate(*rows[key].to_numpy())}" for name, key in _ASKED.items() if key in rows
    ]
    if not known:
        return "Composed music shows that the page runs; it says nothing about real music."
    return f"From {USED}: {'; '.join(known)}."
