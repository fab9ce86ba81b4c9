"""Valence and transposition: rows of ours that are trained on transposed music."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mer.papers import emopia
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhu2023 import tables as zhu2023
from mer.papers.zhu2023.systems import SymbolicAcoustic
from mer.study.claims import Claim, Comparison
from mer.study.results import Results
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows, Table
from mer.study.text import listing, markdown, number
from mer.systems.classical import DescriptorClassifier, PitchClassClassifier
from mer.systems.clip_descriptors import pitch_class_shares
from mer.systems.network import transposed_rows

LSTM, SVM = "LSTM-Attn + MIDI-like", "Symbolic-SVM"
SHARES, TURNED = "Pitch-class SVM", "Pitch-class SVM, transposed, averaged"

PLAIN: Rows = NamedRows(
    {
        SHARES: DescriptorClassifier(features=(pitch_class_shares,)),
        TURNED: PitchClassClassifier(),
    }
)
NETWORKS: Rows = NamedRows(
    {
        LSTM: emopia.SYMBOLIC[LSTM],
        "Symbolic-only": zhu2023.BRANCHES["Symbolic-only"],
        **zhu2023.PROPOSED_ROW,
        zhao2023.SYMBOLIC: zhao2023.BRANCHES[zhao2023.SYMBOLIC],
        **zhao2023.PROPOSED_ROW,
    }
)
"""Networks of the papers that read notes."""

TRANSPOSED: Rows = NamedRows(transposed_rows(NETWORKS))

TABLE = Table(
    "",
    "Training on transposed music",
    NETWORKS,
    {**TRANSPOSED, **PLAIN, SVM: emopia.SVM[SVM]},
    tasks=("V",),
    only={
        name: ("4Q",)
        for name, system in {**NETWORKS, **TRANSPOSED}.items()
        if isinstance(system, SymbolicAcoustic)
    },
)
"""Those of Zhu et al. are trained on four quadrants, with a head for valence."""

QUESTIONS = tuple(
    Claim(text, None, (Comparison(better, worse, "V"),))
    for text, better, worse in (
        *(
            (
                f"Training on transposed music helps {name} on valence",
                f"{name}, transposed",
                name,
            )
            for name in NETWORKS
        ),
        *(
            (
                f"The mean over transpositions is better than one answer of {name}",
                f"{name}, transposed, averaged",
                f"{name}, transposed",
            )
            for name in NETWORKS
        ),
        (
            "An SVM on pitch-class shares is better with all transpositions than with none",
            TURNED,
            SHARES,
        ),
        *(
            (
                f"An SVM on all transpositions of pitch-class shares is better than {name}",
                TURNED,
                f"{name}, transposed, averaged",
            )
            for name in NETWORKS
        ),
    )
)


def run(study: Study) -> Results:
    """Runs of `TABLE` in cross-validation; the small profiles have fewer rows and folds."""
    page = study.profile.of_page("transposition")
    chosen = page.get("networks", list(NETWORKS))
    rows = {name: NETWORKS[name] for name in chosen}
    own = {
        **transposed_rows(rows),
        **{n: s for n, s in TABLE.own_rows.items() if n not in TRANSPOSED},
    }
    return study.run_cv(replace(TABLE, rows=rows, own_rows=own), "transposition")


def summary(results: Results) -> str:
    """What transposition changes on valence, in Markdown."""
    rows = results.scores[results.scores["task"] == "V"].set_index("system")["mean"]
    gains = rows.reindex([f"{name}, transposed, averaged" for name in NETWORKS]).to_numpy()
    gains = gains - rows.reindex([*NETWORKS]).to_numpy()
    known = [
        f"{markdown(name)} {number(gain, signed=True)}"
        for name, gain in zip(NETWORKS, gains, strict=True)
        if not np.isnan(gain)
    ]
    text = "Gain on valence by training on transposed music and by the mean over transpositions: "
    text += f"{listing(known) or 'no network was run'}. "
    shares = {name: rows[name] for name in (SHARES, TURNED, SVM) if name in rows}
    return (
        text + "; ".join(f"{name} reaches {number(value)}" for name, value in shares.items()) + "."
    )
