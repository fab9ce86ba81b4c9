"""All rows of the papers by name, at sizes that a test trains in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mer.clips import Corpus
from mer.papers import overview
from mer.systems.base import Context, System
from mer.systems.selecting import SelectingClassifier
from mer.tasks import get_task

Parts = tuple[Corpus, Corpus, Corpus]
"""Train, validation and test clips."""

ROWS: Mapping[str, System] = dict(overview.KNOWN_ROWS)

_MULTIFACETED = {"epochs": 1, "window_seconds": 2.0, "pool": 4, "width": 8, "classifier": 8}
_BRANCHES = {"embedding": 8, "hidden": 4, "harmony_channels": 2, "tone_color_channels": 2}
SMALL: Mapping[str, dict[str, Any]] = {
    "LSTM-Attn": {
        **{"epochs": 2, "window": 32, "embedding": 8, "hidden": 4},
        **{"attention": 4, "hops": 2, "classifier": 8},
    },
    "Short-chunk ResNet": {"epochs": 1, "channels": 2, "n_mels": 32, "window": 40},
    "Symbolic & Acoustic": {
        **{"epochs": 1, "window_seconds": 2.0, "width": 16, "n_mels": 20, "n_fft": 256},
        **{"layers": 1, "heads": 2, "pretraining": "none"},
    },
    "Multifaceted": {**_MULTIFACETED, **_BRANCHES},
    "MidiBERT": {"encoder_size": "small", "epochs": 1, "window": 32, "pretraining": "none"},
    "VGG16": {
        **{"epochs": 2, "n_mels": 32, "width": 1 / 32, "duration": 1.0},
        **{"segments_per_epoch": 2, "warm_up": 1},
    },
    "2-Stage": {"epochs": 1, "encoder_epochs": 1, "n_mels": 32, "code": 8, "channels": 2},
}
"""By family of systems."""


def row(name: str, **changes: Any) -> Any:
    """A row with other hyper-parameters."""
    return ROWS[name].configured(changes)


def small(name: str, **changes: Any) -> Any:
    """A row at the sizes of tests, or others."""
    own: dict[str, Any] = {"inner_folds": 2} if isinstance(ROWS[name], SelectingClassifier) else {}
    for option in ("sound_copies", "by_collection"):  # they have tests of their own
        if getattr(ROWS[name], option, False):
            own[option] = type(getattr(ROWS[name], option))()
    return row(name, **{**SMALL.get(ROWS[name].family, {}), **own, **changes})


def fitted(system: System, parts: Parts, task: str = "4Q", seed: int = 0) -> Any:
    """The system after training on the CPU."""
    return system.fit(parts[0], parts[1], Context(get_task(task), seed=seed, device="cpu"))
