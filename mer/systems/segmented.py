"""Systems that hear a clip segment by segment, and decide on the whole from that."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, ParameterError
from mer.features import spectral
from mer.models import vgg
from mer.rendering import REVISION as RENDERING_REVISION
from mer.segments import LONGEST, frames_of, segment_times
from mer.systems.base import Context, Fitted, System, probabilities, read_settings, write_settings
from mer.training import supervised
from mer.training.segment_set import SegmentOptions, SegmentSet, predict_segments
from mer.training.self_learning import SelfLearned

HOP_SECONDS = 1.0
"""Between segments: the overlap is one second less than the duration."""


@dataclass(frozen=True, kw_only=True)
class SegmentInput:
    """How segments are made of a clip.

    Clips are cut to their first 30 s; nothing is padded.

    Attributes
    ----------
    duration : float
        Of a segment, in seconds.
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        In samples.
    n_mels : int
    """

    duration: float = 3.0
    sample_rate: int = 22050
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 128

    def __post_init__(self) -> None:
        for name in ("duration", "sample_rate", "n_fft", "hop_length", "n_mels"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} is {getattr(self, name)}; expected more than 0")

    def frames(self, seconds: float) -> int:
        """Frames that stand for a time."""
        return frames_of(seconds, sample_rate=self.sample_rate, hop_length=self.hop_length)

    @property
    def window(self) -> int:
        """Frames of a segment."""
        return self.frames(self.duration)

    @property
    def hop(self) -> int:
        """Frames between segments."""
        return self.frames(HOP_SECONDS)

    @property
    def input_revisions(self) -> dict[str, int]:
        """Rendering and spectrum."""
        return {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}

    def log_mel(self, clip: Clip) -> np.ndarray:
        """Spectrogram of the first 30 s in dB, shape (n_mels, n_frames), float16."""
        whole = spectral.clip_log_mel(
            clip,
            self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
        )
        return whole[:, : self.frames(LONGEST)].copy()

    def log_mels(self, clips: Iterable[Clip]) -> list[np.ndarray]:
        """Spectrograms of some clips.

        Raises
        ------
        InvalidDataError
            If a clip is shorter than a segment.
        """
        found = []
        for clip in clips:
            log_mel = self.log_mel(clip)
            if log_mel.shape[1] < self.window:
                seconds = log_mel.shape[1] * self.hop_length / self.sample_rate
                raise InvalidDataError(
                    f"clip {clip.id!r} has {seconds:.2f} s; expected at least one segment of "
                    f"{self.duration:g} s: take shorter segments or leave it out"
                )
            found.append(log_mel)
        return found

    def segment_set(self, clips: Iterable[Clip]) -> SegmentSet:
        """Segments of some clips; errors as `log_mels`."""
        return SegmentSet(self.log_mels(clips), self.window, self.hop)

    def segment_frame(self, ids: Sequence[str], segment_set: SegmentSet) -> pd.DataFrame:
        """One row a segment: id of its clip, segment (its number), start and end in seconds."""
        times = segment_times(
            segment_set.starts,
            self.window,
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
        )
        return pd.DataFrame(
            {
                "id": np.asarray(ids)[segment_set.owners],
                "segment": segment_set.numbers,
                "start": times[:, 0],
                "end": times[:, 1],
            }
        )


@dataclass(frozen=True, kw_only=True)
class SegmentClassifier(SegmentOptions, SegmentInput, System):
    """A VGG16 that classifies segments, and a decision on the clip.

    Attributes
    ----------
    width : float
        Factor on the channels and dense layers of VGG16.
    grid : int
        Side of the map that its dense layers see.
    dropout : float
        In VGG16.
    """

    inputs: ClassVar[str] = "audio"
    width: float = 1.0
    grid: int = 7
    dropout: float = 0.5

    def __post_init__(self) -> None:
        SegmentOptions.__post_init__(self)
        SegmentInput.__post_init__(self)
        if min(self.window, self.n_mels) < vgg.SMALLEST_INPUT:
            raise ParameterError(
                f"segments are {self.n_mels} bands x {self.window} frames; VGG16 needs at least "
                f"{vgg.SMALLEST_INPUT} of each: take longer segments, a shorter hop or more bands"
            )

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering, spectrum and model."""
        return {**self.input_revisions, "vgg": vgg.REVISION}

    def network(self, n_classes: int) -> vgg.VGG16:
        """A network with fresh parameters."""
        return vgg.VGG16(
            n_classes,
            n_mels=self.n_mels,
            width=self.width,
            grid=self.grid,
            dropout=self.dropout,
        )

    @abstractmethod
    def train(
        self,
        network: vgg.VGG16,
        parts: tuple[SegmentSet, SegmentSet],
        targets: tuple[np.ndarray, np.ndarray],
        context: Context,
    ) -> SelfLearned:
        """Train the network on segments; validation clips say which epoch is the best."""

    def fit_song_classifier(
        self,
        fitted: FittedSegments,
        parts: tuple[SegmentSet, SegmentSet],
        targets: tuple[np.ndarray, np.ndarray],
    ) -> Any:
        """What `decide` needs beside the network: by default nothing.

        Parameters
        ----------
        fitted : FittedSegments
            With the trained network.
        parts : tuple of SegmentSet
            Training and validation clips.
        targets : tuple of np.ndarray, shape (n_clips,)
        """
        return None

    @abstractmethod
    def decide(self, values: Sequence[np.ndarray], song_classifier: Any) -> np.ndarray:
        """Class probabilities of clips, shape (n_clips, n_classes), from those of their segments.

        Parameters
        ----------
        values : sequence of np.ndarray, shape (n_segments, n_classes)
        song_classifier : as from `fit_song_classifier`
        """

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedSegments:
        """Train the network, then what decides on clips.

        Raises
        ------
        InvalidDataError
            If the training clips have one class only, or a clip is shorter than a segment.
        """
        supervised.seed_everything(context.seed)
        targets = (context.task.targets(train), context.task.targets(valid))
        if len(np.unique(targets[0])) < 2:
            raise InvalidDataError(
                f"all {len(train)} training clips are of one class of task {context.task.name!r}; "
                "expected two or more"
            )
        network = self.network(context.n_classes)
        log_mels = self.log_mels(train)
        network.fit_scale(log_mels)
        parts = (SegmentSet(log_mels, self.window, self.hop), self.segment_set(valid))
        training = self.train(network, parts, targets, context)
        fitted = FittedSegments(
            self,
            network,
            n_classes=context.n_classes,
            device=supervised.resolve_device(context.device),
            history=training.epochs,
            training_segments=self.segment_frame(train.ids, parts[0]),
            clean_probability=training.clean_probability,
        )
        fitted.song_classifier = self.fit_song_classifier(fitted, parts, targets)
        return fitted


class FittedSegments(Fitted):
    """A trained network of segments and what decides on clips, with the system they belong to.

    Attributes
    ----------
    system : SegmentClassifier
    network : VGG16
    song_classifier : object
        As from `SegmentClassifier.fit_song_classifier`.
    training_segments : DataFrame
        id, segment, start and end of each training segment, as `segment_probabilities` has them.
    clean_probability : np.ndarray, shape (n_epochs, n_segments), float32
        As in `SelfLearned`; without epochs for systems without self-learning.
    """

    def __init__(
        self,
        system: SegmentClassifier,
        network: vgg.VGG16,
        *,
        n_classes: int,
        device: torch.device,
        history: list[dict[str, float]],
        training_segments: pd.DataFrame,
        clean_probability: np.ndarray,
        song_classifier: Any = None,
    ) -> None:
        self.system = system
        self.network = network
        self.n_classes = n_classes
        self.device = device
        self.history = history
        self.training_segments = training_segments
        self.clean_probability = clean_probability
        self.song_classifier = song_classifier

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k: the decision on each clip."""
        values = self.values(self.system.segment_set(corpus))
        return probabilities(corpus, self.system.decide(values, self.song_classifier))

    def segment_probabilities(self, clips: Sequence[Clip]) -> pd.DataFrame:
        """Class probabilities of every segment of some clips, as in figure 2.

        Returns
        -------
        DataFrame
            One row a segment, in order: id of the clip, segment (its number), start and end in
            seconds, p_1 ... p_k.
        """
        segment_set = self.system.segment_set(clips)
        frame = self.system.segment_frame([clip.id for clip in clips], segment_set)
        values = np.concatenate(self.values(segment_set))
        return frame.assign(**{f"p_{k + 1}": values[:, k] for k in range(self.n_classes)})

    def partitions(self) -> pd.DataFrame:
        """What self-learning made of the training segments, epoch by epoch.

        Returns
        -------
        DataFrame
            One row for each segment that an epoch divided: epoch (from 0, the warm-up counted),
            id, segment, start, end, and p_clean, the posterior probability that the segment's
            label is right. Empty for systems without self-learning.
        """
        epochs, rows = np.nonzero(np.isfinite(self.clean_probability))
        found = self.training_segments.iloc[rows].reset_index(drop=True)
        found.insert(0, "epoch", epochs)
        return found.assign(p_clean=self.clean_probability[epochs, rows].astype(float))

    def values(self, segment_set: SegmentSet) -> list[np.ndarray]:
        """Probabilities of the segments of each clip, shapes (n_segments, n_classes)."""
        found = predict_segments(
            self.network,
            segment_set,
            np.arange(len(segment_set)),
            batch_size=2 * self.system.batch_size,
            device=self.device,
        )
        return np.split(found, np.cumsum(segment_set.counts)[:-1])

    def save(self, folder: Path) -> None:
        """Write parameters, settings, what `partitions` needs and, pickled, what decides on clips.

        Load only files of your own: unpickling runs what a file says.
        """
        settings = {"system": self.system.name, "parameters": self.system.parameters}
        write_settings(folder, {**settings, "n_classes": self.n_classes, "history": self.history})
        torch.save(self.network.state_dict(), folder / "network.pt")
        frame = self.training_segments
        columns = {name: np.asarray(frame[name].tolist()) for name in frame}
        columns["clean_probability"] = self.clean_probability
        np.savez(folder / "partitions.npz", **columns)  # type: ignore[arg-type]
        (folder / "song_classifier.pickle").write_bytes(pickle.dumps(self.song_classifier))

    @classmethod
    def load(cls, folder: Path) -> FittedSegments:
        """Read what `save` wrote."""
        from mer.systems import get_system

        settings = read_settings(folder)
        system = get_system(settings["system"], settings["parameters"])
        assert isinstance(system, SegmentClassifier)
        network = system.network(settings["n_classes"])
        parameters = torch.load(folder / "network.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(parameters)
        network.eval()
        partitions = dict(np.load(folder / "partitions.npz"))
        return cls(
            system,
            network,
            n_classes=settings["n_classes"],
            device=torch.device("cpu"),
            history=settings["history"],
            clean_probability=partitions.pop("clean_probability"),
            training_segments=pd.DataFrame(partitions),
            song_classifier=pickle.loads((folder / "song_classifier.pickle").read_bytes()),
        )
