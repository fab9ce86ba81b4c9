"""Whether self-learning finds wrong labels, on clips whose emotion changes at known times.

In the composed corpus with trajectories the emotion of every segment is known, and the label that
it inherits from its clip is wrong for some. Systems of segments are trained there as everywhere,
with the labels of clips only, and then compared with the truth.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from mer.clips import Corpus, Fold
from mer.errors import MissingDataError, ParameterError
from mer.evaluation.noise import NoiseDetection, detection_by_groups, noise_detection
from mer.study.executor import environment
from mer.study.parameters import SegmentParameters, StudyParameters
from mer.study.segment_models import looked_at, with_truth
from mer.study.session import Session
from mer.study.specs import RunSpec
from mer.study.sun2024 import DURATIONS, INHERITANCE, PROPOSED, WITHOUT_KL
from mer.systems.segmented import FittedSegments
from mer.systems.sun2024 import SSSL

CORPUS = "composed_trajectories"
LEARNING = (PROPOSED, WITHOUT_KL)
SYSTEMS = (*LEARNING, INHERITANCE)
ABLATED = 3
"""Duration of segments, in seconds, for which the KL term is left out, too."""

TASKS = ("4Q", "A", "V")
"""Those that the corpus tells for every segment."""

_TRAINING: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "quick": {"segments_per_epoch": 14, "epochs": 12},
        "cpu": {"segments_per_epoch": 12},
    }
)
"""By profile: hyper-parameters that differ from those on recordings. Composed corpora have fewer
clips; more segments of each make up for that."""

_WARM_UP = {"quick": {"warm_up": 5}}
"""Of systems that learn from themselves: a mixture that divides what a network says before it has
learned anything divides the classes."""

REVISION = 1
"""Of the stored tables."""

TRAIN, TEST = "train", "test"
PLACE = ["task", "system", "duration"]
"""Columns that all tables have."""

_DURATIONS = {"smoke": (1, 3), "quick": (1, 3)}
_FOLDS = {"smoke": (0, 1), "quick": (0,)}
_DEFAULT_TASKS = {"paper": TASKS}
_COUNTS = ["models", "segments", "right", "label_right", "pure", "right_pure", "label_right_pure"]
_CLIP = [*PLACE, "part", "id", "group"]


class Found(NamedTuple):
    """What is known of the systems' segments.

    Attributes
    ----------
    epochs : DataFrame
        One row a model and epoch after the warm-up: task, system, duration (seconds), fold, epoch
        (from 1) and the fields of `mer.evaluation.noise.NoiseDetection`.
    detection : DataFrame
        How well the divisions of the last epoch find wrong labels. One row a task, system and
        duration: task, system, duration, folds (number), clips, and for each field of
        `NoiseDetection` but n its mean over folds with a 95 % interval that draws songs again
        (auc, auc_low, auc_high, ...).
    clips : DataFrame
        One row a clip and its part in training: task, system, duration, part, id, group, models
        (number of them), and sums over these models: segments, right (answered with their own
        class), label_right (whose class is that of the clip), pure (wholly of one class),
        right_pure and label_right_pure.
    """

    epochs: pd.DataFrame
    detection: pd.DataFrame
    clips: pd.DataFrame


class Look(NamedTuple):
    """What is known of one fitted system: as in `Found`, but for the last division.

    Attributes
    ----------
    epochs, clips : DataFrame
    division : DataFrame
        One row a segment that the last epoch divided: task, system, duration, fold, id and group
        of its clip, p_clean, noisy (1 where its label is wrong, else 0).
    """

    epochs: pd.DataFrame
    division: pd.DataFrame
    clips: pd.DataFrame


def with_ends(name: str) -> tuple[str, str, str]:
    """Columns of an estimate and the ends of its interval."""
    return name, f"{name}_low", f"{name}_high"


_DIVIDED = [*PLACE, "fold", "id", "group", "p_clean", "noisy"]
_COLUMNS = {
    "epochs": [*PLACE, "fold", "epoch", *NoiseDetection._fields],
    "detection": [
        *(*PLACE, "folds", "clips"),
        *(column for name in NoiseDetection._fields[1:] for column in with_ends(name)),
    ],
    "clips": [*_CLIP, *_COUNTS],
}


def noise_session(settings: SegmentParameters) -> Session:
    """The session of the page: on the one corpus that knows, whatever the parameter `corpus`.

    Raises
    ------
    ParameterError
        If all tasks are others than those that this corpus tells for every segment.
    """
    if settings.tasks and not set(settings.tasks) & set(TASKS):
        raise ParameterError(
            f"tasks is {settings.tasks}; of segments of corpus '{CORPUS}' only {', '.join(TASKS)} "
            "are known: expected one of these"
        )
    tasks = known_tasks(settings)
    shared = settings.model_dump(exclude={"corpus", "tasks"})
    return Session(StudyParameters(**shared, corpus=CORPUS, tasks=tasks))


def known_tasks(settings: SegmentParameters) -> list[str]:
    """Tasks of pages on composed corpora: those that the parameters name, if segments tell them.

    By default that is arousal in all profiles but `paper`: each further task trains as much again.
    """
    default = _DEFAULT_TASKS.get(settings.profile, ("A",))
    return [task for task in settings.tasks or () if task in TASKS] or list(default)


def planned(session: Session) -> list[RunSpec]:
    """All runs of the page: systems, tasks, durations of segments and folds.

    The ablation is that of the paper, with segments of `ABLATED` seconds only.
    """
    profile = session.profile.name
    return [
        spec
        for duration in _DURATIONS.get(profile, DURATIONS)
        for system in SYSTEMS
        if system != WITHOUT_KL or duration == ABLATED
        for spec in session.specs(
            [system],
            split="cv",
            folds=_FOLDS.get(profile),
            changes={**training_changes(profile, system), "duration": float(duration)},
        )
    ]


def training_changes(profile: str, system: str) -> dict[str, Any]:
    """Hyper-parameters of a system that differ on composed corpora."""
    warm_up = _WARM_UP.get(profile, {}) if system in LEARNING else {}
    return {**_TRAINING.get(profile, {}), **warm_up}


def collected(session: Session) -> Found:
    """What the fitted systems tell, from the store where it is there.

    Where nothing is to be computed, what is not stored is left out.

    Parameters
    ----------
    session : Session
        From `noise_session`.
    """
    parts: dict[str, list[pd.DataFrame]] = {kind: [] for kind in Found._fields}
    tables: dict[tuple[str, str], list[RunSpec]] = {}
    if not _is_known(session):
        return _joined(parts)
    for spec in planned(session):
        tables.setdefault((spec.task, spec.system), []).append(spec)
    for specs in tables.values():
        for kind, table in _tables(session, specs).items():
            parts[kind].append(table)
    return _joined(parts)


def _is_known(session: Session) -> bool:
    try:
        return bool(session.card)
    except MissingDataError:
        return False


def _joined(parts: dict[str, list[pd.DataFrame]]) -> Found:
    joined = {
        kind: pd.concat(frames, ignore_index=True)
        if frames
        else pd.DataFrame(columns=_COLUMNS[kind])
        for kind, frames in parts.items()
    }
    return Found(**joined)


def _tables(session: Session, specs: Sequence[RunSpec]) -> dict[str, pd.DataFrame]:
    """Stored tables of one system and task, computed first if they may be."""
    system, task = specs[0].system, specs[0].task
    key = {"runs": [spec.key for spec in specs], "revision": REVISION}

    @cache
    def computed() -> tuple[Found, dict[str, Any]]:
        return _compute(session, specs)

    tables = {}
    for kind in Found._fields if system in LEARNING else ("clips",):

        def table(kind: str = kind) -> tuple[pd.DataFrame, dict[str, Any]]:
            found, details = computed()
            return getattr(found, kind), details

        name = f"label noise {kind} {task} {system} {session.corpus_name}"
        try:
            compute = table if session.settings.compute else None
            tables[kind] = session.store.table(name, key, compute)
        except MissingDataError:
            if session.settings.compute:
                raise
    return tables


def _compute(session: Session, specs: Sequence[RunSpec]) -> tuple[Found, dict[str, Any]]:
    started = time.perf_counter()
    looks: list[Look] = looked_at(session, specs, look)
    epochs, divisions, clips = (
        pd.concat(frames, ignore_index=True) for frames in zip(*looks, strict=True)
    )
    summed = clips.groupby(_CLIP, sort=False)[_COUNTS].sum().reset_index()
    details = {
        "models": len(specs),
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    return Found(epochs, detection(divisions), summed), details


def detection(divisions: pd.DataFrame) -> pd.DataFrame:
    """How well divisions of the last epoch find wrong labels, see `Found`.

    Parameters
    ----------
    divisions : DataFrame
        Rows of `Look.division`, of several models.
    """
    rows = []
    for place, division in divisions.groupby(PLACE, sort=False):
        scores = detection_by_groups(
            *(division[name] for name in ("p_clean", "noisy", "id", "group", "fold"))
        )
        row = dict(zip(PLACE, place, strict=True))
        row |= {"folds": division["fold"].nunique(), "clips": division["id"].nunique()}
        for name, estimate in scores.items():
            row |= dict(zip(with_ends(name), estimate, strict=True))
        rows.append(row)
    return pd.DataFrame(rows, columns=_COLUMNS["detection"])


def look(fitted: FittedSegments, spec: RunSpec, corpus: Corpus, fold: Fold) -> Look:
    """What is known of one fitted system."""
    place = {"task": spec.task, "system": spec.system, "duration": spec.parameters["duration"]}
    clips = [
        _clip_counts(fitted, corpus.select(ids), spec.task).assign(part=part, **place)
        for part, ids in ((TRAIN, fold.train), (TEST, fold.test))
    ]
    epochs, division = _noise(fitted, spec, corpus)
    place["fold"] = spec.fold
    return Look(
        epochs.assign(**place).reindex(columns=_COLUMNS["epochs"]),
        division.assign(**place).reindex(columns=_DIVIDED),
        pd.concat(clips, ignore_index=True)[_COLUMNS["clips"]],
    )


def _clip_counts(fitted: FittedSegments, corpus: Corpus, task: str) -> pd.DataFrame:
    segments = with_truth(fitted.segment_probabilities(list(corpus)), corpus, task)
    answer = segments.filter(regex="^p_[0-9]").to_numpy().argmax(axis=1) + 1
    right, label_right = (
        (given == segments["true"]).astype(int) for given in (answer, segments["label"])
    )
    counted = segments.assign(
        models=0,
        segments=1,
        right=right,
        label_right=label_right,
        right_pure=right * segments["pure"],
        label_right_pure=label_right * segments["pure"],
    )
    sums = counted.groupby(["id", "group"], sort=False)[_COUNTS].sum().reset_index()
    return sums.assign(models=1)


def _noise(
    fitted: FittedSegments, spec: RunSpec, corpus: Corpus
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Epochs and last division of a system; without rows if it divides nothing."""
    if not isinstance(fitted.system, SSSL):
        return pd.DataFrame(), pd.DataFrame()
    known = with_truth(fitted.training_segments, corpus, spec.task)
    known["noisy"] = (known["true"] != known["label"]).astype(int)
    keys = ["id", "segment"]
    divided = fitted.partitions().merge(known[[*keys, "group", "noisy"]], on=keys)
    rows = []
    for _, frame in divided.groupby("epoch"):
        scores = noise_detection(
            frame["p_clean"], frame["noisy"], frame["id"], threshold=fitted.system.threshold
        )
        rows.append({"epoch": frame["epoch"].iloc[0] + 1, **scores._asdict()})
    return pd.DataFrame(rows), divided[divided["epoch"] == divided["epoch"].max()]
