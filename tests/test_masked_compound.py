"""Pre-training of MidiBERT: what is masked, losses by hand, learning, resuming, the study."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quadrant_notes, write_midi

from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features.compound_words import (
    FIELDS,
    FIRST,
    MASK,
    SIZES,
    compound_words,
    key_classes,
)
from mer.models import midibert
from mer.models.midibert import MidiBert
from mer.study import midibert as midibert_study
from mer.study import pretrain as study
from mer.training import masked_compound
from mer.training.masked_compound import (
    OBJECTIVES,
    CompoundOptions,
    MaskedCompoundModel,
    evaluate,
    mask_words,
    masked_batch,
    masked_losses,
    objective_loss,
    pretrain_compound,
)

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "width": 32,
    "layers": 1,
    "heads": 2,
    "feedforward": 64,
    "embedding": 8,
    "positions": "rotary",
}
SMALL = CompoundOptions(epochs=3, patience=3, window=32, batch_size=4, learning_rate=3e-3)
WORDS, ATTRIBUTES = OBJECTIVES["midibert"], OBJECTIVES["qm-midibert"]


def random_words(batch: int, length: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(FIRST, size, (batch, length)) for size in SIZES], axis=1)


def repeated_notes(n_pieces: int, seed: int = 0) -> list[np.ndarray]:
    """Pieces of one pitch each, of six, in steady notes of one length."""
    steps = np.arange(100)
    pieces = []
    for number in range(seed, seed + n_pieces):
        pitch = np.full(100, 40 + 2 * (number % 6))
        columns = [steps * 0.25, steps * 0.25 + 0.25, pitch, np.full(100, 64)]
        pieces.append(compound_words(np.stack(columns, axis=1)))
    return pieces


def model(objective: masked_compound.Objective = WORDS) -> MaskedCompoundModel:
    torch.manual_seed(0)
    return MaskedCompoundModel(MidiBert(**TINY), objective)


def run(
    options: CompoundOptions = SMALL,
    objective: masked_compound.Objective = WORDS,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> tuple:
    network = model(objective)
    result = pretrain_compound(
        network,
        repeated_notes(6),
        repeated_notes(2, seed=1),
        objective,
        options,
        seed=seed,
        device=CPU,
        checkpoint=checkpoint,
    )
    return network, result


class TestMasking:
    words = random_words(40, 200)

    def masked(
        self, objective: masked_compound.Objective, probability: float = 0.15
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, chosen words, and a mask of the chosen words."""
        inputs, chosen = mask_words(self.words, probability, objective, np.random.default_rng(1))
        marked = np.zeros(self.words.shape, dtype=bool)
        np.put_along_axis(marked, chosen, True, axis=2)
        return inputs, chosen, marked

    @pytest.mark.parametrize("objective", [WORDS, ATTRIBUTES])
    def test_shares(self, objective: masked_compound.Objective) -> None:
        inputs, chosen, marked = self.masked(objective)
        assert chosen.shape == (40, 4, 30)
        assert (marked.sum(axis=2) == 30).all()
        assert ((inputs == MASK).sum(axis=2) == 24).all()
        np.testing.assert_array_equal(inputs[~marked], self.words[~marked])
        seen = marked & (inputs != MASK)
        assert (seen.sum(axis=2) == 6).all()
        pitches = inputs[:, 2][seen[:, 2]], self.words[:, 2][seen[:, 2]]
        changed = (pitches[0] != pitches[1]).mean()
        # 3 of 6 are random, of which one in 86 is as it was
        assert changed == pytest.approx(0.5 * 85 / 86, abs=0.02)
        assert inputs.min() == MASK
        for field, size in enumerate(SIZES):
            assert inputs[:, field].max() < size

    def test_words_are_masked_whole(self) -> None:
        inputs, chosen, _ = self.masked(WORDS)
        assert (chosen == chosen[:, :1]).all()
        np.testing.assert_array_equal((inputs == MASK).all(axis=1), (inputs == MASK).any(axis=1))

    def test_attributes_are_masked_apart(self) -> None:
        _, _, marked = self.masked(ATTRIBUTES)
        together = (marked[:, 2] & marked[:, 3]).mean()
        assert together == pytest.approx(0.15**2, abs=0.004)
        assert marked.any(axis=1).mean() == pytest.approx(1 - 0.85**4, abs=0.02)

    def test_every_position_is_chosen_alike(self) -> None:
        _, _, marked = self.masked(ATTRIBUTES)
        assert marked.mean(axis=(0, 1)) == pytest.approx(np.full(200, 0.15), abs=0.12)

    def test_at_least_one_word(self) -> None:
        for length in (1, 3):
            inputs, chosen = mask_words(
                random_words(2, length), 0.15, WORDS, np.random.default_rng(0)
            )
            assert chosen.shape == (2, 4, 1)
            assert ((inputs == MASK).sum(axis=2) == 1).all()

    def test_targets(self) -> None:
        (inputs, chosen), targets = masked_batch(
            self.words, SMALL, ATTRIBUTES, np.random.default_rng(3)
        )
        np.testing.assert_array_equal(targets[:, 0], key_classes(self.words))
        true = targets[:, 1:].reshape(40, 4, 30)
        for field in range(4):
            for row in (0, 17):
                expected = self.words[row, field, chosen[row, field]]
                np.testing.assert_array_equal(true[row, field], expected)
        assert inputs.shape == (40, 4, 200)


class TestObjectives:
    targets = torch.tensor([[5, 2, 3, 4, 6, 2, 80, 7, 60]])

    def test_uniform_logits(self) -> None:
        logits = [torch.zeros(1, 2, size) for size in SIZES]
        losses = masked_losses(logits, self.targets)
        torch.testing.assert_close(losses, torch.tensor([math.log(size) for size in SIZES]))
        weighted = sum(size * math.log(size) for size in SIZES) / sum(SIZES)
        assert float(objective_loss(losses, WORDS)) == pytest.approx(weighted, rel=1e-6)
        losses = masked_losses([*logits, torch.zeros(1, 24)], self.targets)
        found = float(objective_loss(losses, ATTRIBUTES))
        assert found == pytest.approx(weighted + 0.01 * math.log(24), rel=1e-6)

    def test_each_field_has_its_targets(self) -> None:
        logits = [torch.zeros(1, 2, size) for size in SIZES]
        for k, true in enumerate(([2, 3], [4, 6], [2, 80], [7, 60])):
            logits[k][0, [0, 1], true] = 100.0
        key = torch.zeros(1, 24)
        key[0, 5] = 100.0
        losses = masked_losses([*logits, key], self.targets)
        torch.testing.assert_close(losses, torch.zeros(5))

    def test_logits_are_those_of_the_chosen_words(self) -> None:
        network = model(ATTRIBUTES).eval()
        words = torch.from_numpy(random_words(3, 20))
        chosen = torch.from_numpy(np.random.default_rng(0).integers(20, size=(3, 4, 5)))
        with torch.no_grad():
            states = network.encoder(words)
            found = network(words, chosen)
            for k, head in enumerate(network.heads):
                expected = torch.stack([head(states[i, chosen[i, k]]) for i in range(3)])
                torch.testing.assert_close(found[k], expected)
            assert network.key is not None
            torch.testing.assert_close(found[4], network.key(states))

    def test_predicted(self) -> None:
        assert WORDS.predicted == FIELDS
        assert ATTRIBUTES.predicted == (*FIELDS, "key")
        assert model(WORDS).key is None


class TestTraining:
    @pytest.mark.parametrize("objective", [WORDS, ATTRIBUTES])
    def test_learns_what_can_be_known(self, objective: masked_compound.Objective) -> None:
        options = dataclasses.replace(SMALL, epochs=9, patience=9, learning_rate=5e-3)
        network, result = run(options, objective)
        best = result.epochs[result.best_epoch]
        assert list(result.accuracies) == list(objective.predicted)
        assert result.accuracies["duration"] == 1
        # By looking at other words: there are six pitches
        assert result.accuracies["pitch"] > 0.8
        sizes = np.asarray(SIZES) / sum(SIZES)
        mean = sizes @ [result.accuracies[field] for field in FIELDS]
        assert mean == pytest.approx(best["valid_accuracy"], abs=1e-9)
        assert result.notes_per_second > 0
        assert not network.training

    def test_resumed_equals_uninterrupted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, expected = run()
        checkpoint = tmp_path / "state.pt"
        calls = iter(range(3))

        def interrupted(*arguments: object) -> tuple:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return evaluate(*arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(masked_compound, "evaluate", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(checkpoint=checkpoint)
        resumed, result = run(checkpoint=checkpoint)
        assert (result.epochs, result.accuracies) == (expected.epochs, expected.accuracies)
        assert all(map(torch.equal, resumed.parameters(), whole.parameters()))
        assert not checkpoint.exists()

    def test_pieces_too_short(self) -> None:
        short = [piece[:, :20] for piece in repeated_notes(2)]
        with pytest.raises(InvalidDataError, match="none of 2 pieces to train on has at least 32"):
            pretrain_compound(model(), short, repeated_notes(1), WORDS, SMALL, seed=0, device=CPU)

    def test_published_options(self) -> None:
        options = CompoundOptions()
        assert (options.batch_size, options.learning_rate, options.window) == (12, 2e-5, 512)
        assert (options.mask_probability, options.clip_norm) == (0.15, 3.0)


class TestStudy:
    """Two small corpora, of which one holds a clip of EMOPIA."""

    @pytest.fixture(autouse=True)
    def corpora(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(midibert, "ENCODERS", {"small": TINY})
        self.known = {
            "maestro": self.corpus(tmp_path, "maestro", range(4)),
            "pop1k7": self.corpus(tmp_path, "pop1k7", range(10, 14)),
            "emopia": self.corpus(tmp_path, "emopia", [11, 30]),
        }
        monkeypatch.setattr(study, "load", self.load)

    def load(self, name: str) -> Corpus:
        if name not in self.known:
            raise MissingDataError(f"{name} does not exist")
        return self.known[name]

    def corpus(self, folder: Path, name: str, seeds: Sequence[int]) -> Corpus:
        clips = []
        for seed in seeds:
            notes = quadrant_notes(1, seed, 12.0)
            notes[:, 2] = np.random.default_rng(seed).integers(30, 90, len(notes))
            path = write_midi(folder / name / f"{seed}.mid", notes)
            clips.append(Clip(id=f"{name}-{seed}", group=str(seed), midi=path))
        return Corpus(name, clips, licence="none", citation="none")

    @pytest.mark.parametrize("objective", midibert_study.OBJECTIVES)
    def test_weights_are_written(self, tmp_path: Path, objective: str) -> None:
        path = tmp_path / "weights.pt"
        options = dataclasses.replace(SMALL, epochs=1)
        metadata = midibert_study.pretrain_midibert(
            objective, "small", destination=path, options=options, n_valid=1, device="cpu"
        )
        assert metadata["corpora"] == "maestro, pop1k7"
        assert (metadata["objective"], metadata["size"]) == (objective, "small")
        assert (metadata["removed_pieces"], metadata["pieces"]) == ("1", "5")
        assert ("validation_key" in metadata) == (objective == "qm-midibert")
        content = torch.load(path, weights_only=True)
        assert content["metadata"] == metadata
        encoder = MidiBert(**TINY)
        encoder.load_state_dict({k: v.float() for k, v in content["tensors"].items()})
        assert not list((tmp_path / "cache" / "checkpoints").glob("*"))

    def test_missing_corpus(self, tmp_path: Path) -> None:
        del self.known["pop1k7"]
        with pytest.raises(MissingDataError, match="pop1k7 does not exist"):
            midibert_study.pretrain_midibert("midibert", "small", destination=tmp_path / "x.pt")
        with pytest.raises(ParameterError, match="no corpus to pre-train on"):
            midibert_study.pretrain_midibert(
                "midibert", "small", destination=tmp_path / "x.pt", corpora=()
            )

    def test_names_are_those_of_the_code(self) -> None:
        from mer.study.weights import WEIGHTS

        assert tuple(OBJECTIVES) == midibert_study.OBJECTIVES
        names = {f"{o}-{s}" for o in midibert_study.OBJECTIVES for s in midibert_study.SIZES}
        assert names <= set(WEIGHTS)
        for size in midibert_study.SIZES:
            CompoundOptions(**midibert_study.CHANGES[size])
