"""Summaries of the page on the baselines."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mer.papers.emopia.tables import BASELINES, DESCRIPTOR_ROWS, SYMBOLIC, VARIATIONS
from mer.study.claims import against
from mer.study.results import Results
from mer.study.scores import OWN_MODEL, implied_predictions, scores, validation
from mer.study.study import Study
from mer.study.text import captioned, listing, markdown, number

_LSTM = "LSTM-Attn + MIDI-like"
_REFERENCE = "Symbolic-SVM"


def interval_summary(table: pd.DataFrame) -> str:
    """How wide intervals are, and which published values they miss, in Markdown."""
    half = number((table["high"] - table["low"]).mean() / 2)
    text = f"On {table['n'].max()} test clips the mean half-width of a 95 % interval is {half}. "
    known = table.dropna(subset=["published"])
    outside = known[known["covers"].eq(False)]
    names = [
        f"{markdown(row.system)}, {row.task} ({number(row.difference, signed=True)})"
        for row in outside.itertuples()
    ]
    if len(known):
        text += f"The published value is outside it in {len(outside)} of {len(known)} cases (our "
        text += f"difference in brackets): {'; '.join(names) or 'none'}."
    return text


def implied_scores(results: Results) -> pd.DataFrame:
    """Accuracy of separate models, and implied by four-quadrant predictions, on the same clips."""
    implied = scores(implied_predictions(results.predictions))
    keys = ["task", "system"]
    return results.scores.merge(implied[[*keys, "mean"]], on=keys, suffixes=("", " implied"))


def implied_table(table: pd.DataFrame) -> pd.DataFrame:
    """`implied_scores` for reading: a row a system, three columns a task."""
    kinds = {"published": "published", "mean": "own model", "mean implied": "implied"}
    # Columns that are empty, as published values beside another corpus, stay
    wide = table.pivot_table(list(kinds), "system", "task", dropna=False)
    wide = wide[list(kinds)].rename(columns=kinds)
    wide = wide.swaplevel(axis=1).sort_index(axis=1, level=0, sort_remaining=False)
    return wide.reindex(table["system"].unique())


def implied_summary(table: pd.DataFrame) -> str:
    """Whether separate models are better, in Markdown."""
    gain = table["mean"] - table["mean implied"]
    return (
        f"A separate model is better in {(gain > 0).sum()} of {len(table)} cases and worse in "
        f"{(gain < 0).sum()}; the mean difference is {number(gain.mean(), signed=True)}."
    )


def svm_summary(results: Sequence[Results], task: str) -> str:
    """Which rows differ from the descriptor SVM, in Markdown: an item a split."""
    lines = []
    for part in results:
        table = against(part.answers[OWN_MODEL], _REFERENCE, task)
        if table.empty:
            continue
        rows = table.set_index("system")
        better, worse = rows.index[rows["high"] < 0], rows.index[rows["low"] > 0]
        open_ = rows.index.drop(better).drop(worse)
        names = (listing(list(index)) or "none" for index in (better, worse, open_))
        lines.append(
            "- {place}: better than {reference}: {}; worse: {}; inconclusive: {}.".format(
                *names, place=part.place.capitalize(), reference=_REFERENCE
            )
        )
    return "\n".join(lines)


def tried_variations(study: Study) -> pd.DataFrame:
    """Validation of variations of LSTM-Attn and of the descriptor rows on four quadrants.

    Returns
    -------
    DataFrame
        Indexed by variation or row: steps (epochs or values of C), accuracy (best), loss (lowest).
        Empty for profiles whose results are not kept, and where the parameters leave LSTM-Attn
        out.
    """
    lstm = {_LSTM: SYMBOLIC[_LSTM]}
    if not study.profile.committed or not study.specs(lstm, tasks=["4Q"]):
        return pd.DataFrame()
    tried = {
        name: study.specs(lstm, tasks=["4Q"], changes=changes)[0]
        for name, changes in VARIATIONS.items()
    }
    for name in DESCRIPTOR_ROWS:
        tried |= {s.system: s for s in study.specs({name: BASELINES.rows[name]}, tasks=["4Q"])}
    study.run(list(tried.values()))
    table = validation(study.store.read(spec) for spec in tried.values())
    return table[["steps", "accuracy", "loss"]].set_axis(list(tried))


def show_variations(table: pd.DataFrame) -> None:
    """Display `tried_variations` and a summary."""
    from IPython.display import Markdown, display

    if table.empty:
        display(Markdown("Only the profiles `cpu` and `paper` run this."))
        return
    names = ["epochs or values of C", "best accuracy", "lowest loss"]
    caption = "Validation clips of the official split, four quadrants"
    display(captioned(table.set_axis(names, axis=1), caption))
    display(Markdown(variation_summary(table["accuracy"])))


def variation_summary(accuracy: pd.Series) -> str:
    """Whether a variation of LSTM-Attn reaches the descriptors, in Markdown."""
    network = accuracy[[name for name in VARIATIONS if name in accuracy]]
    plain = accuracy[[name for name in DESCRIPTOR_ROWS if name in accuracy]]
    ranges = [f"{number(v.min())} to {number(v.max())}" for v in (network, plain)]
    text = f"The variations reach {ranges[0]}, the descriptor systems {ranges[1]}. "
    if network.max() < plain.min():
        text += (
            "No variation, including the published size, reaches the weakest of them. So width, "
        )
        text += "windows and schedule do not seem to cause the gap (one seed each, few clips). "
        text += (
            "The validation losses above rise after a few epochs: the network overfits, perhaps "
        )
        text += "for lack of clips."
    return text
