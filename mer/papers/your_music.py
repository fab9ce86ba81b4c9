"""Examples for the page on your own music: composed songs, and files that have no answer."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mer.audio import waveform
from mer.corpora import load
from mer.files import temporary_folder
from mer.prediction import pages
from mer.prediction.batch import find_songs, predictions, run
from mer.prediction.model import load_model, model_name
from mer.prediction.songs import Options
from mer.study import plots
from mer.study.text import markdown, number

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure

_SAMPLE_RATE = 22050
_SIZE, _SECONDS = 24, 15.0


def example_folder(folder: Path) -> Path:
    """Write composed songs of several quadrants, noise and a damaged file; which folder it is.

    The songs are played by this project's synthesizer: nobody else has rights in them.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    seen: set[Any] = set()
    for clip in load("composed_band", size=_SIZE, duration=_SECONDS):
        if clip.labels.quadrant not in seen:
            seen.add(clip.labels.quadrant)
            name = f"composed for quadrant {clip.labels.quadrant}.flac"
            soundfile.write(folder / name, waveform(clip, _SAMPLE_RATE), _SAMPLE_RATE)
    noise = np.random.default_rng(0).normal(scale=0.1, size=10 * _SAMPLE_RATE)
    soundfile.write(folder / "noise.flac", noise, _SAMPLE_RATE)
    (folder / "damaged.flac").write_bytes(b"no music")
    return folder


def answers(folder: str | Path | None, output: Path) -> list[dict[str, Any]]:
    """Answers for a folder, or for the examples if None; tables and pages are in `output`."""
    paths = [example_folder(output / "examples") if folder is None else Path(folder)]
    options = Options(segments=5.0, sources=True, players=True)
    run(paths, options, output, kinds=("json", "html"))
    found = predictions(find_songs(paths), options, folder=output / "answers")
    return sorted(found, key=lambda song: "error" in song)


def table(found: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Some of the answers as text, a row a song."""
    rows = {}
    for song in found:
        if "error" in song:
            continue
        values: dict[str, str] = {}
        for name in ("valence", "arousal"):
            low, value, high = (
                number(song[f"{name}{end}"], 2, signed=True) for end in ("_low", "", "_high")
            )
            values |= {name: value, f"90 % interval of {name}": f"{low} to {high}"}
        quadrant = song["quadrant"]
        share = number(song[f"q{quadrant}"], percent=True)
        rows[Path(song["file"]).name] = {
            **values,
            "quadrant": f"Q{quadrant} ({share})",
            "mood": song["mood"],
            "outside": "yes" if song["outside"] else "no",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def summary(found: Sequence[dict[str, Any]]) -> str:
    """How many files have an answer, and what the first song's is, in Markdown."""
    songs = [song for song in found if "error" not in song]
    outside = sum(song["outside"] for song in songs)
    text = f"{len(songs)} of {len(found)} files have an answer; {outside} outside of what is known."
    if songs:
        name = markdown(Path(songs[0]["file"]).name)
        text += f" {name}: {pages.summary(songs[0])}"
    return text


def errors(found: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Files without an answer, and why, without their folder."""
    rows = {}
    for song in found:
        if "error" in song:
            path = Path(song["file"])
            rows[path.name] = {"reason": song["error"].replace(str(path), path.name)}
    return pd.DataFrame.from_dict(rows, orient="index")


def about() -> pd.DataFrame:
    """What the model was trained on, and its licence."""
    facts = {"model": model_name(), **load_model().facts}
    return pd.DataFrame({"": pd.Series(facts)})


def figure(found: Sequence[dict[str, Any]]) -> Figure:
    """The songs in the plane of valence and arousal, with their intervals."""
    songs = [song for song in found if "error" not in song]
    drawn, axes = plots.panels(1, 1, 4.2)
    axis = axes[0, 0]
    for song, colour in zip(songs, cycle(plots.PALETTE)):
        ends = [
            [[song[n] - song[f"{n}_low"]], [song[f"{n}_high"] - song[n]]]
            for n in ("valence", "arousal")
        ]
        style = {"marker": "X" if song["outside"] else "o", "ms": 7, "lw": 1, "color": colour}
        name = plots.verbatim(Path(song["file"]).name)
        axis.errorbar(song["valence"], song["arousal"], ends[1], ends[0], label=name, **style)
    axis.set(xlabel="Valence", ylabel="Arousal", xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
    if songs:
        axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    told = ", ".join(
        f"{Path(s['file']).name} {number(s['valence'], 2, signed=True)} and "
        f"{number(s['arousal'], 2, signed=True)}"
        for s in songs
    )
    return plots.describe(drawn, f"Valence and arousal of songs, with 90 % intervals: {told}.")


def page(found: Sequence[dict[str, Any]]) -> HTML:
    """The page of the first song, in a frame."""
    from IPython.display import HTML

    with temporary_folder() as folder:
        made = pages.Pages(folder)
        made.write(found[0])
        text = made.written[0].read_text(encoding="utf-8")
    title = html.escape(f"Page of {Path(found[0]['file']).name}", quote=True)
    return HTML(
        f'<iframe title="{title}" style="width: 100%; height: 60rem; border: 1px solid #ccc" '
        f'srcdoc="{html.escape(text, quote=True)}"></iframe>'
    )
