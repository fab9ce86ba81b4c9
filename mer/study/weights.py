"""Weights, each trained anew by one command; the package has all but those of published size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType

from mer.errors import ParameterError
from mer.rendering import default_soundfont
from mer.study.midibert import OBJECTIVES, SIZES
from mer.weights import register, weights_folder

FLUID_R3 = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""Where Debian's package fluid-soundfont-gm puts it."""


def _transcriber(path: Path, soundfonts: Sequence[Path], seed: int) -> dict[str, str]:
    from mer.study.transcriber import train_transcriber_weights

    pianos = soundfonts or (default_soundfont(), FLUID_R3)
    return train_transcriber_weights(path, pianos, seed=seed)


def _separator(path: Path, soundfonts: Sequence[Path], seed: int) -> dict[str, str]:
    from mer.study.separator import train_separator_weights

    return train_separator_weights(path, soundfonts or (default_soundfont(), FLUID_R3), seed=seed)


def _encoder(path: Path, seed: int, corpora: Sequence[str]) -> dict[str, str]:
    from mer.study.pretrain import pretrain_encoder

    return pretrain_encoder(corpora, destination=path, seed=seed)


def _zhu2023(path: Path, seed: int) -> dict[str, str]:
    """The proposed model of the official split, as profile cpu has it."""
    from mer.corpora import load
    from mer.study.profiles import default_split, get_profile
    from mer.study.zhu2023 import PROPOSED
    from mer.systems import get_system
    from mer.systems.base import Context
    from mer.systems.pretrained import save_fitted
    from mer.systems.windowed import FittedNetwork
    from mer.tasks import get_task

    profile = get_profile("cpu")
    corpus = load(profile.corpus)
    split = default_split(profile.corpus, "single")
    fold = corpus.split(split).folds[0]
    system = get_system(PROPOSED, profile.overrides[PROPOSED])
    context = Context(get_task("4Q"), seed=seed, progress=True)
    fitted = system.fit(corpus.select(fold.train), corpus.select(fold.valid), context)
    assert isinstance(fitted, FittedNetwork), "the proposed model is a network"
    best = max(row["valid_accuracy"] for row in fitted.history)
    facts = {
        "corpus": f"{profile.corpus}, training clips of {split}",
        "clips": str(len(fold.train)),
        "seed": str(seed),
        "validation_accuracy": f"{best:.4f}",
    }
    save_fitted(fitted, path, facts)
    return facts


def _midibert(objective: str, size: str) -> Callable[[Path, Sequence[Path], int], dict[str, str]]:
    def trainer(path: Path, _: Sequence[Path], seed: int) -> dict[str, str]:
        from mer.study.midibert import pretrain_midibert

        return pretrain_midibert(objective, size, destination=path, seed=seed)

    return trainer


_TRAINERS: Mapping[str, Callable[[Path, Sequence[Path], int], dict[str, str]]] = MappingProxyType(
    {
        "transcriber": _transcriber,
        "separator": _separator,
        "encoder-maestro": lambda path, _, seed: _encoder(path, seed, ("maestro",)),
        "encoder-maestro-pop1k7": lambda path, _, seed: _encoder(path, seed, ("maestro", "pop1k7")),
        "zhu2023": lambda path, _, seed: _zhu2023(path, seed),
        **{
            f"{objective}-{size}": _midibert(objective, size)
            for objective, size in product(OBJECTIVES, SIZES)
        },
    }
)
WEIGHTS = tuple(_TRAINERS)
"""Names that `train_weights` knows."""


def train_weights(
    name: str, *, soundfonts: Sequence[Path] = (), seed: int = 0, folder: Path | None = None
) -> dict[str, str]:
    """Train weights, put them in their place and enter them in the index.

    Earlier weights stay until the new ones are whole. An interrupted call, made again, goes on
    after its last epoch ("zhu2023", which takes minutes, begins anew).

    Parameters
    ----------
    name : str
        One of `WEIGHTS`.
    soundfonts : sequence of Path
        SF2 files that play to the transcriber or the separator; the two that it was trained with
        if empty.
    seed : int
    folder : Path, optional
        Of the weights and their index; the package's if None.

    Returns
    -------
    dict of str to str
        How they were trained.

    Raises
    ------
    ParameterError
        If there are no such weights.
    MissingDataError
        If a corpus, a soundfont or FluidSynth is missing.
    """
    if name not in _TRAINERS:
        raise ParameterError(f"there are no weights {name!r}; there are: {', '.join(WEIGHTS)}")
    folder = folder or weights_folder()
    path = folder / f"{name}.pt"
    facts = _TRAINERS[name](path, soundfonts, seed)
    register(path, f"mer train {name}")
    return facts
