"""What the model says of a file: the song as a whole, over time, and by source."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from mer.audio import audio_blocks, audio_seconds, resampled_blocks
from mer.errors import DataWarning, InvalidDataError, ParameterError
from mer.files import temporary_folder
from mer.models.musicnn import TAGS
from mer.prediction.embeddings import (
    HOP,
    SAMPLE_RATE,
    WINDOW_SECONDS,
    Embedded,
    embed_blocks,
    embed_file,
)
from mer.prediction.heads import DIMENSIONS, song_vector
from mer.prediction.model import TRANSCRIBER, SongModel, load_model, model_name

MIDI_SUFFIXES = (".mid", ".midi")
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf"),
    *(
        ".w64",
        ".rf64",
        ".m4a",
        ".m4b",
        ".aac",
        ".mp4",
        ".mov",
        ".wma",
        ".alac",
        ".webm",
        ".mkv",
        ".wv",
    ),
)
"""Of files that are taken from folders; those that cannot be decoded are told as errors."""

LONGEST_PLAYER = 600.0
"""Seconds of a song that a page holds at most, about 5 MB."""

CLUSTERS = (
    "passionate, rousing, confident",
    "rollicking, cheerful, fun",
    "literate, poignant, wistful",
    "humorous, silly, quirky",
    "aggressive, fiery, tense",
)
"""Words of the five mood clusters of MIREX (Hu and Downie, ISMIR 2007)."""

_LONG_WINDOW, _PIANO = 300.0, "emopia/"
_SAME = 0.05
"""Distance below which two songs are taken for the same music."""


@dataclass(frozen=True)
class Options:
    """What is asked for beside the song as a whole.

    Attributes
    ----------
    segments : float or None
        Length in seconds, from 3 to 300, of segments that start a second apart; None for none.
    sources : bool
        Whether to separate the song, and to answer for each source alone and without it.
    notes : bool
        Whether to transcribe the song as piano music, and to answer from its notes, too.
    players : bool
        Whether each source comes with its beginning as MP3, for pages.
    """

    segments: float | None = None
    sources: bool = False
    notes: bool = False
    players: bool = False

    def __post_init__(self) -> None:
        if self.segments is None:
            return
        number = isinstance(self.segments, Real) and not isinstance(self.segments, bool)
        if not number or not WINDOW_SECONDS <= self.segments <= _LONG_WINDOW:
            raise ParameterError(
                f"segments is {self.segments!r}; expected seconds from {WINDOW_SECONDS:g} to "
                f"{_LONG_WINDOW:g}"
            )


def predict_file(path: Path, options: Options | None = None) -> dict[str, Any]:
    """What the model says of an audio file or, played by a synthesizer, of a MIDI file.

    Parameters
    ----------
    path : Path
    options : Options, optional

    Returns
    -------
    dict
        JSON-native, see `describe`; with "segments", "sources" and "notes" where they are asked
        for.

    Raises
    ------
    MissingDataError, InvalidDataError
        If the file is missing, cannot be decoded, is silent, or shorter than a second.
    """
    options, model = options or Options(), load_model()
    is_midi = path.suffix.lower() in MIDI_SUFFIXES
    if path.exists() and not path.is_file():
        raise InvalidDataError(f"{path} is no regular file; expected audio or MIDI")
    try:
        song = _embed_midi(path) if is_midi else embed_file(path)
    except InvalidDataError as error:
        raise InvalidDataError(_with_name(path, str(error))) from None
    found = describe(song, model)
    found |= {"sound": "synthesizer" if is_midi else "recording", "model": model_name()}
    found["standardised_by"] = "training songs"
    if options.segments is not None:
        found["segments"] = segments(song, model, options.segments)
    if options.sources and is_midi:
        warnings.warn(
            f"{path} is a MIDI file: it has no sources to separate", DataWarning, stacklevel=2
        )
    elif options.sources:
        found["sources"] = sources(path, model, players=options.players)
    if options.notes:
        found["notes"] = of_notes(path, found, model)
    return found


def _with_name(path: Path, message: str) -> str:
    return message if str(path) in message else f"{path}: {message}"


def _embed_midi(path: Path) -> Embedded:
    from mer.rendering import render_midi

    samples = render_midi(path, SAMPLE_RATE)
    return embed_blocks(lambda: [samples])


def describe(song: Embedded, model: SongModel) -> dict[str, Any]:
    """Answers for a song as a whole.

    Returns
    -------
    dict
        seconds, level (dB relative to full scale), valence and arousal in [-1, 1], each with
        `_low` and `_high` of an interval that holds nine of ten songs, `_1_9` on the scale of
        DEAM, and `_spread`, by how much listeners' ratings of it differ (standard deviation),
        quadrant and probabilities q1 to q4, cluster (1 to 5), its words (mood) and cluster_1
        to cluster_5, distance (from the training songs; above 1 the song is outside of them),
        outside, in_training (whether the nearest one is the same music), nearest (training songs),
        features (the input of the heads), and tags (the five most likely of MusiCNN).
    """
    x = song_vector(song)
    distance, nearest, least = (found[0] for found in model.distances(x[None]))
    found: dict[str, Any] = {"seconds": round(song.seconds, 3), "level": round(song.level, 2)}
    found |= answers(x, model)
    found["distance"] = round(float(distance), 3)
    found["outside"] = bool(distance > 1)
    found["in_training"] = bool(least < _SAME)
    found["features"] = [round(float(value), 4) for value in x]
    found["nearest"] = [model.names[int(index)] for index in nearest]
    tags = song.tags.mean(axis=0)
    found["tags"] = {TAGS[k]: round(float(tags[k]), 3) for k in tags.argsort()[::-1][:5]}
    return found


def answers(x: np.ndarray, model: SongModel) -> dict[str, Any]:
    """Valence, arousal, quadrant and cluster, as in `describe`, of a song, shape (n_features,)."""
    values = model.heads.numbers["va"](x[None])[0]
    half = model.intervals(x[None])[0]
    found: dict[str, Any] = {}
    for name, value, width in zip(DIMENSIONS, values, half, strict=True):
        found[name] = _in_range(value)
        found[f"{name}_low"] = _in_range(value - width)
        found[f"{name}_high"] = _in_range(value + width)
        found[f"{name}_1_9"] = round(5 + 4 * found[name], 3)
    for name, value in zip(DIMENSIONS, model.heads.numbers["spread"](x[None])[0], strict=True):
        found[f"{name}_spread"] = round(float(value), 4)
    for head, prefix in (("quadrant", "q"), ("cluster", "cluster_")):
        shares = model.heads.probabilities(head, x)
        found[head] = int(shares.argmax()) + 1
        found |= {f"{prefix}{k + 1}": round(float(share), 4) for k, share in enumerate(shares)}
    found["mood"] = CLUSTERS[found["cluster"] - 1]
    return found


def _in_range(value: float) -> float:
    return round(float(np.clip(value, -1, 1)), 4)


def segments(song: Embedded, model: SongModel, seconds: float) -> list[dict[str, float]]:
    """Valence and arousal over time: segments of some seconds, which start a second apart.

    They are predicted from the embeddings alone, so their mean may differ from the song's values.
    """
    n = len(song.embeddings)
    width = min(n, max(1, round((seconds - WINDOW_SECONDS) / HOP) + 1))
    windows = np.lib.stride_tricks.sliding_window_view(song.embeddings, width, axis=0)
    assert model.segments is not None
    values = model.segments.numbers["va"](windows.mean(axis=-1, dtype=np.float64))
    length = min(seconds, song.seconds)
    return [
        {
            "start": round(start * HOP, 3),
            "end": round(start * HOP + length, 3),
            "valence": _in_range(v),
            "arousal": _in_range(a),
        }
        for start, (v, a) in enumerate(values)
    ]


def of_notes(path: Path, song: Mapping[str, Any], model: SongModel) -> dict[str, Any]:
    """What the notes of piano music say: those of a MIDI file, or of our transcription.

    Parameters
    ----------
    path : Path
    song : mapping
        Of `describe`.
    model : SongModel

    Returns
    -------
    dict
        n_notes, notes (onset and offset in s, pitch, velocity), and where there are some, quadrant
        and q1 to q4 from them alone, and both_quadrant and both_q1 to both_q4: means with those of
        the sound.
    """
    from mer.systems.transcribed import relative_descriptors

    played = _notes(path)
    found: dict[str, Any] = {"n_notes": len(played), "notes": played.round(3).tolist()}
    if not len(played):
        return found
    if not any(name.startswith(_PIANO) for name in song["nearest"]):
        warnings.warn(
            f"{path} does not sound like the piano music of training: its notes may be wrong",
            DataWarning,
            stacklevel=2,
        )
    x = np.array(list(relative_descriptors(played).values()))
    assert model.notes is not None
    shares = model.notes.probabilities("quadrant", x)
    both = (shares + [song[f"q{k + 1}"] for k in range(len(shares))]) / 2
    for prefix, values in (("", shares), ("both_", both)):
        found[f"{prefix}quadrant"] = int(values.argmax()) + 1
        found |= {f"{prefix}q{k + 1}": round(float(v), 4) for k, v in enumerate(values)}
    return found


def _notes(path: Path) -> np.ndarray:
    from mer.features.notes import read_notes
    from mer.transcription import get_transcriber, transcribe_file

    if path.suffix.lower() in MIDI_SUFFIXES:
        return read_notes(path, pedal=True)
    return transcribe_file(path, get_transcriber(TRANSCRIBER))


def sources(path: Path, model: SongModel, *, players: bool = False) -> dict[str, dict[str, Any]]:
    """What each source says alone, and what the song says without it.

    Returns
    -------
    dict
        By source: level (of it alone, dB; None if it is silent), valence and arousal of it alone,
        and `valence_without` and `arousal_without`; None where nothing is to be heard. With
        `players` also mp3, see `as_mp3`.
    """
    from mer.separation import SOURCES, get_separator, separate_file, stem_files, stem_paths

    splitter = get_separator("small")
    form: dict[str, Any] = {"sample_rate": SAMPLE_RATE, "channels": 1, "separator": "small"}
    with temporary_folder() as folder:
        with stem_files(folder, seconds=audio_seconds(path), **form) as write:
            together = (stems.mean(axis=1).T for stems in separate_file(path, splitter))
            for block in resampled_blocks(together, splitter.sample_rate, SAMPLE_RATE):
                write(block.T[:, None])
        files = dict(zip(SOURCES, stem_paths(folder), strict=False))
        found = {}
        for name in SOURCES:
            others = [file for other, file in files.items() if other != name]
            without = _answer(others, model)
            found[name] = {
                **_answer([files[name]], model),
                **{f"{key}_without": without[key] for key in DIMENSIONS},
            }
            if players:
                found[name]["mp3"] = as_mp3(beginning(audio_blocks(files[name], SAMPLE_RATE)))
    return found


def beginning(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """The first `LONGEST_PLAYER` seconds of audio that comes in pieces, at `SAMPLE_RATE`."""
    most, found, total = int(LONGEST_PLAYER * SAMPLE_RATE), [], 0
    for block in blocks:
        found.append(block)
        total += len(block)
        if total >= most:
            break
    return np.concatenate(found)[:most]


def as_mp3(samples: np.ndarray) -> str:
    """Samples at `SAMPLE_RATE` as MP3 in base64; softer where they are beyond full scale."""
    import soundfile

    file = io.BytesIO()
    scaled = samples / max(float(np.abs(samples).max(initial=0)), 1.0)
    soundfile.write(file, scaled, SAMPLE_RATE, format="MP3", compression_level=0.5)
    return base64.b64encode(file.getvalue()).decode()


def _answer(files: Sequence[Path], model: SongModel) -> dict[str, Any]:
    """For the sum of some files of the same length."""

    def blocks() -> Iterator[np.ndarray]:
        for together in zip(*(audio_blocks(f, SAMPLE_RATE) for f in files), strict=True):
            yield np.sum(together, axis=0)

    try:
        found = describe(embed_blocks(blocks), model)
    except InvalidDataError:
        return dict.fromkeys(("level", *DIMENSIONS))
    return {key: found[key] for key in ("level", *DIMENSIONS)}
