"""The chapter on sounds: systems of the study, and systems of ours, in other sounds.

Every system is trained once on the official split of EMOPIA and answers for the same test clips in
each sound of `mer.sounds.SOUNDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.clips import Corpus, Fold
from mer.errors import MissingDataError, ParameterError
from mer.evaluation.resampling import difference, group_bootstrap
from mer.features import descriptors, spectral
from mer.papers import emopia
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhao2023.systems import relative_mfcc_25
from mer.papers.zhu2023 import tables as zhu2023
from mer.sounds import REVISION, SAMPLE_RATE, SOUNDS, in_sound
from mer.study import model_card, players, plots
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows, Table
from mer.study.text import (
    captioned,
    corpus_title,
    estimate,
    estimate_table,
    fold,
    markdown,
    number,
)
from mer.systems.base import Fitted
from mer.systems.classical import DescriptorClassifier
from mer.systems.clip_descriptors import NAMES, acoustic, robust
from mer.systems.transcribed import transcribed, transcribed_symbolic
from mer.tasks import Task, get_task

TRAINED_ON = next(iter(SOUNDS))
UNSEEN, UNHEARD = "FluidR3", "MuseScore General"
"""The soundfont that no training on varied sound draws from, and the one that the training of our
transcriber did not have: that had FluidR3."""

CODECS = tuple(name for name, variant in SOUNDS.items() if variant.codec)
COLUMNS = ["system", "sound", "id", "group", "target", "predicted"]
COPIES = 2
MARGIN = 0.05
VARIED = "varied sound"

_EMBEDDING = "Audio Embedding"
_RESNET = "Short-chunk ResNet"
ROBUST, RELATIVE = "Robust-SVM", f"{_RESNET}, relative level"
RELATIVE_COLOR = f"{zhao2023.TONE_COLOR}, relative level"
RELATIVE_NOTES = "Symbolic-only, relative velocities"
TRANSCRIBED = "Transcribed-SVM"


def _of_paper() -> dict[str, Any]:
    rows = {
        "Audio-SVM": emopia.SVM["Audio-SVM"],
        "Audio-LR": emopia.ACOUSTIC["Audio-LR"],
        _EMBEDDING: emopia.EMBEDDING[_EMBEDDING],
        _RESNET: emopia.ACOUSTIC[_RESNET],
    }
    for name in ("Acoustic-only", "Symbolic-only", zhu2023.PROPOSED):
        rows[name] = {**zhu2023.TABLE_3.all_rows, **zhu2023.TABLE_4.all_rows}[name]
    for name in (zhao2023.TONE_COLOR, zhao2023.PROPOSED):
        rows[name] = {**zhao2023.BRANCHES, **zhao2023.PROPOSED_ROW}[name]
    return rows


HEARING: Rows = NamedRows(_of_paper())
"""Systems of the tables that hear sound; the multifaceted model keeps the notes of the corpus."""

READING: Rows = NamedRows(
    {name: {**emopia.SVM, **emopia.SYMBOLIC}[name] for name in ("Symbolic-SVM", zhu2023.LSTM)}
)
"""Systems of notes, trained on those of the corpus and tested on our transcription."""

_PLAIN: dict[str, Any] = {
    ROBUST: DescriptorClassifier(features=(robust,)),
    RELATIVE: replace(emopia.ACOUSTIC[_RESNET], feature=spectral.relative_log_mel),  # type: ignore[call-arg]
    RELATIVE_COLOR: replace(
        HEARING[zhao2023.TONE_COLOR],
        tone_color_feature=relative_mfcc_25,  # type: ignore[call-arg]
    ),
    RELATIVE_NOTES: replace(HEARING["Symbolic-only"], relative_velocities=True),  # type: ignore[call-arg]
    TRANSCRIBED: DescriptorClassifier(features=(transcribed_symbolic,)),
}


_BY_TRANSCRIBER = ("Symbolic-only", zhu2023.PROPOSED, RELATIVE_NOTES, TRANSCRIBED, *READING)


def unseen(name: str) -> str:
    """The soundfont that is in no training behind a row, its transcriber's included."""
    return UNHEARD if name in _BY_TRANSCRIBER else UNSEEN


def varied(name: str) -> str:
    """Name of the row that is trained on varied sound, too."""
    return f"{name}, {VARIED}"


def by_collection(name: str) -> str:
    """Name of the row whose answers are standardised by the clips at hand."""
    return f"{name}, by collection"


_VARIED = {
    "Audio-SVM": HEARING["Audio-SVM"],
    ROBUST: _PLAIN[ROBUST],
    RELATIVE: _PLAIN[RELATIVE],
    zhao2023.TONE_COLOR: HEARING[zhao2023.TONE_COLOR],
}
_WITH_VARIED: dict[str, Any] = {
    **_PLAIN,
    **{varied(n): replace(s, sound_copies=COPIES) for n, s in _VARIED.items()},
}
_COLLECTED = ("Audio-SVM", ROBUST, varied(ROBUST))
OWN: Rows = NamedRows(
    {
        **_WITH_VARIED,
        **{
            by_collection(n): replace({**HEARING, **_WITH_VARIED}[n], by_collection=True)
            for n in _COLLECTED
        },
    }
)
"""Descriptors without what other sounds change, level-normalised input, training on varied sound,
descriptors of our transcription, and answers for the test clips as a collection."""

KINDS: dict[str, Rows] = {
    "Systems that hear sound": HEARING,
    "Systems of notes": READING,
    "Ours": OWN,
}

IN_CV = ("Audio-SVM", ROBUST, varied(ROBUST), TRANSCRIBED)
CV_SOUNDS = (TRAINED_ON, UNHEARD, UNSEEN)
"""Rows and sounds in cross-validation, where differences are known best."""

TABLE = Table("", "Other sounds", {**HEARING, **READING}, OWN, tasks=("4Q",))


def specs(study: Study) -> list[RunSpec]:
    """One run of each row on the official split, with the first seed; those that lack nothing.

    The small profiles have fewer rows.
    """
    few = study.profile.of_page("sound_robustness").get("systems", list(TABLE.all_rows))
    chosen = study.settings.systems or few
    rows = {name: system for name, system in TABLE.all_rows.items() if name in chosen}
    if not rows:
        known = "; ".join(TABLE.all_rows)
        raise ParameterError(f"nothing to run: the systems of this page are: {known}")
    planned = _possible(study, study.specs(rows, tasks=["4Q"]))
    first = min((spec.seed for spec in planned), default=0)
    return [spec for spec in planned if spec.seed == first]


def cv_specs(study: Study) -> list[RunSpec]:
    """Runs of a few rows in song-grouped cross-validation; none in the small profiles."""
    if not study.profile.committed:
        return []
    rows = {name: TABLE.all_rows[name] for name in IN_CV}
    return _possible(study, study.specs(rows, split="cv", tasks=["4Q"]))


def _possible(study: Study, specs: Iterable[RunSpec]) -> list[RunSpec]:
    return [spec for spec in specs if spec in study.store or not spec.lacks]


def chosen_sounds(study: Study) -> list[str]:
    """Names of the sounds of the page, that of training first."""
    known = study.profile.of_page("sound_robustness").get("sounds", list(SOUNDS))
    return [*dict.fromkeys((TRAINED_ON, *(study.settings.sounds or known)))]


def left_out(sounds: Iterable[str]) -> dict[str, str]:
    """Why sounds cannot be made here, by name; empty where all can."""
    return {name: SOUNDS[name].lacks for name in sounds if SOUNDS[name].lacks}


def predictions(study: Study, specs: Iterable[RunSpec], sounds: Sequence[str]) -> pd.DataFrame:
    """Answers for the test clips in some sounds, from the store where they are there.

    Returns
    -------
    DataFrame
        Columns system, sound, id, group, target, predicted. What is neither stored nor to be
        computed is not there, nor is a sound that cannot be made here.
    """
    by_system: dict[str, list[RunSpec]] = {}
    for spec in specs:
        by_system.setdefault(spec.system, []).append(spec)
    frames = [_answers(study, own, sounds).assign(system=name) for name, own in by_system.items()]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame([], None, COLUMNS)
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def _answers(study: Study, specs: Sequence[RunSpec], sounds: Sequence[str]) -> pd.DataFrame:
    """Those of one system, from all its folds."""
    first = specs[0]
    _check(sounds)
    runs = first.key if len(specs) == 1 else [spec.key for spec in specs]
    function = partial(answers_in_sounds, reads=first.system in READING)

    def compute(possible: Sequence[str]) -> pd.DataFrame:
        frames = study.inspect(list(specs), partial(function, sounds=possible))
        return pd.concat(frames, ignore_index=True)

    name = f"sounds {first.corpus} {first.system}"
    try:
        return _in_sounds(study, name, {"run": runs}, sounds, compute)
    except MissingDataError:
        if study.settings.compute and not all(SOUNDS[sound].lacks for sound in sounds):
            raise
        return pd.DataFrame([], None, COLUMNS)


def _in_sounds(
    study: Study,
    name: str,
    key: dict[str, Any],
    sounds: Sequence[str],
    compute: Callable[[Sequence[str]], pd.DataFrame],
) -> pd.DataFrame:
    """A stored table with the column sound, or that of all sounds, or else one computed anew.

    `compute` gets the names of those that can be made here.
    """

    def table(names: Sequence[str], compute: Callable[[], pd.DataFrame] | None) -> pd.DataFrame:
        facts = {"revision": REVISION, **{name: asdict(SOUNDS[name]) for name in names}}
        return study.store.table(name, {**key, "sounds": facts}, compute)

    for names in (list(SOUNDS), sounds):
        with suppress(MissingDataError):
            stored = table(names, None)
            return stored[stored["sound"].isin(sounds)]
    possible = [name for name in sounds if not SOUNDS[name].lacks]
    if not possible:
        raise MissingDataError(f"none of these sounds can be made here: {', '.join(sounds)}")
    return table(possible, partial(compute, possible) if study.settings.compute else None)


def _check(sounds: Iterable[str]) -> None:
    for name in sounds:
        if name not in SOUNDS:
            raise ParameterError(f"unknown sound {name!r}; the sounds are: {'; '.join(SOUNDS)}")


def answers_in_sounds(
    fitted: Fitted,
    spec: RunSpec,
    corpus: Corpus,
    fold: Fold,
    *,
    sounds: Sequence[str],
    reads: bool,
) -> pd.DataFrame:
    """Answers of a fitted system in some sounds; `reads` if it is to get our transcription."""
    test, task = corpus.select(fold.test), get_task(spec.task)
    assert isinstance(task, Task)
    frames = []
    for name in sounds:
        heard = in_sound(test, SOUNDS[name])
        answered = fitted.predict(transcribed(heard) if reads else heard)
        classes = answered[[f"p_{k + 1}" for k in range(len(task.classes))]]
        frame = pd.DataFrame({"sound": name, "id": test.ids, "group": test.groups})
        predicted = classes.to_numpy().argmax(axis=1)
        frames.append(frame.assign(target=task.targets(test), predicted=predicted))
    return pd.concat(frames, ignore_index=True)


def scores(answers: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each system in each sound, and how it differs from the sound of training.

    Returns
    -------
    DataFrame
        Columns system, sound, accuracy, low, high (95 % interval over songs), commonest (share of
        the commonest answer), difference, difference_low, difference_high (sound minus the sound of
        training, on the same clips).
    """
    rows = []
    at_home_of = {
        name: part[part["sound"].eq(TRAINED_ON)] for name, part in answers.groupby("system")
    }
    for (system, sound), own in answers.groupby(["system", "sound"], sort=False):
        home = at_home_of[str(system)].set_index("id").reindex(own["id"])
        right, at_home = (part["target"].eq(part["predicted"]).to_numpy() for part in (own, home))
        ends = group_bootstrap(right, own["group"])
        moved = difference(right[:, None], at_home[:, None], own["group"])
        rows.append(
            {
                "system": system,
                "sound": sound,
                "accuracy": right.mean(),
                "low": ends.low,
                "high": ends.high,
                "commonest": own["predicted"].value_counts(normalize=True).iloc[0],
                "difference": moved.mean,
                "difference_low": moved.low,
                "difference_high": moved.high,
            }
        )
    return pd.DataFrame(rows, columns=list(_SCORES))


_SCORES = (
    *("system", "sound", "accuracy", "low", "high", "commonest"),
    *("difference", "difference_low", "difference_high"),
)


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


def try_row(study: Study, rows: Rows, sounds: Sequence[str]) -> pd.DataFrame | None:
    """Accuracy of rows of one's own in each sound; None where nothing is computed."""
    _check(sounds)
    sounds = list(dict.fromkeys((TRAINED_ON, *sounds)))
    tried = study.try_rows(Table("", "Rows of your own", {}, tasks=("4Q",)), rows)
    if tried is None:
        return None
    scored = scores(predictions(study, tried.of(*rows), sounds))
    return scored.pivot_table("accuracy", "system", "sound", sort=False)


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
    text = rows["difference"].map(partial(number, signed=True)) + np.where(
        clear, "\N{NO-BREAK SPACE}*", ""
    )
    cells: dict[str, dict[str, str]] = {sound: {} for sound in rows["sound"]}
    for sound, system, cell in zip(rows["sound"], rows["system"], text, strict=True):
        cells[sound][system] = cell
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


def losses(scored: pd.DataFrame) -> pd.DataFrame:
    """How much of its accuracy each system loses.

    Returns
    -------
    DataFrame
        Indexed by system: home (accuracy in the sound of training), unseen (difference in the
        soundfont of `unseen`), codecs (largest loss through a codec), worst (sound of
        the lowest accuracy), lowest (that accuracy), commonest (share of the commonest answer
        there).
    """
    rows = {}
    for system, own in scored.groupby("system", sort=False):
        by_sound = own.set_index("sound")
        lowest = by_sound.iloc[int(by_sound["accuracy"].argmin())]
        rows[system] = {
            "home": by_sound.loc[TRAINED_ON, "accuracy"],
            "unseen": by_sound["difference"].get(unseen(str(system)), np.nan),
            "codecs": by_sound["difference"].reindex(list(CODECS)).min(),
            "worst": lowest.name,
            "lowest": lowest["accuracy"],
            "commonest": lowest["commonest"],
        }
    columns = ["home", "unseen", "codecs", "worst", "lowest", "commonest"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


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

PAPERS: dict[str, tuple[str, ...]] = {
    "EMOPIA (Hung et al. 2021)": ("Audio-LR", _RESNET),
    "Zhu et al. 2023": ("Acoustic-only", "Symbolic-only", zhu2023.PROPOSED),
    "Zhao and Yoshii 2023": (zhao2023.TONE_COLOR, zhao2023.PROPOSED),
}
"""Audio rows of each paper whose corpus is rendered here."""


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


FEATURES = {"acoustic": acoustic, "robust": robust}


def moved_descriptors(study: Study, sounds: Sequence[str]) -> pd.DataFrame:
    """How far descriptors of the test clips move in each sound, from the store where it is there.

    Returns
    -------
    DataFrame
        Columns descriptors ("acoustic" or "robust"), sound, name, shift: the mean difference from
        the sound of training, in standard deviations of the test clips in that sound.
    """

    def compute(possible: Sequence[str]) -> pd.DataFrame:
        test = study.corpus.select(study.corpus.split(study.split_name("single")).folds[0].test)
        frames = []
        for kind, feature in FEATURES.items():
            home = np.stack([feature(clip) for clip in test])
            for sound in possible:
                moved = np.stack([feature(clip) for clip in in_sound(test, SOUNDS[sound])]) - home
                shift = moved.mean(axis=0) / np.maximum(home.std(axis=0), 1e-9)
                facts = {"descriptors": kind, "sound": sound, "name": NAMES[feature]()}
                frames.append(pd.DataFrame(facts).assign(shift=shift))
        return pd.concat(frames, ignore_index=True).round({"shift": 3})

    revisions = [descriptors.ACOUSTIC_REVISION, descriptors.ROBUST_REVISION]
    key = {"corpus": study.corpus_name, "fingerprint": study.card["fingerprint"]}
    key |= {"revisions": revisions}
    return _in_sounds(study, f"moved descriptors {study.corpus_name}", key, sounds, compute)


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
