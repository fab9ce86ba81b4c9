"""A page for each song, in one file that works offline: player, curves, and how sure."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from mer.audio import audio_blocks
from mer.errors import DataWarning, MerError
from mer.files import atomic_path
from mer.prediction.embeddings import SAMPLE_RATE
from mer.prediction.model import load_model
from mer.prediction.songs import CLUSTERS, MIDI_SUFFIXES, as_mp3, beginning

SEGMENT_SECONDS = 5.0
"""Of segments on pages, where no other length is asked for."""

_COLUMNS = 1200
"""Most of a spectrogram."""

QUADRANTS = (
    "high arousal, positive valence",
    "high arousal, negative valence",
    "low arousal, negative valence",
    "low arousal, positive valence",
)


class Pages:
    """Pages of songs in a folder, each in a file of its own.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.

    Attributes
    ----------
    written : list of Path
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._taken = folder, set[str]()
        page = Path(__file__).with_name("page.html")
        self._template = Template(page.read_text(encoding="utf-8"))
        self.written: list[Path] = []

    def write(self, song: Mapping[str, Any]) -> None:
        """Write the page of a song; if its file can no longer be read, it gets a warning instead.

        Parameters
        ----------
        song : mapping
            Of `mer.prediction.songs.predict_file` with segments, and "file".
        """
        stem = re.sub(r"[^\w-]+", "-", Path(song["file"]).stem, flags=re.ASCII).strip("-")[:80]
        name = next(n for n in _numbered(stem or "song") if n not in self._taken)
        self._taken.add(name)
        try:
            text = self._template.substitute(page_parts(song))
        except MerError as error:
            warnings.warn(f"{song['file']} has no page: {error}", DataWarning, stacklevel=2)
            return
        path = self._folder / f"{name}.html"
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        self.written.append(path)


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


def page_parts(song: Mapping[str, Any]) -> dict[str, str]:
    """What the template is filled with, as HTML."""
    path = Path(song["file"])
    samples = _samples(path)
    minutes, seconds = divmod(round(song["seconds"]), 60)
    notes = [
        "This song is outside of what the model was trained on: its answers may mean little.",
    ] * bool(song["outside"])
    notes += [
        "This song is one of the training songs: others are not predicted as well.",
    ] * bool(song["in_training"])
    notes += song.get("warnings", [])
    if len(samples) < int((song["seconds"] - 1) * SAMPLE_RATE):
        notes.append(f"The player has the first {len(samples) / SAMPLE_RATE:.0f} s.")
    if song["sound"] == "synthesizer":
        notes.append("The MIDI file was played by a synthesizer: a pianist would sound different.")
    segments = song["segments"]
    ranges = "; ".join(
        f"{name} from {min(s[name] for s in segments):+.2f} to "
        f"{max(s[name] for s in segments):+.2f}"
        for name in ("valence", "arousal")
    )
    keys = (
        *("seconds", "segments"),
        *(f"{name}{end}" for name in ("valence", "arousal") for end in ("", "_low", "_high")),
    )
    model = load_model()
    shown = {**{key: song[key] for key in keys}, "mean": model.mean_rating.round(3).tolist()}
    data = json.dumps(shown).replace("</", "<\\/")
    return {
        "title": html.escape(path.name.encode("utf-8", "backslashreplace").decode()),
        "facts": f"{minutes} min {seconds:02d} s; {song['sound']}; {song['level']:.0f} dB",
        "notes": "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes),
        "summary": summary(song),
        "player": _player(samples, path.name),
        "segment_seconds": f"{segments[0]['end'] - segments[0]['start']:.0f}",
        "curves_text": html.escape(f"Valence and arousal over time: {ranges}"),
        "plane_text": html.escape(
            f"Path of the song in the plane of valence and arousal: {ranges}"
        ),
        "mean": "valence {:+.2f}, arousal {:+.2f}".format(*model.mean_rating),
        "spectrogram": _spectrogram(samples),
        "roll": _roll(song.get("notes", {}).get("notes", []), song["seconds"]),
        "quadrants": _bars([song[f"q{k}"] for k in range(1, 5)], QUADRANTS, "Q"),
        "clusters": _bars([song[f"cluster_{k}"] for k in range(1, 6)], CLUSTERS, ""),
        "sources": _sources(song.get("sources", {})),
        "notes_table": _notes(song.get("notes", {})),
        "why": _why(song),
        "model": html.escape(song["model"]),
        "licence": html.escape(model.facts.get("licence", "")),
        "data": data,
    }


def summary(song: Mapping[str, Any]) -> str:
    """One sentence of what the model says of a song."""
    parts = [
        f"{name} {song[name]:+.2f} (90 % interval {song[f'{name}_low']:+.2f} to "
        f"{song[f'{name}_high']:+.2f})"
        for name in ("valence", "arousal")
    ]
    quadrant = song["quadrant"]
    return (
        f"{' and '.join(parts)} on scales from -1 to 1; the quadrant, predicted on its "
        f"own, is most likely {QUADRANTS[quadrant - 1]} "
        f"({song[f'q{quadrant}']:.0%}); mood: {song['mood']} "
        f"({song['cluster_{}'.format(song['cluster'])]:.0%})."
    ).capitalize()


def _samples(path: Path) -> np.ndarray:
    """The beginning of a song, shape (n,), at `SAMPLE_RATE`."""
    if path.suffix.lower() in MIDI_SUFFIXES:
        from mer.rendering import render_midi

        return beginning([render_midi(path, SAMPLE_RATE)])
    return beginning(audio_blocks(path, SAMPLE_RATE))


def _player(samples: np.ndarray, name: str) -> str:
    label = html.escape(name.encode("utf-8", "backslashreplace").decode())
    source = f"data:audio/mpeg;base64,{as_mp3(samples)}"
    return f'<audio id="song" controls aria-label="{label}" src="{source}"></audio>'


def _spectrogram(samples: np.ndarray) -> str:
    """A PNG in base64, as wide as the curves' axis is long."""
    from matplotlib import colormaps
    from PIL import Image

    from mer.features.spectral import log_mel

    scaled = (samples / max(float(np.abs(samples).max(initial=0)), 1.0)).astype(np.float32)
    levels = log_mel(scaled, SAMPLE_RATE, n_fft=1024, hop_length=512, n_mels=96)
    width = min(levels.shape[1], _COLUMNS)
    edges = np.linspace(0, levels.shape[1], width + 1).astype(int)
    columns = np.maximum.reduceat(levels, edges[:-1], axis=1)[::-1]
    shares = np.clip((columns - columns.max()) / 70 + 1, 0, 1)
    image = Image.fromarray((colormaps["magma"](shares)[..., :3] * 255).astype(np.uint8))
    file = io.BytesIO()
    image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _roll(notes: Sequence[Sequence[float]], seconds: float) -> str:
    """A strip with a piano roll, darker where notes are louder; empty without notes."""
    from PIL import Image

    if not notes:
        return ""
    low = int(min(note[2] for note in notes)) - 2
    high = int(max(note[2] for note in notes)) + 2
    image = np.full((high - low + 1, _COLUMNS), 255, dtype=np.uint8)
    for onset, offset, pitch, velocity in notes:
        first, stop = (int(time / seconds * _COLUMNS) for time in (onset, offset))
        image[high - int(pitch), first : max(stop, first + 1)] = 200 - round(velocity / 127 * 200)
    file = io.BytesIO()
    Image.fromarray(image).resize((_COLUMNS, 4 * len(image)), 0).save(file, "PNG", optimize=True)
    text = f"Piano roll of {len(notes)} notes: time to the right, pitch upwards"
    code = base64.b64encode(file.getvalue()).decode()
    return f'<div class="strip"><img alt="{text}" src="data:image/png;base64,{code}"></div>'


def _notes(found: Mapping[str, Any]) -> str:
    if "quadrant" not in found:
        return ""
    rows = "".join(
        f"<tr><td>{text}</td>"
        + "".join(f"<td class='n'>{found[f'{prefix}q{k}']:.0%}</td>" for k in range(1, 5))
        + "</tr>"
        for prefix, text in (("", "the notes alone"), ("both_", "mean of sound and notes"))
    )
    heads = "".join(f"<th class='n'>Q{k}</th>" for k in range(1, 5))
    return (
        f"<h2>Notes</h2><p class='soft'>What {found['n_notes']} notes say of the quadrant, as a "
        "transcriber of piano music hears them.</p><div class='wide' tabindex='0'><table><tr>"
        f"<th>from</th>{heads}</tr>{rows}</table></div>"
    )


def _bars(shares: Sequence[float], words: Sequence[str], prefix: str) -> str:
    rows = "".join(
        f"<tr><td>{prefix}{number}</td><td>{html.escape(text)}<div class='bar' "
        f"style='width: {share:.0%}'></div></td><td class='n'>{share:.0%}</td></tr>"
        for number, (share, text) in enumerate(zip(shares, words, strict=True), 1)
    )
    return f"<table>{rows}</table>"


def _sources(found: Mapping[str, Mapping[str, Any]]) -> str:
    if not found:
        return ""

    def cell(value: float | None) -> str:
        return f"<td class='n'>{'silent' if value is None else f'{value:+.2f}'}</td>"

    keys = ("valence", "arousal", "valence_without", "arousal_without")
    rows = "".join(
        f"<tr><td>{name}</td>{''.join(cell(values[key]) for key in keys)}"
        f"<td>{_solo(name, values)}</td></tr>"
        for name, values in found.items()
    )
    heads = "".join(f"<th class='n'>{key.replace('_', ' ')}</th>" for key in keys)
    return (
        "<h2>Sources</h2><p class='soft'>What each source says alone, and what the rest says "
        "without it, as the small separator of this project hears them.</p><div class='wide' "
        f"tabindex='0'><table><tr><th>source</th>{heads}<td></td></tr>{rows}</table></div>"
    )


def _solo(name: str, values: Mapping[str, Any]) -> str:
    """A button that plays a source alone, where its sound is there."""
    if "mp3" not in values:
        return ""
    return (
        f'<button type="button" aria-pressed="false" data-stem="stem-{name}">solo</button>'
        f'<audio id="stem-{name}" src="data:audio/mpeg;base64,{values["mp3"]}"></audio>'
    )


def _why(song: Mapping[str, Any]) -> str:
    distance = song["distance"]
    place = "outside of" if song["outside"] else "among"
    tags = ", ".join(f"{name} ({share:.0%})" for name, share in song["tags"].items())
    nearest = "; ".join(song["nearest"])
    sentences = [
        f"Ratings of different listeners are expected to differ by {song['valence_spread']:.2f} in "
        f"valence and {song['arousal_spread']:.2f} in arousal (standard deviation).",
        f"The song lies {place} the training songs: its distance to the nearest ones is "
        f"{distance:.2f} of the largest that is usual between them.",
        f"Nearest training songs: {nearest}.",
        f"Tags that MusiCNN hears: {tags}.",
    ]
    return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
