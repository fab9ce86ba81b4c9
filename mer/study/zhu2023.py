"""Symbolic & Acoustic (Zhu et al. 2023): rows of its tables, its claims, and what answers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from mer.study.baselines import published_baselines
from mer.study.claims import Claim, Comparison
from mer.study.published import published_value
from mer.study.tables import (
    PublishedCells,
    against,
    comparison,
    estimate_text,
    head_predictions,
    implied_predictions,
    late_average,
    number_text,
)

PROPOSED = "Symbolic & Acoustic"
BRANCHES = ("Symbolic-only", "Acoustic-only")
ABLATIONS = (*BRANCHES, "STFT-input", "Single-loss")
"""Rows of table 4 beside the proposed model."""

RELEASED = f"{PROPOSED}, released MIDI"
UNTRAINED = f"{PROPOSED}, no pre-training"
TWO_CORPORA = f"{PROPOSED}, MAESTRO + Pop1K7"
VARIANTS = (RELEASED, UNTRAINED, TWO_CORPORA)
LATE_AVERAGE = "Late average"
SYSTEMS = (PROPOSED, *ABLATIONS, *VARIANTS)
CROSS_VALIDATED = (PROPOSED, *BRANCHES)

SYMBOLIC_BASELINES = ("LSTM-Attn + MIDI-like", "LSTM-Attn + REMI", "Symbolic-LR")
ACOUSTIC_BASELINES = ("Audio-LR", "Short-chunk ResNet")
SVM = "Symbolic+Audio-SVM"
OWN_BASELINES = ("Symbolic-SVM", "Audio-SVM", SVM)
CROSS_VALIDATED_BASELINES = ("LSTM-Attn + MIDI-like", "Symbolic-LR", *OWN_BASELINES)
NOT_HERE = ("MIDIBERT", "MT-MIDIBERT")
"""Rows of table 2 that are shown as published only: the page on zhao2023 has them."""

PAPER_TABLES: Mapping[str, tuple[str, ...]] = {
    "2": (*SYMBOLIC_BASELINES, *NOT_HERE, PROPOSED),
    "3": (*ACOUSTIC_BASELINES, PROPOSED),
    "4": (*ABLATIONS, PROPOSED),
}
"""Systems of each of the paper's tables, in its order."""

OWN_ROWS: Mapping[str, tuple[str, ...]] = {
    "2": ("Symbolic-SVM",),
    "3": ("Audio-SVM", SVM),
    "4": (LATE_AVERAGE, *VARIANTS),
}
"""Our own rows beside them."""

DIRECT, IMPLIED = "own model or head", "4Q answer"
"""What answers a binary task."""

COMPARISON_CLAIMS = (
    Claim(
        "The proposed model is better than LSTM-Attn + MIDI-like on four quadrants",
        "2",
        (Comparison(PROPOSED, "LSTM-Attn + MIDI-like"),),
    ),
    Claim(
        "The proposed model is better on valence than every method that reads symbols",
        "2",
        tuple(Comparison(PROPOSED, name, "V") for name in SYMBOLIC_BASELINES),
    ),
    Claim(
        "The proposed model is better than the short-chunk ResNet on four quadrants",
        "3",
        (Comparison(PROPOSED, "Short-chunk ResNet"),),
    ),
)
ABLATION_CLAIMS = (
    Claim(
        "On four quadrants both domains together are better than each alone",
        "4",
        tuple(Comparison(PROPOSED, name) for name in BRANCHES),
    ),
    Claim(
        "Fusion costs accuracy where one branch is strong: the acoustic one on arousal, the "
        "symbolic one on valence",
        "4",
        (
            Comparison("Acoustic-only", PROPOSED, "A"),
            Comparison("Symbolic-only", PROPOSED, "V"),
        ),
    ),
    Claim(
        "The acoustic branch is better on arousal than the symbolic branch",
        "4",
        (Comparison("Acoustic-only", "Symbolic-only", "A"),),
    ),
    Claim(
        "The symbolic branch is better on valence than the acoustic branch",
        "4",
        (Comparison("Symbolic-only", "Acoustic-only", "V"),),
    ),
    Claim(
        "With an STFT spectrogram instead of the mixed feature, arousal is worse",
        "4",
        (Comparison(PROPOSED, "STFT-input", "A"),),
    ),
    Claim(
        "Without the losses of the branches, four quadrants and arousal are worse",
        "4",
        (Comparison(PROPOSED, "Single-loss"), Comparison(PROPOSED, "Single-loss", "A")),
    ),
)
QUESTIONS = (
    Claim("The transcription costs accuracy", None, (Comparison(RELEASED, PROPOSED),)),
    Claim("Pre-training on MAESTRO helps", None, (Comparison(PROPOSED, UNTRAINED),)),
    Claim("Pre-training on pop piano as well helps", None, (Comparison(TWO_CORPORA, PROPOSED),)),
    Claim(
        "Attention between the domains is better than the mean of two branches",
        None,
        (Comparison(PROPOSED, LATE_AVERAGE),),
    ),
    Claim(
        "An SVM on plain descriptors of both domains is better than the proposed model",
        None,
        (Comparison(SVM, PROPOSED),),
    ),
)
"""Of our own: where a gap could come from. Each is worded and judged like a claim."""


def published_zhu2023() -> dict[tuple[str, str], float]:
    """Published accuracy by (system, task), from tables 2, 3 and 4."""
    rows = {PROPOSED: "proposed model", **{name: name for name in ABLATIONS}}
    cells = {
        (system, task): published_value("zhu2023", "4", row, task)
        for system, row in rows.items()
        for task in ("4Q", "A", "V")
    }
    others = {(name, "4Q"): published_value("zhu2023", "2", name, "4Q") for name in NOT_HERE}
    return {**published_baselines(), **others, **cells}


def answers(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Predictions by what gave them.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`.

    Returns
    -------
    dict of str to DataFrame
        `DIRECT`: predictions of models that were trained for the task, and for arousal and
        valence those of heads; a column `by` says which. `IMPLIED`: what four-quadrant answers
        imply for arousal and valence.
    """
    direct = [predictions.assign(by="own model")]
    heads = predictions.filter(regex="^head_")
    if heads.notna().any(axis=None):
        direct.append(head_predictions(predictions).assign(by="head"))
    implied = implied_predictions(predictions).assign(by="4Q answer")
    return {DIRECT: pd.concat(direct, ignore_index=True), IMPLIED: implied}


def with_late_average(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions and, where both branches are among them, those of their late average."""
    if not {*BRANCHES} <= {*predictions["system"]}:
        return predictions
    averaged = late_average(predictions, BRANCHES, LATE_AVERAGE)
    return pd.concat([predictions, averaged], ignore_index=True)


def paired(predictions: pd.DataFrame, task: str = "4Q") -> pd.DataFrame:
    """Paired differences from the proposed model, for reading.

    Returns
    -------
    DataFrame
        As `mer.study.tables.against`, indexed by system, with p as text.
    """
    pairs = against(predictions, PROPOSED, task)
    if pairs.empty:
        return pairs
    p = [f"{value:.3f}" if value >= 0.001 else "< 0.001" for value in pairs["p"]]
    return pairs.assign(p=p).set_index("system")


def task_table(
    given: Mapping[str, pd.DataFrame],
    published: PublishedCells,
    task: str,
    systems: Iterable[str],
) -> pd.DataFrame:
    """Published and reproduced accuracy of some systems on one task, as text.

    Parameters
    ----------
    given : mapping of str to DataFrame
        From `answers`.
    published : mapping
        Accuracy by (system, task).
    task : str
    systems : iterable of str
        Rows, in order; those that were neither run nor published are left out.

    Returns
    -------
    DataFrame
        Columns published (where there is any), one for each kind of answers; then seeds and audio
        for four quadrants, and for a binary task by, a model of its own or a head.
    """
    frames = {kind: frame[frame["task"] == task] for kind, frame in given.items()}
    texts = {kind: _estimates(frame) for kind, frame in frames.items() if len(frame)}
    rows = {}
    for system in systems:
        value = published.get((system, task), np.nan)
        cells = {kind: text.get(system, "–") for kind, text in texts.items()}
        if np.isnan(value) and set(cells.values()) == {"–"}:
            continue
        run = pd.concat([frame[frame["system"] == system] for frame in frames.values()])
        rows[system] = {"published": number_text(value), **cells, **_facts(system, run)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    dropped = ["by"] if task == "4Q" else ["seeds", "audio"]
    if not any((system, task) in published for system in rows):
        dropped.append("published")
    names = {DIRECT: "reproduced"} if task == "4Q" else {IMPLIED: "implied by 4Q"}
    return table.drop(columns=dropped).rename(columns=names)


def _estimates(frame: pd.DataFrame) -> dict[str, str]:
    table = comparison(frame, {}).set_index("system")
    return {str(system): estimate_text(row) for system, row in table.iterrows()}


def _facts(system: str, run: pd.DataFrame) -> dict[str, str]:
    if run.empty:
        return {"by": "–", "seeds": "–", "audio": "on another page" if system in NOT_HERE else "–"}
    return {
        "by": str(run["by"].iloc[0]).replace("4Q answer", "–"),
        "seeds": str(run["seed"].nunique()),
        "audio": str(run["audio"].iloc[0]).replace("none", "–"),
    }
