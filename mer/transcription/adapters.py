"""Transcribers of other authors behind our interface; their packages are optional.

Neither package is a dependency of this one, and both hold a whole recording in memory.

References
----------
.. [1] Kong, Q. et al.: High-Resolution Piano Transcription With Pedals by Regressing Onset and
   Offset Times. IEEE/ACM TASLP 29, 3707-3717 (2021). Package piano_transcription_inference.
.. [2] Bittner, R. M. et al.: A Lightweight Instrument-Agnostic Model for Polyphonic Note
   Transcription and Multipitch Estimation. Proc. ICASSP (2022). Package basic-pitch.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

import numpy as np

from mer.errors import InvalidDataError, MissingDataError
from mer.files import temporary_folder


class PianoTranscriptionInference:
    """High-resolution piano transcription [1]_ with the weights that its authors published.

    The package fetches its weights, 165 MB, when it is first used. Offsets follow the sustain
    pedal, as in its published evaluation.

    Raises
    ------
    MissingDataError
        If the package is not installed.
    InvalidDataError
        If it cannot load its weights.
    """

    name = "piano-transcription-inference"
    revision = 1
    sample_rate = 16000

    def __init__(self) -> None:
        package = _package("piano_transcription_inference", self.name, f"pip install {self.name}")
        import torch

        try:
            with redirect_stdout(io.StringIO()):
                self._model = package.PianoTranscription(
                    device="cuda" if torch.cuda.is_available() else "cpu"
                )
        except Exception as error:  # from pickle, zip files or torch, by what is damaged
            raise InvalidDataError(
                f"transcriber {self.name!r} could not load its weights "
                f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); "
                "expected the authors' file in ~/piano_transcription_inference_data"
            ) from None

    def transcribe(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """As `mer.transcription.Transcriber.transcribe`."""
        with redirect_stdout(io.StringIO()):
            output = self._model.transcribe(np.concatenate(list(blocks)), None)
        keys = ("onset_time", "offset_time", "midi_note", "velocity")
        return _note_table([[event[key] for key in keys] for event in output["est_note_events"]])


class BasicPitch:
    """Basic Pitch [2]_: one small network for any instrument, run by onnxruntime.

    Velocities are its note amplitudes times 127, as in the MIDI files that it writes.

    Raises
    ------
    MissingDataError
        If the package or onnxruntime is not installed.
    """

    name = "basic-pitch"
    revision = 1
    sample_rate = 22050

    def __init__(self) -> None:
        # Its requirements pin an old TensorFlow, which its ONNX model does not need
        command = "pip install --no-deps basic-pitch && pip install onnxruntime resampy"
        _package("onnxruntime", self.name, command)
        package = _package("basic_pitch", self.name, command)
        self._inference = _package("basic_pitch.inference", self.name, command)
        path = package.build_icassp_2022_model_path(package.FilenameSuffix.onnx)
        self._model = self._inference.Model(path)

    def transcribe(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """As `mer.transcription.Transcriber.transcribe`."""
        import soundfile

        with temporary_folder() as folder:
            path = folder / "audio.wav"
            with soundfile.SoundFile(path, "w", self.sample_rate, 1, subtype="FLOAT") as file:
                for block in blocks:
                    file.write(block)
            # Its rescaling divides by zero in silence, without consequence
            with redirect_stdout(io.StringIO()), np.errstate(invalid="ignore"):
                _, _, events = self._inference.predict(path, self._model)
        return _note_table([[on, off, pitch, 127 * loud] for on, off, pitch, loud, _ in events])


ADAPTERS = {kind.name: kind for kind in (PianoTranscriptionInference, BasicPitch)}


def _package(module: str, transcriber: str, command: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDataError(
            f"transcriber {transcriber!r} needs the package {error.name!r}, which is not "
            f"installed; install it with: {command}"
        ) from None


def _note_table(rows: list[list[float]]) -> np.ndarray:
    """Rows of onset, offset, pitch and velocity as `Transcriber.transcribe` gives them."""
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    table = table[table[:, 1] > table[:, 0]]
    table[:, 3] = np.clip(np.rint(table[:, 3]), 1, 127)
    return table[np.lexsort((table[:, 2], table[:, 0]))]
