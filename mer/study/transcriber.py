"""Training the transcriber's weights anew, on rendered MAESTRO performances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mer.clips import Clip
from mer.corpora import load
from mer.paths import cache_folder
from mer.rendering import soundfont_digests
from mer.transcription.rendered import Excerpt, random_take, render_excerpt

TRAIN_SECONDS = 120.0
VALID_SECONDS = 60.0
N_VALID = 24


def rendered_excerpts(
    clips: Sequence[Clip],
    seconds: float,
    soundfonts: Sequence[Path],
    *,
    seed: int,
    n_jobs: int | None = None,
) -> list[Excerpt]:
    """One random excerpt of each performance, on a random instrument; kept in the cache.

    Parameters
    ----------
    clips : sequence of Clip
        Performances, `meta["duration"]` in seconds.
    seconds : float
        Longest excerpt.
    soundfonts : sequence of Path
    seed : int
    n_jobs : int, optional
        Processes; one for each core if None.
    """
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    rng = np.random.default_rng(seed)
    takes = [random_take(float(c.meta["duration"]), seconds, len(soundfonts), rng) for c in clips]
    jobs = (
        delayed(render_excerpt)(clip.midi, take, soundfonts)
        for clip, take in zip(clips, takes, strict=True)
    )
    results = Parallel(n_jobs=n_jobs or -1, return_as="generator")(jobs)
    return list(tqdm(results, total=len(clips), unit="excerpt", desc="rendering"))


def train_transcriber_weights(
    destination: Path, soundfonts: Sequence[Path], *, seed: int = 0
) -> dict[str, str]:
    """Train the transcriber and store its weights.

    Parameters
    ----------
    destination : Path
        File to write, ends in `.pt`.
    soundfonts : sequence of Path
        SF2 files whose pianos play the performances.
    seed : int

    Returns
    -------
    dict of str to str
        The metadata that is stored with the weights.

    Raises
    ------
    MissingDataError
        If MAESTRO, a soundfont or FluidSynth is missing.
    """
    from mer.models.onsets_frames import OnsetsFrames
    from mer.training.supervised import resolve_device, seed_everything
    from mer.transcription.training import TranscriberOptions, train_transcriber
    from mer.weights import write_weights

    digests = soundfont_digests(soundfonts, "a piano")
    corpus = load("maestro")
    fold = corpus.split("official").folds[0]
    train = rendered_excerpts(list(corpus.select(fold.train)), TRAIN_SECONDS, soundfonts, seed=seed)
    valid_clips = list(corpus.select(fold.valid))[:N_VALID]
    valid = rendered_excerpts(valid_clips, VALID_SECONDS, soundfonts, seed=seed + 1)
    seed_everything(seed)
    network = OnsetsFrames()
    options = TranscriberOptions()
    train = [e for e in train if e.levels.shape[2] >= options.window]
    history = train_transcriber(
        network,
        train,
        valid,
        options,
        seed=seed,
        device=resolve_device("auto"),
        checkpoint=cache_folder() / "checkpoints" / f"transcriber-{seed}-{'-'.join(digests)}.pt",
        progress=True,
    )
    frames = sum(e.levels.shape[2] for e in train)
    metadata = {
        "corpus": "MAESTRO v3, official training split",
        "performances": str(len(train)),
        "hours": f"{frames * 512 / 16000 / 3600:.1f}",
        "soundfonts": ", ".join(
            f"{soundfont.name} {digest}"
            for soundfont, digest in zip(soundfonts, digests, strict=True)
        ),
        "seed": str(seed),
        "epochs": str(len(history.epochs)),
        "validation_onset_f1": f"{history.epochs[history.best_epoch]['valid_accuracy']:.4f}",
    }
    write_weights(destination, network.state_dict(), metadata)
    return metadata
