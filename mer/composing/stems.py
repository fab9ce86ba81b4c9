"""The sources of a composed clip, each rendered alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mer.audio import crop
from mer.clips import Clip
from mer.composing.planning import SOURCES
from mer.errors import MissingDataError
from mer.files import require_file, temporary_folder
from mer.rendering import render_midi, sounding_length

_VOLUME_CONTROLS = (7, 11)
"""Channel volume and expression; either alone leaves -84 dB."""


def stems(clip: Clip, sample_rate: int = 22050) -> dict[str, np.ndarray]:
    """Render every source of a clip of the corpus "composed", at a rate in Hz.

    Returns
    -------
    dict of str to np.ndarray, shape (n_samples,), float32
        "vocals" (an instrument stands in for the voice), "bass", "drums", "other"; a source
        that the clip does not have is silence. A piano clip is all "other".

    Raises
    ------
    MissingDataError
        If the clip is not a composed one, its MIDI file is gone or FluidSynth is missing.
    """
    if clip.midi is None or "parts" not in clip.meta:
        raise MissingDataError(
            f"clip {clip.id!r} has no known parts; only clips of corpus 'composed' have stems"
        )
    require_file(clip.midi, "; load the corpus 'composed' again")
    source_of = {part["name"]: part["source"] for part in clip.meta["parts"]}
    rendered = {
        source: _alone(clip.midi, source, source_of, sample_rate)
        for source in set(source_of.values())
    }
    size = max(samples.size for samples in rendered.values())
    silence = np.zeros(0, dtype=np.float32)
    sources = {source: crop(rendered.get(source, silence), size) for source in SOURCES}
    length = sounding_length(mixture(sources))
    return {source: samples[:length] for source, samples in sources.items()}


def _alone(midi: Path, source: str, source_of: dict[str, str], sample_rate: int) -> np.ndarray:
    """One source with all others muted.

    The muted parts are played too: FluidSynth shifts a note by up to a buffer (64 samples)
    differently when other events are taken out of the file.
    """
    from symusic import ControlChange, Score

    score: Any = Score.from_midi(midi.read_bytes())
    for track in score.tracks:
        if source_of[track.name] != source:
            track.controls.extend(ControlChange(0, control, 0) for control in _VOLUME_CONTROLS)
    with temporary_folder() as folder:
        path = folder / "alone.mid"
        path.write_bytes(score.dumps_midi())
        return render_midi(path, sample_rate, trim=False)


def mixture(sources: dict[str, np.ndarray]) -> np.ndarray:
    """The sum of the sources, shape (n_samples,), float32.

    It equals the rendering of the whole clip to single precision.
    """
    return np.stack(list(sources.values())).sum(axis=0, dtype=np.float32)
