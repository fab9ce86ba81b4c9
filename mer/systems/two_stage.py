"""2-Stage (He and Ferguson 2022), a row of table 3 of Sun et al. 2024.

The text of neither paper fixes sizes, masks and training; those here are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mer.clips import Corpus
from mer.errors import ParameterError
from mer.models import two_stage
from mer.models.two_stage import SegmentAutoencoder, SequenceClassifier
from mer.systems.base import Context, Fitted, System, probabilities, read_settings, write_settings
from mer.systems.segmented import SegmentInput
from mer.training import supervised, windows
from mer.training.segment_set import SegmentOptions, SegmentSet, split_batches
from mer.training.supervised import RegressionScore, Score, TrainingOptions, resolve_device

_MOST_MASKED = 0.25
"""Of the bands and of the frames."""

_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class TwoStage(SegmentOptions, SegmentInput, System):
    """An autoencoder of segments, without labels; then a BiLSTM on the sequence of their codes.

    Segments follow each other without overlap.

    Attributes
    ----------
    epochs, patience, batch_size, learning_rate, weight_decay, schedule, clip_norm
        Of the BiLSTM.
    encoder_epochs, encoder_batch_size : int
    encoder_learning_rate : float
        Of the autoencoder, which takes `segments_per_epoch` random segments of each clip.
    code : int
        Numbers that stand for a segment.
    channels : int
        Of the autoencoder's first convolution.
    hidden : int
        Units of the LSTM in each direction.
    dropout : float
        After the LSTM.
    """

    name: ClassVar[str] = "2-Stage"
    inputs: ClassVar[str] = "audio"
    duration: float = 1.0
    batch_size: int = 32
    learning_rate: float = 1e-3
    encoder_epochs: int = 50
    encoder_batch_size: int = 64
    encoder_learning_rate: float = 1e-3
    code: int = 128
    channels: int = 16
    hidden: int = 64
    dropout: float = 0.5

    def __post_init__(self) -> None:
        SegmentOptions.__post_init__(self)
        SegmentInput.__post_init__(self)
        for name in ("code", "channels", "hidden"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is {getattr(self, name)}; expected at least 1")

    @property
    def hop(self) -> int:
        """Frames between segments: there is no overlap."""
        return self.window

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering, spectrum and models."""
        return {**self.input_revisions, "two_stage": two_stage.REVISION}

    @property
    def encoder_options(self) -> SegmentOptions:
        """How the autoencoder is trained."""
        return SegmentOptions(
            epochs=self.encoder_epochs,
            patience=self.encoder_epochs,
            batch_size=self.encoder_batch_size,
            learning_rate=self.encoder_learning_rate,
            segments_per_epoch=self.segments_per_epoch,
        )

    def encoder(self) -> SegmentAutoencoder:
        """An autoencoder with fresh parameters."""
        return SegmentAutoencoder(self.n_mels, self.window, size=self.code, channels=self.channels)

    def classifier(self, n_classes: int) -> SequenceClassifier:
        """A BiLSTM with fresh parameters."""
        return SequenceClassifier(self.code, n_classes, hidden=self.hidden, dropout=self.dropout)

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedTwoStage:
        """Train the autoencoder, then the BiLSTM.

        Raises
        ------
        InvalidDataError
            If a clip is shorter than a segment.
        """
        supervised.seed_everything(context.seed)
        encoder, classifier = self.encoder(), self.classifier(context.n_classes)
        log_mels = self.log_mels(train)
        encoder.standardise.fit(log_mels)
        parts = (SegmentSet(log_mels, self.window, self.hop), self.segment_set(valid))
        train_encoder(encoder, parts, self.encoder_options, context)
        device = resolve_device(context.device)
        codes = [segment_codes(encoder, part, device) for part in parts]
        classifier.standardise.fit(codes[0])
        targets = (context.task.targets(train), context.task.targets(valid))
        history = train_classifier(classifier, codes, targets, self, context)
        return FittedTwoStage(self, encoder, classifier, context.n_classes, device, history)


def train_encoder(
    encoder: SegmentAutoencoder,
    parts: tuple[SegmentSet, SegmentSet],
    options: SegmentOptions,
    context: Context,
) -> None:
    """Train an autoencoder on masked segments, stopping on whole ones of validation clips."""
    device = resolve_device(context.device)
    valid = parts[1].spread(options.segments_per_epoch)

    def batches(rng: np.random.Generator) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
        drawn = parts[0].draw(options.segments_per_epoch, rng)
        for chosen in split_batches(drawn, options.batch_size):
            x = parts[0].batch(chosen)
            yield (x, random_masks(x.shape, rng)), x

    def loss(output: Tensor, x: Tensor) -> Tensor:
        return nn.functional.mse_loss(output, encoder.standardise(x))

    def validate(model: nn.Module) -> RegressionScore:
        total = 0.0
        for chosen in split_batches(valid, options.batch_size):
            x = parts[1].batch(chosen).to(device)
            total += loss(model(x, torch.ones_like(x)).float(), x).item() * len(chosen)
        return RegressionScore(rmse=(total / len(valid)) ** 0.5)

    supervised.train(
        encoder,
        batches,
        validate,
        options,
        loss=loss,
        seed=context.seed,
        device=device,
        checkpoint=_encoder_checkpoint(context.checkpoint),
        progress=context.progress,
    )


def _encoder_checkpoint(checkpoint: Path | None) -> Path | None:
    return None if checkpoint is None else checkpoint.with_name(f"{checkpoint.stem}-encoder.pt")


def random_masks(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """One stretch of bands and one of frames for each segment, each at most a quarter.

    Parameters
    ----------
    shape : tuple of int
        (batch, n_mels, window).
    rng : np.random.Generator

    Returns
    -------
    Tensor of that shape, float32
        0 where a segment is masked, else 1.
    """
    kept = np.ones(shape, dtype=np.float32)
    for own in kept:
        for axis in (own, own.T):
            length = int(rng.integers(int(_MOST_MASKED * len(axis)) + 1))
            start = int(rng.integers(len(axis) - length + 1))
            axis[start : start + length] = 0.0
    return torch.from_numpy(kept)


def segment_codes(
    encoder: SegmentAutoencoder, segment_set: SegmentSet, device: torch.device
) -> list[np.ndarray]:
    """Codes of the segments of each clip, shapes (code, n_segments), float32."""
    encoder.eval()
    parts = []
    with torch.inference_mode(), supervised.autocast(device):
        for chosen in split_batches(np.arange(len(segment_set)), _BATCH):
            x = encoder.standardise(segment_set.batch(chosen).to(device))
            parts.append(encoder.encode(x).float().cpu().numpy())
    return np.split(np.concatenate(parts).T, np.cumsum(segment_set.counts)[:-1], axis=1)


def train_classifier(
    classifier: SequenceClassifier,
    codes: list[list[np.ndarray]],
    targets: tuple[np.ndarray, np.ndarray],
    options: TrainingOptions,
    context: Context,
) -> list[dict[str, float]]:
    """Train a BiLSTM on the codes of training clips, stopping on the validation clips."""
    device = resolve_device(context.device)
    longest = max(own.shape[1] for own in codes[0])

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        return windows.training_batches(
            codes[0], targets[0], window=longest, batch_size=options.batch_size, rng=rng
        )

    def validate(model: nn.Module) -> Score:
        return Score.of(classify(classifier, codes[1], device), targets[1])

    return supervised.train(
        classifier,
        batches,
        validate,
        options,
        seed=context.seed,
        device=device,
        checkpoint=context.checkpoint,
        progress=context.progress,
    ).epochs


def classify(
    classifier: SequenceClassifier, codes: list[np.ndarray], device: torch.device
) -> np.ndarray:
    """Class probabilities, shape (n_clips, n_classes), of clips from their segments' codes."""
    classifier.eval()
    with torch.inference_mode():
        logits = [
            supervised.forward(classifier, torch.from_numpy(own).unsqueeze(0), device)
            for own in codes
        ]
    return torch.softmax(torch.cat(logits).double(), dim=1).cpu().numpy()


class FittedTwoStage(Fitted):
    """Both trained networks with the system that they belong to."""

    def __init__(
        self,
        system: TwoStage,
        encoder: SegmentAutoencoder,
        classifier: SequenceClassifier,
        n_classes: int,
        device: torch.device,
        history: list[dict[str, float]],
    ) -> None:
        self.system = system
        self.encoder = encoder
        self.classifier = classifier
        self.n_classes = n_classes
        self.device = device
        self.history = history

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k."""
        codes = segment_codes(self.encoder, self.system.segment_set(corpus), self.device)
        return probabilities(corpus, classify(self.classifier, codes, self.device))

    def save(self, folder: Path) -> None:
        """Write the parameters (tensors only) and the settings."""
        settings = {"system": self.system.name, "parameters": self.system.parameters}
        write_settings(folder, {**settings, "n_classes": self.n_classes, "history": self.history})
        torch.save(self.encoder.state_dict(), folder / "encoder.pt")
        torch.save(self.classifier.state_dict(), folder / "classifier.pt")

    @classmethod
    def load(cls, folder: Path) -> FittedTwoStage:
        """Read what `save` wrote."""
        from mer.systems import get_system

        settings = read_settings(folder)
        system = get_system(settings["system"], settings["parameters"])
        assert isinstance(system, TwoStage)
        encoder, classifier = system.encoder(), system.classifier(settings["n_classes"])
        for name, network in (("encoder", encoder), ("classifier", classifier)):
            path = folder / f"{name}.pt"
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            network.eval()
        device = torch.device("cpu")
        return cls(system, encoder, classifier, settings["n_classes"], device, settings["history"])
