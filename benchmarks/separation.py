"""Speed and peak memory of `mer separate` on 1, 10 and 60 minutes of audio.

Run with `python benchmarks/separation.py`, or with `htdemucs` behind it for that separator (on one
minute). Each length is a mono WAV file of its own, separated by a process of its own, so that
peaks do not add up. The audio are bands of the composed corpus, repeated. Time is that of the
whole command, its start and the writing of four files included, on all cores.
"""

from __future__ import annotations

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

MINUTES = {"small": (1, 10, 60), "htdemucs": (1,)}
SAMPLE_RATE = 22050


def write_audio(path: Path, minutes: int) -> None:
    """Some clips, one after the other, over and over."""
    clips = load("composed", size=8, duration=30.0, arrangement="band")
    samples = np.concatenate([waveform(clip, SAMPLE_RATE) for clip in clips])
    left = minutes * 60 * SAMPLE_RATE
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)


def separate(path: Path, separator: str) -> tuple[float, float]:
    """Seconds and peak memory in MiB of one command."""
    program = "from mer.cli import main; main()"
    command = [sys.executable, "-c", program, "separate", str(path), "--separator", separator]
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"separating {path} failed")
    return perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Time each length."""
    separator = sys.argv[1] if len(sys.argv) > 1 else "small"
    with tempfile.TemporaryDirectory() as folder:
        for minutes in MINUTES[separator]:
            path = Path(folder) / f"{minutes}.wav"
            write_audio(path, minutes)
            seconds, memory = separate(path, separator)
            speed = 60 * minutes / seconds
            print(f"{minutes} min: {seconds:.1f} s, {speed:.0f}x real time, peak {memory:.0f} MiB")


if __name__ == "__main__":
    main()
