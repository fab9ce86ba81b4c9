"""Fitted systems of segments, kept in the cache so that they can be asked again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mer.clips import Clip, Corpus, Labels
from mer.corpora.composed_trajectories import quadrant_shares
from mer.errors import ParameterError
from mer.study import fitted_models
from mer.study.fitted_models import Look
from mer.study.session import Session
from mer.study.specs import RunSpec
from mer.systems.segmented import FittedSegments
from mer.tasks import Task, get_task

_FOLDER = "segment-models"
_WHOLE = 1 - 1e-6


def looked_at(session: Session, specs: Sequence[RunSpec], look: Look) -> list[Any]:
    """What fitted systems of segments tell, see `mer.study.fitted_models.looked_at`."""
    return fitted_models.looked_at(session, specs, look, FittedSegments, _FOLDER)


def class_shares(clip: Clip, times: np.ndarray, task: Task) -> np.ndarray:
    """How much of each piece of a composed clip is of each class.

    Parameters
    ----------
    clip : Clip
        Of a composed corpus.
    times : np.ndarray, shape (n, 2)
        Begin and end of the pieces in seconds.
    task : Task
        "4Q", "A" or "V".

    Returns
    -------
    np.ndarray, shape (n, n_classes)
        Rows of sum 1.

    Raises
    ------
    MissingDataError, InvalidDataError
        As `mer.corpora.composed_trajectories.quadrant_shares`.
    ParameterError
        If quadrants do not tell the classes of the task.
    """
    told = [task.class_of(Labels(quadrant=quadrant)) for quadrant in (1, 2, 3, 4)]
    classes = [number for number in told if number is not None]
    if len(classes) < len(told):
        raise ParameterError(
            f"quadrants do not tell the classes of task {task.name!r}; take '4Q', 'A' or 'V'"
        )
    return quadrant_shares(clip, times) @ np.eye(len(task.classes))[classes]


def with_truth(segments: pd.DataFrame, corpus: Corpus, task_name: str) -> pd.DataFrame:
    """Segments of composed clips with the classes that they and their clips have.

    Parameters
    ----------
    segments : DataFrame
        With columns id, start and end in seconds; those of a clip together.
    corpus : Corpus
        The clips.
    task_name : str

    Returns
    -------
    DataFrame
        With further columns group; label (class of the clip, counted from 1); true (the class
        that fills most of the segment; of equals, the first) and pure (1 where it fills all of
        it, else 0).

    Raises
    ------
    MissingDataError, InvalidDataError, ParameterError
        As `class_shares`.
    """
    task = get_task(task_name)
    assert isinstance(task, Task), "segments have classes"
    clips = {clip.id: clip for clip in corpus}
    parts = []
    for clip_id, rows in segments.groupby("id", sort=False):
        clip = clips[str(clip_id)]
        shares = class_shares(clip, rows[["start", "end"]].to_numpy(), task)
        label = int(task.targets([clip])[0]) + 1
        pure = (shares.max(axis=1) > _WHOLE).astype(int)
        true = shares.argmax(axis=1) + 1
        parts.append(rows.assign(group=clip.group, label=label, true=true, pure=pure))
    return pd.concat(parts, ignore_index=True)
