"""Masked pre-training: what is masked, losses by hand, learning, resuming, the study."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import interrupted, quadrant_notes, random_fields, write_midi

from mer.clips import Clip, Corpus, Fold, Split
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features import compound_words as words
from mer.features import note_events as events
from mer.features.compound_words import compound_words
from mer.features.note_events import FIRST, PAD, START, note_events
from mer.models import midibert
from mer.models.midibert import MidiBert
from mer.models.symbolic_encoder import SymbolicEncoder
from mer.study import pretraining as study
from mer.training import masked
from mer.training.masked import (
    IGNORED,
    MIDIBERT_OPTIONS,
    OBJECTIVES,
    MaskedNotes,
    MaskedWords,
    Objective,
    PretrainingOptions,
    cross_entropies,
    evaluate,
    pretrain,
)

CPU = torch.device("cpu")
NOTES, WORDS, ATTRIBUTES = MaskedNotes(), MaskedWords("words"), OBJECTIVES["qm-midibert"]
SMALL = PretrainingOptions(epochs=3, patience=3, window=31, batch_size=4, learning_rate=3e-3)
SMALL_MIDIBERT = dataclasses.replace(SMALL, window=32, schedule="constant", clip_norm=3.0)
TINY: dict[str, Any] = {
    "width": 32,
    "layers": 1,
    "heads": 2,
    "feedforward": 64,
    "embedding": 8,
    "positions": "rotary",
}
by_objective = pytest.mark.parametrize("name", OBJECTIVES)


def scales(n_pieces: int, n_notes: int = 100, seed: int = 0) -> list[np.ndarray]:
    """Pieces in which every field of a note follows from its neighbours."""
    rng = np.random.default_rng(seed)
    steps, pieces = np.arange(n_notes), []
    for start in rng.integers(30, 60, n_pieces):
        notes = np.stack([steps * 0.25, steps * 0.25 + 0.2, start + steps % 12, 60 + steps % 2], 1)
        pieces.append(note_events(notes))
    return pieces


def repeated_notes(n_pieces: int, n_notes: int = 100, seed: int = 0) -> list[np.ndarray]:
    """Pieces of one pitch each, of six, in steady notes of one length."""
    steps, pieces = np.arange(n_notes), []
    for number in range(seed, seed + n_pieces):
        pitch = np.full(n_notes, 40 + 2 * (number % 6))
        columns = [steps * 0.25, steps * 0.25 + 0.25, pitch, np.full(n_notes, 64)]
        pieces.append(compound_words(np.stack(columns, axis=1)))
    return pieces


def run(name: str, *, seed: int = 0, checkpoint: Path | None = None, **changes: Any) -> tuple:
    torch.manual_seed(0)
    make, options, encoder = (
        (scales, SMALL, SymbolicEncoder(width=32, layers=1, feedforward=64))
        if name == "notes"
        else (repeated_notes, SMALL_MIDIBERT, MidiBert(**TINY))
    )
    options = dataclasses.replace(options, **changes)
    objective = OBJECTIVES[name]
    model, pieces = objective.model(encoder), (make(6), make(2, seed=1))
    settings: dict[str, Any] = {"seed": seed, "device": CPU, "checkpoint": checkpoint}
    return model, pretrain(model, objective, *pieces, options, **settings)


class TestMaskedNotes:
    events = random_fields(events.SIZES, FIRST, 40, 201)
    events[:, :, 0] = START
    events[:20, :, 150:] = PAD

    def masked(self, probability: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = NOTES.mask(self.events, probability, np.random.default_rng(1))
        return inputs.numpy(), targets.numpy()

    def test_shares_of_whole_notes(self) -> None:
        inputs, targets = self.masked()
        chosen, real = targets[:, 0] != IGNORED, self.events[:, 0] >= FIRST
        assert chosen.sum() / real.sum() == pytest.approx(0.15, abs=0.015)
        assert not chosen[~real].any()
        hidden, same = (inputs == events.MASK).all(axis=1), (inputs == self.events).all(axis=1)
        assert hidden[chosen].mean() == pytest.approx(0.8, abs=0.04)
        assert same[chosen].mean() == pytest.approx(0.1, abs=0.03)
        assert (~hidden & ~same)[chosen].mean() == pytest.approx(0.1, abs=0.03)
        assert same[~chosen].all()
        assert (hidden == (inputs == events.MASK).any(axis=1)).all()
        np.testing.assert_array_equal(targets, np.where(chosen[:, None], self.events, IGNORED))

    def test_random_notes_are_whole_notes_of_the_batch(self) -> None:
        inputs, targets = self.masked()
        known = set(map(tuple, self.events.transpose(0, 2, 1).reshape(-1, 5)))
        replaced = (targets[:, 0] != IGNORED) & (inputs[:, 0] != events.MASK)
        found = inputs.transpose(0, 2, 1)[replaced]
        assert len(found) > 50
        assert set(map(tuple, found)) <= known
        assert (found >= FIRST).all()

    def test_every_window_has_something_to_predict(self) -> None:
        _, targets = self.masked(1e-9)
        np.testing.assert_array_equal((targets[:, 0] != IGNORED).sum(axis=1), 1)

    def test_loss_by_hand(self) -> None:
        targets = torch.full((1, 5, 3), IGNORED)
        targets[0, :, 1] = torch.tensor([4, 5, 6, 7, 8])
        logits = [torch.zeros(1, 3, size) for size in events.SIZES]
        nats = [math.log(size) for size in events.SIZES]
        assert float(NOTES.loss(logits, targets)) == pytest.approx(sum(nats) / 5, rel=1e-6)
        logits[0][0, 1, 4] = 100.0
        assert float(NOTES.loss(logits, targets)) == pytest.approx(sum(nats[1:]) / 5, rel=1e-6)

    def batches(self, lengths: Sequence[int], *, window: int = 31) -> list[tuple]:
        """Each piece has a pitch of its own and is drawn as often as `pretrain` draws it."""
        pieces = []
        for owner, length in enumerate(lengths):
            piece = np.tile(FIRST + np.arange(1 + length) % 16, (5, 1))
            piece[0], piece[:, 0] = FIRST + owner, START
            pieces += max(1, round(length / window)) * [piece]
        options = dataclasses.replace(SMALL, mask_probability=1e-9, window=window)
        rng = np.random.default_rng(0)
        return list(masked.masked(NOTES, NOTES.windows(pieces, options, rng), options, rng))

    def test_windows_of_all_pieces(self) -> None:
        batches = self.batches([310, 62, 33])
        inputs = torch.cat([x for x, _ in batches])
        assert inputs.shape == (10 + 2 + 1, 5, 32)
        owners = inputs[:, 0, 1:].median(dim=1).values - FIRST
        assert owners.bincount().tolist() == [10, 2, 1]
        assert (inputs[:, :, 0] == START).all()
        assert [len(x) for x, _ in batches] == [4, 4, 4, 1]

    def test_short_pieces_are_padded(self) -> None:
        ((inputs, targets),) = self.batches([40, 60], window=50)
        assert inputs.shape == (2, 5, 51)
        assert sorted((inputs[:, 0] == PAD).sum(dim=1).tolist()) == [0, 10]
        assert (targets[inputs == PAD] == IGNORED).all()


class TestMaskedWords:
    words = random_fields(words.SIZES, words.FIRST, 40, 200)
    targets = torch.tensor([[5, 2, 3, 4, 6, 2, 80, 7, 60]])

    def masked(self, objective: Objective) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, chosen words, and a mask of the chosen words."""
        (inputs, chosen), _ = objective.mask(self.words, 0.15, np.random.default_rng(1))
        marked = np.zeros(self.words.shape, dtype=bool)
        np.put_along_axis(marked, chosen.numpy(), True, axis=2)
        return inputs.numpy(), chosen.numpy(), marked

    @pytest.mark.parametrize("objective", [WORDS, ATTRIBUTES])
    def test_shares(self, objective: Objective) -> None:
        inputs, chosen, marked = self.masked(objective)
        assert chosen.shape == (40, 4, 30)
        assert (marked.sum(axis=2) == 30).all()
        assert ((inputs == words.MASK).sum(axis=2) == 24).all()
        np.testing.assert_array_equal(inputs[~marked], self.words[~marked])
        seen = marked & (inputs != words.MASK)
        assert (seen.sum(axis=2) == 6).all()
        changed = (inputs[:, 2] != self.words[:, 2])[seen[:, 2]].mean()
        # 3 of 6 are random, of which one in 86 is as it was
        assert changed == pytest.approx(0.5 * 85 / 86, abs=0.02)
        assert inputs.min() == words.MASK
        assert (inputs < np.asarray(words.SIZES)[:, None]).all()

    def test_words_are_masked_whole(self) -> None:
        inputs, chosen, _ = self.masked(WORDS)
        assert (chosen == chosen[:, :1]).all()
        hidden = inputs == words.MASK
        np.testing.assert_array_equal(hidden.all(axis=1), hidden.any(axis=1))

    def test_attributes_are_masked_apart_and_everywhere(self) -> None:
        _, _, marked = self.masked(ATTRIBUTES)
        together = (marked[:, 2] & marked[:, 3]).mean()
        assert together == pytest.approx(0.15**2, abs=0.004)
        assert marked.any(axis=1).mean() == pytest.approx(1 - 0.85**4, abs=0.02)
        assert marked.mean(axis=(0, 1)) == pytest.approx(np.full(200, 0.15), abs=0.12)

    @pytest.mark.parametrize("length", [1, 3])
    def test_at_least_one_word(self, length: int) -> None:
        fields = random_fields(words.SIZES, words.FIRST, 2, length)
        (inputs, chosen), _ = WORDS.mask(fields, 0.15, np.random.default_rng(0))
        assert chosen.shape == (2, 4, 1)
        assert ((inputs == words.MASK).sum(dim=2) == 1).all()

    def test_targets(self) -> None:
        (_, chosen), targets = ATTRIBUTES.mask(self.words, 0.15, np.random.default_rng(3))
        np.testing.assert_array_equal(targets[:, 0], words.key_classes(self.words))
        true = np.take_along_axis(self.words, chosen.numpy(), axis=2)
        np.testing.assert_array_equal(targets[:, 1:].reshape(40, 4, 30), true)

    def test_uniform_logits(self) -> None:
        logits = [torch.zeros(1, 2, size) for size in words.SIZES]
        losses, sizes = cross_entropies(WORDS.pairs(logits, self.targets)), np.asarray(words.SIZES)
        torch.testing.assert_close(losses, torch.tensor(words.SIZES).log())
        weighted = sizes @ np.log(sizes) / sizes.sum()
        assert float(WORDS.loss(logits, self.targets)) == pytest.approx(weighted, rel=1e-6)
        loss = float(ATTRIBUTES.loss([*logits, torch.zeros(1, 24)], self.targets))
        assert loss == pytest.approx(weighted + 0.01 * math.log(24), rel=1e-6)

    def test_each_field_has_its_targets(self) -> None:
        logits = [torch.zeros(1, 2, size) for size in words.SIZES]
        for k, true in enumerate(([2, 3], [4, 6], [2, 80], [7, 60])):
            logits[k][0, [0, 1], true] = 100.0
        key = torch.zeros(1, 24)
        key[0, 5] = 100.0
        losses = cross_entropies(ATTRIBUTES.pairs([*logits, key], self.targets))
        torch.testing.assert_close(losses, torch.zeros(5))

    def test_logits_are_those_of_the_chosen_words(self) -> None:
        network = ATTRIBUTES.model(MidiBert(**TINY)).eval()
        inputs = torch.from_numpy(random_fields(words.SIZES, words.FIRST, 3, 20))
        chosen = torch.from_numpy(np.random.default_rng(0).integers(20, size=(3, 4, 5)))
        with torch.no_grad():
            states = network.encoder(inputs)
            found = network(inputs, chosen)
            for k, head in enumerate(network.heads):
                expected = torch.stack([head(states[i, chosen[i, k]]) for i in range(3)])
                torch.testing.assert_close(found[k], expected)
            assert network.key is not None
            torch.testing.assert_close(found[4], network.key(states))


class TestTraining:
    @pytest.mark.parametrize(
        ("name", "epochs", "rate", "least"),
        [
            ("notes", 5, 0.01, {"harmonic": 0.9, "velocity": 0.9, "shift": 0.9, "duration": 0.9}),
            # The pitch is one of six, to be found from other words.
            ("midibert", 9, 5e-3, {"duration": 0.999, "pitch": 0.8}),
            ("qm-midibert", 9, 5e-3, {"duration": 0.999, "pitch": 0.8}),
        ],
    )
    def test_learns_what_can_be_known(
        self, name: str, epochs: int, rate: float, least: dict[str, float]
    ) -> None:
        network, result = run(name, epochs=epochs, patience=epochs, learning_rate=rate)
        first, best = result.epochs[0], result.epochs[result.best_epoch]
        assert best["valid_loss"] < first["train_loss"] * (0.4 if name == "notes" else 1.0)
        keys = ("key",) if name == "qm-midibert" else ()
        fields = events.FIELDS if name == "notes" else words.FIELDS
        assert tuple(result.accuracies) == (*fields, *keys)
        assert all(result.accuracies[field] > bound for field, bound in least.items())
        weights = np.ones(5) if name == "notes" else np.asarray(words.SIZES)
        mean = np.average([result.accuracies[field] for field in fields], weights=weights)
        assert mean == pytest.approx(best["valid_accuracy"], abs=1e-9)
        assert result.notes_per_second > 0
        assert not network.training

    @by_objective
    def test_resumed_equals_uninterrupted(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, expected = run(name)
        checkpoint = tmp_path / "state.pt"
        monkeypatch.setattr(masked, "evaluate", interrupted(evaluate, 2))
        with pytest.raises(KeyboardInterrupt):
            run(name, checkpoint=checkpoint)
        monkeypatch.undo()
        assert checkpoint.is_file()
        resumed, result = run(name, checkpoint=checkpoint)
        assert (result.epochs, result.accuracies) == (expected.epochs, expected.accuracies)
        assert all(map(torch.equal, resumed.parameters(), whole.parameters()))
        assert not checkpoint.exists()

    @pytest.mark.parametrize(
        ("objective", "make"), [(NOTES, scales), (WORDS, repeated_notes)], ids=["notes", "words"]
    )
    def test_pieces_too_short(self, objective: Objective, make: Any) -> None:
        model = objective.model(SymbolicEncoder(width=32, layers=1))
        with pytest.raises(InvalidDataError, match="none of 2 pieces to train on has at least 32"):
            pretrain(model, objective, make(2, 31), make(1), SMALL, seed=0, device=CPU)
        with pytest.raises(InvalidDataError, match="none of 0 pieces to validate with"):
            pretrain(model, objective, make(1, 32), [], SMALL, seed=0, device=CPU)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"mask_probability": 0.0}, "mask_probability is 0.0; expected more than 0"),
            ({"mask_probability": 1.5}, "mask_probability is 1.5"),
        ],
    )
    def test_options(self, change: dict, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            PretrainingOptions(**change)

    def test_published_options(self) -> None:
        options = MIDIBERT_OPTIONS
        assert (options.batch_size, options.learning_rate, options.window) == (12, 2e-5, 512)
        assert (options.mask_probability, options.clip_norm) == (0.15, 3.0)


class TestStudy:
    """Two small corpora: one with an official split, one that holds two clips of EMOPIA."""

    @pytest.fixture(autouse=True)
    def corpora(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(midibert, "ENCODERS", {"small": TINY})
        maestro = self.corpus(tmp_path, "maestro", range(6))
        parts = Fold(tuple(maestro.ids[:4]), (maestro.ids[4],), (maestro.ids[5],))
        maestro._split_makers = {"official": lambda _: Split("official", (parts,))}  # type: ignore[assignment]
        self.known = {
            "maestro": maestro,
            "pop1k7": self.corpus(tmp_path, "pop1k7", range(10, 18)),
            "emopia": self.corpus(tmp_path, "emopia", [11, 14, 30]),
        }
        monkeypatch.setattr(study, "load", self.load)

    def load(self, name: str) -> Corpus:
        if name not in self.known:
            raise MissingDataError(f"{name} does not exist")
        return self.known[name]

    def corpus(self, folder: Path, name: str, seeds: Sequence[int]) -> Corpus:
        clips = []
        for seed in seeds:
            notes = quadrant_notes(1 + seed % 4, seed, 12.0 if seed % 4 < 2 else 40.0)
            notes[:, 2] = np.random.default_rng(seed).integers(30, 90, len(notes))
            path = write_midi(folder / name / f"{seed}.mid", notes)
            clips.append(Clip(id=f"{name}-{seed}", group=str(seed), midi=path))
        return Corpus(name, clips, licence="none", citation="none")

    def test_official_split(self) -> None:
        pieces = study.pretraining_pieces(["maestro"], n_valid=50, seed=0)
        assert (len(pieces.train), len(pieces.valid), pieces.removed) == (4, 1, 0)
        assert all((part[:, 0] == START).all() for part in pieces.train)

    def test_pieces_that_share_notes_with_emopia_are_removed(self) -> None:
        pieces = study.pretraining_pieces(["pop1k7"], n_valid=3, seed=0)
        assert pieces.removed == 2
        assert len(pieces.train) + len(pieces.valid) == 6
        emopia = [note_events(notes) for notes in study._read(self.known["emopia"])]
        found = {part.tobytes() for part in (*pieces.train, *pieces.valid)}
        assert not found & {part.tobytes() for part in emopia}

    def test_emopia_must_be_there_to_compare_with(self) -> None:
        del self.known["emopia"]
        with pytest.raises(MissingDataError, match="emopia does not exist"):
            study.pretraining_pieces(["pop1k7"], n_valid=3, seed=0)
        assert study.pretraining_pieces(["maestro"], n_valid=3, seed=0).train

    @by_objective
    def test_weights_are_written(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "weights" / "encoder.pt"
        metadata = study.pretrain_encoder(
            name,
            ("maestro", "pop1k7"),
            destination=path,
            options=dataclasses.replace(SMALL, epochs=1),
            n_valid=2,
            device="cpu",
        )
        assert metadata["corpora"] == "maestro, pop1k7"
        assert (metadata["removed_pieces"], metadata["epochs"], metadata["seed"]) == ("2", "1", "0")
        assert metadata.get("objective", "notes") == name
        assert ("validation_key" in metadata) == (name == "qm-midibert")
        content = torch.load(path, weights_only=True)
        assert content["metadata"] == metadata
        assert all(isinstance(value, str) for value in metadata.values())
        encoder = SymbolicEncoder() if name == "notes" else MidiBert(**TINY)
        encoder.load_state_dict({k: v.float() for k, v in content["tensors"].items()})
        assert not list((tmp_path / "cache" / "checkpoints").glob("*"))

    def test_corpora_that_are_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match="nothing does not exist"):
            study.pretrain_encoder("midibert", ["nothing"], destination=tmp_path / "x.pt")
        with pytest.raises(ParameterError, match="no corpus to pre-train on"):
            study.pretrain_encoder("notes", (), destination=tmp_path / "x.pt")

    def test_names_are_those_of_the_code(self) -> None:
        from mer.study.weights import TRAINERS

        assert {"notes", *study.MIDIBERT_OBJECTIVES} == set(OBJECTIVES)
        sizes = study.MIDIBERT_OPTIONS
        assert {f"{o}-{s}" for o in study.MIDIBERT_OBJECTIVES for s in sizes} <= set(TRAINERS)
        for changes in sizes.values():
            dataclasses.replace(MIDIBERT_OPTIONS, **changes)
