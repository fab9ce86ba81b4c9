"""Log-mel extraction against a plain librosa loop: equal values, seconds of audio per second.

Run with `python benchmarks/features.py`. Both sides see the same synthesised clips in the same
process, on one core and in turns; the best round of each counts. Values are compared first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits
from timing import Run, seconds_per_unit

from mer.features.spectral import Floats, log_mel
from mer.libraries import load_librosa

SAMPLE_RATE = 22050
CLIPS = 60
SECONDS = 30
ROUNDS = 5


def synthesise(rng: np.random.Generator) -> Floats:
    """Five tones of random pitch and decay in noise."""
    t = np.arange(SECONDS * SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    y = 0.01 * rng.normal(size=len(t)).astype(np.float32)
    for frequency, decay in zip(rng.uniform(80, 4000, 5), rng.uniform(0, 0.5, 5), strict=True):
        y += 0.1 * np.sin(2 * np.pi * frequency * t) * np.exp(-decay * t)
    return y.astype(np.float32)


librosa = load_librosa()


def librosa_log_mel(y: Floats) -> Floats:
    mel = librosa.feature.melspectrogram(
        y=y, sr=SAMPLE_RATE, n_fft=1024, hop_length=512, n_mels=128
    )
    return librosa.power_to_db(mel, top_db=None)


def own_log_mel(y: Floats) -> Floats:
    return log_mel(y, SAMPLE_RATE, n_fft=1024, hop_length=512, n_mels=128)


def main() -> None:
    rng = np.random.default_rng(0)
    clips = [synthesise(rng) for _ in range(CLIPS)]
    largest = max(float(np.abs(own_log_mel(y) - librosa_log_mel(y)).max()) for y in clips)
    if largest > 1e-2:
        raise SystemExit(f"values differ from librosa's by up to {largest:.2g} dB")

    def over_all(extract: Callable[[Floats], Floats]) -> Run:
        def run() -> int:
            for y in clips:
                extract(y)
            return CLIPS * SECONDS

        return run

    with threadpool_limits(limits=1):
        runs = (over_all(librosa_log_mel), over_all(own_log_mel))
        plain, own = seconds_per_unit(*runs, repeats=ROUNDS).min(axis=1)
    print(f"{CLIPS} clips of {SECONDS} s; largest difference {largest:.1e} dB; one core")
    print(f"librosa loop   {1 / plain:9.0f} audio seconds per second")
    print(f"mer log_mel    {1 / own:9.0f} audio seconds per second")
    print(f"ratio          {plain / own:9.2f}")


if __name__ == "__main__":
    main()
