"""Baselines of the EMOPIA paper (Hung et al. 2021), and plain rows of ours beside them.

Their numbers are quoted in zhu2023 tables 2 and 3, and in zhao2023 table I.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mer.features.tokens import REMI_SIZE, remi
from mer.papers.emopia.systems import SpectrogramNetwork, TokenNetwork
from mer.papers.published import cells
from mer.study.claims import Claim, Comparison
from mer.study.tables import NamedRows, Rows, Table
from mer.systems.classical import DescriptorClassifier, DescriptorSVR
from mer.systems.clip_descriptors import acoustic, symbolic
from mer.systems.labels import Constant, Mean, SongLookup
from mer.systems.musicnn import embedding_statistics
from mer.systems.selecting import SelectingClassifier

WITHOUT_MUSIC: Rows = NamedRows({"Constant": Constant(), "Song-lookup": SongLookup()})

SYMBOLIC: Rows = NamedRows(
    {
        "LSTM-Attn + MIDI-like": TokenNetwork(),
        "LSTM-Attn + REMI": TokenNetwork(tokens=remi, vocabulary=REMI_SIZE),
        "Symbolic-LR": DescriptorClassifier(features=(symbolic,), classifier="logistic"),
    }
)
ACOUSTIC: Rows = NamedRows(
    {
        "Audio-LR": DescriptorClassifier(features=(acoustic,), classifier="logistic"),
        "Short-chunk ResNet": SpectrogramNetwork(),
    }
)
"""The paper's baselines by what they get, in the order of the tables that quote them."""

SVM: Rows = NamedRows(
    {
        "Symbolic-SVM": DescriptorClassifier(features=(symbolic,)),
        "Audio-SVM": DescriptorClassifier(features=(acoustic,)),
        "Symbolic+Audio-SVM": DescriptorClassifier(features=(symbolic, acoustic)),
    }
)
"""Ours: support vector machines on plain descriptors."""

SELECTING: Rows = NamedRows(
    {
        f"{name}, chosen in training": SelectingClassifier(features=system.features)
        for name, system in SVM.items()
        if isinstance(system, DescriptorClassifier)
    }
)
"""The same, but the training clips of each fold choose among the groups of descriptors."""

EMBEDDING: Rows = NamedRows(
    {"Audio Embedding": DescriptorClassifier(features=(embedding_statistics,))}
)
"""A support vector machine on embeddings (Koh and Dubnov, AffCon 2021, compare VGGish and L3-Net);
here they are those of MusiCNN, their mean and standard deviation over the clip."""

REGRESSION: Rows = NamedRows({"Mean": Mean(), "SVR": DescriptorSVR()})
"""Ours: valence and arousal as numbers."""

_LSTM, SYMBOLIC_SVM = "LSTM-Attn + MIDI-like", "Symbolic-SVM"
NETWORKS = (_LSTM, "LSTM-Attn + REMI", "Short-chunk ResNet")
DESCRIPTOR_ROWS = ("Symbolic-LR", "Audio-LR", *SVM)

_TASKS = {task: task for task in ("4Q", "A", "V")}
PUBLISHED = {
    **cells(
        "zhu2023",
        "2",
        {
            "LSTM-Attn+MIDI-like": _LSTM,
            "LSTM-Attn+REMI": "LSTM-Attn + REMI",
            "symbolic-LR": "Symbolic-LR",
        },
        _TASKS,
        "accuracy",
    ),
    **cells("zhu2023", "3", {name: name for name in ACOUSTIC}, _TASKS, "accuracy"),
}

_PLAIN = {"Symbolic-LR": SYMBOLIC["Symbolic-LR"], "Audio-LR": ACOUSTIC["Audio-LR"]}
BASELINES = Table(
    "",
    "Baselines",
    {**WITHOUT_MUSIC, **_PLAIN, **SVM, **SYMBOLIC, **ACOUSTIC},
    published=PUBLISHED,
)
PLAIN = Table("", "Plain rows", {"Constant": Constant(), **_PLAIN}, tasks=("4Q",))
"""A few rows, to compare rows of your own with."""

CROSS_VALIDATED = Table("", "Baselines in cross-validation", BASELINES.all_rows, SELECTING)

SELECTION_QUESTIONS = tuple(
    Claim(text, None, tuple(Comparison(*pair, task) for pair in pairs for task in _TASKS))
    for text, pairs in (
        (
            "All descriptors together are better than the groups chosen on the training clips",
            list(zip(SVM, SELECTING, strict=True)),
        ),
        (
            "An SVM on groups of descriptors chosen on the training clips is better than a network",
            [(f"{SYMBOLIC_SVM}, chosen in training", name) for name in NETWORKS],
        ),
    )
)

VARIATIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "as in the profile": {},
        "published size": {"embedding": 300, "hidden": 128, "window": 2048, "batch_size": 16},
        "longer windows": {"window": 1024},
        "smaller learning rate": {"learning_rate": 3e-4},
        "shorter cosine": {"epochs": 15, "patience": 15},
        "stronger weight decay": {"weight_decay": 1e-3},
    }
)
"""What was tried, on validation clips, to bring LSTM-Attn + MIDI-like nearer to the descriptors."""
