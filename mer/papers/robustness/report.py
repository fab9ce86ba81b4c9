"""Tables, figures and texts of the chapter on sounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mer.errors import MissingDataError
from mer.papers.robustness.lineup import (
    HEARING,
    IN_CV,
    KINDS,
    OWN,
    PAPERS,
    TABLE,
    TRAINED_ON,
    VARIED,
    left_out,
    unseen,
)
from mer.papers.robustness.scoring import losses
from mer.sounds import SAMPLE_RATE, SOUNDS
from mer.study import model_card, players, plots
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.text import captioned, corpus_title, estimate, estimate_table, fold, markdown, number

MARGIN = 0.05


def accuracy_table(scored: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, a row a system, a column a sound; missing where it was not run."""
    order = [name for name in TABLE.all_rows if name in set(scored["system"])]
    if scored.empty:
        return pd.DataFrame()
    wide = scored.set_index(["system", "sound"])["accuracy"].unstack()  # noqa: PD010
    return wide.reindex(index=order, columns=[s for s in SOUNDS if s in wide])


def accuracy_figure(scored: pd.DataFrame) -> Figure:
    """`accuracy_table` as colours, with a line between the systems of the tables and ours."""
    table = accuracy_table(scored)
    if table.empty:
        return plots.empty("none of these rows was run")
    figure, axes = plots.panels(1, 1, 1.2 + 0.32 * len(table))
    axis = axes.flat[0]
    plots.heatmap(axis, table)
    axis.xaxis.tick_top()
    axis.tick_params(axis="x", labelrotation=40)
    for label in axis.get_xticklabels():
        label.set(ha="left", rotation_mode="anchor")
    own = sum(name not in OWN for name in table.index)
    axis.axhline(own, color="white", linewidth=4)
    return plots.describe(figure, f"Accuracy of systems in sounds. {_ranges(table)}")


def _ranges(table: pd.DataFrame) -> str:
    """Lowest and highest value of each column, in words."""
    parts = [f"{sound}: {number(v.min())} to {number(v.max())}" for sound, v in table.items()]
    return f"A row for each system, a column for each sound; ranges: {'; '.join(parts)}."


def commonest_figure(scored: pd.DataFrame) -> Figure:
    """Share of the commonest answer, drawn as in `accuracy_figure`."""
    shares = scored.assign(accuracy=scored["commonest"])
    text = f"Share of the most frequent prediction. {_ranges(accuracy_table(shares))}"
    return plots.describe(accuracy_figure(shares), text)


def missing_text(
    study: Study, specs: Iterable[RunSpec], answers: pd.DataFrame, sounds: Iterable[str]
) -> str:
    """Which rows and sounds are not there, and why, in Markdown; from `predictions`."""
    clips = number(answers["id"].nunique())
    lines = [f"Tested on {clips} clips of {corpus_title(study.corpus_name, article=True)}."]
    done = set(answers["system"])
    sized = study.sized(TABLE.all_rows).items()
    lacking = {name: s.lacks for name, s in sized if s.lacks and name not in done}
    lines += [f"Without {markdown(name)}: {reason}." for name, reason in lacking.items()]
    not_run = [markdown(spec.system) for spec in specs if spec.system not in done]
    lines += [f"Not run: {'; '.join(not_run)}."] if not_run else []
    heard = set(answers["sound"])
    why = left_out(sounds)
    absent = [name for name in sounds if name not in heard]
    lines += [f"Without {name}: {why.get(name, 'not stored')}." for name in absent]
    return " ".join(lines)


def difference_table(scored: pd.DataFrame, systems: Iterable[str]) -> pd.DataFrame:
    """Each sound minus the sound of training, with its 95 % interval, as text.

    A row a system and sound, indexed by system: sound, difference.
    """
    rows = scored[scored["sound"].ne(TRAINED_ON) & scored["system"].isin([*systems])]
    texts = [
        estimate(row["difference"], row["difference_low"], row["difference_high"], signed=True)
        for row in rows.to_dict("records")
    ]
    frame = pd.DataFrame({"sound": rows["sound"].to_numpy(), "difference": texts})
    return frame.set_index(pd.Index(rows["system"], name=None))


def difference_overview(scored: pd.DataFrame, systems: Iterable[str]) -> pd.DataFrame:
    """The same differences, a row a system, a column a sound; a star where 0 is outside."""
    rows = scored[scored["sound"].ne(TRAINED_ON) & scored["system"].isin([*systems])]
    clear = (rows["difference_low"] > 0) | (rows["difference_high"] < 0)
    cells: dict[str, dict[str, str]] = {sound: {} for sound in rows["sound"]}
    for row, is_clear in zip(rows.to_dict("records"), clear, strict=True):
        star = "\N{NO-BREAK SPACE}*" if is_clear else ""
        cells[row["sound"]][row["system"]] = number(row["difference"], signed=True) + star
    return pd.DataFrame(cells)


def show_differences(scored: pd.DataFrame) -> None:
    """Display differences from the sound of training; folded, with their intervals."""
    from IPython.display import display

    caption = "accuracy in a sound minus accuracy as rendered"
    for kind, systems in KINDS.items():
        table = difference_overview(scored, systems)
        if len(table):
            display(captioned(table, f"{kind}: {caption} (*: the 95 % interval is without 0)"))
    if len(table := difference_table(scored, TABLE.all_rows)):
        about = f"{caption.capitalize()} [95 % interval]"
        fold("With 95 % intervals", captioned(table, about, filters=("sound",)))


def show_cv(scored: pd.DataFrame) -> None:
    """Display accuracies in cross-validation and differences from the sound of training."""
    from IPython.display import Markdown, display

    if scored.empty:
        display(Markdown("Not run in this profile."))
        return
    accuracy = estimate_table(scored, "system", "sound", "accuracy")
    display(captioned(accuracy, "Accuracy in cross-validation [95 % interval]"))
    caption = "Accuracy in a sound minus accuracy as rendered [95 % interval]"
    display(captioned(difference_table(scored, IN_CV), caption))


def summary(scored: pd.DataFrame, in_cv: pd.DataFrame | None = None) -> str:
    """What other sounds cost, in Markdown.

    Parameters
    ----------
    scored : DataFrame
        Of `scores`, on the official split.
    in_cv : DataFrame, optional
        The same in cross-validation: where a row is there, its loss in the unseen soundfont counts,
        since it has more clips.
    """
    if scored.empty:
        return "No system was run in other sounds."
    found = losses(scored)
    if in_cv is not None:
        found["unseen"] = losses(in_cv)["unseen"].combine_first(found["unseen"])
    tables, own = (found[found.index.isin([*rows])] for rows in (HEARING, OWN))
    lines = []
    if len(tables):
        falls = tables[(tables["home"] - tables["lowest"]) > MARGIN]
        lines.append(
            "- Audio systems of the tables that lose more than "
            f"{number(MARGIN, 2)} in some sound: {len(falls)} of {len(tables)}. "
            + ("; ".join(_fall(name, row) for name, row in falls.iterrows()) or "none")
            + "."
        )
        one = tables[tables["commonest"] > _MOSTLY_ONE]
        if len(one):
            lines.append(
                "- Systems that predict one class for more than "
                f"{number(_MOSTLY_ONE, percent=True)} of the clips in their worst sound: "
                f"{'; '.join(map(markdown, one.index))}."
            )
    kinds = {
        "unseen": "in a soundfont that was in no part of their training",
        "codecs": "through every codec",
    }
    run = {kind: words for kind, words in kinds.items() if own[kind].notna().any()}
    if run:
        kept = own[(own[[*run]].min(axis=1, skipna=False) >= -MARGIN)]
        lines.append(
            f"- Our systems that lose at most {number(MARGIN, 2)} {' and '.join(run.values())}: "
            f"{'; '.join(map(markdown, kept.index)) or 'none'}"
            + (" (in cross-validation where it was run)." if in_cv is not None else ".")
        )
    for name in (name for name in own.index if name.endswith(VARIED)):
        plain = name.removesuffix(f", {VARIED}")
        if plain in found.index:
            gain = found.loc[name, "home"] - found.loc[plain, "home"]
            lines.append(
                f"- Varied sound changes {markdown(plain)} by {number(gain, signed=True)} in the "
                f"sound of training and from {number(found.loc[plain, 'lowest'])} to "
                f"{number(found.loc[name, 'lowest'])} in the worst sound."
            )
    return "\n".join(lines)


def _fall(name: Any, row: pd.Series) -> str:
    return f"{markdown(name)} {number(row['home'])} to {number(row['lowest'])} ({row['worst']})"


_MOSTLY_ONE = 0.7
"""Share of the commonest answer from which on it is called one answer for all."""


def worth(scored: pd.DataFrame) -> str:
    """What the audio rows of each paper are worth, in Markdown: a paragraph a paper."""
    found = losses(scored) if len(scored) else pd.DataFrame()
    lines = []
    for paper, names in PAPERS.items():
        rows = found[found.index.isin(names)]
        told = [
            f"{markdown(name)} has {number(row['home'])} in the sound of training"
            + (
                f", {number(row['home'] + row['unseen'])} in {unseen(str(name))}"
                * bool(pd.notna(row["unseen"]))
            )
            + f" and {number(row['lowest'])} in its worst sound ({row['worst']})"
            for name, row in rows.iterrows()
        ]
        text = "; ".join(told) if told else "the audio rows were not run in other sounds"
        fall = rows["home"].sub(rows["lowest"]).max() if told else 0.0
        if fall > MARGIN:
            text += ". Such accuracies hold for one synthesizer only"
        lines.append(f"**{paper}**: {text}.")
    return "\n\n".join(lines)


def moved_table(moved: pd.DataFrame) -> pd.DataFrame:
    """Share of the descriptors that move by more than a deviation, and the one that moves most."""
    columns: dict[tuple[str, str], dict[str, str]] = {}
    for kind, of_kind in moved.groupby("descriptors", sort=False):
        shares, most = {}, {}
        for sound, own in of_kind[of_kind["sound"].ne(TRAINED_ON)].groupby("sound", sort=False):
            size = own["shift"].abs()
            first = own.iloc[int(size.argmax())]
            shares[str(sound)] = number((size > 1).mean(), percent=True)
            most[str(sound)] = f"{first['name']} ({number(first['shift'], 1, signed=True)})"
        columns |= {(str(kind), "over 1 SD"): shares, (str(kind), "moves most"): most}
    return pd.DataFrame(columns)


def show_players(study: Study, sounds: Iterable[str]) -> None:
    """Display a player of the start of the first test clip for each sound that can be made here.

    Where the corpus is not there, it is a composed clip, and a sentence says so.
    """
    from IPython.display import Markdown, display

    try:
        first = study.corpus.split(study.split_name("single")).folds[0].test[0]
        (clip,) = study.corpus.select([first])
    except MissingDataError:
        clip = model_card.example_clip()
        name = corpus_title(study.corpus_name, article=True)
        text = f"This is a composed clip, since {name} is not on this machine."
        display(Markdown(text))
    for name in sounds:
        try:
            player = players.sound(SOUNDS[name].samples(clip), SAMPLE_RATE, name, seconds=5.0)
        except MissingDataError as error:
            display(Markdown(f"**{name}**: {error}"))
            continue
        display(Markdown(f"**{name}**"), player)
