"""Multifaceted (Zhao and Yoshii 2023): tables I, II and III row by row, the leak, the claims."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mer.evaluation.resampling import Resampler, interval
from mer.features.compound_words import FIELDS
from mer.papers import emopia
from mer.papers.published import cells
from mer.papers.zhao2023.midibert import MidiBERT
from mer.papers.zhao2023.systems import Multifaceted
from mer.study.claims import Claim, Comparison
from mer.study.results import Results
from mer.study.scores import Published, correctness, validation
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows, Table
from mer.study.text import corpus_title, estimate, listing, number, split_title
from mer.systems.base import System
from mer.weights import is_registered, load_weights

PROPOSED, WITHOUT_ATTENTION = "Multifaceted", "Without MHSA"
SYMBOLIC, HARMONY, TONE_COLOR = "Symbolic branch", "Harmony branch", "Tone color branch"
MIDIBERT, MT_MIDIBERT, QM_MIDIBERT = "MidiBERT", "MT-MidiBERT", "QM-MidiBERT"
UNTRAINED = "MidiBERT, no pre-training"
LSTM, SYMBOLIC_LR = "LSTM-Attn + MIDI-like", "Symbolic-LR"
RESNET, AUDIO_LR = "Short-chunk ResNet", "Audio-LR"
SYMBOLIC_SVM, SVM = "Symbolic-SVM", "Symbolic+Audio-SVM"

PROPOSED_ROW: Rows = NamedRows({PROPOSED: Multifaceted()})
BRANCHES: Rows = NamedRows(
    {
        SYMBOLIC: Multifaceted(factors=("symbolic",)),
        HARMONY: Multifaceted(factors=("harmony",)),
        TONE_COLOR: Multifaceted(factors=("tone color",)),
    }
)
JOINED: Rows = NamedRows({WITHOUT_ATTENTION: Multifaceted(heads=None)})
PAIRS: Rows = NamedRows(
    {
        "Symbolic + harmony": Multifaceted(factors=("symbolic", "harmony")),
        "Symbolic + tone color": Multifaceted(factors=("symbolic", "tone color")),
        "Harmony + tone color": Multifaceted(factors=("harmony", "tone color")),
    }
)
"""Ours: one branch left out, the others joined by self-attention."""

PRETRAINED: Rows = NamedRows(
    {
        MIDIBERT: MidiBERT(),
        MT_MIDIBERT: MidiBERT(key_weight=1.0, velocity_weight=1.0),
        QM_MIDIBERT: MidiBERT(pretraining="qm-midibert"),
    }
)
LANGUAGE_MODELS: Rows = NamedRows({**PRETRAINED, UNTRAINED: MidiBERT(pretraining="none")})
"""Trained on four quadrants only, as in the paper."""

BASELINES: Rows = NamedRows({**emopia.SYMBOLIC, **emopia.ACOUSTIC})

_TASKS = {"4Q": "4Q", "4Q Accuracy": "4Q", "Arousal": "A", "Valence": "V"}
_PAPER_ROWS = {
    **{name: name for name in (SYMBOLIC_LR, AUDIO_LR, RESNET, *PRETRAINED, WITHOUT_ATTENTION)},
    **{"Ours": PROPOSED, "Full model": PROPOSED, "Without MHSA": WITHOUT_ATTENTION},
    **{"LSTM-Attn+MIDI-like": LSTM, "LSTM-Attn+REMI": "LSTM-Attn + REMI"},
    "Symbolic analysis branch": SYMBOLIC,
    "Harmony analysis branch": HARMONY,
    "Tone color analysis branch": TONE_COLOR,
}
_CELLS: Published = {
    key: value
    for table in ("I", "II", "III")
    for key, value in cells("zhao2023", table, _PAPER_ROWS, _TASKS, "accuracy").items()
}
PUBLISHED_ON_LEAKY: Published = {key: v for key, v in _CELLS.items() if key[0] in PRETRAINED}
"""Quoted by the paper from others, who tested on MIDI-BERT's split, on which songs leak."""

PUBLISHED: Published = {k: v for k, v in _CELLS.items() if k not in PUBLISHED_ON_LEAKY}
"""On the official split."""

TABLE_I = Table(
    "I",
    "Comparison with the baselines",
    {**PROPOSED_ROW, **BASELINES},
    emopia.SVM,
    published=PUBLISHED,
)
TABLE_II = Table(
    "II",
    "Comparison with language models",
    {**PROPOSED_ROW, **PRETRAINED},
    {UNTRAINED: LANGUAGE_MODELS[UNTRAINED], SYMBOLIC_SVM: emopia.SVM[SYMBOLIC_SVM]},
    tasks=("4Q",),
    published=PUBLISHED,
    other_split=PUBLISHED_ON_LEAKY,
)
TABLE_III = Table(
    "III",
    "Ablation",
    {**PROPOSED_ROW, **BRANCHES, **JOINED},
    PAIRS,
    published=PUBLISHED,
)
COMPARED_IN_CV = Table(
    "I",
    "Comparison in cross-validation",
    {**PROPOSED_ROW, **BASELINES},
    {**LANGUAGE_MODELS, **emopia.SVM},
    only=dict.fromkeys(LANGUAGE_MODELS, ("4Q",)),
)
ABLATED_IN_CV = Table("III", "Ablation in cross-validation", {**PROPOSED_ROW, **JOINED, **BRANCHES})
PROPOSED_ALONE = Table("", "The proposed model", PROPOSED_ROW, tasks=("4Q",))
HARMONY_ALONE = Table("", "The harmony branch", {HARMONY: BRANCHES[HARMONY]}, tasks=("4Q",))
LEAK = Table(
    "II",
    "With songs on both sides of the split",
    {
        **emopia.WITHOUT_MUSIC,
        SYMBOLIC_SVM: emopia.SVM[SYMBOLIC_SVM],
        **PROPOSED_ROW,
        **LANGUAGE_MODELS,
    },
    tasks=("4Q",),
    published=PUBLISHED_ON_LEAKY,
)

MARGIN = 0.05
"""Of accuracy: systems that differ by no more are as good as each other. Fixed before any run."""


def _pairs(
    better: str, others: Iterable[str], task: str = "4Q", margin: float | None = None
) -> tuple[Comparison, ...]:
    return tuple(Comparison(better, other, task, margin=margin) for other in others)


COMPARISON_CLAIMS = (
    Claim(
        "The proposed model is better than every baseline on four quadrants",
        "I",
        _pairs(PROPOSED, BASELINES),
    ),
    Claim(
        "The proposed model is better than every baseline on valence",
        "I",
        _pairs(PROPOSED, BASELINES, "V"),
    ),
    Claim(
        f"On arousal the proposed model is as good as every baseline, within {MARGIN:g}",
        "I",
        _pairs(PROPOSED, BASELINES, "A", MARGIN),
    ),
    Claim(
        "Audio systems are better on arousal: descriptors against descriptors, network against "
        "network",
        "I",
        (Comparison(AUDIO_LR, SYMBOLIC_LR, "A"), Comparison(RESNET, LSTM, "A")),
    ),
    Claim(
        "MIDI systems are better on valence: descriptors against descriptors, network against "
        "network",
        "I",
        (Comparison(SYMBOLIC_LR, AUDIO_LR, "V"), Comparison(LSTM, RESNET, "V")),
    ),
    Claim(
        "The proposed model is as good as the best pre-trained language model, QM-MidiBERT, "
        f"within {MARGIN:g}",
        "II",
        _pairs(PROPOSED, [QM_MIDIBERT], margin=MARGIN),
    ),
    Claim(
        "The proposed model is better than MidiBERT and MT-MidiBERT",
        "II",
        _pairs(PROPOSED, [MIDIBERT, MT_MIDIBERT]),
    ),
    Claim(
        "Both extensions of MidiBERT help: more tasks in fine-tuning (MT-MidiBERT), and other "
        "masks in pre-training (QM-MidiBERT)",
        "II",
        (Comparison(MT_MIDIBERT, MIDIBERT), Comparison(QM_MIDIBERT, MIDIBERT)),
    ),
)
COMPARISON_QUESTIONS = (
    Claim("Pre-training helps MidiBERT", None, _pairs(MIDIBERT, [UNTRAINED])),
    Claim(
        "An SVM on plain descriptors of notes and sound is better than the proposed model",
        None,
        _pairs(SVM, [PROPOSED]),
    ),
    Claim(
        "An SVM on plain descriptors of the notes is better than MidiBERT",
        None,
        _pairs(SYMBOLIC_SVM, [MIDIBERT]),
    ),
)
LEAK_QUESTIONS = tuple(
    Claim(
        f"{subject} is better than a lookup of the labels of the song's other clips",
        None,
        _pairs(name, ["Song-lookup"]),
    )
    for subject, name in (("MidiBERT", MIDIBERT), ("The proposed model", PROPOSED))
)
"""Only for splits with songs on both sides: elsewhere song-lookup is constant."""

ABLATION_CLAIMS = (
    *(
        Claim(
            f"On {name} the three factors together are better than each alone",
            "III",
            _pairs(PROPOSED, BRANCHES, task),
        )
        for task, name in (("4Q", "four quadrants"), ("V", "valence"), ("A", "arousal"))
    ),
    Claim("Self-attention helps on four quadrants", "III", _pairs(PROPOSED, JOINED)),
    Claim(
        "Self-attention helps on arousal and on valence",
        "III",
        (*_pairs(PROPOSED, JOINED, "A"), *_pairs(PROPOSED, JOINED, "V")),
    ),
    Claim(
        "MIDI is better on valence: the symbolic branch against the tone-color branch",
        "III",
        _pairs(SYMBOLIC, [TONE_COLOR], "V"),
    ),
    Claim(
        "Audio is better on arousal: the tone-color branch against the symbolic branch",
        "III",
        _pairs(TONE_COLOR, [SYMBOLIC], "A"),
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
    Claim(f"The {left_out} branch adds to the two others", None, _pairs(PROPOSED, [pair]))
    for left_out, pair in zip(("tone-color", "harmony", "symbolic"), PAIRS, strict=True)
)
"""Of our own, worded and judged like claims."""


def shown_tasks(study: Study, table: Table = TABLE_I) -> tuple[str, ...]:
    """Tasks that networks of the paper are trained for; in the small profiles the first."""
    tasks = tuple(task for task in study.tasks(table.tasks) if task in table.tasks)
    return tasks[:1] if study.profile.of_page("zhao2023").get("one_task") else tasks


def run(study: Study, *tables: Table, split: str = "single") -> Results:
    """Runs of some tables, as `Study.run`; the small profiles have fewer folds and tasks.

    Fitted models of the proposed system go into the cache, where the page on its attention takes
    them from.
    """
    if not {task for table in tables for task in table.tasks} & {*study.tasks(TABLE_I.tasks)}:
        study = study.on(study.corpus_name, tasks=tables[0].tasks)
    is_single = split == "single"
    if is_single and study.settings.compute:
        planned = study.specs(PROPOSED_ROW, tasks=shown_tasks(study))
        study.inspect(study.store.missing(planned), lambda *_: None)
    fewer = [_with_shown_tasks(study, table, networks_only=is_single) for table in tables]
    folds = study.profile.of_page("zhao2023").get("folds") if split == "cv" else None
    return study.run(*fewer, split=split, folds=folds)


def _with_shown_tasks(study: Study, table: Table, *, networks_only: bool) -> Table:
    rows = table.all_rows
    chosen = [n for n in rows if isinstance(rows[n], Multifaceted) or not networks_only]
    return replace(table, only={**dict.fromkeys(chosen, shown_tasks(study, table)), **table.only})


def official_in_cv(official: Results, cv: Results) -> pd.DataFrame:
    """Four-quadrant accuracy on the official split, and of cross-validation on the same clips.

    Returns
    -------
    DataFrame
        Indexed by rows of both: validation (the best of training, on the official split), official
        (its test clips), same (these clips in cross-validation), others and all (clips there),
        cv_validation (the best of training there); means over seeds and folds.
    """
    frames = [r.predictions[r.predictions["task"] == "4Q"] for r in (official, cv)]
    clips = set(frames[0]["id"])
    among = frames[1]["id"].isin(clips)
    parts = {"official": frames[0], "all": frames[1]}
    parts |= {"same": frames[1][among], "others": frames[1][~among]}
    means = {name: frame.groupby("system")["correct"].mean() for name, frame in parts.items()}
    best = {
        name: validation(run for run in r.runs if run.spec.task == "4Q")
        .groupby("system")["accuracy"]
        .mean()
        for name, r in (("validation", official), ("cv_validation", cv))
        if r.specs
    }
    table = pd.DataFrame({**best, **means}).dropna()
    order = [name for name in official.order if name in table.index]
    return table.loc[order, ["validation", "official", "same", "others", "all", "cv_validation"]]


def official_text(table: pd.DataFrame) -> pd.DataFrame:
    """`official_in_cv` for reading."""
    names = {
        **{"validation": "official: best on validation", "official": "official: test clips"},
        **{"same": "cross-validation: the same clips", "others": "cross-validation: other clips"},
        "all": "cross-validation: all clips",
        "cv_validation": "cross-validation: best on validation",
    }
    return table.map(number).rename(columns=names)


def official_summary(table: pd.DataFrame, row: str = PROPOSED) -> str:
    """Why validation, official test clips and cross-validation differ, in Markdown."""
    if row not in table.index:
        return f"{row} was not run on both splits."
    harder = int((table["same"] < table["others"]).sum())
    clips = number((table["same"] - table["others"]).mean(), signed=True)
    chosen = number((table["cv_validation"] - table["all"]).mean(), signed=True)
    values: dict[Any, Any] = table.loc[row].to_dict()
    own = {name: number(value) for name, value in values.items()}
    rest = number(values["official"] - values["same"], signed=True)
    text = f"{row} has {own['validation']} on validation clips, {own['official']} on the official "
    text += (
        f"test clips, and in cross-validation {own['same']} on these and {own['others']} on all "
    )
    text += "others. Three things contribute. (1) The test clips: in cross-validation "
    text += f"{harder} of {len(table)} rows are less accurate on the official ones than on the "
    text += f"others; the mean difference is {clips}. (2) The choice: epoch or hyper-parameters "
    text += f"are chosen on validation clips, whose accuracy in cross-validation is {chosen} "
    text += f"above that of test clips. (3) The rest, {rest} for this row on the same "
    return f"{text}clips, comes from fewer training clips on the official split and from chance."


def leaky_split(study: Study) -> str | None:
    """The split of the corpus with songs on both sides; None if it has none."""
    return next((name for name, card in study.card["splits"].items() if card["leaky"]), None)


def run_leaky(study: Study) -> Results | None:
    """Runs on the leaky split; None if the corpus has none."""
    name = leaky_split(study)
    return None if name is None else replace(run(study, LEAK, split=name), place="leaky split")


def leak_table(official: pd.DataFrame, leaky: pd.DataFrame, published: Published) -> pd.DataFrame:
    """Four-quadrant accuracy on the official split and on one that songs cross.

    The two have different test clips: songs and seeds are drawn again for each by itself.

    Parameters
    ----------
    official, leaky : DataFrame
        Predictions for four quadrants.

    Returns
    -------
    DataFrame
        One row a system of both: system, official, leaky (means), difference (leaky - official),
        low, high (95 %), published.
    """
    rows = []
    for system in [name for name in leaky["system"].unique() if name in set(official["system"])]:
        tables = [correctness(frame[frame["system"] == system]) for frame in (official, leaky)]
        drawn = [_resampled(table, seed) for table, seed in zip(tables, (1, 0), strict=True)]
        means = [float(table.to_numpy().mean()) for table in tables]
        known = published.get((system, "4Q", "accuracy"), np.nan)
        gain = (means[1] - means[0], *interval(drawn[1] - drawn[0]))
        rows.append((system, *means, *gain, known))
    columns = ["system", "official", "leaky", "difference", "low", "high", "published"]
    return pd.DataFrame(rows, columns=columns)


def _resampled(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Accuracy in each resample of songs and training seeds."""
    resampler = Resampler(pd.factorize(table.index.get_level_values("group"))[0], seed=seed)
    return resampler.sums_over_seeds(table.to_numpy()) / resampler.sizes


def leak_text(table: pd.DataFrame) -> pd.DataFrame:
    """`leak_table` for reading, indexed by system."""
    rows = table.set_index("system")
    ends = rows[["difference", "low", "high"]].itertuples(index=False)
    names = {"published": "published", "official": "official split", "leaky": "leaky split"}
    shown = rows[list(names)].map(number).rename(columns=names)
    shown["difference"] = [estimate(*difference, signed=True) for difference in ends]
    return shown.drop(columns="published") if rows["published"].isna().all() else shown


def leak_summary(study: Study, table: pd.DataFrame | None) -> str:
    """Summary of `leak_table` in Markdown."""
    name = leaky_split(study)
    if name is None or table is None:
        return f"No split of {corpus_title(study.corpus_name, article=True)} leaks songs."
    card = study.card["splits"][name]
    siblings, clips = card["test_clips_with_sibling_in_train"], card["clips"]["test"]
    place = split_title(name, article=True)
    text = f"On {place}, {siblings} of {clips} test clips have a sibling in training."
    return f"{text} {leak_gains(table)}".strip()


def leak_gains(table: pd.DataFrame) -> str:
    """What systems gain by a leak, in Markdown; empty if no system that uses the music was run."""
    rows = table.set_index("system").drop([*emopia.WITHOUT_MUSIC], errors="ignore")
    if rows.empty:
        return ""
    gains = rows["difference"].agg(["mean", "min", "max"])
    mean, low, high = (number(gain, signed=True) for gain in gains)
    text = (
        f"Systems that use the music ({len(rows)}) gain {mean} on average on the leaky split, "
        f"from {low} to {high}; the interval lies above 0 for "
        f"{listing(rows.index[rows['low'] > 0]) or 'none'}."
    )
    if "Song-lookup" not in set(table["system"]):
        return text
    lookup = table.set_index("system").loc["Song-lookup", "leaky"]
    above = listing(rows.index[rows["leaky"] > lookup]) or "none"
    below = rows["published"].reindex([*PRETRAINED]).loc[lambda values: values < lookup]
    names = listing(f"{name} {number(value)}" for name, value in below.items())
    text += f" Song-lookup has {number(lookup)} there; above it: {above}."
    return text + (f" Published values of language models below it: {names}." if names else "")


def encoder_table(systems: Iterable[System]) -> pd.DataFrame:
    """How well the pre-trained encoders of some systems had learned to fill in what was masked.

    Returns
    -------
    DataFrame
        Text, indexed by encoder: notes, epochs, and accuracy on masked words of validation
        pieces by field and, where it was predicted, of the key.
    """
    names = {system.weights for system in systems if isinstance(system, MidiBERT)}
    rows = {}
    for name in sorted(name for name in names if name and is_registered(name)):
        facts = load_weights(name)[1]
        shares = {f: float(facts.get(f"validation_{f}", "nan")) for f in (*FIELDS, "key")}
        own = {"notes": number(int(facts["notes"])), "epochs": facts["epochs"]}
        rows[name] = {**own, **{field: number(share) for field, share in shares.items()}}
    return pd.DataFrame.from_dict(rows, orient="index")
