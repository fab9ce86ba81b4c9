"""Training the symbolic encoder's weights anew, on performances without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mer.clips import Clip, Corpus
from mer.corpora import load
from mer.errors import MissingDataError, ParameterError
from mer.features.fingerprints import shared_pieces
from mer.features.note_events import note_events
from mer.features.notes import read_notes
from mer.paths import cache_folder

if TYPE_CHECKING:
    from mer.training.pretraining import Pretraining, PretrainingOptions

_OVERLAPPING = ("pop1k7",)
"""Corpora that may hold recordings of EMOPIA."""


@dataclass(frozen=True)
class PretrainingPieces:
    """Note events or compound words to pre-train with.

    Attributes
    ----------
    train, valid : list of np.ndarray
        Shape (5, 1 + n_notes) or (4, n_notes).
    removed : int
        Pieces left out because they share notes with EMOPIA.
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

    Parameters
    ----------
    names : sequence of str
        Corpora. A split "official" decides what is validated with; one that has none gives
        `n_valid` random pieces. Pieces of Pop1K7 that share notes with EMOPIA are left out.
    n_valid, seed : int
    encode : callable
        Of the notes of a piece.
    pedal : bool
        Whether notes last as long as they sound, as a transcription has them.

    Raises
    ------
    ParameterError
        If no corpus is given, or there is none of that name.
    MissingDataError
        If a corpus is not there, or EMOPIA is not and is needed to compare with.
    """
    if not names:
        raise ParameterError("no corpus to pre-train on was given; expected at least one")
    parts = [_pieces(name, n_valid, seed, encode, pedal=pedal) for name in names]
    return PretrainingPieces(
        [piece for part in parts for piece in part.train],
        [piece for part in parts for piece in part.valid],
        sum(part.removed for part in parts),
    )


def _pieces(
    name: str,
    n_valid: int,
    seed: int,
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    pedal: bool,
) -> PretrainingPieces:
    corpus = load(name)
    train, valid = _parts(corpus, n_valid, seed)
    notes = dict(zip(corpus.ids, _read(corpus, name, pedal=pedal), strict=True))
    shared: set[str] = set()
    if name in _OVERLAPPING:
        references = _read(load("emopia"), "emopia")
        pairs = shared_pieces(list(notes.values()), references)
        shared = {corpus.ids[pair.piece] for pair in pairs}
    return PretrainingPieces(
        [encode(notes[clip_id]) for clip_id in train if clip_id not in shared],
        [encode(notes[clip_id]) for clip_id in valid if clip_id not in shared],
        len(shared),
    )


def _parts(corpus: Corpus, n_valid: int, seed: int) -> tuple[Sequence[str], Sequence[str]]:
    if "official" in corpus.split_names:
        fold = corpus.split("official").folds[0]
        return fold.train, fold.valid
    order = np.random.default_rng(seed).permutation(len(corpus))
    chosen = {corpus.ids[index] for index in order[:n_valid]}
    train = [clip_id for clip_id in corpus.ids if clip_id not in chosen]
    return train, [clip_id for clip_id in corpus.ids if clip_id in chosen]


def _read(clips: Iterable[Clip], name: str, *, pedal: bool = True) -> list[np.ndarray]:
    from tqdm.auto import tqdm

    bar = tqdm(list(clips), desc=f"reading {name}", unit="piece", leave=False)
    return [read_notes(_midi(clip), pedal=pedal) for clip in bar]


def _midi(clip: Clip) -> Path:
    if clip.midi is None:
        raise MissingDataError(
            f"clip {clip.id!r} has no MIDI file; expected one to read notes from"
        )
    return clip.midi


def pretrain_encoder(
    corpora: Sequence[str] = ("maestro",),
    *,
    destination: Path,
    options: PretrainingOptions | None = None,
    seed: int = 0,
    n_valid: int = 50,
    device: str = "auto",
) -> dict[str, str]:
    """Pre-train the symbolic encoder and store its weights.

    An interrupted call, made again, goes on after its last whole epoch.

    Parameters
    ----------
    corpora : sequence of str
        See `pretraining_pieces`.
    destination : Path
        File to write, ends in `.pt`.
    options : PretrainingOptions, optional
    seed : int
    n_valid : int
        Pieces to validate with of each corpus that has no official split.
    device : str
        "auto", "cpu" or "cuda".

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
    from mer.models.symbolic_encoder import REVISION, SymbolicEncoder
    from mer.training.pretraining import MaskedNoteModel, PretrainingOptions, pretrain
    from mer.training.supervised import resolve_device, seed_everything
    from mer.weights import write_weights

    options = options or PretrainingOptions()
    pieces = pretraining_pieces(corpora, n_valid=n_valid, seed=seed)
    seed_everything(seed)
    model = MaskedNoteModel(SymbolicEncoder())
    result = pretrain(
        model,
        pieces.train,
        pieces.valid,
        options,
        seed=seed,
        device=resolve_device(device),
        checkpoint=cache_folder()
        / "checkpoints"
        / f"encoder-{REVISION}-{seed}-{pieces.digest[:24]}.pt",
        progress=True,
    )
    metadata = pretraining_facts(corpora, pieces, result, seed, special=1)
    write_weights(destination, model.encoder.state_dict(), metadata)
    return metadata


def pretraining_facts(
    corpora: Sequence[str],
    pieces: PretrainingPieces,
    result: Pretraining,
    seed: int,
    *,
    special: int = 0,
) -> dict[str, str]:
    """What is stored with pre-trained weights; `special` columns of a piece are no notes."""
    best = result.epochs[result.best_epoch]

    def n_notes(parts: Sequence[np.ndarray]) -> str:
        return str(sum(piece.shape[1] - special for piece in parts))

    return {
        "corpora": ", ".join(corpora),
        "pieces": str(len(pieces.train)),
        "notes": n_notes(pieces.train),
        "validation_pieces": str(len(pieces.valid)),
        "validation_notes": n_notes(pieces.valid),
        "removed_pieces": str(pieces.removed),
        "seed": str(seed),
        "epochs": str(len(result.epochs)),
        "best_epoch": str(result.best_epoch + 1),
        "validation_loss": f"{best['valid_loss']:.4f}",
        **{f"validation_{name}": f"{value:.4f}" for name, value in result.accuracies.items()},
        "notes_per_second": f"{result.notes_per_second:.0f}",
    }
