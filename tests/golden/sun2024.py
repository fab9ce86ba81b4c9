"""Pages on SSSL."""

from __future__ import annotations

import pandas as pd

from golden.common import Frames, claims, named, study
from mer.papers.sun2024 import noise, segments, trajectory
from mer.papers.sun2024 import tables as paper
from mer.study.claims import Claim
from mer.study.results import Results
from mer.study.scores import OWN_MODEL


def sun2024_segments() -> Frames:
    own = study("segments")
    frames: Frames = {
        "published counts": segments.published_counts(),
        "counts": segments.corpus_counts(paper.corpora(own)),
    }
    for name, results in paper.run_everywhere(own, paper.run_durations).items():
        frames |= _corpus(name, results, paper.duration_claims(results.tasks))
    return frames


def sun2024_comparison() -> Frames:
    frames: Frames = {}
    for name, results in paper.run_everywhere(study("segments"), paper.run_comparison).items():
        frames |= _corpus(name, results, paper.comparison_claims(results.tasks))
        frames[f"{name}, validation"] = paper.validation_against_test(results)
        history = paper.self_learning_history(results)
        last = history.groupby(["task", "fold", "seed"]).tail(1)
        frames[f"{name}, last epochs"] = last.drop(columns="system")
        leakage = paper.run_leakage(results.study)
        if leakage is not None:
            frames[f"{name}, leakage"] = leakage
    return frames


def _corpus(name: str, results: Results, claimed: tuple[Claim, ...]) -> Frames:
    published = paper.published_scores(paper.STANDS_FOR[name])
    table = paper.score_frame(results)
    columns = ["task", "system", "metric", "published", "mean", "sd", "low", "high", "n"]
    places = {f"corpus {name}": {OWN_MODEL: results.predictions}}
    judged = claims(claimed, places, published)
    return {f"{name}, scores": table[columns], **named(name, judged)}


def sun2024_trajectory() -> Frames:
    shown, _ = trajectory.all_songs(trajectory.studies(study("segments")))
    typical = {songs.name: [trajectory.typical_song(songs)] for songs in shown}
    tables = {songs.name: trajectory.song_table(songs) for songs in shown}
    return {**tables, "typical songs": pd.DataFrame(typical)}


def sun2024_noise() -> Frames:
    own = noise.noise_study(study("segments"))
    tables, tasks = noise.noise_tables(own), own.tasks(())
    durations = sorted(tables.clips["duration"].unique())
    detection = noise.judge_detection(tables.detection, noise.detection_claims(tasks, durations))
    answers = noise.judge_segments(tables.clips, noise.segment_claims(tasks, durations))
    columns = ["claim", "place", "better", "worse", "task", "difference", "low", "high", "n"]
    return {
        "detection": tables.detection,
        "curves": noise.epoch_curves(tables.epochs),
        "accuracy": noise.segment_accuracy(tables.clips),
        "detection, differences": detection[[*columns, "direction"]],
        "segments, differences": answers[[*columns, "direction"]],
    }


PAGES = (sun2024_segments, sun2024_comparison, sun2024_trajectory, sun2024_noise)
