"""What works where only torch, numpy, pandas, scipy and scikit-learn are installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

MISSING = (
    *("librosa", "soundfile", "symusic", "miditok", "pretty_midi", "demucs", "papermill"),
    *("pydantic", "tqdm", "filelock", "matplotlib", "seaborn", "typer", "rich", "pooch"),
    *("dask", "distributed", "IPython", "nbformat"),
)

TRAIN = """
import numpy as np, torch
import mer.papers.deberardinis2020.systems, mer.papers.sun2024.systems
import mer.papers.zhao2023.systems, mer.papers.zhu2023.systems
from mer.papers.emopia.systems import TokenNetwork
from mer.training.supervised import Score, TrainingOptions, train
network = TokenNetwork(embedding=4, hidden=4).network(2, None)
tokens, targets = torch.randint(1, 300, (4, 16)), torch.tensor([0, 1, 0, 1])
history = train(
    network,
    lambda rng: [(tokens, targets)],
    lambda model: Score(0.5, 1.0),
    TrainingOptions(epochs=2),
    seed=0,
    device=torch.device("cpu"),
)
print(len(history.epochs))
"""


def run(program: str) -> str:
    block = f"import sys\nfor name in {MISSING!r}:\n    sys.modules[name] = None\n"
    command = [sys.executable, "-c", block + program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_systems_train_without_audio_and_study_libraries() -> None:
    assert run(TRAIN) == "2\n"


@pytest.mark.parametrize("heavy", ["torch", "librosa", "papermill", "demucs", "matplotlib"])
def test_import_is_light(heavy: str) -> None:
    program = "import mer, mer.clips, mer.corpora, mer.audio, mer.features.spectral"
    assert run(f"{program}\nprint(sys.modules.get({heavy!r}))") == "None\n"
