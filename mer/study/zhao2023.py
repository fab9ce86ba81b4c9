"""Multifaceted (Zhao and Yoshii 2023): rows of its tables, its claims, and the runs behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from mer.clips import Corpus, Fold
from mer.study.baselines import WITHOUT_MUSIC
from mer.study.claims import Claim, Comparison
from mer.study.fitted_models import Look, looked_at
from mer.study.published import published
from mer.study.runs import Runs, run_possible
from mer.study.session import Session
from mer.study.specs import RunSpec

PROPOSED, WITHOUT_ATTENTION = "Multifaceted", "Without MHSA"
SYMBOLIC, HARMONY, TONE_COLOR = BRANCHES = (
    "Symbolic branch",
    "Harmony branch",
    "Tone color branch",
)
PAIRS = ("Symbolic + harmony", "Symbolic + tone color", "Harmony + tone color")
"""Ours: one branch left out, joined by self-attention as the whole."""

MIDIBERT, MT_MIDIBERT, QM_MIDIBERT = PRETRAINED = ("MidiBERT", "MT-MidiBERT", "QM-MidiBERT")
UNTRAINED = "MidiBERT, no pre-training"
LANGUAGE_MODELS = (*PRETRAINED, UNTRAINED)
"""Trained on four quadrants only, as in the paper."""

READING = ("LSTM-Attn + MIDI-like", "LSTM-Attn + REMI", "Symbolic-LR")
HEARING = ("Audio-LR", "Short-chunk ResNet")
BASELINES = (*READING, *HEARING)
SYMBOLIC_SVM, SVM = "Symbolic-SVM", "Symbolic+Audio-SVM"
OWN_BASELINES = (SYMBOLIC_SVM, "Audio-SVM", SVM)
CROSS_VALIDATED = (PROPOSED, WITHOUT_ATTENTION, *BRANCHES)
CROSS_VALIDATED_BASELINES = ("LSTM-Attn + MIDI-like", "Symbolic-LR", "Audio-LR", *OWN_BASELINES)
LEAKED = (*WITHOUT_MUSIC, SYMBOLIC_SVM, PROPOSED, *LANGUAGE_MODELS)
"""Systems that are also tested with songs on both sides of the split."""

SYSTEMS = (PROPOSED, *BRANCHES, WITHOUT_ATTENTION, *PAIRS)

PAPER_TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "I": (PROPOSED, *BASELINES),
        "II": (PROPOSED, *PRETRAINED),
        "III": (PROPOSED, *BRANCHES, WITHOUT_ATTENTION),
    }
)
"""Systems of each of the paper's tables, in its order."""

OWN_ROWS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"I": OWN_BASELINES, "II": (UNTRAINED, SYMBOLIC_SVM), "III": PAIRS}
)
"""Our own rows beside them."""

OWN_MODEL = "a model of its own"
"""What answers every task here."""

MARGIN = 0.05
"""Of accuracy: systems that differ by no more are as good as each other. Fixed before any run."""

_PUBLISHED_ROWS: Mapping[str, str] = MappingProxyType(
    {
        **{"Ours": PROPOSED, "Full model": PROPOSED, "Without MHSA": WITHOUT_ATTENTION},
        **{"LSTM-Attn+MIDI-like": READING[0], "LSTM-Attn+REMI": READING[1]},
        "Symbolic analysis branch": SYMBOLIC,
        "Harmony analysis branch": HARMONY,
        "Tone color analysis branch": TONE_COLOR,
    }
)
"""Names of the paper's rows, where they are not those of our systems."""

_COLUMNS = {"4Q": "4Q", "4Q Accuracy": "4Q", "Arousal": "A", "Valence": "V"}

_FEW_FOLDS: Mapping[str, tuple[int, ...]] = MappingProxyType({"smoke": (0,), "quick": (0,)})
"""Folds of cross-validation of the profiles that do not run all of them."""

COMPARISON_CLAIMS = (
    Claim(
        "The proposed model is better than every baseline on four quadrants",
        "I",
        tuple(Comparison(PROPOSED, name) for name in BASELINES),
    ),
    Claim(
        "The proposed model is better than every baseline on valence",
        "I",
        tuple(Comparison(PROPOSED, name, "V") for name in BASELINES),
    ),
    Claim(
        f"On arousal the proposed model is as good as every baseline, within {MARGIN:g}",
        "I",
        tuple(Comparison(PROPOSED, name, "A", margin=MARGIN) for name in BASELINES),
    ),
    Claim(
        "Systems that hear audio are better on arousal: descriptors against descriptors, network "
        "against network",
        "I",
        (Comparison("Audio-LR", "Symbolic-LR", "A"), Comparison(HEARING[1], READING[0], "A")),
    ),
    Claim(
        "Systems that read MIDI are better on valence: descriptors against descriptors, network "
        "against network",
        "I",
        (Comparison("Symbolic-LR", "Audio-LR", "V"), Comparison(READING[0], HEARING[1], "V")),
    ),
    Claim(
        "The proposed model is as good as the best pre-trained language model, QM-MidiBERT, "
        f"within {MARGIN:g}",
        "II",
        (Comparison(PROPOSED, QM_MIDIBERT, margin=MARGIN),),
    ),
    Claim(
        "The proposed model is better than MidiBERT and MT-MidiBERT",
        "II",
        (Comparison(PROPOSED, MIDIBERT), Comparison(PROPOSED, MT_MIDIBERT)),
    ),
    Claim(
        "Both ways to go beyond MidiBERT help: more tasks in fine-tuning (MT-MidiBERT), and other "
        "masks in pre-training (QM-MidiBERT)",
        "II",
        (Comparison(MT_MIDIBERT, MIDIBERT), Comparison(QM_MIDIBERT, MIDIBERT)),
    ),
)
COMPARISON_QUESTIONS = (
    Claim("Pre-training helps MidiBERT", None, (Comparison(MIDIBERT, UNTRAINED),)),
    Claim(
        "An SVM on plain descriptors of notes and sound is better than the proposed model",
        None,
        (Comparison(SVM, PROPOSED),),
    ),
    Claim(
        "An SVM on plain descriptors of the notes is better than MidiBERT",
        None,
        (Comparison(SYMBOLIC_SVM, MIDIBERT),),
    ),
)
LEAK_QUESTIONS = (
    Claim(
        "MidiBERT is better than knowing the labels of the song's other clips",
        None,
        (Comparison(MIDIBERT, "Song-lookup"),),
    ),
    Claim(
        "The proposed model is better than knowing the labels of the song's other clips",
        None,
        (Comparison(PROPOSED, "Song-lookup"),),
    ),
)
"""Asked where songs cross the split only: elsewhere song-lookup knows nothing."""

ABLATION_CLAIMS = (
    *(
        Claim(
            f"On {name} the three factors together are better than each alone",
            "III",
            tuple(Comparison(PROPOSED, branch, task) for branch in BRANCHES),
        )
        for task, name in (("4Q", "four quadrants"), ("V", "valence"), ("A", "arousal"))
    ),
    Claim(
        "Self-attention helps on four quadrants",
        "III",
        (Comparison(PROPOSED, WITHOUT_ATTENTION),),
    ),
    Claim(
        "Self-attention helps on arousal and on valence",
        "III",
        tuple(Comparison(PROPOSED, WITHOUT_ATTENTION, task) for task in ("A", "V")),
    ),
    Claim(
        "MIDI is better on valence: the symbolic branch against the tone-color branch",
        "III",
        (Comparison(SYMBOLIC, TONE_COLOR, "V"),),
    ),
    Claim(
        "Audio is better on arousal: the tone-color branch against the symbolic branch",
        "III",
        (Comparison(TONE_COLOR, SYMBOLIC, "A"),),
    ),
    Claim(
        "The harmony branch is the weakest on every task",
        "III",
        tuple(
            Comparison(other, HARMONY, task)
            for task in ("4Q", "A", "V")
            for other in (SYMBOLIC, TONE_COLOR)
        ),
    ),
)
ABLATION_QUESTIONS = tuple(
    Claim(f"The {left_out} branch adds to the two others", None, (Comparison(PROPOSED, pair),))
    for left_out, pair in zip(("tone-color", "harmony", "symbolic"), PAIRS, strict=True)
)
"""Of our own, worded and judged like claims."""


def published_zhao2023() -> dict[tuple[str, str], float]:
    """Published accuracy by (system, task), from tables I, II and III."""
    cells = published("zhao2023")
    return {
        (_PUBLISHED_ROWS.get(row, row), _COLUMNS[column]): float(number)
        for row, column, number in zip(cells["row"], cells["column"], cells["number"], strict=True)
    }


def encoder_of(spec: RunSpec) -> str | None:
    """Name of the pre-trained encoder that a run starts from; None if from none."""
    if "pretraining" not in spec.parameters or "encoder_size" not in spec.parameters:
        return None
    from mer.systems import get_system
    from mer.systems.midibert import MidiBERT

    system = get_system(spec.system, spec.parameters)
    assert isinstance(system, MidiBERT)
    return system.weights


def missing_weights(spec: RunSpec) -> str | None:
    """Name of the pre-trained encoder that a run needs and that is not there."""
    from mer.weights import is_registered

    name = encoder_of(spec)
    return None if name is None or is_registered(name) else name


def nothing(fitted: Any, spec: RunSpec, corpus: Corpus, fold: Fold) -> None:
    """Asks nothing of a fitted system, so that it is fitted and kept."""


def shown_tasks(session: Session) -> list[str]:
    """Tasks that the networks of the paper are trained for; in the small profiles the first."""
    tasks: list[str] = session.settings.tasks  # type: ignore[attr-defined]
    return tasks[:1] if session.profile.name in _FEW_FOLDS else tasks


def official(session: Session, systems: Iterable[str] = BASELINES + OWN_BASELINES) -> Runs:
    """Runs of tables I and II: the proposed model, other systems and the language models.

    Raises
    ------
    ParameterError
        If the parameters leave out the proposed model.
    """
    planned = _proposed(session)
    planned += session.specs(systems, split="single")
    planned += _fewer(session, session.specs(LANGUAGE_MODELS, split="single", tasks=["4Q"]))
    return _run(session, planned)


def ablation(session: Session) -> Runs:
    """Runs of table III, and of the pairs of branches.

    Raises
    ------
    ParameterError
        As `official`.
    """
    planned = _proposed(session)
    tasks = shown_tasks(session)
    rest = [name for name in SYSTEMS if name != PROPOSED]
    planned += _fewer(session, session.specs(rest, split="single", tasks=tasks))
    return _run(session, planned)


def _fewer(session: Session, specs: list[RunSpec]) -> list[RunSpec]:
    """All of them; in the small profiles those with the first seed."""
    seeds = {spec.seed for spec in specs}
    small = session.profile.name in _FEW_FOLDS
    return [spec for spec in specs if not small or spec.seed == min(seeds)]


def _proposed(session: Session) -> list[RunSpec]:
    """Runs of the proposed model, which have to be there; its fitted models are kept."""
    planned = session.specs([PROPOSED], split="single", tasks=shown_tasks(session))
    missing = session.store.missing(planned)
    if missing and session.settings.compute:
        keep_fitted(session, missing)
    session.run(planned)
    return planned


def keep_fitted(session: Session, specs: list[RunSpec], look: Look = nothing) -> list[Any]:
    """What fitted models of the paper's networks tell; see `mer.study.fitted_models.looked_at`."""
    from mer.systems.windowed import FittedNetwork

    return looked_at(session, specs, look, FittedNetwork, "factor-models")


def cross_validation(session: Session, systems: Iterable[str]) -> Runs:
    """Runs of some systems in cross-validation; of the small profiles one fold, one task."""
    folds, tasks = _FEW_FOLDS.get(session.profile.name), shown_tasks(session)
    return _run(session, session.specs(systems, split="cv", folds=folds, tasks=tasks))


def leaky_split(session: Session) -> str | None:
    """The split of the corpus in which songs stand on both sides; None if it has none."""
    return next((name for name, card in session.card["splits"].items() if card["leaky"]), None)


def leaky(session: Session) -> Runs:
    """Four-quadrant runs on `leaky_split`; none if there is none."""
    name = leaky_split(session)
    planned = [] if name is None else session.specs(LEAKED, split=name, tasks=["4Q"])
    return _run(session, planned)


def without_leak(session: Session) -> Runs:
    """Four-quadrant runs of the same systems on the official split."""
    return _run(session, session.specs(LEAKED, split="single", tasks=["4Q"]))


def _run(session: Session, planned: list[RunSpec]) -> Runs:
    return run_possible(session, planned, lambda spec: missing_weights(spec) is None)
