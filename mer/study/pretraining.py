"""Pre-training encoders anew, on performances without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn
from tqdm.auto import tqdm

from mer.clips import Corpus
from mer.corpora import load
from mer.errors import MissingDataError, ParameterError
from mer.features.compound_words import compound_words
from mer.features.fingerprints import shared_pieces
from mer.features.note_events import note_events
from mer.features.notes import read_notes
from mer.models import midibert, symbolic_encoder
from mer.paths import cache_folder
from mer.training import masked
from mer.training.supervised import resolve_device, seed_everything
from mer.weights import write_weights

MIDIBERT_OBJECTIVES = ("midibert", "qm-midibert")

MIDIBERT_OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "small": {"epochs": 6, "learning_rate": 1e-3, "schedule": "cosine"},
        "published": {},
    }
)
"""By size: options of pre-training that differ from the published ones."""


@dataclass(frozen=True)
class PretrainingPieces:
    """Note events, shape (5, 1 + n_notes), or compound words, shape (4, n_notes), of pieces.

    `removed` is the number of pieces left out because they share notes with EMOPIA.
    """

    train: list[np.ndarray]
    valid: list[np.ndarray]
    removed: int

    @property
    def digest(self) -> str:
        """SHA-256 of all events (hexadecimal)."""
        digest = hashlib.sha256()
        for events in (*self.train, None, *self.valid):
            digest.update(b"|" if events is None else events.tobytes())
        return digest.hexdigest()


def pretraining_pieces(
    names: Sequence[str],
    *,
    n_valid: int,
    seed: int,
    encode: Callable[[np.ndarray], np.ndarray] = note_events,
    pedal: bool = True,
) -> PretrainingPieces:
    """Pieces of some corpora, encoded.

    A split "official" decides what is validated with; a corpus that has none gives `n_valid` random
    pieces. Pieces of Pop1K7 that share notes with EMOPIA are left out. With `pedal` notes last as
    long as they sound, as a transcription has them. Errors are those of `pretrain_encoder`.
    """
    if not names:
        raise ParameterError("no corpus to pre-train on was given; expected at least one")
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    removed = 0
    for name in names:
        corpus = load(name)
        notes = dict(zip(corpus.ids, _read(corpus, pedal=pedal), strict=True))
        shared: set[str] = set()
        if name == "pop1k7":  # it may hold recordings of EMOPIA
            pairs = shared_pieces(list(notes.values()), _read(load("emopia")))
            shared = {corpus.ids[pair.piece] for pair in pairs}
        removed += len(shared)
        for part, ids in zip(parts, _split(corpus, n_valid, seed), strict=True):
            part += [encode(notes[clip_id]) for clip_id in ids if clip_id not in shared]
    return PretrainingPieces(*parts, removed)


def _split(corpus: Corpus, n_valid: int, seed: int) -> tuple[Sequence[str], Sequence[str]]:
    if "official" in corpus.split_names:
        fold = corpus.split("official").folds[0]
        return fold.train, fold.valid
    order = np.random.default_rng(seed).permutation(len(corpus))
    chosen = {corpus.ids[index] for index in order[:n_valid]}
    train = [clip_id for clip_id in corpus.ids if clip_id not in chosen]
    return train, [clip_id for clip_id in corpus.ids if clip_id in chosen]


def _read(corpus: Corpus, *, pedal: bool = True) -> list[np.ndarray]:
    notes = []
    for clip in tqdm(list(corpus), desc=f"reading {corpus.name}", unit="piece", leave=False):
        if clip.midi is None:
            raise MissingDataError(
                f"clip {clip.id!r} has no MIDI file; expected one to read notes from"
            )
        notes.append(read_notes(clip.midi, pedal=pedal))
    return notes


def pretrain_encoder(
    objective: str,
    corpora: Sequence[str],
    *,
    destination: Path,
    size: str = "small",
    options: masked.PretrainingOptions | None = None,
    seed: int = 0,
    n_valid: int = 50,
    device: str = "auto",
) -> dict[str, str]:
    """Pre-train an encoder and store its weights.

    An interrupted call, made again, goes on after its last whole epoch.

    Parameters
    ----------
    objective : {"notes", "midibert", "qm-midibert"}
        See `mer.training.masked.OBJECTIVES`. "notes" is for the symbolic encoder, the others are
        for MidiBERT, for which notes last until their keys are released, as in its published code.
    corpora : sequence of str
        See `pretraining_pieces`.
    destination : Path
        File to write, ends in `.pt`.
    size : {"small", "published"}
        See `mer.models.midibert.ENCODERS`, or `mer.models.symbolic_encoder.ENCODERS`.
    options : PretrainingOptions, optional
        If None those of the symbolic encoder, or MidiBERT's published ones with `MIDIBERT_OPTIONS`.
    seed, n_valid : int
        `n_valid` pieces of each corpus that has no official split are validated with.
    device : {"auto", "cpu", "cuda"}

    Returns
    -------
    dict of str to str
        The metadata that is stored with the weights.

    Raises
    ------
    ParameterError
        If no corpus is given, or there is none of that name.
    MissingDataError
        If a corpus is not there, or EMOPIA is not and is needed to compare with.
    """
    metadata: dict[str, str] = {}
    sizes = symbolic_encoder.ENCODERS[size]
    feedforward = 4 * sizes["width"]
    encoder: Callable[[], nn.Module] = partial(
        symbolic_encoder.SymbolicEncoder, **sizes, feedforward=feedforward
    )
    encode, defaults = note_events, masked.PretrainingOptions()
    state = f"encoder-{size}-{symbolic_encoder.REVISION}"
    if objective != "notes":
        metadata = {"objective": objective, "size": size}
        # A small encoder that sees each piece a few times needs none.
        dropout = 0.1 if size == "published" else 0.0
        encoder = partial(midibert.MidiBert, **midibert.ENCODERS[size], dropout=dropout)
        encode = compound_words
        defaults = replace(masked.MIDIBERT_OPTIONS, **MIDIBERT_OPTIONS[size])
        state = f"{objective}-{size}-{midibert.REVISION}"
    pieces = pretraining_pieces(
        corpora, n_valid=n_valid, seed=seed, encode=encode, pedal=objective == "notes"
    )
    seed_everything(seed)
    task = masked.OBJECTIVES[objective]
    model = task.model(encoder())
    result = masked.pretrain(
        model,
        task,
        pieces.train,
        pieces.valid,
        options or defaults,
        seed=seed,
        device=resolve_device(device),
        checkpoint=cache_folder() / "checkpoints" / f"{state}-{seed}-{pieces.digest[:24]}.pt",
        progress=True,
    )
    metadata["corpora"] = ", ".join(corpora)
    for prefix, part in (("", pieces.train), ("validation_", pieces.valid)):
        metadata[f"{prefix}pieces"] = str(len(part))
        metadata[f"{prefix}notes"] = str(sum(masked.n_notes(piece, task) for piece in part))
    metadata |= {
        "removed_pieces": str(pieces.removed),
        "seed": str(seed),
        "epochs": str(len(result.epochs)),
        "best_epoch": str(result.best_epoch + 1),
        "validation_loss": f"{result.epochs[result.best_epoch]['valid_loss']:.4f}",
        **{f"validation_{name}": f"{value:.4f}" for name, value in result.accuracies.items()},
        "notes_per_second": f"{result.notes_per_second:.0f}",
    }
    write_weights(destination, model.encoder.state_dict(), metadata)
    return metadata
