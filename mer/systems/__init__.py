"""Systems by the name that the papers give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from mer.errors import ParameterError
from mer.systems.base import System
from mer.systems.variants import VARIANTS

_PLACES = {
    "Constant": "classical.Constant",
    "Song-lookup": "classical.SongLookup",
    "Symbolic-LR": "classical.SymbolicLR",
    "Audio-LR": "classical.AudioLR",
    "Symbolic-SVM": "classical.SymbolicSVM",
    "Audio-SVM": "classical.AudioSVM",
    "Symbolic+Audio-SVM": "classical.BothSVM",
    "Audio Embedding": "classical.AudioEmbedding",
    "LSTM-Attn + MIDI-like": "emopia.LSTMAttnMidiLike",
    "LSTM-Attn + REMI": "emopia.LSTMAttnREMI",
    "Short-chunk ResNet": "emopia.ShortChunkResNetSystem",
    "Symbolic & Acoustic": "zhu2023.SymbolicAcoustic",
    "Symbolic-only": "zhu2023.SymbolicOnly",
    "Acoustic-only": "zhu2023.AcousticOnly",
    "STFT-input": "zhu2023.STFTInput",
    "Single-loss": "zhu2023.SingleLoss",
    "Symbolic & Acoustic, released MIDI": "zhu2023.ReleasedMIDI",
    "Symbolic & Acoustic, no pre-training": "zhu2023.NoPretraining",
    "Symbolic & Acoustic, MAESTRO + Pop1K7": "zhu2023.TwoCorporaPretraining",
    "Multifaceted": "zhao2023.Multifaceted",
    "Symbolic branch": "zhao2023.SymbolicBranch",
    "Harmony branch": "zhao2023.HarmonyBranch",
    "Tone color branch": "zhao2023.ToneColorBranch",
    "Without MHSA": "zhao2023.WithoutMHSA",
    "Symbolic + harmony": "zhao2023.SymbolicHarmony",
    "Symbolic + tone color": "zhao2023.SymbolicToneColor",
    "Harmony + tone color": "zhao2023.HarmonyToneColor",
    "SSSL": "sun2024.SSSL",
    "SSSL, no KL": "sun2024.WithoutKL",
    "Segment inheritance": "sun2024.SegmentInheritance",
    "Segment inheritance, SVM": "sun2024.InheritanceSVM",
    "VGG16, whole clip": "sun2024.WholeClip",
    "2-Stage": "two_stage.TwoStage",
    "MidiBERT": "midibert.MidiBERT",
    "MT-MidiBERT": "midibert.MTMidiBERT",
    "QM-MidiBERT": "midibert.QMMidiBERT",
    "MidiBERT, no pre-training": "midibert.NoPretraining",
    "Mean": "regression.Mean",
    "SVR": "regression.DescriptorSVR",
}
SYSTEMS = (*_PLACES, *VARIANTS)
"""Names that `get_system` knows."""


def get_system(name: str, parameters: Mapping[str, Any] | None = None) -> System:
    """A system by name.

    Parameters
    ----------
    name : str
        One of `SYSTEMS`.
    parameters : mapping, optional
        Hyper-parameters that differ from the defaults, which are the published ones.

    Raises
    ------
    ParameterError
        If there is no such system, or it has no such hyper-parameter, or with these it is the
        system of another name.
    """
    if name not in SYSTEMS:
        raise ParameterError(f"unknown system {name!r}; the systems are: {', '.join(SYSTEMS)}")
    place, fixed = VARIANTS[name] if name in VARIANTS else (_PLACES[name], {})
    module, class_name = place.split(".")
    system_class = getattr(import_module(f"mer.systems.{module}"), class_name)
    parameters = dict(parameters or {})
    known = [field.name for field in fields(system_class)]
    for parameter in parameters:
        if parameter not in known:
            raise ParameterError(
                f"system {name!r} has no parameter {parameter!r}; "
                f"it has: {', '.join(known) or 'none'}"
            )
    values = {**fixed, **parameters}
    system: System = system_class(**{k: _frozen(v) for k, v in values.items()})
    if system.name != name:
        raise ParameterError(
            f"system {name!r} with parameters {parameters} is {system.name!r}; ask for that one"
        )
    return system


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
