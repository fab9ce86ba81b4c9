"""Tables 2 and 3 of Sun et al. 2024, our rows beside them, the claims, and leakage.

The paper's corpora are not at hand: each table is run on every corpus of the profile, beside the
published values of the dataset that the corpus stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.papers import emopia
from mer.papers.published import cells, published, published_value
from mer.papers.sun2024.systems import SegmentClassifier
from mer.papers.sun2024.two_stage import TwoStage
from mer.segments import LONGEST
from mer.study import plots
from mer.study.claims import Claim, Comparison
from mer.study.results import TASK_TITLES, Results
from mer.study.scores import Published, metric_name, paired_difference, scores
from mer.study.study import Study
from mer.study.tables import PUBLISHED, NamedRows, Rows, Table, score_table
from mer.study.text import captioned, corpus_title, estimate, estimate_table, number
from mer.systems.classical import DescriptorClassifier
from mer.systems.clip_descriptors import acoustic_30s
from mer.systems.musicnn import embedding_statistics_30s

PROPOSED, WITHOUT_KL = "SSSL", "SSSL, no KL"
BY_DECISION = "SSSL, epoch by the decision"
INHERITANCE, WHOLE_CLIP = "Segment inheritance", "VGG16, whole clip"
INHERITANCE_SVM = f"{INHERITANCE}, SVM"
SVM, EMBEDDING, TWO_STAGE = "Audio-SVM", "Audio Embedding", "2-Stage"

proposed = SegmentClassifier()
inheritance = SegmentClassifier(learning="inherited", decision="vote")
NETWORKS: Rows = NamedRows(
    {
        TWO_STAGE: TwoStage(),
        WHOLE_CLIP: replace(inheritance, duration=LONGEST, whole_clip=True, decision="mean"),
        INHERITANCE: inheritance,
        INHERITANCE_SVM: replace(inheritance, decision="svm"),
        BY_DECISION: replace(proposed, epoch_by="decision"),
        WITHOUT_KL: replace(proposed, kl_weight=0.0),
        PROPOSED: proposed,
    }
)

TASKS = ("A", "V", "4Q", "cluster")
_TASKS_OF = {"mirex_mood": ("cluster",), "four_quadrants": ("A", "V", "4Q")}
METRICS = ("accuracy", "F1")

SVM_30S, EMBEDDING_30S = f"{SVM}, 30 s", f"{EMBEDDING}, 30 s"
SAME_HEARING: Rows = {
    SVM_30S: DescriptorClassifier(features=(acoustic_30s,)),
    EMBEDDING_30S: DescriptorClassifier(features=(embedding_statistics_30s,)),
}
"""Ours: the baselines on the first 30 s, which is what the networks hear of a clip."""

TABLE_3 = Table(
    "3",
    "Comparison",
    {
        SVM: emopia.SVM[SVM],
        **emopia.EMBEDDING,
        **{name: NETWORKS[name] for name in (TWO_STAGE, WITHOUT_KL, PROPOSED)},
    },
    {
        "Constant": emopia.WITHOUT_MUSIC["Constant"],
        **{
            name: NETWORKS[name] for name in (WHOLE_CLIP, INHERITANCE, INHERITANCE_SVM, BY_DECISION)
        },
        **SAME_HEARING,
    },
    tasks=TASKS,
)
LEAKY = Table(
    "",
    "Systems that are tested with artists on both sides of the split, too",
    {name: TABLE_3.rows[name] for name in (SVM, EMBEDDING, PROPOSED)},
    {"Song-lookup": emopia.WITHOUT_MUSIC["Song-lookup"]},
    tasks=TASKS,
)
PROPOSED_ALONE, INHERITANCE_ALONE = (
    Table("", f"{name}, with rows of one's own", {name: NETWORKS[name]}, tasks=TASKS)
    for name in (PROPOSED, INHERITANCE)
)

DURATIONS = (1, 2, 3, 4, 5)
"""Of segments, in seconds: rows of tables 1 and 2."""

DATASETS = ("PMEmo", "4Q", "EiM")
"""Of the paper; the first two are those of table 2."""

STANDS_FOR: Mapping[str, str] = {
    "pmemo": "PMEmo",
    "emotify": "PMEmo",
    "four_quadrants": "4Q",
    "mirex_mood": "4Q",
    "emotion_in_music": "EiM",
}
"""Dataset of the paper that a corpus is, or stands in for; composed corpora have none."""

_PAPER_ROWS = {
    "SVM": SVM,
    "2-Stage": TWO_STAGE,
    "Audio Embedding": EMBEDDING,
    "Proposed*": WITHOUT_KL,
    "Proposed": PROPOSED,
}
_COLUMNS = {
    "accuracy": {"Valence Acc.": "V", "Arousal Acc.": "A", "V-acc": "V", "A-acc": "A", "Acc": "4Q"},
    "F1": {"Valence F1": "V", "Arousal F1": "A", "V-f1": "V", "A-f1": "A", "F1": "4Q"},
}
_ALL_ALIKE = 0.99
"""Share of the most frequent answer from which on a network has collapsed to one class."""


def with_duration(system: str, duration: float) -> str:
    """Name of a system with segments of some seconds."""
    return f"{system}, {duration:g} s"


SWEEP = tuple(with_duration(PROPOSED, duration) for duration in DURATIONS)
"""Rows of table 2."""


def published_scores(dataset: str) -> Published:
    """Published scores on one dataset as fractions; none for another name.

    Those of table 2 belong to the rows `SWEEP`, those of table 3 to the rows of `TABLE_3`.
    """
    durations = {f"{dataset} {d}": with_duration(PROPOSED, d) for d in DURATIONS}
    systems = {f"{dataset} {name}": row for name, row in _PAPER_ROWS.items()}
    return {
        key: value / 100
        for table, rows in (("2", durations), ("3", systems))
        for metric, columns in _COLUMNS.items()
        for key, value in cells("sun2024", table, rows, columns, metric).items()
    }


# Corpora of a page


def corpora(study: Study) -> dict[str, Study]:
    """The study on each corpus of the page: the one of the parameters, or those of the profile."""
    names = study.profile.corpora["segments"]
    names = [study.settings.corpus] if study.settings.corpus else names
    return {
        name: study.on(name, tasks=study.settings.tasks or _TASKS_OF.get(name, ("A", "V")))
        for name in names
    }


def run_everywhere(study: Study, run: Callable[[Study], Results]) -> dict[str, Results]:
    """Results by corpus, of `run_comparison` or `run_durations`.

    Where nothing is computed, corpora of which nothing is stored are left out.
    """
    found = {}
    for name, own in corpora(study).items():
        with own.skipping_missing():
            found[name] = run(own)
    return found


def missing_corpora(study: Study, shown: Iterable[str]) -> str:
    """Which corpora of a page were not run, in Markdown; empty if all were."""
    missing = set(corpora(study)) - set(shown)
    return " ".join(f"**{corpus_title(name)}**: not run." for name in sorted(missing))


def run_comparison(study: Study) -> Results:
    """Runs of table 3 on the corpus of a study."""
    return study.run(_beside(TABLE_3, study), split=split_of(study))


def _beside(table: Table, study: Study) -> Table:
    dataset, beside = STANDS_FOR.get(study.corpus_name, ""), (study.corpus_name,)
    known = published_scores(dataset)
    # The paper cuts all clips to 30 s
    same = {SVM: SVM_30S, EMBEDDING: EMBEDDING_30S}
    copied = {(same[row], t, m): value for (row, t, m), value in known.items() if row in same}
    return replace(table, published={**known, **copied}, published_on=dataset, beside=beside)


def run_durations(study: Study) -> Results:
    """Runs of table 2: SSSL with segments of each duration, all else equal.

    In their predictions each duration is a system, of the rows `SWEEP`.
    """
    row, split = {PROPOSED: proposed}, split_of(study)
    specs = [
        spec
        for d in DURATIONS
        for spec in study.specs(row, split=split, tasks=TASKS, changes={"duration": float(d)})
    ]
    found = study.run(specs, split=split)
    found.tables = [_beside(Table("2", "Duration of segments", {}), study)]
    found.names = {spec.key: with_duration(PROPOSED, spec.parameters["duration"]) for spec in specs}
    return found


def split_of(study: Study) -> str:
    """Cross-validation where results are stored for good, one partition for a first look."""
    return "cv" if study.profile.committed else "single"


def score_frame(results: Results) -> pd.DataFrame:
    """Accuracy and F1 of every row and task, see `mer.study.scores.scores`."""
    return scores(results.predictions, results.published, metrics=METRICS)


def show_scores(results: Results, table: pd.DataFrame, order: Iterable[str]) -> None:
    """Display the `score_frame` of some results as one table."""
    from IPython.display import Markdown, display

    study, corpus = results.study, corpus_title(results.study.corpus_name)
    folds = study.card["splits"][results.specs[0].split]["folds"]
    protocol = f"{folds}-fold cross-validation" if folds > 1 else "one partition"
    spread = "over all test clips" if folds > 1 else "mean ± SD over seeds"
    parts = {
        f"{TASK_TITLES[task]}: {metric_name(metric, task)}": score_table(
            table, list(order), task, (metric,)
        ).droplevel(0, axis=1)
        for task in results.tasks
        for metric in METRICS
    }
    shown = pd.concat(parts, axis=1).rename(index=results.labels)
    caption = f"{corpus} ({protocol}): {spread} [95 % interval]"
    if PUBLISHED in shown.columns.get_level_values(1):
        caption += f". Published on {STANDS_FOR[study.corpus_name]}"
    display(captioned(shown, caption))
    if results.missing:
        display(Markdown(results.missing_text))


# Claims


def duration_claims(tasks: Iterable[str]) -> tuple[Claim, ...]:
    """Claims of table 2 about some tasks, as they were put before any run was tested."""
    one, three = (with_duration(PROPOSED, d) for d in (1, 3))
    shorter = "Short segments are best for arousal: 1 s is better than every longer duration"
    longer = "Longer segments are better for {}: 3 s are better than 1 s"
    claims = {
        "A": Claim(shorter, "2", tuple(Comparison(one, other, "A") for other in SWEEP[1:])),
        "V": Claim(longer.format("valence"), "2", (Comparison(three, one, "V"),)),
        "cluster": Claim(
            longer.format("mood clusters"), None, (Comparison(three, one, "cluster"),)
        ),
    }
    return tuple(claim for task, claim in claims.items() if task in set(tasks))


_COMPARISONS = {
    "Self-learning is better than segment inheritance": INHERITANCE,
    "Self-learning is better than segment inheritance with the same classifier of clips": (
        INHERITANCE_SVM
    ),
    "The KL term helps": WITHOUT_KL,
    "Learning from segments is better than the same network on whole clips": WHOLE_CLIP,
    "SSSL is better than 2-Stage": TWO_STAGE,
    "SSSL is better than a support vector machine on audio embeddings": EMBEDDING_30S,
    "SSSL is better than a support vector machine on descriptors": SVM_30S,
}


def comparison_claims(tasks: Iterable[str]) -> tuple[Claim, ...]:
    """Claims of table 3, and those of the text that it does not test, about some tasks."""
    tasks = list(tasks)
    return tuple(
        Claim(
            text,
            "3" if other in {**TABLE_3.rows, **SAME_HEARING} else None,
            tuple(Comparison(PROPOSED, other, task) for task in tasks),
        )
        for text, other in _COMPARISONS.items()
    )


# What the paper's own tables can tell


def published_durations() -> pd.DataFrame:
    """Table 2 as published, as fractions: one row a dataset and score, a column a duration."""
    rows = {
        f"{dataset}, {TASK_TITLES[task].lower()}, {metric}": {
            f"{d} s": published_scores(dataset)[with_duration(PROPOSED, d), task, metric]
            for d in DURATIONS
        }
        for dataset in DATASETS[:2]
        for task in ("A", "V")
        for metric in METRICS
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def published_comparison(dataset: str) -> pd.DataFrame:
    """Table 3 of one dataset as published, as fractions: a row a system, a column a score."""
    known = published_scores(dataset)
    rows: dict[str, dict[str, float]] = {name: {} for name in TABLE_3.rows}
    for (row, task, metric), value in known.items():
        if row in rows:
            rows[row][f"{TASK_TITLES[task]}, {metric}"] = value
    return pd.DataFrame.from_dict({name: own for name, own in rows.items() if own}, orient="index")


def published_precision() -> str:
    """How far apart the published accuracies of table 2 are, beside their sampling error."""
    lines = []
    for name, values in published_durations().filter(like="accuracy", axis=0).iterrows():
        dataset, task, _ = str(name).split(", ")
        songs = int(published_value("sun2024", "1", dataset, "#Song"))
        best, half = values.max(), 1.96 * np.sqrt(values.max() * (1 - values.max()) / songs)
        lines.append(
            f"- {dataset}, {task}: highest at {values.idxmax()} ({number(best)}), lowest at "
            f"{values.idxmin()} ({number(values.min())}). On {songs} songs the 95 % interval of "
            f"such an accuracy is ± {number(half)}."
        )
    return "\n".join(lines)


def published_notes() -> str:
    """Remarks on single cells of the published table 3, as Markdown."""
    remarks = published("sun2024", "3").query("note != ''")
    return "\n".join(
        f"- {cell.row}, {cell.column} {cell.value}: {cell.note}." for cell in remarks.itertuples()
    )


# What the runs come to


def duration_summary(table: pd.DataFrame) -> str:
    """Best and worst duration of each task, as Markdown; from `mer.study.scores.scores`."""
    lines = []
    for title, rows, text in _accuracies(table):
        best, *_, worst = rows.sort_values("mean", ascending=False, kind="stable").index
        lines.append(
            f"- {title}: {best} ({text[best]}) has the highest accuracy, {worst} ({text[worst]}) "
            f"the lowest; {number(int(rows['n'].max()))} test clips."
        )
    return "\n".join(lines)


def comparison_summary(table: pd.DataFrame) -> str:
    """Rank of SSSL in each task, as Markdown; from `mer.study.scores.scores`."""
    lines = []
    for title, rows, text in _accuracies(table):
        best, means = rows["mean"].idxmax(), rows["mean"]
        line = f"- {title}: {best} has the highest accuracy, {text[best]}."
        if PROPOSED in text:
            above = int((means > means[PROPOSED]).sum())
            line += f" {PROPOSED} has {text[PROPOSED]}; {above} of {len(rows) - 1} others have a"
            line += " higher mean."
        if "Constant" in text:
            line += f" The constant prediction has {number(means['Constant'])}."
        lines.append(line)
    return "\n".join(lines)


def _accuracies(table: pd.DataFrame) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Title, scores by system and their texts, a task each."""
    for task, rows in table[table["metric"] == "accuracy"].groupby("task", sort=False):
        text = estimate_table(rows, "system", "task")[task]
        texts = dict(zip(map(str, text.index), text, strict=True))
        yield TASK_TITLES[str(task)], rows.set_index("system"), texts


def duration_figure(table: pd.DataFrame, corpus: str) -> Figure:
    """`score_frame` of rows `SWEEP` against the duration: a row a metric, a column a task.

    Published curves of both datasets stand beside it, unless the corpus stands for none.
    """
    here = "here, with 95 % interval"
    frames = [table.assign(curve=here)]
    tasks = list(table["task"].unique())
    for dataset in DATASETS[:2] if corpus in STANDS_FOR else ():
        rows = [
            {"system": row, "task": task, "metric": metric, "mean": value}
            for (row, task, metric), value in published_scores(dataset).items()
            if row in SWEEP and task in tasks
        ]
        frames.append(pd.DataFrame(rows).assign(curve=f"published, on {dataset}"))
    frame = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    frame["seconds"] = [DURATIONS[SWEEP.index(row)] for row in frame["system"]]
    published_curves = [name for name in frame["curve"].unique() if name != here]
    return plots.curves(
        frame.sort_values("seconds", kind="stable"),
        "seconds",
        ends=("low", "high"),
        errors="bars",
        row="metric",
        column="task",
        hue="curve",
        dashes=dict.fromkeys(published_curves, "--"),
        markers=dict(zip(frame["curve"].unique(), "o^s", strict=False)),
        names={**TASK_TITLES, **{metric: metric_name(metric, tasks[0]) for metric in METRICS}},
        xlabel="Duration of a segment (s)",
    )


def comparison_figure(results: Results, table: pd.DataFrame) -> Figure:
    """Forest plot of the `score_frame` of results: a row a task, accuracy left and F1 right."""
    dataset = STANDS_FOR.get(results.study.corpus_name)
    own = table[table["system"] == PROPOSED].set_index(["task", "metric"])["mean"]
    counts: dict[Any, int] = table.groupby("task")["n"].max().to_dict()
    titles = {
        (task, metric): f"{TASK_TITLES[task]}: {metric_name(metric, task)} (n = {number(n)})"
        for task, n in counts.items()
        for metric in METRICS
    }
    return plots.forest(
        table,
        "system",
        published="published",
        published_label=f"published, on {dataset}",
        order=TABLE_3.order,
        row="task",
        column="metric",
        names=titles,
        vlines={PROPOSED: own.to_dict()},
        xlabel="",
    )


def leakage(grouped: pd.DataFrame, leaky: pd.DataFrame) -> pd.DataFrame:
    """How much accuracy a system gains from clips of the test's artists in training.

    `grouped` are predictions with artists kept together, `leaky` with artists on both sides. One
    row a system and task that was run on both: system, task, grouped, leaky (accuracy), difference
    (leaky - grouped), low, high (95 %, paired bootstrap over artists), n (clips).
    """
    rows = []
    apart = dict(list(grouped.groupby(["system", "task"])))
    for place, frame in leaky.groupby(["system", "task"], sort=False):
        if place in apart:
            means = (own["correct"].mean() for own in (apart[place], frame))
            gain = paired_difference(frame, apart[place])
            rows.append((*place, *means, *gain, frame["id"].nunique()))
    columns = ["system", "task", "grouped", "leaky", "difference", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def leakage_text(table: pd.DataFrame) -> pd.DataFrame:
    """`leakage` for reading, indexed by system."""
    text = {
        "task": table["task"].map(TASK_TITLES),
        "artists apart": table["grouped"].map(number),
        "artists on both sides": table["leaky"].map(number),
        "difference": [
            estimate(*gain, signed=True) for gain in table[["difference", "low", "high"]].to_numpy()
        ],
    }
    return pd.DataFrame(text).set_axis(pd.Index(table["system"]))


def run_leakage(study: Study) -> pd.DataFrame | None:
    """`leakage` on the corpus of a study; None where it has no split that ignores artists.

    The corpus names the second split like the first, with "_ungrouped" added.
    """
    splits = ("cv10", "cv10_ungrouped")
    if not {*splits} <= study.card["splits"].keys():
        return None
    grouped, leaky = (study.run(LEAKY, split=name).predictions for name in splits)
    return leakage(grouped, leaky)


# Training


def self_learning_history(results: Results) -> pd.DataFrame:
    """History of the runs of SSSL: system, task, fold, seed, epoch (from 1), and its columns.

    Those of the partition are missing in the warm-up.
    """
    frames = []
    for spec in results.of(PROPOSED):
        frame = pd.DataFrame(results.study.store.read(spec).history)
        names = ("system", "task", "fold", "seed")
        place: dict[str, Any] = {name: getattr(spec, name) for name in names}
        frames.append(frame.assign(**place, epoch=np.arange(1, len(frame) + 1)))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def self_learning_summary(history: pd.DataFrame) -> str:
    """The partition in the last epoch of the runs, as Markdown; from `self_learning_history`."""
    lines = []
    for task, own in history.groupby("task", sort=False):
        divided = own.dropna(subset=["clean_fraction"])
        last = divided.groupby(["fold", "seed"]).tail(1)
        clean = last["clean_fraction"].agg(["mean", "min", "max"])
        mean, low, high = (number(value, percent=True) for value in clean)
        agreed = number(last["agreement"].mean(), percent=True)
        alike = int((last["largest_class"] > _ALL_ALIKE).sum())
        lines.append(
            f"- {TASK_TITLES[str(task)]}: in the last epoch {mean} of the segments count as clean "
            f"(from {low} to {high}; runs: {len(last)}), and the network predicts the clip's "
            f"label for {agreed} of all. Of {len(divided)} partitions "
            f"{int(divided['collapsed'].sum())} collapsed to one component. In {alike} of "
            f"{len(last)} runs the network collapsed to one class: more than "
            f"{number(_ALL_ALIKE, percent=True)} of the segments get the same class."
        )
    return "\n".join(lines)


_ALL, _NOISY = "clean component or all segments", "noisy component or segments"
_MEASURES = {
    "clean_fraction": ("Clean segments\n(share)", _ALL),
    "clean_mean": ("Mean loss\n(nats)", _ALL),
    "noisy_mean": ("Mean loss\n(nats)", _NOISY),
    "agreement": ("Clip's label\npredicted (share)", _ALL),
    "noisy_agreement": ("Clip's label\npredicted (share)", _NOISY),
    "largest_class": ("Most frequent\nprediction (share)", _ALL),
    "stability": ("Unchanged\ndecision (share)", _ALL),
}
"""Columns of `self_learning_history`: what the axis says, and the name of the curve."""


def self_learning_figure(history: pd.DataFrame) -> Figure:
    """Partition of each epoch, from `self_learning_history`: thick the mean, thin each run."""
    frames = [
        history[["task", "fold", "seed", "epoch"]].assign(
            value=history[name], measure=measure, part=part
        )
        for name, (measure, part) in _MEASURES.items()
        if name in history
    ]
    return plots.curves(
        pd.concat(frames, ignore_index=True),
        "epoch",
        "value",
        units=("fold", "seed"),
        row="measure",
        column="task",
        hue="part",
        names=TASK_TITLES,
        xlabel="Epoch",
        height=8.0,
    )


def validation_against_test(results: Results) -> pd.DataFrame:
    """Accuracy on the clips that chose the epoch or the C, beside that on the test clips.

    The warm-up of self-learning does not count: its epochs are never chosen. SSSL is validated by
    the mean probabilities of the segments, before its support vector machine. One row a task and
    system that learns: task, system, validation (best of each run, mean over runs), test and gap.
    """
    best: dict[tuple[str, str], list[float]] = {}
    for spec in results.specs:
        history = pd.DataFrame(results.study.store.read(spec).history)
        if "clean_fraction" in history:
            history = history.dropna(subset=["clean_fraction"])
        if "valid_accuracy" in history:
            accuracy = history["valid_accuracy"].max()
            best.setdefault((spec.task, spec.system), []).append(accuracy)
    tested = results.predictions.groupby(["task", "system"])["correct"].mean()
    rows = [(*key, np.mean(values), tested[key]) for key, values in best.items()]
    table = pd.DataFrame(rows, columns=["task", "system", "validation", "test"])
    return table.assign(gap=table["validation"] - table["test"])
