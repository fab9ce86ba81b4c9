"""SSSL (Sun et al. 2024): rows of its tables, its claims, and the runs behind its pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from mer.errors import MissingDataError
from mer.study.claims import Answers, Claim, Comparison
from mer.study.parameters import SegmentParameters
from mer.study.profiles import default_split
from mer.study.published import published
from mer.study.runs import Runs as Runs
from mer.study.runs import run_possible
from mer.study.scores import METRICS, PublishedScores
from mer.study.session import Session, read_predictions
from mer.study.specs import RunSpec
from mer.systems.musicnn import has_weights

PROPOSED, WITHOUT_KL = "SSSL", "SSSL, no KL"
INHERITANCE, WHOLE_CLIP = "Segment inheritance", "VGG16, whole clip"
INHERITANCE_SVM = "Segment inheritance, SVM"
SVM, EMBEDDING, TWO_STAGE = "Audio-SVM", "Audio Embedding", "2-Stage"
COMPARED = (
    *("Constant", SVM, EMBEDDING, TWO_STAGE),
    *(WHOLE_CLIP, INHERITANCE, INHERITANCE_SVM, WITHOUT_KL, PROPOSED),
)
"""Rows of table 3, and our own: the constant, whole clips and inheritance."""

UNGROUPED = ("Song-lookup", SVM, EMBEDDING, PROPOSED)
"""Systems that are tested with artists on both sides of the split, too."""

DURATIONS = (1, 2, 3, 4, 5)
"""Of segments, in seconds: rows of tables 1 and 2."""

TASK_TITLES: Mapping[str, str] = MappingProxyType(
    {"A": "Arousal", "V": "Valence", "4Q": "Four quadrants", "cluster": "Mood clusters"}
)
OWN_MODEL = "a model of its own"
"""What answers every task here."""

DATASETS = ("PMEmo", "4Q", "EiM")
"""Of the paper."""

_STANDS_FOR = {
    "pmemo": "PMEmo",
    "emotify": "PMEmo",
    "four_quadrants": "4Q",
    "mirex_mood": "4Q",
    "emotion_in_music": "EiM",
}
_ROWS = {
    "SVM": SVM,
    "2-Stage": TWO_STAGE,
    "Audio Embedding": EMBEDDING,
    "Proposed*": WITHOUT_KL,
    "Proposed": PROPOSED,
}
_COLUMNS = {
    **{"V-acc": ("V", "accuracy"), "V-f1": ("V", "F1"), "Valence Acc.": ("V", "accuracy")},
    **{"A-acc": ("A", "accuracy"), "A-f1": ("A", "F1"), "Arousal Acc.": ("A", "accuracy")},
    **{"Valence F1": ("V", "F1"), "Arousal F1": ("A", "F1")},
    **{"Acc": ("4Q", "accuracy"), "F1": ("4Q", "F1")},
}


def swept(duration: float) -> str:
    """SSSL with segments of some seconds, as a system of its own."""
    return f"{PROPOSED}, {duration:g} s"


def published_on(corpus: str) -> str | None:
    """Dataset of the paper that a corpus is, or stands in for; None for composed corpora."""
    return _STANDS_FOR.get(corpus)


def published_scores(dataset: str | None) -> PublishedScores:
    """Published scores on one dataset as fractions, by (system, task, metric).

    Those of table 2 belong to `swept` systems, those of table 3 to the systems of `COMPARED`.
    """
    cells = published("sun2024").query("table in ('2', '3')")
    scores = {}
    for row, column, number in zip(cells["row"], cells["column"], cells["number"], strict=True):
        found, _, name = row.partition(" ")
        if found == dataset:
            system = swept(int(name)) if name.isdigit() else _ROWS[name]
            scores[(system, *_COLUMNS[column])] = float(number) / 100
    return scores


def accuracies(scores: PublishedScores) -> dict[tuple[str, str], float]:
    """Published accuracy by (system, task)."""
    return {key[:2]: value for key, value in scores.items() if key[2] == METRICS[0]}


def sweep_claims(tasks: Iterable[str]) -> tuple[Claim, ...]:
    """Claims of table 2 about some tasks, as they were put before any run was tested."""
    found = (
        Claim(
            "Short segments are best for arousal: 1 s is better than every longer duration",
            "2",
            tuple(Comparison(swept(1), swept(d), "A") for d in DURATIONS[1:]),
        ),
        Claim(
            "Longer segments are better for valence: 3 s are better than 1 s",
            "2",
            (Comparison(swept(3), swept(1), "V"),),
        ),
        Claim(
            "Longer segments are better for mood clusters, too: 3 s are better than 1 s",
            None,
            (Comparison(swept(3), swept(1), "cluster"),),
        ),
    )
    chosen = set(tasks)
    return tuple(claim for claim in found if claim.comparisons[0].task in chosen)


_COMPARISONS = (
    (
        "Self-learning is better than letting every segment inherit the label of its clip",
        None,
        INHERITANCE,
    ),
    (
        "Self-learning is better than inheritance if both decide on clips in the same way",
        None,
        INHERITANCE_SVM,
    ),
    ("The KL term helps", "3", WITHOUT_KL),
    ("Learning from segments is better than the same network on whole clips", None, WHOLE_CLIP),
    ("SSSL is better than 2-Stage", "3", TWO_STAGE),
    ("SSSL is better than a support vector machine on audio embeddings", "3", EMBEDDING),
    ("SSSL is better than a support vector machine on descriptors", "3", SVM),
)


def comparison_claims(tasks: Iterable[str]) -> tuple[Claim, ...]:
    """Claims of table 3, and those of the text that it does not test, about some tasks."""
    tasks = list(tasks)
    return tuple(
        Claim(text, table, tuple(Comparison(PROPOSED, other, task) for task in tasks))
        for text, table, other in _COMPARISONS
    )


def answered(predictions: pd.DataFrame) -> Answers:
    """Predictions as `mer.study.claims.judge` takes them."""
    return {OWN_MODEL: predictions}


def sessions(settings: SegmentParameters) -> dict[str, Session]:
    """Sessions of the corpora of a page, in order, without those of which nothing can be shown.

    Where nothing is computed, a corpus has to have a stored card.
    """
    found = {name: Session(own) for name, own in settings.by_corpus().items()}
    return {name: session for name, session in found.items() if _has_card(session)}


def _has_card(session: Session) -> bool:
    if session.settings.compute:
        return True
    try:
        session.store.read_card(session.corpus_name)
    except MissingDataError:
        return False
    return True


def absent(settings: SegmentParameters, shown: Mapping[str, Session]) -> str:
    """A sentence on corpora of which nothing is stored; empty where there are none."""
    names = [name for name in settings.by_corpus() if name not in shown]
    return "".join(f"Corpus **{name}** was not run. " for name in names)


def split_of(session: Session) -> str:
    """Cross-validation where results are stored for good, one partition for a first look."""
    return "cv" if session.profile.committed else "single"


def _split_name(session: Session) -> str:
    return default_split(session.corpus_name, split_of(session))


def protocol(session: Session) -> str:
    """How systems are tested, in a few words."""
    folds = session.card["splits"][_split_name(session)]["folds"]
    return f"{folds}-fold cross-validation" if folds > 1 else "one partition"


def caption(session: Session, task: str, shown: pd.DataFrame) -> str:
    """Of a table from `mer.study.scores.score_text`."""
    single = session.card["splits"][_split_name(session)]["folds"] == 1
    spread = "mean ± SD over seeds" if single else "over all test clips"
    text = f"{TASK_TITLES[task]}, {session.corpus_name} ({protocol(session)}): {spread} "
    text += "[95 % interval]"
    if any("published" in str(name) for name in shown):
        text += f". Published on {published_on(session.corpus_name)}"
    return text


def compared(session: Session) -> Runs:
    """Runs of table 3."""
    return _run(session, session.specs(COMPARED, split=split_of(session)))


def ungrouped(session: Session) -> tuple[Runs, Runs] | None:
    """Runs with artists kept together, and with artists on both sides; None without such a split.

    The corpus names the second split like the first, with "_ungrouped" added.
    """
    split = "cv10"
    if not {split, f"{split}_ungrouped"} <= session.card["splits"].keys():
        return None
    names = (split, f"{split}_ungrouped")
    grouped, leaky = (_run(session, session.specs(UNGROUPED, split=name)) for name in names)
    return grouped, leaky


def sweep(session: Session) -> Runs:
    """Runs of table 2: in their predictions each duration is a system (see `swept`)."""
    planned = [
        spec
        for duration in DURATIONS
        for spec in session.specs(
            [PROPOSED], split=split_of(session), changes={"duration": float(duration)}
        )
    ]
    runs = _run(session, planned)
    by_duration: dict[float, list[RunSpec]] = {}
    for spec in runs.specs:
        by_duration.setdefault(spec.parameters["duration"], []).append(spec)
    frames = [
        read_predictions(session.store, specs).assign(system=swept(duration))
        for duration, specs in by_duration.items()
    ]
    return Runs(planned, runs.specs, pd.concat(frames) if frames else runs.predictions)


def _run(session: Session, planned: list[RunSpec]) -> Runs:
    return run_possible(session, planned, _can_be_computed)


def _can_be_computed(spec: RunSpec) -> bool:
    # The embeddings need weights that everybody fetches for himself
    return spec.system != EMBEDDING or has_weights()


def diagnostics(session: Session, specs: Iterable[RunSpec]) -> pd.DataFrame:
    """What self-learning went through.

    Returns
    -------
    DataFrame
        One row a run and epoch: system, task, fold, seed, epoch (from 1), and the columns of the
        training history; those of the partition are missing in the warm-up.
    """
    frames = []
    for spec in specs:
        frame = pd.DataFrame(session.store.read(spec).history)
        place: dict[str, Any] = {
            "system": spec.system,
            "task": spec.task,
            "fold": spec.fold,
            "seed": spec.seed,
        }
        frames.append(frame.assign(**place, epoch=np.arange(1, len(frame) + 1)))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
