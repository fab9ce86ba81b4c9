"""2-Stage (He and Ferguson 2022), a row of table 3 of Sun et al. 2024.

The text of neither paper fixes sizes, masks and training; those here are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mer.clips import Clip, Corpus
from mer.models import two_stage
from mer.models.two_stage import SegmentAutoencoder, SequenceClassifier
from mer.papers.sun2024.systems import Parts, SegmentNetwork, Targets, training_options
from mer.sounds import varied
from mer.systems.base import Context, Picture, probabilities
from mer.systems.network import FittedNetwork
from mer.training import supervised, windows
from mer.training.supervised import (
    RegressionScore,
    Score,
    TrainingOptions,
    resolve_device,
)
from mer.training.windows import SegmentOptions, SegmentSet, split_batches

_MOST_MASKED = 0.25
"""Of the bands and of the frames."""

_BATCH = 128


class TwoStageNetwork(nn.Module):
    """Both networks, as one that hears all segments of a clip."""

    def __init__(self, encoder: SegmentAutoencoder, classifier: SequenceClassifier) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (1, n_classes), of the segments of a clip, shape (n, n_mels, window)."""
        codes = self.encoder.encode(self.encoder.standardise(x))
        logits: Tensor = self.classifier(codes.T.unsqueeze(0))
        return logits


@dataclass(frozen=True, kw_only=True)
class TwoStage(SegmentNetwork):
    """An autoencoder of segments, without labels; then a BiLSTM on the sequence of their codes.

    Segments follow each other without overlap.

    Attributes
    ----------
    encoder_epochs, encoder_batch_size, encoder_learning_rate
        Of the autoencoder, which takes `segments_per_epoch` random segments of each clip; without
        the prefix they are those of the BiLSTM.
    code : int
        Size of the vector that stands for a segment.
    channels : int
        Of the autoencoder's first convolution.
    hidden, dropout
        Units of the LSTM in each direction, and the dropout after it.
    """

    family: ClassVar[str] = "2-Stage"
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

    @property
    def hop(self) -> int:
        """Frames between segments: there is no overlap."""
        return self.window

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering, spectrum and models."""
        return {**super().revisions, "two_stage": two_stage.REVISION}

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

    def network(self, n_classes: int, item: np.ndarray) -> TwoStageNetwork:
        """An autoencoder and a BiLSTM with fresh parameters."""
        shape, code = (len(item), self.window), self.code
        encoder = SegmentAutoencoder(*shape, size=code, channels=self.channels)
        sizes: dict[str, Any] = {"hidden": self.hidden, "dropout": self.dropout}
        return TwoStageNetwork(encoder, SequenceClassifier(code, n_classes, **sizes))

    def example(self, clip: Clip) -> tuple[nn.Module, Any, dict[str, Picture]]:
        """As `System.example`, with all segments of the clip."""
        item = self.item(clip)
        inputs = self.segment_set([item])
        x = inputs.batch(np.arange(len(inputs)))
        return self.network(4, item), x, dict(self.pictures(item))

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedTwoStage:
        """Train the autoencoder, then the BiLSTM.

        Raises
        ------
        InvalidDataError
            If a clip is shorter than a segment.
        """
        train, valid = varied(train, valid, self.sound_copies)
        items = self.items(train)
        supervised.seed_everything(context.seed)
        network = self.network(context.n_classes, items[0])
        network.encoder.standardise.fit(items)
        parts = (self.segment_set(items), self.segment_set(self.items(valid)))
        train_encoder(network.encoder, parts, self.encoder_options, context)
        device = resolve_device(context.device)
        codes = [segment_codes(network.encoder, part, device) for part in parts]
        network.classifier.standardise.fit(codes[0])
        targets = (context.task.targets(train), context.task.targets(valid))
        history = train_classifier(network.classifier, codes, targets, self, context)
        return FittedTwoStage(self, network, context.n_classes, device, history)


def train_encoder(
    encoder: SegmentAutoencoder, parts: Parts, options: SegmentOptions, context: Context
) -> None:
    """Train an autoencoder on masked segments, stopping on whole ones of validation clips."""
    training = training_options(context)
    if context.checkpoint is not None:
        name = f"{context.checkpoint.stem}-encoder.pt"
        training["checkpoint"] = context.checkpoint.with_name(name)
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
            x = parts[1].batch(chosen).to(training["device"])
            total += loss(model(x, torch.ones_like(x)).float(), x).item() * len(chosen)
        return RegressionScore(rmse=(total / len(valid)) ** 0.5)

    supervised.train(encoder, batches, validate, options, loss=loss, **training)


def random_masks(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """0 where a segment is masked, else 1: float32, of shape (batch, n_mels, window).

    One stretch of bands and one of frames of each segment are masked, each at most a quarter.
    """
    mask = np.ones(shape, dtype=np.float32)
    for own in mask:
        for axis in (own, own.T):
            length = int(rng.integers(int(_MOST_MASKED * len(axis)) + 1))
            start = int(rng.integers(len(axis) - length + 1))
            axis[start : start + length] = 0.0
    return torch.from_numpy(mask)


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
    targets: Targets,
    options: TrainingOptions,
    context: Context,
) -> list[dict[str, float]]:
    """Train a BiLSTM on the codes of training clips, stopping on the validation clips."""
    training = training_options(context)
    longest = max(own.shape[1] for own in codes[0])

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        return windows.training_batches(
            codes[0], targets[0], window=longest, batch_size=options.batch_size, rng=rng
        )

    def validate(model: nn.Module) -> Score:
        return Score.of(classify(classifier, codes[1], training["device"]), targets[1])

    return supervised.train(classifier, batches, validate, options, **training).epochs


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


class FittedTwoStage(FittedNetwork):
    """Both trained networks with the system that they belong to."""

    system: TwoStage
    network: TwoStageNetwork

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k."""
        segments = self.system.segment_set(self.system.items(corpus))
        codes = segment_codes(self.network.encoder, segments, self.device)
        return probabilities(corpus, classify(self.network.classifier, codes, self.device))
