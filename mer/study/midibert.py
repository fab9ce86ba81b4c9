"""Pre-training MidiBERT's encoders anew, on performances without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mer.features.compound_words import compound_words
from mer.paths import cache_folder
from mer.study.pretrain import pretraining_facts, pretraining_pieces

if TYPE_CHECKING:
    from mer.training.masked_compound import CompoundOptions

OBJECTIVES = ("midibert", "qm-midibert")
SIZES = ("small", "published")
CORPORA = ("maestro", "pop1k7")

CHANGES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "small": {"epochs": 6, "learning_rate": 1e-3, "schedule": "cosine"},
        "published": {},
    }
)
"""By size: options of pre-training that differ from the published ones."""

DROPOUT: Mapping[str, float] = MappingProxyType({"small": 0.0, "published": 0.1})
"""By size. A small encoder that sees each piece a few times does not need any."""


def pretrain_midibert(
    objective: str,
    size: str,
    *,
    destination: Path,
    corpora: Sequence[str] = CORPORA,
    options: CompoundOptions | None = None,
    seed: int = 0,
    n_valid: int = 50,
    device: str = "auto",
) -> dict[str, str]:
    """Pre-train an encoder and store its weights.

    Notes last until their keys are released, as in MidiBERT's published code. An interrupted
    call, made again, goes on after its last whole epoch.

    Parameters
    ----------
    objective : {"midibert", "qm-midibert"}
        See `mer.training.masked_compound.OBJECTIVES`.
    size : {"small", "published"}
        See `mer.models.midibert.ENCODERS`.
    destination : Path
        File to write, ends in `.pt`.
    corpora : sequence of str
        See `mer.study.pretrain.pretraining_pieces`: pieces that share notes with EMOPIA are left
        out.
    options : CompoundOptions, optional
        The published ones with `CHANGES` if None.
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
    from mer.models.midibert import ENCODERS, REVISION, MidiBert
    from mer.training import masked_compound
    from mer.training.supervised import resolve_device, seed_everything
    from mer.weights import write_weights

    options = options or masked_compound.CompoundOptions(**CHANGES[size])
    pieces = pretraining_pieces(
        corpora, n_valid=n_valid, seed=seed, encode=compound_words, pedal=False
    )
    seed_everything(seed)
    encoder = MidiBert(**ENCODERS[size], dropout=DROPOUT[size])
    task = masked_compound.OBJECTIVES[objective]
    model = masked_compound.MaskedCompoundModel(encoder, task)
    state = f"{objective}-{size}-{REVISION}-{seed}-{pieces.digest[:24]}.pt"
    result = masked_compound.pretrain_compound(
        model,
        pieces.train,
        pieces.valid,
        task,
        options,
        seed=seed,
        device=resolve_device(device),
        checkpoint=cache_folder() / "checkpoints" / state,
        progress=True,
    )
    facts = pretraining_facts(corpora, pieces, result, seed)
    metadata = {"objective": objective, "size": size, **facts}
    write_weights(destination, model.encoder.state_dict(), metadata)
    return metadata
