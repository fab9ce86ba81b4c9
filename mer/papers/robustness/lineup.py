"""Systems of the study, and systems of ours, in other sounds: rows and what is run of them.

Every system is trained once on the official split of EMOPIA and answers for the same test clips in
each sound of `mer.sounds.SOUNDS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mer.errors import ParameterError
from mer.features import spectral
from mer.papers import emopia
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhao2023.systems import relative_mfcc_25
from mer.papers.zhu2023 import tables as zhu2023
from mer.sounds import SOUNDS
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows, Table
from mer.systems.classical import DescriptorClassifier
from mer.systems.clip_descriptors import robust
from mer.systems.transcribed import transcribed_symbolic, transcribed_symbolic_varied

TRAINED_ON = next(iter(SOUNDS))

UNSEEN, UNHEARD = "FluidR3", "MuseScore General"
"""The soundfont that no training on varied sound draws from, and the one that the training of our
first transcriber did not have: that had FluidR3."""

COPIES = 2
VARIED = "varied sound"

_EMBEDDING = "Audio Embedding"
_RESNET = "Short-chunk ResNet"
ROBUST, RELATIVE = "Robust-SVM", f"{_RESNET}, relative level"
RELATIVE_COLOR = f"{zhao2023.TONE_COLOR}, relative level"
RELATIVE_NOTES = "Symbolic-only, relative velocities"
TRANSCRIBED = "Transcribed-SVM"
_BY_VARIED = "transcriber of varied sound"
RELATIVE_NOTES_VARIED = f"{RELATIVE_NOTES}, {_BY_VARIED}"
TRANSCRIBED_VARIED = f"{TRANSCRIBED}, {_BY_VARIED}"


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
    RELATIVE_NOTES_VARIED: replace(
        HEARING["Symbolic-only"],
        relative_velocities=True,  # type: ignore[call-arg]
        transcriber="onsets-frames-varied",
    ),
    TRANSCRIBED: DescriptorClassifier(features=(transcribed_symbolic,)),
    TRANSCRIBED_VARIED: DescriptorClassifier(features=(transcribed_symbolic_varied,)),
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

IN_CV = (
    *("Audio-SVM", ROBUST, varied(ROBUST), RELATIVE_NOTES_VARIED, TRANSCRIBED),
    TRANSCRIBED_VARIED,
)

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
    return _possible(study, study.specs(rows, tasks=["4Q"]))


def cv_specs(study: Study) -> list[RunSpec]:
    """Runs of a few rows in song-grouped cross-validation; none in the small profiles."""
    if not study.profile.committed:
        return []
    rows = {name: TABLE.all_rows[name] for name in IN_CV}
    return _possible(study, study.specs(rows, split="cv", tasks=["4Q"]))


def _possible(study: Study, specs: Iterable[RunSpec]) -> list[RunSpec]:
    """Runs of the first seed that are stored, or lack nothing."""
    found = [spec for spec in specs if spec in study.store or not spec.lacks]
    first = min((spec.seed for spec in found), default=0)
    return [spec for spec in found if spec.seed == first]


def chosen_sounds(study: Study) -> list[str]:
    """Names of the sounds of the page, that of training first."""
    known = study.profile.of_page("sound_robustness").get("sounds", list(SOUNDS))
    return [*dict.fromkeys((TRAINED_ON, *(study.settings.sounds or known)))]


def left_out(sounds: Iterable[str]) -> dict[str, str]:
    """Why sounds cannot be made here, by name; empty where all can."""
    return {name: SOUNDS[name].lacks for name in sounds if SOUNDS[name].lacks}


PAPERS: dict[str, tuple[str, ...]] = {
    "EMOPIA (Hung et al. 2021)": ("Audio-LR", _RESNET),
    "Zhu et al. 2023": ("Acoustic-only", "Symbolic-only", zhu2023.PROPOSED),
    "Zhao and Yoshii 2023": (zhao2023.TONE_COLOR, zhao2023.PROPOSED),
}
"""Audio rows of each paper whose corpus is rendered here."""
