"""What labels, corpora, features and metrics refuse: a call, and the message that it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.clips import Clip, Labels
from mer.corpora import load
from mer.corpora.composed import quadrant_shares
from mer.errors import InvalidDataError, MerError, MissingDataError, ParameterError
from mer.evaluation import metrics
from mer.evaluation.labels import noise_detection, split_half_reliability
from mer.evaluation.resampling import Resampler, difference, group_bootstrap, mcnemar_exact
from mer.evaluation.transcription import note_scores
from mer.features import spectral
from mer.features.aggregation import song_statistics
from mer.features.compound_words import compound_words
from mer.features.descriptors import acoustic_descriptors, symbolic_descriptors
from mer.features.note_events import note_events, select_events

NAN, INF = float("nan"), float("inf")
NOISE = np.random.default_rng(0).normal(size=4096).astype(np.float32)
CHANGING = Clip("c", "g", meta={"segments": [{"start": 0.0, "end": 30.0, "quadrant": 1}]})


def note(onset: float = 0.0, offset: float = 1.0, pitch: float = 60, velocity: float = 64) -> Any:
    return np.array([[onset, offset, pitch, velocity]], dtype=float)


def composed(**options: Any) -> Any:
    return load("composed", **options)


def shares(begin: float, end: float) -> np.ndarray:
    return quadrant_shares(CHANGING, np.array([[begin, end]]))


def frame(**changes: Any) -> pd.DataFrame:
    """Predictions of four clips."""
    levels = {f"p_{k}": [0.25] * 4 for k in range(1, 5)}
    return pd.DataFrame({"target": [1, 2, 3, 4], **levels, **changes})


def reliability(ratings: list[float], items: list[int], n_splits: int = 3) -> Any:
    return split_half_reliability(ratings, items, n_splits=n_splits)


Refused = list[tuple[Callable[[], Any], str]]

QUADRANTS: tuple[Any, ...] = (0, 5, -1, 2.5, "1")
LEVELS = [(name, x) for name in ("valence", "arousal") for x in (-1.01, 1.5, NAN, INF)]

DATA: Refused = [
    *((lambda q=q: Labels(quadrant=q), "quadrant is .*; expected 1, 2, 3 or 4") for q in QUADRANTS),
    *((lambda n=n, x=x: Labels(**{n: x}), rf"{n} is .* in \[-1, 1\]") for n, x in LEVELS),
    (lambda: symbolic_descriptors(np.zeros((5, 3))), r"shape \(5, 3\)"),
    (lambda: symbolic_descriptors(np.zeros(4)), r"shape \(4,\)"),
    (lambda: symbolic_descriptors(note() * NAN), "NaN or infinity"),
    (lambda: symbolic_descriptors(note(1, 0)), "ends before it begins"),
    (lambda: acoustic_descriptors(NOISE[:0], 22050), "no samples"),
    (lambda: acoustic_descriptors(NOISE * np.float32(NAN), 22050), "NaN or infinite"),
    (lambda: song_statistics(np.empty((0, 4))), r"\(0, 4\); expected \(n_segments, n_classes\)"),
    (lambda: song_statistics(np.zeros(4)), r"shape \(4,\)"),
    (lambda: song_statistics(np.array([[0.5, NAN]])), "not a number from 0 to 1"),
    (lambda: song_statistics(np.array([[1.5, 0.0]])), "not a number from 0 to 1"),
    *((lambda p=p: shares(*p), "expected rows of begin") for p in ((3, 3), (-1, 2), (4, 2))),
    (lambda: shares(0, NAN), "expected rows of begin"),
]

PARAMETERS: Refused = [
    (lambda: acoustic_descriptors(NOISE, 8000), "sample rate 8000 Hz"),
    (lambda: spectral.mfcc(NOISE, 22050, n_mfcc=200), "200 MFCCs from 128 mel bands"),
    (lambda: spectral.mel_spectrogram(NOISE, 22050, n_mels=0), "0 mel bands; expected at least"),
    (lambda: spectral.power_spectrogram(NOISE, n_fft=1023), "frame length 1023"),
    (lambda: spectral.rms(NOISE, hop_length=0), "hop length 0"),
    (lambda: note_events(note(pitch=128)), "pitch or velocity is 128; expected 0-127"),
    (lambda: note_events(note(velocity=-1)), "pitch or velocity is -1; expected 0-127"),
    (lambda: note_events(note(pitch=NAN)), "pitch or velocity is nan"),
    (lambda: note_events(note(offset=INF)), "onset or offset that is not a finite number"),
    (lambda: select_events(note_events(note()), -1, 3), "window is -1 to 3"),
    (lambda: select_events(note_events(note()), 4, 3), "window is 4 to 3"),
    (lambda: compound_words(note(pitch=128)), "pitch is 128; expected 0-127"),
    (lambda: compound_words(note(offset=NAN)), "not a finite number"),
    (lambda: load("emopa"), "unknown corpus 'emopa'; .*emopia, composed"),
    (lambda: load("emopia", size=3), "'emopia' takes no option 'size'; .*folder"),
    (lambda: composed(size=0), "size is 0; expected an integer of 1 or more"),
    (lambda: composed(size="160"), "size is '160'"),
    (lambda: composed(size=True), "size is True"),
    (lambda: composed(seed=-1), "seed is -1; expected an integer of 0 or more"),
    (lambda: composed(seed=1.5), "seed is 1.5"),
    (
        lambda: composed(arrangement="choir"),
        "unknown arrangement 'choir'; expected: piano, ban",
    ),
    (lambda: composed(arrangement=None), "unknown arrangement None"),
    (lambda: composed(duration=1.0), "expected a number of seconds from 5 to 600"),
    (lambda: composed(duration=NAN), "duration is nan"),
    (lambda: composed(duration="30"), "duration is '30'"),
    (lambda: composed(duration=8.0, trajectories=True), "from 12 to 600 with trajectories"),
    (lambda: composed(trajectories="yes"), "trajectories is 'yes'; expected True or False"),
    (lambda: composed(size=8).split("cv10"), "10 folds"),
]

SCORES = (metrics.accuracy, metrics.macro_f1, metrics.rmse)
ARRAYS: tuple[Any, ...] = ([], [1.0, NAN], [[1.0], [2.0]], ["a", "b"])
FRAMES: list[tuple[dict[str, Any], str]] = [
    ({"p_2": [0.25, NAN, 0.25, 0.25]}, "not a probability distribution"),
    ({"p_2": [0.5, 0.25, 0.25, 0.25]}, "not a probability distribution"),
    ({"target": [1, 2, 3, 5]}, "not a class number"),
    ({"target": [1, 2, 3, NAN]}, "not a class number"),
]

EVALUATION: Refused = [
    *((lambda f=f, v=v: f(v, v), "found targets|not a finite") for f in SCORES for v in ARRAYS),
    *((lambda c=c: metrics.classification_report(frame(**c)), text) for c, text in FRAMES),
    (lambda: metrics.classification_report(frame().drop(columns="target")), "no column 'target'"),
    (lambda: metrics.answers(frame().drop(columns="p_1")), "probability columns"),
    (lambda: metrics.answers(frame()[:0]), "probability columns"),
    (lambda: metrics.accuracy([1, 2], [1, 2, 3]), r"\(2,\) and predictions of shape \(3,\)"),
    (lambda: metrics.r2([1.0, 1.0], [0.0, 1.0]), "all targets are equal"),
    (lambda: metrics.confusion_matrix([0, 2], [0, 1], 2), r"outside 0 ... 1"),
    (lambda: Resampler([]), "one for each clip"),
    (lambda: Resampler([["a"], ["b"]]), "one for each clip"),
    (lambda: group_bootstrap([], []), "no values"),
    (lambda: group_bootstrap([1.0, NAN], ["a", "b"]), "not finite"),
    (lambda: group_bootstrap([1.0, 0.0], ["a", "b", "c"]), "for 2 clips"),
    (lambda: group_bootstrap([1.0, 0.0], ["a", "a"]), "all clips are of one group"),
    (lambda: group_bootstrap(1.0, ["a"]), r"shape \(\)"),
    (lambda: group_bootstrap([1, 0], ["a", "b"], n_resamples=0), "n_resamples is 0"),
    (lambda: mcnemar_exact([], []), "no values"),
    (lambda: mcnemar_exact([1, 0], [1]), "found 2 and 1 clips"),
    (lambda: mcnemar_exact([1, 0.5], [1, 0]), "right"),
    (lambda: mcnemar_exact([1, NAN], [1, 0]), "right"),
    (lambda: mcnemar_exact([[1, 0]], [[1, 0]]), "right"),
    (lambda: difference([[1], [0], [1]], [[1], [0]], list("abc")), "found 3 and 2 clips"),
    (lambda: difference([[1.0], [NAN]], [[1], [0]], list("ab")), "not finite"),
    (lambda: difference(np.empty((0, 1)), np.empty((0, 1)), list("a")), "no values"),
    (lambda: noise_detection([], [], []), "not empty"),
    (lambda: noise_detection([0.5], [1, 0], ["a"]), r"shapes \(1,\), \(2,\)"),
    (lambda: noise_detection([0.5, 1.5], [1, 0], ["a", "a"]), "not in"),
    (lambda: noise_detection([0.5, NAN], [1, 0], ["a", "a"]), "not in"),
    (lambda: reliability([1.0, 2.0], [0]), r"shape \(2,\) and items of shape \(1,\)"),
    (lambda: reliability([1, NAN, 2, 1, 2, 3], [0, 0, 1, 1, 2, 2]), "not a finite number"),
    (lambda: reliability([1, 2, 3, 4], [0, 0, 1, 1]), "found 2 items; expected 3 or more"),
    (lambda: reliability([1, 2, 3, 4, 5], [0, 0, 1, 1, 2]), "item 2 has one rating"),
    (lambda: reliability([1.0] * 6, [0, 0, 1, 1, 2, 2]), "same mean rating"),
    (lambda: reliability([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2], 0), "n_splits is 0"),
    (lambda: note_scores(np.zeros((3, 3)), note()), r"reference has shape \(3, 3\); expected"),
    (lambda: note_scores(note(offset=NAN), note()), "reference has values that are not finite"),
    (lambda: note_scores(note(1, 1), note()), r"reference has a note from 1\.0 s to 1\.0 s"),
    (lambda: note_scores(note(), note(-1)), r"estimate has a note from -1\.0 s"),
]


def check(call: Callable[[], Any], error: type[MerError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), DATA)
def test_data(call: Callable[[], Any], message: str) -> None:
    check(call, InvalidDataError, message)


@pytest.mark.parametrize(("call", "message"), [*PARAMETERS, *EVALUATION])
def test_parameters(call: Callable[[], Any], message: str) -> None:
    check(call, ParameterError, message)


def test_other_corpora_have_no_emotion_over_time() -> None:
    with pytest.raises(MissingDataError, match="'x' does not tell its emotion over time"):
        quadrant_shares(Clip("x", "x"), np.array([[0.0, 1.0]]))
