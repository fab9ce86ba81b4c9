"""How well transcribers hear: tests on music whose notes are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from mer import rendering
from mer.audio import waveform
from mer.clips import Clip
from mer.corpora import load
from mer.errors import MissingDataError, ParameterError
from mer.evaluation.transcription import note_scores
from mer.features.notes import read_notes
from mer.study.executor import environment
from mer.study.profiles import get_profile
from mer.study.store import RunStore
from mer.transcription import (
    get_transcriber,
    transcribe_samples,
    transcribed_notes,
    transcriber_revision,
)
from mer.transcription.rendered import Take, play
from mer.transcription.spectrogram import SAMPLE_RATE

EXCERPT_SECONDS = 120.0
_SEED = 7
_OTHER_SOUNDFONT = Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3")


@dataclass(frozen=True, slots=True)
class TranscriptionTest:
    """Music with known notes.

    Attributes
    ----------
    name, description : str
    corpus : str
    soundfont : Path or None
        What plays MAESTRO performances; None takes the one that all corpora are rendered with.
    """

    name: str
    description: str
    corpus: str
    soundfont: Path | None = None


TESTS: Mapping[str, TranscriptionTest] = MappingProxyType(
    {
        test.name: test
        for test in (
            TranscriptionTest(
                "composed",
                "piano clips of the embedded corpus",
                "composed",
            ),
            TranscriptionTest(
                "EMOPIA",
                "all clips, rendered",
                "emopia",
            ),
            TranscriptionTest(
                "MAESTRO",
                "two minutes of every performance of the official test split, rendered like all "
                "corpora here: a sound that the transcriber was trained on",
                "maestro",
            ),
            TranscriptionTest(
                "MAESTRO, unknown piano",
                "the same excerpts, played by a piano that took no part in training (MuseScore "
                "General)",
                "maestro",
                _OTHER_SOUNDFONT,
            ),
        )
    }
)

PROFILE_TESTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"smoke": ("composed",), "quick": ("composed",), "cpu": tuple(TESTS), "paper": tuple(TESTS)}
)


def transcription_scores(
    store: RunStore,
    test: str,
    transcriber: str,
    *,
    profile: str,
    compute: bool = True,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Scores of a transcriber on one test, from the store where they are there.

    Parameters
    ----------
    store : RunStore
    test : str
        Name in `TESTS`.
    transcriber : str
        Name in `mer.transcription.TRANSCRIBERS`.
    profile : str
        Tells the size of the composed corpus.
    compute : bool
        Whether to compute what is not stored.
    n_jobs : int, optional
        Processes; one for each core if None.

    Returns
    -------
    DataFrame
        One row a clip: test, transcriber, id, group, seconds (of audio), played and found (notes),
        and the columns of `mer.evaluation.transcription.note_scores`.

    Raises
    ------
    ParameterError
        If there is no such test or transcriber.
    MissingDataError
        If the scores are not stored and not to be computed, or the data are missing.
    """
    if test not in TESTS:
        raise ParameterError(f"unknown test {test!r}; the tests are: {', '.join(TESTS)}")
    chosen = TESTS[test]
    revisions = {
        "rendering": rendering.REVISION,
        "transcriber": transcriber_revision(transcriber),
    }
    spec = {
        "test": test,
        "transcriber": transcriber,
        "revisions": revisions,
        **_size(chosen, profile),
    }
    run = partial(_compute, chosen, transcriber, profile, n_jobs) if compute else None
    return store.table(f"transcription {test} {transcriber}", spec, run)


def _size(test: TranscriptionTest, profile: str) -> dict[str, Any]:
    if test.corpus != "composed":
        return {}
    options = get_profile(profile).corpus_options.get("composed", {})
    return {**options, "arrangement": "piano"}


def _compute(
    test: TranscriptionTest, transcriber: str, profile: str, n_jobs: int | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    get_transcriber(transcriber)  # says at once what is missing
    jobs = _jobs(test, profile)
    started = time.perf_counter()
    calls = (delayed(_score)(job, transcriber) for job in jobs)
    scored = Parallel(n_jobs=n_jobs or -1, return_as="generator")(calls)
    rows = list(tqdm(scored, total=len(jobs), unit="clip", desc=test.name))
    frame = pd.DataFrame(rows)
    frame.insert(0, "test", test.name)
    frame.insert(1, "transcriber", transcriber)
    details = {
        "description": test.description,
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    return frame, details


Job = tuple[Clip, Callable[[Clip, str], tuple[float, np.ndarray, np.ndarray]]]


def _jobs(test: TranscriptionTest, profile: str) -> list[Job]:
    if test.corpus != "maestro":
        corpus = load(test.corpus, **_size(test, profile))
        return [(clip, _clip) for clip in corpus]
    soundfont = test.soundfont or rendering.default_soundfont()
    if not soundfont.is_file():
        raise MissingDataError(
            f"{soundfont} does not exist; test {test.name!r} needs this soundfont (Debian's "
            "musescore-general-soundfont-small has it)"
        )
    corpus = load("maestro")
    clips = corpus.select(corpus.split("official").folds[0].test)
    rng = np.random.default_rng(_SEED)
    jobs: list[Job] = []
    for clip in clips:
        start = rng.uniform(0, max(float(clip.meta["duration"]) - EXCERPT_SECONDS, 0))
        take = Take(start=round(start, 3), seconds=EXCERPT_SECONDS)
        jobs.append((clip, partial(_excerpt, take=take, soundfont=soundfont)))
    return jobs


def _clip(clip: Clip, transcriber: str) -> tuple[float, np.ndarray, np.ndarray]:
    assert clip.midi is not None, "these corpora have MIDI"
    found = transcribed_notes(clip, transcriber)
    return len(waveform(clip)) / 22050, read_notes(clip.midi, pedal=True), found


def _excerpt(
    clip: Clip, transcriber: str, *, take: Take, soundfont: Path
) -> tuple[float, np.ndarray, np.ndarray]:
    assert clip.midi is not None, "MAESTRO has MIDI"
    samples, played = play(clip.midi, take, [soundfont])
    found = transcribe_samples(samples, SAMPLE_RATE, get_transcriber(transcriber))
    return len(samples) / SAMPLE_RATE, played, found


def _score(job: Job, transcriber: str) -> dict[str, Any]:
    clip, notes_of = job
    seconds, played, found = notes_of(clip, transcriber)
    played = played[played[:, 1] > played[:, 0]]
    return {
        "id": clip.id,
        "group": clip.group,
        "seconds": seconds,
        "played": len(played),
        "found": len(found),
        **note_scores(played, found),
    }
