"""Symbolic & Acoustic (Zhu et al. 2023): tables 2, 3 and 4 row by row, and the claims."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from pandas.io.formats.style import Styler

from mer.papers import emopia
from mer.papers.published import cells, published
from mer.papers.zhu2023.systems import SymbolicAcoustic, stft
from mer.study.claims import Claim, Comparison
from mer.study.results import Results
from mer.study.scores import mean_of
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows, Table
from mer.study.text import captioned
from mer.weights import load_weights

PROPOSED, SVM, LSTM = "Symbolic & Acoustic", "Symbolic+Audio-SVM", "LSTM-Attn + MIDI-like"
LATE_AVERAGE = "Late average"

proposed = SymbolicAcoustic()
PROPOSED_ROW: Rows = NamedRows({PROPOSED: proposed})
BRANCHES: Rows = NamedRows(
    {
        "Symbolic-only": SymbolicAcoustic(branches=("symbolic",)),
        "Acoustic-only": SymbolicAcoustic(branches=("acoustic",)),
    }
)
ABLATIONS: Rows = NamedRows(
    {
        **BRANCHES,
        "STFT-input": replace(proposed, acoustic_feature=stft),
        "Single-loss": replace(proposed, arousal_weight=0.0, valence_weight=0.0),
    }
)
RELEASED = f"{PROPOSED}, released MIDI"
UNTRAINED = f"{PROPOSED}, no pre-training"
TWO_CORPORA = f"{PROPOSED}, MAESTRO + Pop1K7"
VARIANTS: Rows = NamedRows(
    {
        RELEASED: replace(proposed, notes="released"),
        UNTRAINED: replace(proposed, pretraining="none"),
        TWO_CORPORA: replace(proposed, pretraining="maestro-pop1k7"),
    }
)
"""Ours: an upper bound, and other pre-trainings of the symbolic encoder."""

_TASKS = {task: task for task in ("4Q", "A", "V")}
_QUOTED = ("MIDIBERT", "MT-MIDIBERT")
_PAPER_ROWS = {"proposed model": PROPOSED, **{name: name for name in ABLATIONS}}
PUBLISHED = {
    **emopia.PUBLISHED,
    **cells("zhu2023", "4", _PAPER_ROWS, _TASKS, "accuracy"),
}
QUOTED = cells("zhu2023", "2", {name: name for name in _QUOTED}, _TASKS, "accuracy")
"""From papers that tested on MIDI-BERT's split, on which songs leak."""

TABLE_2 = Table(
    "2",
    "Symbolic systems",
    {**emopia.SYMBOLIC, **PROPOSED_ROW},
    {"Symbolic-SVM": emopia.SVM["Symbolic-SVM"]},
    published=PUBLISHED,
    quoted=_QUOTED,
    other_split=QUOTED,
)
TABLE_3 = Table(
    "3",
    "Audio systems",
    {**emopia.ACOUSTIC, **PROPOSED_ROW},
    {"Audio-SVM": emopia.SVM["Audio-SVM"], SVM: emopia.SVM[SVM]},
    published=PUBLISHED,
)
TABLE_4 = Table(
    "4",
    "Ablation",
    {**PROPOSED_ROW, **ABLATIONS},
    VARIANTS,
    published=PUBLISHED,
    only=dict.fromkeys(VARIANTS, ("4Q",)),
)
"""Variants are trained on four quadrants; their heads answer arousal and valence."""


PROPOSED_ALONE = Table("2", "Proposed model", PROPOSED_ROW, published=PUBLISHED, tasks=("4Q",))
BRANCHES_ALONE = Table("4", "Branches alone", BRANCHES, published=PUBLISHED, tasks=("4Q",))
"""A few rows, to compare rows of your own with."""

COMPARED_IN_CV = Table(
    "2 and 3",
    "Comparison in cross-validation",
    {**PROPOSED_ROW, **BRANCHES},
    {**emopia.SYMBOLIC, **emopia.ACOUSTIC, **emopia.SVM},
)
ABLATED_IN_CV = Table(
    "4",
    "Ablation in cross-validation",
    {**PROPOSED_ROW, **ABLATIONS},
    {SVM: emopia.SVM[SVM]},
)

COMPARISON_CLAIMS = (
    Claim(
        "The proposed model is better than LSTM-Attn + MIDI-like on four quadrants",
        "2",
        (Comparison(PROPOSED, LSTM),),
    ),
    Claim(
        "The proposed model is better on valence than every symbolic method",
        "2",
        tuple(Comparison(PROPOSED, name, "V") for name in emopia.SYMBOLIC),
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
        "Fusion is worse than the acoustic branch on arousal, and worse than the symbolic branch "
        "on valence",
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
    Claim("The transcription reduces accuracy", None, (Comparison(RELEASED, PROPOSED),)),
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
"""Ours: where a gap could come from. Each is worded and judged like a claim."""


def run(study: Study, *tables: Table, split: str = "single") -> Results:
    """Runs of some tables; the small profiles have fewer folds, and networks of one task."""
    page = study.profile.of_page("zhu2023")
    if page.get("one_task"):
        networks = dict.fromkeys((*PROPOSED_ROW, *ABLATIONS), ("4Q",))
        tables = tuple(replace(table, only={**networks, **table.only}) for table in tables)
    return study.run(*tables, split=split, folds=page.get("folds") if split == "cv" else None)


def with_late_average(results: Results) -> Results:
    """The results with, where both branches are among them, the late average of these."""
    return replace(results, extend=averaged_late, made_of={LATE_AVERAGE: tuple(BRANCHES)})


def averaged_late(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions and, where both branches are among them, those of their late average."""
    if not {*BRANCHES} <= {*predictions["system"]}:
        return predictions
    averaged = mean_of(predictions, BRANCHES, LATE_AVERAGE)
    return pd.concat([predictions, averaged], ignore_index=True)


def encoder_table() -> Styler:
    """How the symbolic encoder's weights were pre-trained."""
    names = ("encoder-maestro", "encoder-maestro-pop1k7")
    facts = pd.DataFrame({name: load_weights(name)[1] for name in names})
    facts.index = facts.index.str.replace("_", " ")
    return captioned(facts, "Pre-trained encoders")


def acoustic_encoder_table() -> Styler:
    """Table 1: the convolutions of the acoustic encoder, as published and in this network."""
    from torch import nn

    from mer.models.multi_domain import AcousticEncoder

    encoder = AcousticEncoder(n_bins=8, width=1)  # the convolutions depend on neither
    convolutions = [layer for layer in encoder.blocks if isinstance(layer, nn.Conv2d)]
    pools = [layer.kernel_size for layer in encoder.blocks if isinstance(layer, nn.MaxPool2d)]
    here = {
        f"conv{k}": {
            "Channel": str(layer.out_channels),
            "Kernel Size": "x".join(map(str, layer.kernel_size)),
            "Stride": str(layer.stride[0]),
            "Maxpooling": f"{pool}x{pool}",
        }
        for k, (layer, pool) in enumerate(zip(convolutions, pools, strict=True), start=1)
    }
    printed = published("zhu2023", "1").pivot_table("value", "row", "column", "first", sort=False)
    parts = {"published": printed, "here": pd.DataFrame.from_dict(here, orient="index")}
    text = pd.concat(parts, axis=1).swaplevel(axis=1)[list(printed)]
    text.columns = text.columns.map(", ".join)
    return captioned(text, "Table 1, settings of the acoustic encoder")
