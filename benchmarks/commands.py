"""Speed and peak memory of `mer transcribe` and `mer separate` on 1, 10 and 60 minutes of audio.

Run with `python benchmarks/commands.py transcribe` or `python benchmarks/commands.py separate`;
further arguments go to the command, and `--minutes` says which lengths. Each length is a mono WAV
file of its own and each command a process of its own, so that peaks do not add up. The audio is
that of the composed corpus (piano, or band for separation), repeated. The time is that of the
whole command, its start and the files it writes included, on all cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile

from mer.audio import waveform
from mer.corpora import load

ARRANGEMENTS = {"transcribe": "piano", "separate": "band"}
SAMPLE_RATE = 22050


def write_audio(path: Path, minutes: int, arrangement: str) -> None:
    """Some clips, one after the other, over and over."""
    clips = load("composed", size=8, duration=30.0, arrangement=arrangement)
    samples = np.concatenate([waveform(clip, SAMPLE_RATE) for clip in clips])
    left = minutes * 60 * SAMPLE_RATE
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)


def measure(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of `mer` with these arguments."""
    program = "from mer.cli import main; main()"
    start = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"mer {' '.join(arguments)} failed")
    return perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Time each length."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=ARRANGEMENTS)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10, 60])
    options, further = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        for minutes in options.minutes:
            path = Path(folder) / f"{minutes}.wav"
            write_audio(path, minutes, ARRANGEMENTS[options.command])
            seconds, memory = measure([options.command, str(path), *further])
            speed = 60 * minutes / seconds
            print(f"{minutes} min: {seconds:.1f} s, {speed:.0f}x real time, peak {memory:.0f} MiB")


if __name__ == "__main__":
    main()
