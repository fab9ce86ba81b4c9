"""Training the small separator's weights anew, on rendered bands and songs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mer.composing.planning import BLOCK
from mer.corpora import load
from mer.errors import InvalidDataError, MissingDataError
from mer.paths import cache_folder, data_folder
from mer.rendering import soundfont_digests
from mer.separation.rendered import (
    SAMPLE_RATE,
    Take,
    midi_seconds,
    random_take,
    render_stems,
)

EXCERPT_SECONDS = 30.0
TAKES_PER_SONG = 2
N_COMPOSED = 140
COMPOSED_SEED = 1000
"""Other songs than those that the study composes."""
N_VALID = 12
"""Validation mixes of each kind: composed clips, songs."""
N_TEST = 12
"""Songs that are kept for the test."""
_SPLIT_SEED = 0

Job = tuple[Path, Take]


class Songs(NamedTuple):
    """Whole-song MIDI files, in parts that share no song."""

    train: list[Path]
    valid: list[Path]
    test: list[Path]


def songs() -> Songs:
    """The MIDI files of the MIREX-like mood dataset, without damaged ones.

    Raises
    ------
    MissingDataError
        If they are not there.
    """
    folder = data_folder() / "mirex_mood" / "MIDIs"
    paths = [path for path in sorted(folder.glob("*.mid")) if _readable(path)]
    if len(paths) <= N_VALID + N_TEST:
        raise MissingDataError(
            f"{folder} has {len(paths)} readable MIDI files; expected the 196 of the MIREX-like "
            "mood dataset: put it there, or point MER_DATA to the folder that has it"
        )
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(paths))
    test, valid, train = np.split(order, [N_TEST, N_TEST + N_VALID])
    return Songs(*([paths[i] for i in sorted(part)] for part in (train, valid, test)))


def _readable(path: Path) -> bool:
    try:
        return midi_seconds(path) > EXCERPT_SECONDS
    except InvalidDataError:
        return False


def composed_bands() -> list[Path]:
    """Band clips of the embedded corpus, none of which the study hears."""
    corpus = load(
        "composed",
        size=N_COMPOSED,
        seed=COMPOSED_SEED,
        arrangement="band",
        duration=EXCERPT_SECONDS,
    )
    return [clip.midi for clip in corpus if clip.midi is not None]


def training_jobs(n_soundfonts: int, *, seed: int) -> tuple[list[Job], list[Job]]:
    """Excerpts to train on and to validate on, from music that they do not share.

    Returns
    -------
    train, valid : list of (Path, Take)

    Raises
    ------
    MissingDataError
        If the songs are not there.
    """
    parts, bands = songs(), composed_bands()
    # Songs do not cross the blocks that the corpus is composed in
    train = [*bands[:-BLOCK], *(path for path in parts.train for _ in range(TAKES_PER_SONG))]
    valid = [*bands[-N_VALID:], *parts.valid]
    rng = np.random.default_rng(seed)
    return _jobs(train, n_soundfonts, rng), _jobs(valid, n_soundfonts, rng)


def _jobs(paths: Iterable[Path], n_soundfonts: int, rng: np.random.Generator) -> list[Job]:
    return [
        (path, random_take(midi_seconds(path), EXCERPT_SECONDS, n_soundfonts, rng))
        for path in paths
    ]


def rendered_mixes(
    jobs: Sequence[Job], soundfonts: Sequence[Path], *, n_jobs: int | None = None
) -> list[np.ndarray]:
    """Stems of all excerpts, kept in the cache.

    Parameters
    ----------
    jobs : sequence of (Path, Take)
    soundfonts : sequence of Path
    n_jobs : int, optional
        Processes; one for each core if None.

    Returns
    -------
    list of np.ndarray
        As from `mer.separation.rendered.render_stems`.
    """
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    calls = (delayed(render_stems)(path, take, soundfonts) for path, take in jobs)
    results = Parallel(n_jobs=n_jobs or -1, return_as="generator")(calls)
    return list(tqdm(results, total=len(jobs), unit="excerpt", desc="rendering"))


def train_separator_weights(
    destination: Path,
    soundfonts: Sequence[Path],
    *,
    seed: int = 0,
    n_jobs: int | None = None,
) -> dict[str, str]:
    """Train the small separator and store its weights.

    Parameters
    ----------
    destination : Path
        File to write, ends in `.pt`.
    soundfonts : sequence of Path
        SF2 files whose instruments play.
    seed : int
    n_jobs : int, optional
        Processes that render; one for each core if None.

    Returns
    -------
    dict of str to str
        The metadata that is stored with the weights.

    Raises
    ------
    MissingDataError
        If the songs, a soundfont or FluidSynth is missing.
    """
    from mer.separation.small import small_network
    from mer.separation.training import SeparatorOptions, train_separator
    from mer.training.supervised import resolve_device, seed_everything
    from mer.weights import write_weights

    digests = soundfont_digests(soundfonts, "all instruments of General MIDI")
    train_jobs, valid_jobs = training_jobs(len(soundfonts), seed=seed)
    valid = rendered_mixes(valid_jobs, soundfonts, n_jobs=n_jobs)
    train = rendered_mixes(train_jobs, soundfonts, n_jobs=n_jobs)
    seed_everything(seed)
    network = small_network()
    history = train_separator(
        network,
        train,
        valid,
        SeparatorOptions(),
        seed=seed,
        device=resolve_device("auto"),
        checkpoint=cache_folder() / "checkpoints" / f"separator-{seed}-{'-'.join(digests)}.pt",
        progress=True,
    )
    metadata = {
        "corpus": "composed bands, MIDI songs of the MIREX-like mood dataset",
        "excerpts": str(len(train)),
        "hours": f"{sum(stems.shape[1] for stems in train) / SAMPLE_RATE / 3600:.1f}",
        "soundfonts": ", ".join(
            f"{soundfont.name} {digest}"
            for soundfont, digest in zip(soundfonts, digests, strict=True)
        ),
        "seed": str(seed),
        "epochs": str(len(history.epochs)),
        "validation_si_sdr": f"{history.epochs[history.best_epoch]['valid_accuracy']:.2f}",
    }
    write_weights(destination, network.state_dict(), metadata)
    return metadata
