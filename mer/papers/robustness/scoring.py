"""Answers of systems in other sounds, from the store where they are there, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mer.clips import Corpus, Fold
from mer.errors import MissingDataError, ParameterError
from mer.evaluation.resampling import difference, group_bootstrap
from mer.features import descriptors
from mer.papers.robustness.lineup import READING, TRAINED_ON, unseen
from mer.sounds import REVISION, SOUNDS, in_sound
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.tables import Rows, Table
from mer.systems.base import Fitted
from mer.systems.clip_descriptors import NAMES, acoustic, robust
from mer.systems.transcribed import transcribed
from mer.tasks import Task, get_task

CODECS = tuple(name for name, variant in SOUNDS.items() if variant.codec)

COLUMNS = ["system", "sound", "id", "group", "target", "predicted"]


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


def try_row(study: Study, rows: Rows, sounds: Sequence[str]) -> pd.DataFrame | None:
    """Accuracy of rows of one's own in each sound; None where nothing is computed."""
    _check(sounds)
    sounds = list(dict.fromkeys((TRAINED_ON, *sounds)))
    tried = study.try_rows(Table("", "Rows of your own", {}, tasks=("4Q",)), rows)
    if tried is None:
        return None
    scored = scores(predictions(study, tried.of(*rows), sounds))
    return scored.pivot_table("accuracy", "system", "sound", sort=False)


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
