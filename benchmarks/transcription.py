"""Speed and peak memory of `mer transcribe` on 1, 10 and 60 minutes of audio.

Run with `python benchmarks/transcription.py`. Each length is a WAV file of its own, heard by a
process of its own, so that peaks do not add up. The audio is a clip of the composed corpus,
repeated. Time is that of the whole command, its start included, on all cores.
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

MINUTES = (1, 10, 60)
SAMPLE_RATE = 22050


def write_audio(path: Path, minutes: int) -> None:
    """Some clips, one after the other, over and over."""
    clips = list(load("composed", size=8, duration=30.0, arrangement="piano"))
    samples = np.concatenate([waveform(clip, SAMPLE_RATE) for clip in clips])
    left = minutes * 60 * SAMPLE_RATE
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)


def transcribe(path: Path) -> tuple[float, float]:
    """Seconds and peak memory in MiB of one command."""
    command = [str(Path(sys.executable).with_name("mer")), "transcribe", str(path)]
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Time each length."""
    with tempfile.TemporaryDirectory() as folder:
        for minutes in MINUTES:
            path = Path(folder) / f"{minutes}.wav"
            write_audio(path, minutes)
            seconds, memory = transcribe(path)
            speed = 60 * minutes / seconds
            print(f"{minutes} min: {seconds:.1f} s, {speed:.0f}x real time, peak {memory:.0f} MiB")


if __name__ == "__main__":
    main()
