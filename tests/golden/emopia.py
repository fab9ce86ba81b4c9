"""Pages on the baselines and on the evaluation."""

from __future__ import annotations

from golden.common import Frames, claims, class_scores, mcnemar, study
from mer.papers import emopia
from mer.papers import transposition as page
from mer.papers.robustness import lineup, scoring
from mer.sounds import SOUNDS
from mer.study.scores import OWN_MODEL, implied_predictions, validation


def emopia_baselines() -> Frames:
    own = study()
    official = own.run(emopia.BASELINES)
    results = own.run(emopia.CROSS_VALIDATED, split="cv")
    cv = results.predictions
    lstm = {"LSTM-Attn + MIDI-like": emopia.SYMBOLIC["LSTM-Attn + MIDI-like"]}
    tried = {
        name: own.specs(lstm, tasks=["4Q"], changes=changes)[0]
        for name, changes in emopia.VARIATIONS.items()
    }
    rows = validation(own.store.read(spec) for spec in tried.values())
    predictions = official.predictions
    return {
        "official split": class_scores(predictions, emopia.PUBLISHED),
        "implied by 4Q": class_scores(implied_predictions(predictions), emopia.PUBLISHED),
        "cross-validation": class_scores(cv),
        "tried for LSTM-Attn": rows[["steps", "accuracy", "loss"]].assign(variation=list(tried)),
        "McNemar, official split": mcnemar(predictions, "Symbolic-SVM"),
        "McNemar, cross-validation": mcnemar(cv, "Symbolic-SVM"),
        **claims(emopia.SELECTION_QUESTIONS, {results.place: results.answers}, {}),
    }


def evaluation_audit() -> Frames:
    rows = {**emopia.WITHOUT_MUSIC, "Symbolic-SVM": emopia.SVM["Symbolic-SVM"]}
    own = study(tasks=["4Q"])
    return {
        split: class_scores(own.run(own.specs(rows, split=split)).predictions)
        for split in ("split", "split_cls", "split_midibert", "cv10")
    }


def transposition() -> Frames:
    results = page.run(study())
    given = {results.place: results.answers}
    scored = class_scores(results.answers[OWN_MODEL])
    return {"scores": scored, **claims(page.QUESTIONS, given, {})}


def sound_robustness() -> Frames:
    own = study()
    specs, in_cv = lineup.specs(own), lineup.cv_specs(own)
    answers = scoring.predictions(own, specs, list(SOUNDS))
    moved = scoring.moved_descriptors(own, list(SOUNDS))
    shares = moved.assign(over=moved["shift"].abs() > 1).groupby(["sound", "descriptors"])["over"]
    return {
        "scores": scoring.scores(answers),
        "cross-validation": scoring.scores(scoring.predictions(own, in_cv, lineup.CV_SOUNDS)),
        "moved": shares.mean().reset_index(),
    }


PAGES = (emopia_baselines, evaluation_audit, transposition, sound_robustness)
