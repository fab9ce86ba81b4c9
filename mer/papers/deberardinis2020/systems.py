"""EmoMucs (de Berardinis et al. 2020): networks on the mix and on its sources, and their fusion.

Learning rate and batch size are those of the example in the published code, since the text gives
none. In that code a frozen source model still updates its batch statistics and drops units; here
it does neither, so its features of a clip are computed once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mer.audio import audio_seconds, crop, resample, waveform
from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features import spectral
from mer.features.cache import cached, content_digest, source_of, stored_array
from mer.files import atomic_folder
from mer.models import emomucs
from mer.models.emomucs import C1D, C2D, N_MELS, EmoMucs, FusionHead, Level, SourceModel
from mer.paths import cache_folder
from mer.rendering import REVISION as RENDERING_REVISION
from mer.separation import MIX, TRUE, separator_revision, source_waveform
from mer.sounds import lacking_for_copies, varied
from mer.systems.base import (
    Context,
    Feature,
    Fitted,
    Picture,
    System,
    added,
    dimension_frame,
    sound_picture,
)
from mer.systems.clip_descriptors import (
    ACOUSTIC_REVISIONS,
    FEATURE_REVISIONS,
    SAMPLE_RATE,
    acoustic_of,
)
from mer.systems.code import call, name_of, plain, real_array
from mer.systems.network import built, check_output
from mer.training import supervised
from mer.training.supervised import (
    History,
    RegressionScore,
    TrainingOptions,
    resolve_device,
)

SOURCES = ("vocals", "bass", "drums", "other")
"""In the order of the paper."""

_INPUTS = (MIX, *SOURCES)
_BATCH = 64

Schedule = Literal["constant", "cosine", "plateau"]


@dataclass(frozen=True, kw_only=True)
class SourceNetwork(TrainingOptions, System):
    """A network on the mix or on one source (table 1), or on several as its channels.

    It trains on one excerpt of every clip, drawn by the clip's id and the same for the mix and for
    each source, and stops on the validation RMSE. Clips that are shorter end in silence. What is
    trained on one source stays in the cache, for the fusions that start from it.

    Attributes
    ----------
    model : type of SourceModel
        `mer.models.emomucs.C1D`, `mer.models.emomucs.C2D` or one of your own.
    sources : tuple of {"mix", "vocals", "bass", "drums", "other"}
        In this order.
    dropout : float
        In the networks on the sources; the head of a fusion has .3.
    feature : callable
        Of samples and sample rate, and of those of `n_fft`, `hop_length` and `n_mels` that it
        takes, to an array of shape (96, n_frames) in dB with a frame each `hop_length` samples.
    separator : str
        Name in `mer.separation`, or "true" for the stems of composed clips.
    seconds : float
        Length of the excerpts.
    sample_rate : int
        In Hz. The paper does not give it; with 12 kHz its parameter counts come out.
    n_fft, hop_length : int
        In samples.
    sound_copies : int
        Of each clip, in random sounds, that the network is trained and validated on, too; each has
        an excerpt and separated sources of its own. See `mer.sounds.with_varied_copies`.
    """

    inputs: ClassVar[str] = "audio"
    regression: ClassVar[bool] = True
    model: type[SourceModel] = C2D
    sources: tuple[str, ...] = (MIX,)
    dropout: float = 0.0
    feature: Feature = spectral.log_mel
    separator: str = "small"
    seconds: float = 20.0
    sample_rate: int = 12000
    n_fft: int = 512
    hop_length: int = 256
    epochs: int = 1000
    batch_size: int = 64
    learning_rate: float = 0.005
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    sound_copies: int = added(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sound_copies and self.separator == TRUE and self.sources != (MIX,):
            raise ParameterError(
                f"sound_copies is {self.sound_copies}, but separator is {TRUE!r}: the stems of "
                "composed clips have no other sound; take a separator"
            )
        if not self.sources or self.sources != tuple(s for s in _INPUTS if s in self.sources):
            raise ParameterError(
                f"sources are {self.sources}; expected some of {_INPUTS}, each once, in this order"
            )

    @property
    def lacks(self) -> str:
        """Soundfonts, where copies of the clips need them and they are not there."""
        return lacking_for_copies(self.sound_copies)

    @property
    def stand_in(self) -> str:
        """The separator, where sources are separated by one of our own."""
        is_ours = self.separator == "small" and self.sources != (MIX,)
        return "our separator" if is_ours else ""

    @property
    def family(self) -> str:  # type: ignore[override]
        """That of the architecture: "C1D" or "C2D"."""
        return "C1D" if issubclass(self.model, C1D) else "C2D"

    @property
    def n_samples(self) -> int:
        """Length of an excerpt."""
        return round(self.seconds * self.sample_rate)

    @property
    def n_frames(self) -> int:
        """Of the spectrogram of an excerpt."""
        return 1 + self.n_samples // self.hop_length

    @property
    def revisions(self) -> dict[str, int]:
        """Excerpts, separation and model."""
        return {**self._excerpt_revisions(self.sources), "emomucs": emomucs.REVISION}

    def _excerpt_revisions(self, sources: Iterable[str]) -> dict[str, int]:
        revisions = {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}
        if any(source != MIX for source in sources):
            revisions["separation"] = separator_revision(self.separator)
        return revisions

    def excerpt(self, clip: Clip, source: str) -> np.ndarray:
        """Samples of the excerpt of a source, shape (n_samples,), float32."""
        samples = source_waveform(clip, source, self.sample_rate, separator=self.separator)
        return crop(samples, self.n_samples, window_start(clip.id, len(samples), self.n_samples))

    def log_mel(self, clip: Clip, source: str) -> np.ndarray:
        """Spectrogram of a source in dB, shape (96, n_frames), float16, cached."""
        settings = {"n_fft": self.n_fft, "hop_length": self.hop_length, "n_mels": N_MELS}

        def compute() -> np.ndarray:
            samples = self.excerpt(clip, source)
            given = call(self.feature, samples, self.sample_rate, **settings)
            found = real_array(self.feature, given, 2)
            if found.shape != (N_MELS, self.n_frames):
                raise ParameterError(
                    f"the feature has shape {found.shape}; expected {(N_MELS, self.n_frames)}"
                )
            return found.astype(np.float16)

        own = {} if self.feature is spectral.log_mel else {"feature": plain(self.feature)}
        if source != MIX:
            own["separator"] = self.separator
        key = {
            **{**settings, **self._excerpt_revisions([source]), **own},
            **{"clip": clip.id, "source": source},
            **{"seconds": self.seconds, "sample_rate": self.sample_rate},
        }
        audio = source_of(clip, "audio")
        return cached("excerpt-log-mel", spectral.REVISION, key, audio, compute)

    def cache_features(self, clip: Clip) -> None:
        """Spectrograms of all sources."""
        self.log_mels([clip])

    def log_mels(self, clips: Sequence[Clip]) -> np.ndarray:
        """Spectrograms of all inputs, shape (n_clips, n_sources, 96, n_frames), float16."""
        found = np.empty((len(clips), len(self.sources), N_MELS, self.n_frames), dtype=np.float16)
        for row, clip in zip(found, clips, strict=True):
            row[:] = [self.log_mel(clip, source) for source in self.sources]
        return found

    def padding(self, clips: Iterable[Clip]) -> dict[str, float]:
        """Seconds of silence at the end of every clip that is shorter than an excerpt, by id."""
        missing = {c.id: self.seconds - _clip_seconds(c, self.sample_rate) for c in clips}
        return {clip_id: seconds for clip_id, seconds in missing.items() if seconds > 0}

    def source_model(self, n_inputs: int = 1) -> SourceModel:
        """A network of this architecture with fresh parameters."""
        build: Callable[..., SourceModel] = self.model
        return build(n_frames=self.n_frames, n_inputs=n_inputs, dropout=self.dropout)

    def network(self) -> SourceModel | EmoMucs:
        """A network with fresh parameters."""
        return self.source_model(len(self.sources))

    def example(self, clip: Clip) -> tuple[nn.Module, Tensor, dict[str, Picture]]:
        """A fresh network, a batch of one clip, and its spectrograms by source."""
        log_mels = self.log_mels([clip])
        network, x = self.network(), torch.from_numpy(log_mels)
        network.fit_scale(x)
        pictures = {
            source: sound_picture(self.feature, values, self.sample_rate, self.hop_length)
            for source, values in zip(self.sources, log_mels[0], strict=True)
        }
        return network, network.standardise(x), pictures

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedRegressor:
        """Train the network from fresh parameters."""
        train, valid = varied(train, valid, self.sound_copies)
        fitted = self._fit_whole(train, valid, context)
        if len(self.sources) == 1:
            fitted.key = source_model_key(self, train, valid, context)
            with atomic_folder(_folder(fitted.key)) as temporary:
                fitted.save(temporary)
        return fitted

    def _fit_whole(
        self, train: Corpus, valid: Corpus, context: Context, network: Any = None
    ) -> FittedRegressor:
        """Train all of a network: one from the seed, or one that has learned already."""
        log_mels = torch.from_numpy(self.log_mels(train))
        if network is None:
            network = self._fresh_network(train, context)
            network.fit_scale(log_mels)
        x = network.standardise(log_mels)
        del log_mels
        x_valid = network.standardise(torch.from_numpy(self.log_mels(valid)))
        inputs = (x, network.input_moments(x))
        history = self._train(network, inputs, x_valid, train, valid, context)
        return FittedRegressor(self, network, context.regression_task.dimensions, history.epochs)

    def _fresh_network(self, train: Corpus, context: Context) -> SourceModel | EmoMucs:
        """A network that answers with the mean label of the training clips, from the seed."""
        targets = context.regression_task.targets(train)
        supervised.seed_everything(context.seed)
        network = self.network()
        emomucs.start_at(network.last_layers, torch.from_numpy(targets.mean(axis=0)))
        return network

    def _train(
        self,
        network: nn.Module,
        inputs: tuple[Tensor, ...],
        x_valid: Tensor,
        train: Corpus,
        valid: Corpus,
        context: Context,
    ) -> History:
        """Train on the mean squared error.

        `inputs` are the arguments of the network for all training clips, `x_valid` is the first of
        them for the validation clips.
        """
        task = context.regression_task
        targets = torch.from_numpy(task.targets(train)).float()
        valid_targets = task.targets(valid)

        def batches(rng: np.random.Generator) -> Iterator[supervised.Batch]:
            for chosen in batch_indices(len(targets), self.batch_size, rng):
                yield tuple(tensor[chosen] for tensor in inputs), targets[chosen]

        def loss(output: Tensor, targets: Tensor) -> Tensor:
            check_output(name_of(self.model), output, (len(targets), emomucs.N_OUTPUTS))
            return nn.functional.mse_loss(output, targets)

        def validate(model: nn.Module) -> RegressionScore:
            errors = predict_batches(model, x_valid) - valid_targets
            return RegressionScore(rmse=float(np.sqrt(np.mean(errors**2))))

        return supervised.train(
            network,
            batches,
            validate,
            self,
            loss=loss,
            seed=context.seed,
            device=resolve_device(context.device),
            checkpoint=context.checkpoint,
            progress=context.progress,
        )


@dataclass(frozen=True, kw_only=True)
class Fusion(SourceNetwork):
    """A network for each source, and a head on their joined features.

    With training "freeze" the source models stay as they are: those of the `SourceNetwork` on each
    source, with the same clips and seed. With "finetune" everything is then trained on at a small
    rate. (That the head is trained first is our choice: at a rate small enough for the source
    models to keep what they know, a fresh head would learn next to nothing.) With "full"
    everything is trained together from the start. The training options are those of the head, or
    of the whole network ("full").

    Attributes
    ----------
    fusion : {"early", "mid", "late"}
        Features that are joined: after the convolutions, after the first dense layer (C1D alone
        has one), or the answers.
    training : {"freeze", "finetune", "full"}
    head : callable
        Called with the number of joined features; gives a network whose `layers` are a
        `torch.nn.Sequential` that ends in a dense layer.
    source_epochs, source_patience, source_batch_size : int
    source_learning_rate : float
    source_schedule : {"constant", "cosine", "plateau"}
        How the source models are trained, unless training is "full".
    finetune_epochs, finetune_batch_size : int
    finetune_learning_rate : float
        Of the second stage of "finetune".
    """

    sources: tuple[str, ...] = SOURCES
    fusion: Level = "late"
    training: Literal["freeze", "finetune", "full"] = "freeze"
    head: Callable[[int], nn.Module] = FusionHead
    source_epochs: int = 1000
    source_patience: int = 20
    source_batch_size: int = 64
    source_learning_rate: float = 0.005
    source_schedule: Schedule = "constant"
    finetune_epochs: int = 1000
    finetune_batch_size: int = 64
    finetune_learning_rate: float = 0.0005

    @property
    def family(self) -> str:  # type: ignore[override]
        """That of the networks where all is trained together, else that with " fusion"."""
        return super().family + (" fusion" if self.training != "full" else "")

    def network(self) -> EmoMucs:
        """A network with fresh parameters."""
        models = [self.source_model() for _ in self.sources]
        return EmoMucs(models, self.fusion, head=partial(built, self.head, emomucs.N_OUTPUTS))

    def source_system(self, source: str) -> SourceNetwork:
        """The system on one source whose trained network is taken."""
        shared = {f.name: getattr(self, f.name) for f in fields(SourceNetwork)}
        own = ("epochs", "patience", "batch_size", "learning_rate", "schedule")
        training = {name: getattr(self, f"source_{name}") for name in own}
        # Its clips are those of the fusion, copies included
        return SourceNetwork(**{**shared, **training, "sources": (source,), "sound_copies": 0})

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedRegressor:
        """Train the head, the head and then everything, or everything at once."""
        train, valid = varied(train, valid, self.sound_copies)
        if self.training == "full":
            return self._fit_whole(train, valid, context)
        first = self._fit_head(train, valid, context)
        if self.training == "freeze":
            return first
        second = replace(
            self,
            epochs=self.finetune_epochs,
            batch_size=self.finetune_batch_size,
            learning_rate=self.finetune_learning_rate,
        )
        return second._fit_whole(train, valid, context, first.network)

    def _fit_head(self, train: Corpus, valid: Corpus, context: Context) -> FittedFusion:
        # A head takes seconds: a checkpoint after every epoch would take longer.
        alone = replace(context, checkpoint=None)
        systems = [self.source_system(source) for source in self.sources]
        models = [found_or_fitted(system, train, valid, alone) for system in systems]
        network = self._fresh_network(train, context)
        assert isinstance(network, EmoMucs)
        for model, fitted in zip(network.sources, models, strict=True):
            model.load_state_dict(fitted.network.state_dict())
        dimensions = context.regression_task.dimensions
        found = FittedFusion(self, network, dimensions, [], models=models)
        x, x_valid = (torch.from_numpy(found.features(part)).float() for part in (train, valid))
        history = self._train(network.head, (x,), x_valid, train, valid, alone)
        network.eval()
        found.history = history.epochs
        return found


@dataclass(eq=False)
class FittedRegressor(Fitted):
    """A trained network with the system that it belongs to.

    Attributes
    ----------
    system : SourceNetwork
    network : SourceModel or EmoMucs
    dimensions : tuple of str
        What it predicts.
    key : str
        Of a network on one source: where it stands in the cache.
    """

    system: SourceNetwork
    network: Any
    dimensions: tuple[str, ...]
    history: list[dict[str, float]]
    key: str = ""

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, valence, arousal."""
        values = self.predict_log_mels(self.system.log_mels(corpus))
        return dimension_frame(corpus, self.dimensions, values)

    def predict_log_mels(self, log_mels: np.ndarray) -> np.ndarray:
        """Valence and arousal, shape (n_clips, 2), of spectrograms as the system makes them.

        Parameters
        ----------
        log_mels : np.ndarray, shape (n_clips, n_sources, 96, n_frames)
            As from `SourceNetwork.log_mels`; some sources may have been replaced.
        """
        x = self.network.standardise(torch.from_numpy(log_mels))
        return predict_batches(self.network, x)

    def source_features(self, corpus: Corpus, level: Level) -> np.ndarray:
        """Features of a network on one source at a level, shape (n_clips, n_features), cached."""
        path = _folder(self.key) / f"{level}-{_digest(_clip_keys(corpus))[:32]}.npy"

        def compute() -> np.ndarray:
            x = self.network.standardise(torch.from_numpy(self.system.log_mels(corpus)))
            return predict_batches(self.network, x, level=level)

        return stored_array(path, compute)

    def __getstate__(self) -> dict[str, Any]:
        # What is stored on a machine with a GPU is read on one without
        return {**self.__dict__, "network": self.network.cpu()}


@dataclass(eq=False)
class FittedFusion(FittedRegressor):
    """A trained head on frozen source models, which reads their cached features."""

    system: Fusion
    models: Sequence[FittedRegressor] = ()

    def features(self, corpus: Corpus) -> np.ndarray:
        """Joined features of the source models, shape (n_clips, n_features), float64, cached."""
        parts = [model.source_features(corpus, self.system.fusion) for model in self.models]
        return np.concatenate(parts, axis=1)

    def predict_features(self, features: np.ndarray) -> np.ndarray:
        """Valence and arousal, shape (n_clips, 2), of features as `features` gives them."""
        return predict_batches(self.network.head, torch.from_numpy(features).float())

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, valence, arousal."""
        values = self.predict_features(self.features(corpus))
        return dimension_frame(corpus, self.dimensions, values)


def predict_batches(network: nn.Module, x: Tensor, **options: Any) -> np.ndarray:
    """Output of a network, called with the options, for any number of inputs: shape (n, ...)."""
    network.eval()
    device = next(network.parameters()).device
    call: Any = partial(network, **options)
    with torch.inference_mode():
        parts = [supervised.forward(call, batch, device).cpu() for batch in x.split(_BATCH)]
    return torch.cat(parts).numpy().astype(float)


def batch_indices(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Indices of one epoch in random order; a last batch of one joins the batch before it."""
    order = torch.from_numpy(rng.permutation(n))
    starts = list(range(0, n, batch_size))
    if n > 1 and n - starts[-1] == 1 and len(starts) > 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:stop]


def found_or_fitted(
    system: SourceNetwork, train: Corpus, valid: Corpus, context: Context
) -> FittedRegressor:
    """A network on one source from the cache, or trained; one process at a time trains it.

    Fusions need it below the level of runs: it depends on clips, labels and the seed, not on the
    corpus or the fold.
    """
    from filelock import FileLock

    key = source_model_key(system, train, valid, context)
    folder = _folder(key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        with suppress(MissingDataError, InvalidDataError):  # a damaged one is trained again
            found: FittedRegressor = Fitted.load(folder)
            return found
        checkpoint = cache_folder() / "checkpoints" / f"source-{key[:32]}.pt"
        return system.fit(train, valid, replace(context, checkpoint=checkpoint))


def source_model_key(system: SourceNetwork, train: Corpus, valid: Corpus, context: Context) -> str:
    """SHA-256 (hexadecimal) over everything that the trained network depends on."""
    clips = [_clip_keys(part) for part in (train, valid)]
    targets = [context.task.targets(part).tolist() for part in (train, valid)]
    facts = [system.parameters, system.revisions, context.seed, context.task.name]
    return _digest([*facts, clips, targets])


def _clip_keys(corpus: Corpus) -> list[list[str]]:
    return [[clip.id, content_digest(source_of(clip, "audio"))] for clip in corpus]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _folder(key: str) -> Path:
    return cache_folder() / "source-models" / key[:2] / key[:32]


def excerpt_descriptors(clip: Clip) -> np.ndarray:
    """Acoustic descriptors of what the networks hear of a clip, cached; shape (n_descriptors,).

    That is the published excerpt of the mix at 12 kHz, resampled for the descriptors.
    """
    network = SourceNetwork()
    hearing = {"seconds": network.seconds, "excerpt_rate": network.sample_rate, "of": clip.id}

    def samples() -> np.ndarray:
        return resample(network.excerpt(clip, MIX), network.sample_rate, SAMPLE_RATE)

    return acoustic_of(clip, samples, **hearing)


FEATURE_REVISIONS[excerpt_descriptors] = ACOUSTIC_REVISIONS


def window_start(clip_id: str, length: int, window: int) -> int:
    """First sample of the window of a clip, drawn uniformly by its id; 0 where it is shorter."""
    digest = hashlib.sha256(clip_id.encode()).digest()
    rng = np.random.default_rng(list(digest[:16]))
    return int(rng.random() * (max(length - window, 0) + 1))


def _clip_seconds(clip: Clip, sample_rate: int) -> float:
    """Duration of a recording, or of a rendering at that rate where there is none."""
    if clip.audio is not None:
        return audio_seconds(clip.audio)
    return len(waveform(clip, sample_rate)) / sample_rate
