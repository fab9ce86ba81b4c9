"""Networks that see one window of a clip at a time."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, ParameterError
from mer.sounds import lacking_for_copies, with_varied_copies
from mer.systems.base import (
    Context,
    Feature,
    Fitted,
    Picture,
    System,
    added,
    clip_feature,
    probabilities,
    sound_picture,
)
from mer.systems.code import call, name_of
from mer.training import supervised, windows
from mer.training.supervised import Score, TrainingOptions, resolve_device

SEMITONES = tuple(range(-5, 7))
"""Transpositions: every pitch class once, the nearest octave."""


@dataclass(frozen=True, kw_only=True)
class WindowedNetwork(TrainingOptions, System):
    """Trains on random windows of every clip, predicts the mean over all its windows.

    Attributes
    ----------
    transpose_training : bool
        Whether each window is transposed by a random number of `SEMITONES` in training.
    transpose_test : bool
        Whether an answer is the mean over all transpositions by `SEMITONES`. Validation clips,
        which choose the epoch, are not transposed.
    sound_copies : int
        Of each clip, in random sounds; each epoch takes the clip or one of them at random. Those
        that choose the epoch are the validation clips and one copy of each.
    """

    transpose_training: bool = added(False)
    transpose_test: bool = added(False)
    sound_copies: int = added(0)

    silence_warning: ClassVar[str] = ""
    """Of clips without notes, with {silent} (how many), {clips} and {first!r}; empty for none."""

    trains_on_silence: ClassVar[bool] = False
    """Whether clips without notes may be trained on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sound_copies and self.inputs == "MIDI":
            raise ParameterError(
                f"sound_copies is {self.sound_copies}, but this system reads notes alone: another "
                "sound does not change them"
            )

    @property
    def lacks(self) -> str:
        """Soundfonts, where copies of the clips need them and they are not there."""
        return lacking_for_copies(self.sound_copies)

    @property
    @abstractmethod
    def window(self) -> int:
        """Longest window, in steps of an item: tokens or frames."""

    @property
    def windows_per_epoch(self) -> int:
        """Random windows of each clip in an epoch."""
        return 1

    @abstractmethod
    def item(self, clip: Clip) -> Any:
        """The features of a clip from which windows are cut: by default an array, time last."""

    @abstractmethod
    def network(self, n_classes: int, item: Any) -> nn.Module:
        """A network with fresh parameters, for items like the given one."""

    def example(self, clip: Clip) -> tuple[nn.Module, Any, dict[str, Picture]]:
        """A fresh network for four classes, the first window of a clip, pictures of the item."""
        item = self.item(clip)
        length = windows.window_length(self.length(item), self.window)
        inputs = self.batch([(item, 0, length)])
        return self.network(4, item), inputs, dict(self.pictures(item))

    def cache_features(self, clip: Clip) -> None:
        """Those of `item`."""
        self.item(clip)

    def pictures(self, item: Any) -> Mapping[str, Picture]:
        """What the network sees of a clip, by name: by default tokens."""
        return {"input": Picture(item)}

    def transposed(self, item: Any, semitones: int) -> Any:
        """An item of music that is some semitones higher.

        Raises
        ------
        ParameterError
            If this system, or one of its features, cannot be transposed.
        """
        raise ParameterError(f"{type(self).__name__} cannot be transposed")

    def prepare(self, network: Any, items: Sequence[Any]) -> None:
        """What else a fresh network takes from training items or stored weights: by default none.

        A network that is loaded has it among its parameters.
        """

    def items(self, clips: Sequence[Clip], *, training: bool) -> list[Any]:
        """Items of some clips; warns of silent ones where there is a text for it.

        Raises
        ------
        InvalidDataError
            If a clip to train on is silent and this system cannot be trained on it.
        """
        items = [self.item(clip) for clip in clips]
        silent = [c.id for c, item in zip(clips, items, strict=True) if self.is_silent(item)]
        if silent and training and not self.trains_on_silence:
            raise InvalidDataError(
                f"clip {silent[0]!r} has no notes; training needs some: leave it out"
            )
        if silent and self.silence_warning:
            facts = {"silent": len(silent), "clips": len(clips), "first": silent[0]}
            warnings.warn(self.silence_warning.format(**facts), stacklevel=2)
        return items

    def is_silent(self, item: Any) -> bool:
        """Whether an item has nothing to learn from: by default, less than two steps."""
        return self.length(item) < 2

    def length(self, item: Any) -> int:
        """Steps of an item."""
        return windows.array_length(item)

    def size(self, piece: windows.Piece) -> float:
        """What windows of one length are sorted by, where `batch` pads them: by default 0."""
        return windows.equal_size(piece)

    def batch(self, pieces: Sequence[windows.Piece]) -> Any:
        """Inputs of the network, a Tensor or a tuple of them, from windows of one length."""
        return windows.stack_pieces(pieces)

    def loss(self, output: Any, targets: Tensor) -> Tensor:
        """What training makes small: by default the cross-entropy."""
        return nn.functional.cross_entropy(output, targets)

    def answer(self, output: Any) -> Tensor:
        """Class probabilities, shape (batch, n_classes), followed by a column for each head."""
        return torch.softmax(output, dim=1)

    def head_names(self, n_classes: int) -> tuple[str, ...]:
        """Names of what `answer` gives after the class probabilities."""
        return ()

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedNetwork:
        """Train, stopping on the accuracy over validation clips (ties: the lower loss)."""
        device = resolve_device(context.device)
        n_classes = context.n_classes
        valid = with_varied_copies(valid, min(self.sound_copies, 1))
        items = self.items(with_varied_copies(train, self.sound_copies), training=True)
        supervised.seed_everything(context.seed)
        network = self.network(n_classes, items[0])
        self.prepare(network, items)
        targets = context.task.targets(train)
        valid_items = self.items(valid, training=False)
        valid_targets = context.task.targets(valid)

        def score(model: nn.Module) -> Score:
            values = self.predict_items(model, valid_items, device)
            return Score.of(values[:, :n_classes], valid_targets)

        history = supervised.train(
            network,
            lambda rng: self._training_batches(self._drawn(items, rng), targets, rng),
            score,
            self,
            loss=self.loss,
            seed=context.seed,
            device=device,
            checkpoint=context.checkpoint,
            progress=context.progress,
        )
        return FittedNetwork(self, network, n_classes, device, history.epochs)

    def _drawn(self, items: Sequence[Any], rng: np.random.Generator) -> Sequence[Any]:
        """One of the sounds of each clip."""
        if not self.sound_copies:
            return items
        n = len(items) // (1 + self.sound_copies)
        return [items[i + n * int(rng.integers(1 + self.sound_copies))] for i in range(n)]

    def _training_batches(
        self, items: Sequence[Any], targets: np.ndarray, rng: np.random.Generator
    ) -> Iterator[supervised.Batch]:
        pieces = [*items] * self.windows_per_epoch
        if self.transpose_training:
            pieces = [self.transposed(item, int(rng.choice(SEMITONES))) for item in pieces]
        return windows.training_batches(
            pieces,
            np.tile(targets, self.windows_per_epoch),
            window=self.window,
            batch_size=self.batch_size,
            rng=rng,
            length_of=self.length,
            batch_of=self.batch,
            size_of=self.size,
        )

    def predict_items(
        self, network: nn.Module, items: Sequence[Any], device: torch.device
    ) -> np.ndarray:
        """Mean of `answer` over the windows of each item, shape (n_items, n_classes + n_heads)."""
        network.eval()
        return self.window_means(
            items, lambda inputs: self.answer(supervised.forward(network, inputs, device))
        )

    def answer_items(
        self, network: nn.Module, items: Sequence[Any], device: torch.device
    ) -> np.ndarray:
        """As `predict_items`, with `transpose_test` the mean over all transpositions."""
        if not self.transpose_test:
            return self.predict_items(network, items, device)
        moved = ([self.transposed(item, k) for item in items] for k in SEMITONES)
        return np.mean([self.predict_items(network, part, device) for part in moved], axis=0)

    def window_means(self, items: Sequence[Any], values_of: Callable[[Any], Tensor]) -> np.ndarray:
        """Mean over the windows of each item of what comes out for them, shape (n_items, k).

        `values_of` gives shape (batch, k) for what `batch` gives.
        """
        sums: np.ndarray | None = None
        counts = np.zeros(len(items))
        batches = windows.prediction_batches(
            items,
            window=self.window,
            batch_size=2 * self.batch_size,
            length_of=self.length,
            batch_of=self.batch,
            size_of=self.size,
        )
        with torch.inference_mode():
            for inputs, owners in batches:
                values = values_of(inputs).cpu().numpy().astype(float)
                sums = np.zeros((len(items), values.shape[1])) if sums is None else sums
                np.add.at(sums, owners, values)
                np.add.at(counts, owners, 1)
        assert sums is not None, "a corpus has at least one clip"
        return sums / counts[:, None]


@dataclass(frozen=True, kw_only=True)
class FramedNetwork(WindowedNetwork):
    """A network that sees notes and features of the sound in the same time, in steps of frames.

    Attributes
    ----------
    window_seconds : float
        Of the windows: frames, and the notes that begin in them.
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        Of the frames, in samples.
    pool : int
        Frames that are averaged to one step.
    """

    window_seconds: float = 30.0
    sample_rate: int = 22050
    n_fft: int = 1024
    hop_length: int = 512
    pool: int = 1

    @property
    def step_seconds(self) -> float:
        """Of one step."""
        return self.pool * self.hop_length / self.sample_rate

    def sound(self, clip: Clip, feature: Feature, **options: Any) -> np.ndarray:
        """A feature in steps, shape (n_bins, n_steps); options as of `clip_feature`."""
        options |= {"n_fft": self.n_fft, "hop_length": self.hop_length, "pool": self.pool}
        return clip_feature(feature, clip, self.sample_rate, **options)

    def sound_picture(self, feature: Feature, values: np.ndarray) -> Picture:
        """A feature in steps."""
        return sound_picture(feature, values, self.sample_rate, self.hop_length, pool=self.pool)


def transposed_rows(rows: Mapping[str, System]) -> dict[str, System]:
    """Two rows for each: transposed in training, and answering with the mean of all, too."""
    found: dict[str, System] = {}
    for name, system in rows.items():
        trained = replace(system, transpose_training=True)  # type: ignore[call-arg]
        found[f"{name}, transposed"] = trained
        found[f"{name}, transposed, averaged"] = replace(trained, transpose_test=True)  # type: ignore[call-arg]
    return found


def built(
    model: Callable[..., nn.Module], n_outputs: int, *arguments: Any, **sizes: Any
) -> nn.Module:
    """A network with fresh parameters, of a class or function of one's own.

    Parameters
    ----------
    model : callable
        Called with the arguments, and with those of the sizes that it takes.
    n_outputs : int
        Columns that the network gives, in a row for each input.

    Raises
    ------
    ParameterError
        If it gives no network, or one without parameters; when the network is used, if its output
        has another shape or is not real.
    """
    network, name = call(model, *arguments, **sizes), name_of(model)
    if not isinstance(network, nn.Module):
        raise ParameterError(f"model {name} gave {network!r}; expected a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ParameterError(f"model {name} has no parameters to train; expected some")
    if not type(network).__module__.startswith(f"{__name__.partition('.')[0]}."):
        network.register_forward_hook(partial(_check_after, name, n_outputs))
    return network


def _check_after(name: str, n_outputs: int, network: nn.Module, inputs: Any, output: Any) -> None:
    check_output(name, output, (len(inputs[0]), n_outputs))


def check_output(name: str, output: Any, expected: tuple[int, int]) -> None:
    """Raise a ParameterError, unless a model gave real numbers of the expected shape."""
    if not isinstance(output, Tensor):
        found = "None" if output is None else f"a {type(output).__name__}"
    elif not output.is_floating_point() or output.shape != expected:
        found = f"a Tensor of shape {tuple(output.shape)} and type {output.dtype}"
    else:
        return
    raise ParameterError(
        f"model {name} gave {found}; expected a Tensor of real numbers of shape {expected}: a row "
        "for each input, a column for each class or dimension"
    )


def padded(sequences: Sequence[np.ndarray], value: int) -> Tensor:
    """Sequences, each (..., n), with this value at the end, shape (batch, ..., longest).

    The longest is rounded up to a multiple of 32: kernels are compiled anew for every length.
    """
    longest = max(sequence.shape[-1] for sequence in sequences)
    shape = (len(sequences), *sequences[0].shape[:-1], math.ceil(longest / 32) * 32)
    batch = np.full(shape, value, dtype=np.int64)
    for row, sequence in zip(batch, sequences, strict=True):
        row[..., : sequence.shape[-1]] = sequence
    return torch.from_numpy(batch)


@dataclass(eq=False, repr=False)
class FittedNetwork(Fitted):
    """A trained network with the system that it belongs to."""

    system: WindowedNetwork
    network: nn.Module
    n_classes: int
    device: torch.device
    history: list[dict[str, float]]

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k, and head_<name> for each head: means over a clip's windows."""
        items = self.system.items(corpus, training=False)
        values = self.system.answer_items(self.network, items, self.device)
        frame = probabilities(corpus, values[:, : self.n_classes])
        for k, name in enumerate(self.system.head_names(self.n_classes), start=self.n_classes):
            frame[f"head_{name}"] = values[:, k]
        return frame

    def __getstate__(self) -> dict[str, Any]:
        # What is stored on a machine with a GPU is read on one without
        return {**self.__dict__, "network": self.network.cpu(), "device": torch.device("cpu")}
