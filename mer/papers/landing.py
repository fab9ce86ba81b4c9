"""The first page of the book: a figure, the findings and how the claims came out."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from mer.papers import audit, claims, emopia
from mer.papers.robustness import lineup, scoring
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhu2023 import tables as zhu2023
from mer.study import plots
from mer.study.admissibility import GRADES
from mer.study.claims import kinds
from mer.study.results import Results
from mer.study.scores import OWN_MODEL, scores
from mer.study.study import Study
from mer.study.tables import Table
from mer.study.text import listing, markdown, number

_WIDTH = 6.2
"""Of the figure in inches: it stands beside text."""

TABLE = Table(
    "",
    "Four quadrants",
    {
        **emopia.SVM,
        **emopia.BASELINES.rows,
        **zhu2023.PROPOSED_ROW,
        **zhao2023.PROPOSED_ROW,
    },
    published={**zhu2023.PUBLISHED, **zhao2023.PUBLISHED},
)
"""Descriptors, baselines and proposed models, which both splits have."""


class Landing:
    """What the first page shows, from stored runs.

    Parameters
    ----------
    study : Study
        About classes, of the profile that the book shows.
    """

    def __init__(self, study: Study) -> None:
        self.official: Results = study.run(TABLE)
        self.cv: Results = study.run(TABLE, split="cv")
        self.leaky = zhao2023.run_leaky(study)
        self.claims = claims.all_claims(study)

    def figure(self) -> Figure:
        """Four-quadrant accuracy: published values, and ours on both splits."""
        frames = [r.scores.assign(place=r.place) for r in (self.official, self.cv)]
        table = pd.concat(frames, ignore_index=True)
        table = table[table["task"] == "4Q"]
        chance = table[table["system"] == "Constant"].groupby("place")["mean"].first()
        table = table[~table["system"].isin(emopia.WITHOUT_MUSIC)]
        plots.style()
        figure = plots.forest(
            table,
            "system",
            published="published",
            hue="place",
            vlines={"constant prediction": chance.max()},
            xlabel="Accuracy, four quadrants",
        )
        figure.set_size_inches(_WIDTH, figure.get_size_inches()[1])
        return figure

    def findings(self) -> str:
        """The findings as a list in Markdown, each with its numbers and a link."""
        return "\n".join(
            f"- {text}"
            for text in (self.leak(), self.descriptors(), self.few(), _rows(), self.sounds())
            if text
        )

    def leak(self) -> str:
        """What a lookup reaches on the leaky split; empty if it was not run."""
        if self.leaky is None:
            return ""
        table = scores(self.leaky.predictions).set_index("system")["mean"]
        published, lookup = zhao2023.PUBLISHED_ON_LEAKY.values(), table["Song-lookup"]
        values, below = listing(map(number, published)), sum(value < lookup for value in published)
        how_many = "all of them" if below == len(published) else f"{below} of them"
        return (
            f"**A lookup that does not use the music reaches {number(lookup)}** on the split of "
            "MidiBERT and its successors, where clips of one song are in training and in test. "
            f"The published values on this split, counted by sequences instead of clips, are "
            f"{values}; {how_many} are below the lookup. [Audit](notebooks/evaluation_audit)"
        )

    def _cv(self, task: str) -> pd.Series:
        table = scores(self.cv.answers[OWN_MODEL])
        return table[table["task"] == task].set_index("system")["mean"]

    def descriptors(self) -> str:
        """How far descriptors come, and networks."""
        table = self._cv("4Q")
        svm = table[[name for name in emopia.SVM if name in table]]
        networks = table[
            [n for n in (*emopia.NETWORKS, zhu2023.PROPOSED, zhao2023.PROPOSED) if n in table]
        ]
        return (
            f"**Plain descriptors with an SVM reach {number(svm.max())}**, the best network "
            f"trained here {number(networks.max())} ({markdown(networks.idxmax())}), in "
            "cross-validation. The networks are smaller than the published ones. "
            "[Baselines](notebooks/emopia_baselines)"
        )

    def few(self) -> str:
        """How little the official test clips tell."""
        gains = audit.published_gains().values()
        clips = [round(gain * audit.TEST_CLIPS) for gain in gains]
        accuracy = audit.published_answers()["accuracy"].to_dict()[audit.BASELINE]
        half = number(audit.half_width(accuracy, audit.TEST_CLIPS), 2)
        return (
            f"**{audit.TEST_CLIPS} test clips give an interval of ±{half}.** The published gains "
            f"over the best baseline are {min(clips)} and {max(clips)} clips. "
            "[Audit](notebooks/evaluation_audit)"
        )

    def sounds(self) -> str:
        """What another piano sound changes; empty if it was not run."""
        study = self.cv.study
        scored = scoring.scores(
            scoring.predictions(study, lineup.cv_specs(study), lineup.CV_SOUNDS)
        )
        if scored.empty:
            return ""
        by_row = scored.set_index(["system", "sound"])["accuracy"]
        sounds = (lineup.TRAINED_ON, lineup.UNHEARD, lineup.UNSEEN)
        plain, ours = (
            [number(by_row[system, sound]) for sound in sounds]
            for system in ("Audio-SVM", lineup.TRANSCRIBED)
        )
        return (
            "**The accuracy of audio systems depends on the synthesizer.** An SVM on acoustic "
            f"descriptors falls from {plain[0]} to {plain[1]} in one other piano sound "
            f"({sounds[1]}) and to {plain[2]} in a second one ({sounds[2]}), on the same clips. "
            f"An SVM on our transcription has {ours[0]} as rendered, and {ours[1]} in the first "
            "other sound, which was not in the training of its transcriber. "
            "[Other sounds](notebooks/sound_robustness)"
        )

    def tally(self) -> str:
        """How many claims have which verdict, in Markdown."""
        judged = self.claims[self.claims["table"].notna()]
        counts = kinds(judged["verdict"]).value_counts()
        text = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        best = judged["grade"].min()
        return (
            f"**Claims**: {judged['claim'].nunique()} claims of the papers with {len(judged)} "
            f"verdicts: {text}. The best grade of the runs behind a verdict is {best}: "
            f"{GRADES[best]}. [All claims](notebooks/claims)"
        )


def _rows() -> str:
    table, n = audit.impossible_rows()
    return (
        f"**{len(table)} of {n} published rows cannot come from one model**: their four-quadrant "
        "accuracy is below arousal + valence - 1. [Audit](notebooks/evaluation_audit)"
    )
