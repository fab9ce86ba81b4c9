"""Rendering speed: seconds of audio per second of one core.

Run with `python benchmarks/rendering.py`. The MIDI files are those of the composed corpus; every
file is rendered by a FluidSynth process of its own, which loads the soundfont each time.
"""

from __future__ import annotations

from time import perf_counter

from mer.corpora import load
from mer.rendering import render_midi

CLIPS = 40
SAMPLE_RATE = 22050


def main() -> None:
    """Render and print the ratio."""
    for arrangement in ("piano", "band"):
        corpus = load("composed", size=CLIPS, arrangement=arrangement)
        start = perf_counter()
        samples = sum(render_midi(clip.midi).size for clip in corpus if clip.midi is not None)
        elapsed = perf_counter() - start
        audio = samples / SAMPLE_RATE
        print(f"{arrangement}: {audio:.0f} s of audio in {elapsed:.2f} s, {audio / elapsed:.0f}x")


if __name__ == "__main__":
    main()
