"""Tests of transcribers on music whose notes are known, and their page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer import rendering
from mer.audio import crop, waveform
from mer.clips import Clip
from mer.composing.score import REVISION as SCORE_REVISION
from mer.corpora import load
from mer.evaluation.transcription import matched_notes, note_scores
from mer.features.notes import read_notes
from mer.files import temporary_folder
from mer.study import players, plots
from mer.study.converters import (
    EXAMPLE,
    OTHER_SOUNDFONT,
    Benchmark,
    Evaluation,
    by_converter,
    example_clip,
    mean_text,
)
from mer.study.plots import BLUE, ORANGE, VERMILLION
from mer.study.profiles import Profile
from mer.study.study import Study
from mer.study.text import corpus_title, number
from mer.training.rendered import Take, play, played_notes
from mer.transcription import (
    TRANSCRIBERS,
    get_transcriber,
    transcribe_samples,
    transcribed_notes,
    transcriber_revision,
    write_midi,
)
from mer.transcription.frames import (
    BANDS_PER_SEMITONE,
    FLOOR_DB,
    FRAMES_PER_SECOND,
    LOWEST_PITCH,
    SAMPLE_RATE,
    STEPS_PER_DB,
    log_frequency_spectrogram,
)

if TYPE_CHECKING:
    from IPython.display import Audio

EXCERPT_SECONDS = 120.0
FOUND, MISSED, FALSE = "found", "missed", "not played"
_SEED = 7
_KINDS = {FOUND: (BLUE, "o"), MISSED: (VERMILLION, "x"), FALSE: (ORANGE, "^")}
_F1 = {
    "onset_f1": "onset",
    "onset_offset_f1": "onset and offset",
    "onset_offset_velocity_f1": "and velocity",
}

Item = tuple[Clip, Callable[[Clip, str], tuple[float, np.ndarray, np.ndarray]]]
"""A clip, and what gives its seconds, the notes played and those that a transcriber finds."""


def _composed_options(profile: Profile) -> dict[str, Any]:
    return {**profile.corpus_options.get("composed", {}), "arrangement": "piano"}


def _composed(profile: Profile) -> list[Item]:
    return [(clip, _whole) for clip in load("composed", **_composed_options(profile))]


def _whole(clip: Clip, transcriber: str) -> tuple[float, np.ndarray, np.ndarray]:
    assert clip.midi is not None, "these corpora have MIDI"
    transcribed = transcribed_notes(clip, transcriber)
    return len(waveform(clip)) / 22050, read_notes(clip.midi, pedal=True), transcribed


def _maestro(profile: Profile, soundfont: str) -> list[Item]:
    path = rendering.find_soundfont(soundfont)
    corpus, rng = load("maestro"), np.random.default_rng(_SEED)
    items: list[Item] = []
    for clip in corpus.select(corpus.split("official").folds[0].test):
        start = rng.uniform(0, max(float(clip.meta["duration"]) - EXCERPT_SECONDS, 0))
        take = Take(start=round(start, 3), seconds=EXCERPT_SECONDS)
        items.append((clip, partial(_excerpt, take=take, soundfont=path)))
    return items


def _excerpt(
    clip: Clip, transcriber: str, *, take: Take, soundfont: Path
) -> tuple[float, np.ndarray, np.ndarray]:
    assert clip.midi is not None, "MAESTRO has MIDI"
    samples = play(clip.midi, take, [soundfont], SAMPLE_RATE)
    seconds = len(samples) / SAMPLE_RATE
    transcribed = transcribe_samples(samples, SAMPLE_RATE, get_transcriber(transcriber))
    return seconds, played_notes(clip.midi, take, seconds), transcribed


TESTS: Mapping[str, Benchmark] = {
    "composed": Benchmark("piano clips of the embedded corpus", _composed, _composed_options),
    "EMOPIA": Benchmark(
        "all clips, rendered", lambda profile: [(clip, _whole) for clip in load("emopia")]
    ),
    "MAESTRO": Benchmark(
        "two minutes of every performance of the official test split, rendered like all "
        "corpora here: a sound that the transcriber was trained on",
        partial(_maestro, soundfont="TimGM6mb"),
    ),
    "MAESTRO, unknown piano": Benchmark(
        "the same excerpts, played by a piano that took no part in the training of onsets-frames "
        "(MuseScore General); onsets-frames-varied was trained on it",
        partial(_maestro, soundfont=OTHER_SOUNDFONT),
    ),
}


def _score(item: Item, transcriber: str) -> list[dict[str, Any]]:
    clip, notes_of = item
    seconds, played, transcribed = notes_of(clip, transcriber)
    played = played[played[:, 1] > played[:, 0]]
    counts = {"seconds": seconds, "played": len(played), "found": len(transcribed)}
    return [{"id": clip.id, "group": clip.group, **counts, **note_scores(played, transcribed)}]


def _revisions(transcriber: str) -> dict[str, int]:
    return {"rendering": rendering.REVISION, "transcriber": transcriber_revision(transcriber)}


EVALUATION = Evaluation(
    name="transcription",
    converter="transcriber",
    tests=TESTS,
    converters=TRANSCRIBERS,
    load=get_transcriber,
    revisions=_revisions,
    score=_score,
)
"""Scores have a row a clip: test, transcriber, id, group, seconds (of audio), played and found
(notes), and the columns of `mer.evaluation.transcription.note_scores`."""


def gap_summary(study: Study, table: pd.DataFrame) -> str:
    """Transcription scores, and whether rows with audio input are further below the paper.

    A list in Markdown; `table` is one of `mer.study.scores.scores`.
    """
    test = "EMOPIA" if study.corpus_name == "emopia" else "composed"
    scores = EVALUATION.scores(study, test, "onsets-frames")
    lines = [
        f"- Transcription: mean onset F1 {number(scores['onset_f1'].mean())} on {len(scores):,} "
        f"clips of {corpus_title(study.corpus_name, article=True)}."
    ]
    known = table.dropna(subset=["published"])
    for reads, rows in known.groupby(known["audio"] == "none", sort=False):
        gaps = rows["difference"]
        mean, low, high = (number(g, signed=True) for g in gaps.agg(["mean", "min", "max"]))
        lines.append(
            f"- Rows that {'read MIDI' if reads else 'take audio'}: reproduced minus published "
            f"{mean} on average over {len(gaps)} systems and tasks, from {low} to {high}."
        )
    return "\n".join(lines)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of each test and transcriber, as text.

    F1 of the three kinds is a mean over clips with a 95 % bootstrap interval over groups. Clips in
    which nothing is played and nothing is found do not count.
    """

    def row(frame: pd.DataFrame) -> dict[str, Any]:
        known = frame.dropna(subset=list(_F1))
        return {
            "clips": len(known),
            "hours": number(known["seconds"].sum() / 3600, 1),
            **{f"F1: {name}": mean_text(known, column) for column, name in _F1.items()},
            "precision": number(known["onset_precision"].mean()),
            "recall": number(known["onset_recall"].mean()),
        }

    return by_converter(scores, "transcriber", row)


def score_summary(scores: pd.DataFrame) -> str:
    """How many clips are transcribed well, and whether dense ones are harder, in Markdown."""
    lines = []
    known = scores.dropna(subset="onset_f1")
    for (test, name), frame in known.groupby(["test", "transcriber"]):
        f1 = frame["onset_f1"]
        density = f1.corr(frame["played"] / frame["seconds"], method="spearman")
        lines.append(
            f"- {test}, {name}: onset F1 is above .9 in {number((f1 > 0.9).mean(), percent=True)} "
            f"of {len(f1):,} clips, below .8 in {number((f1 < 0.8).mean(), percent=True)}; its "
            f"rank correlation with notes a second is {number(density, 2, signed=True)}."
        )
    return "\n".join(lines)


def note_counts(scores: pd.DataFrame) -> pd.DataFrame:
    """What a transcription changes of the number of notes, by test and transcriber.

    Over clips: notes played and found a second (means), the mean of found over played, the mean
    absolute difference of the counts as a share of the notes played, and the correlation of the
    counts a second (missing for fewer than three clips).
    """

    def row(frame: pd.DataFrame) -> dict[str, float]:
        played, transcribed = (frame[name] / frame["seconds"] for name in ("played", "found"))
        ratio = (transcribed / played)[played > 0]
        return {
            "played a second": played.mean(),
            "found a second": transcribed.mean(),
            "found / played": ratio.mean(),
            "mean absolute error": (ratio - 1).abs().mean(),
            "correlation": played.corr(transcribed) if len(frame) > 2 else np.nan,
        }

    return by_converter(scores, "transcriber", row)


def distribution(scores: pd.DataFrame) -> Figure:
    """Onset F1 of every clip, by test and transcriber."""
    known, part = _named_parts(scores)
    return plots.distribution(known, "onset_f1", part, hue=part, xlabel="Onset F1 of a clip")


def density_figure(scores: pd.DataFrame) -> Figure:
    """Onset F1 of every clip against the notes that are played a second."""
    known, part = _named_parts(scores)
    known["density"] = known["played"] / known["seconds"]
    axes: dict[str, Any] = {"xlabel": "Notes played a second", "ylabel": "Onset F1 of a clip"}
    return plots.scatter(known, "density", "onset_f1", hue=part, **axes)


def _named_parts(scores: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Scored clips with a column "part": the test and, where several listen, the transcriber."""
    known = scores.dropna(subset="onset_f1").copy()
    several = len(known["transcriber"].unique()) > 1
    known["part"] = known["test"] + (": " + known["transcriber"] if several else "")
    return known, "part"


def example(study: Study) -> tuple[Clip, np.ndarray]:
    """A clip and the notes that a transcriber finds in it, shape (n, 4); these are stored.

    It is ten seconds of the composed corpus, high in valence and arousal.

    Raises
    ------
    MissingDataError
        If it is not stored and not to be computed.
    """
    transcriber, clip = study.settings.transcribers[0], example_clip("composed")
    revisions = {**_revisions(transcriber), "score": SCORE_REVISION}
    key = {"clip": clip.id, "transcriber": transcriber, "revisions": revisions, **EXAMPLE}

    def compute() -> pd.DataFrame:
        columns = ["onset", "offset", "pitch", "velocity"]
        return pd.DataFrame(transcribed_notes(clip, transcriber), columns=columns)

    notes = study.table(f"transcription example {transcriber}", key, compute)
    return clip, notes.to_numpy(float)


def found_player(transcribed: np.ndarray) -> list[Audio]:
    """Notes, played by the piano of the composed corpus; no player where there is no note."""
    if not len(transcribed):
        return []
    with temporary_folder() as folder:
        path = folder / "found.mid"
        write_midi(transcribed, path)
        return [players.player(Clip("what was found", group="found", midi=path))]


def matched(played: np.ndarray, transcribed: np.ndarray) -> dict[str, np.ndarray]:
    """Notes of a transcription, shape (n, 4), by what became of them.

    They are `FOUND` (played notes whose pitch is right and whose onset is transcribed within 50
    ms), `MISSED` or `FALSE`.
    """
    hits = matched_notes(played, transcribed)
    return {
        FOUND: played[hits[:, 0]],
        MISSED: np.delete(played, hits[:, 0], axis=0),
        FALSE: np.delete(transcribed, hits[:, 1], axis=0),
    }


def example_figure(clip: Clip, transcribed: np.ndarray, *, seconds: float = 10.0) -> Figure:
    """What a transcriber's network is given, and what it finds, in the beginning of a clip.

    Above, the log-frequency spectrogram (long windows); below, the notes of the clip's MIDI, held
    as long as they sound, and those of the transcription, shape (n, 4). Markers stand at onsets.
    """
    assert clip.midi is not None, "a clip to compare with has MIDI"
    played = read_notes(clip.midi, pedal=True)
    figure, ((top,), (bottom,)) = plots.panels(2, 1, 4.8, sharex=True)
    _spectrogram(figure, top, crop(waveform(clip, SAMPLE_RATE), int(seconds * SAMPLE_RATE)))
    kinds = matched(*(notes[notes[:, 0] < seconds] for notes in (played, transcribed)))
    for kind, notes in kinds.items():
        colour, marker = _KINDS[kind]
        onsets, offsets, pitches = notes[:, :3].T
        bottom.barh(pitches, offsets - onsets, left=onsets, height=0.8, color=colour, alpha=0.35)
        label = f"{kind} ({len(notes)})"
        bottom.plot(onsets, pitches, marker, ms=4, color=colour, label=label)
    bottom.set(xlim=(0, seconds), xlabel="Time (s)", ylabel="Pitch (MIDI)")
    figure.legend(*bottom.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _spectrogram(figure: Figure, axis: Axes, samples: np.ndarray) -> None:
    levels = log_frequency_spectrogram(samples)[1] / STEPS_PER_DB + FLOOR_DB
    n_bands, n_frames = levels.shape
    low = LOWEST_PITCH - 1.5 / BANDS_PER_SEMITONE
    extent = (0, n_frames / FRAMES_PER_SECOND, low, low + n_bands / BANDS_PER_SEMITONE)
    style: dict[str, Any] = {"origin": "lower", "aspect": "auto", "cmap": "magma"}
    image = axis.imshow(levels, extent=extent, vmin=levels.max() - 80, **style)
    axis.set_ylabel("Pitch (MIDI)")
    axis.grid(visible=False)
    figure.colorbar(image, ax=axis, label="dB", pad=0.01)
