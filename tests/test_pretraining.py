"""Masked prediction of notes: what is masked, what is learnt, resuming."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quadrant_notes, write_midi

from mer.clips import Clip, Corpus, Fold, Split
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features.note_events import FIELDS, FIRST, MASK, PAD, SIZES, START, note_events
from mer.models.symbolic_encoder import SymbolicEncoder
from mer.study import pretrain as study
from mer.training import pretraining
from mer.training.pretraining import (
    IGNORED,
    MaskedNoteModel,
    PretrainingOptions,
    evaluate,
    mask_notes,
    masked_loss,
    pretrain,
    pretraining_batches,
)

CPU = torch.device("cpu")
SMALL = PretrainingOptions(epochs=3, patience=3, window=31, batch_size=4, learning_rate=3e-3)


def scales(n_pieces: int, n_notes: int = 100, seed: int = 0) -> list[np.ndarray]:
    """Pieces in which every field of a note follows from its neighbours."""
    rng = np.random.default_rng(seed)
    pieces = []
    for start in rng.integers(30, 60, n_pieces):
        steps = np.arange(n_notes)
        notes = np.stack([steps * 0.25, steps * 0.25 + 0.2, start + steps % 12, 60 + steps % 2], 1)
        pieces.append(note_events(notes))
    return pieces


def model(seed: int = 0, **sizes: int) -> MaskedNoteModel:
    torch.manual_seed(seed)
    return MaskedNoteModel(
        SymbolicEncoder(**{"width": 32, "layers": 1, "feedforward": 64, **sizes})
    )


def run(options: PretrainingOptions, *, seed: int = 0, checkpoint: Path | None = None) -> tuple:
    network = model()
    result = pretrain(
        network, scales(6), scales(2, seed=1), options, seed=seed, device=CPU, checkpoint=checkpoint
    )
    return network, result


def random_batch() -> np.ndarray:
    rng = np.random.default_rng(0)
    events = np.stack([rng.integers(FIRST, size, (40, 201)) for size in SIZES], axis=1)
    events[:, :, 0] = START
    events[:20, :, 150:] = PAD
    return events


class TestMasking:
    events = random_batch()

    def masked(self, probability: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
        return mask_notes(self.events, probability, np.random.default_rng(1))

    def test_shares(self) -> None:
        inputs, targets = self.masked()
        chosen = targets[:, 0] != IGNORED
        real = self.events[:, 0] >= FIRST
        assert chosen.sum() / real.sum() == pytest.approx(0.15, abs=0.015)
        hidden = (inputs[:, 0] == MASK)[chosen]
        same = (inputs == self.events).all(axis=1)[chosen]
        assert hidden.mean() == pytest.approx(0.8, abs=0.04)
        assert same.mean() == pytest.approx(0.1, abs=0.03)
        assert (~hidden & ~same).mean() == pytest.approx(0.1, abs=0.03)

    def test_only_chosen_notes_change_and_all_fields_together(self) -> None:
        inputs, targets = self.masked()
        chosen = targets[:, 0] != IGNORED
        assert not chosen[self.events[:, 0] < FIRST].any()
        for field in range(len(FIELDS)):
            np.testing.assert_array_equal(targets[:, field] != IGNORED, chosen)
            np.testing.assert_array_equal(inputs[:, field][~chosen], self.events[:, field][~chosen])
            np.testing.assert_array_equal(inputs[:, field] == MASK, inputs[:, 0] == MASK)
            np.testing.assert_array_equal(targets[:, field][chosen], self.events[:, field][chosen])

    def test_random_notes_are_whole_notes_of_the_batch(self) -> None:
        inputs, targets = self.masked()
        known = {tuple(note) for note in self.events.transpose(0, 2, 1).reshape(-1, 5).tolist()}
        replaced = (targets[:, 0] != IGNORED) & (inputs[:, 0] != MASK)
        found = inputs.transpose(0, 2, 1)[replaced]
        assert len(found) > 50
        assert {tuple(note) for note in found.tolist()} <= known
        assert (found >= FIRST).all()

    def test_every_window_has_something_to_predict(self) -> None:
        _, targets = self.masked(1e-9)
        np.testing.assert_array_equal((targets[:, 0] != IGNORED).sum(axis=1), 1)

    def test_loss_by_hand(self) -> None:
        targets = torch.full((1, 5, 3), IGNORED)
        targets[0, :, 1] = torch.tensor([4, 5, 6, 7, 8])
        logits = [torch.zeros(1, 3, size) for size in SIZES]
        uniform = sum(math.log(size) for size in SIZES) / 5
        assert float(masked_loss(logits, targets)) == pytest.approx(uniform, rel=1e-6)
        logits[0][0, 1, 4] = 100.0
        rest = sum(math.log(size) for size in SIZES[1:]) / 5
        assert float(masked_loss(logits, targets)) == pytest.approx(rest, rel=1e-6)


class TestBatches:
    def batches(self, lengths: Sequence[int], *, window: int = 31) -> list[tuple]:
        pieces = []
        for owner, length in enumerate(lengths):
            rows = [
                np.full(length, FIRST + owner),
                *np.tile(FIRST + np.arange(length) % 16, (4, 1)),
            ]
            start = np.full((5, 1), START)
            pieces.append(np.concatenate([start, np.stack(rows)], axis=1))
        chosen = dataclasses.replace(SMALL, mask_probability=1e-9, window=window)
        return list(pretraining_batches(pieces, chosen, np.random.default_rng(0)))

    def test_windows_in_proportion_to_length(self) -> None:
        batches = self.batches([310, 62, 33])
        inputs = torch.cat([events for events, _ in batches])
        assert inputs.shape == (10 + 2 + 1, 5, 32)
        owners = inputs[:, 0, 1:].median(dim=1).values - FIRST
        assert owners.bincount().tolist() == [10, 2, 1]
        assert (inputs[:, :, 0] == START).all()
        assert [len(events) for events, _ in batches] == [4, 4, 4, 1]

    def test_short_pieces_are_padded(self) -> None:
        ((inputs, targets),) = self.batches([40, 60], window=50)
        assert inputs.shape == (2, 5, 51)
        assert sorted((inputs[:, 0] == PAD).sum(dim=1).tolist()) == [0, 10]
        assert (targets[inputs == PAD] == IGNORED).all()

    def test_windows_differ_between_epochs(self) -> None:
        pieces = scales(1, 300)
        epochs = [
            torch.cat([x for x, _ in pretraining_batches(pieces, SMALL, np.random.default_rng(k))])
            for k in (0, 0, 1)
        ]
        assert torch.equal(epochs[0], epochs[1])
        assert not torch.equal(epochs[0], epochs[2])


class TestTraining:
    def test_learns_what_can_be_known(self) -> None:
        options = dataclasses.replace(SMALL, epochs=5, learning_rate=0.01)
        network, result = run(options)
        first, best = result.epochs[0], result.epochs[result.best_epoch]
        assert best["valid_loss"] < 0.4 * first["train_loss"]
        assert set(result.accuracies) == set(FIELDS)
        assert (
            min(result.accuracies[f] for f in ("harmonic", "velocity", "shift", "duration")) > 0.9
        )
        mean = np.mean(list(result.accuracies.values()))
        assert mean == pytest.approx(best["valid_accuracy"], abs=1e-9)
        assert result.notes_per_second > 0
        assert not network.training

    def test_seed_decides_everything(self) -> None:
        (first, a), (second, b), (_, c) = run(SMALL), run(SMALL), run(SMALL, seed=1)
        assert a.epochs == b.epochs != c.epochs
        assert all(map(torch.equal, first.parameters(), second.parameters()))

    def test_resumed_equals_uninterrupted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, expected = run(SMALL)
        checkpoint = tmp_path / "state.pt"
        calls = iter(range(3))

        def interrupted(*arguments: object) -> tuple:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return evaluate(*arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(pretraining, "evaluate", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(SMALL, checkpoint=checkpoint)
        assert checkpoint.is_file()
        resumed, result = run(SMALL, checkpoint=checkpoint)
        assert (result.epochs, result.accuracies) == (expected.epochs, expected.accuracies)
        assert all(map(torch.equal, resumed.parameters(), whole.parameters()))
        assert not checkpoint.exists()

    def test_pieces_too_short(self) -> None:
        with pytest.raises(InvalidDataError, match="none of 2 pieces to train on has at least 32"):
            pretrain(model(), scales(2, 20), scales(1), SMALL, seed=0, device=CPU)
        with pytest.raises(InvalidDataError, match="none of 0 pieces to validate with"):
            pretrain(model(), scales(1), [], SMALL, seed=0, device=CPU)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"window": 0}, "window is 0; expected at least 1 note"),
            ({"mask_probability": 0.0}, "mask_probability is 0.0; expected more than 0"),
            ({"mask_probability": 1.5}, "mask_probability is 1.5"),
            ({"epochs": 0}, "epochs is 0; expected more than 0"),
        ],
    )
    def test_options(self, change: dict, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            PretrainingOptions(**change)


class TestStudy:
    """Two small corpora: one with an official split, one that holds two clips of EMOPIA."""

    @pytest.fixture(autouse=True)
    def corpora(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
        maestro = self.corpus(tmp_path, "maestro", range(6))
        parts = Fold(tuple(maestro.ids[:4]), (maestro.ids[4],), (maestro.ids[5],))
        maestro._split_makers = {"official": lambda _: Split("official", (parts,))}  # type: ignore[assignment]
        known = {
            "maestro": maestro,
            "pop1k7": self.corpus(tmp_path, "pop1k7", range(10, 18)),
            "emopia": self.corpus(tmp_path, "emopia", [11, 14, 30]),
        }
        self.known = known
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
        assert all((events[:, 0] == START).all() for events in pieces.train)

    def test_pieces_that_share_notes_with_emopia_are_removed(self) -> None:
        pieces = study.pretraining_pieces(["pop1k7"], n_valid=3, seed=0)
        assert pieces.removed == 2
        assert len(pieces.train) + len(pieces.valid) == 6
        emopia = [note_events(notes) for notes in study._read(self.known["emopia"], "emopia")]
        kept = {events.tobytes() for events in (*pieces.train, *pieces.valid)}
        assert not kept & {events.tobytes() for events in emopia}

    def test_emopia_must_be_there_to_compare_with(self) -> None:
        del self.known["emopia"]
        with pytest.raises(MissingDataError, match="emopia does not exist"):
            study.pretraining_pieces(["pop1k7"], n_valid=3, seed=0)
        assert study.pretraining_pieces(["maestro"], n_valid=3, seed=0).train

    def test_weights_are_written(self, tmp_path: Path) -> None:
        path = tmp_path / "weights" / "encoder.pt"
        options = PretrainingOptions(epochs=1, window=31, batch_size=8)
        metadata = study.pretrain_encoder(
            ("maestro", "pop1k7"), destination=path, options=options, n_valid=2, device="cpu"
        )
        assert metadata["corpora"] == "maestro, pop1k7"
        assert (metadata["removed_pieces"], metadata["epochs"], metadata["seed"]) == ("2", "1", "0")
        content = torch.load(path, weights_only=True)
        assert content["metadata"] == metadata
        assert all(isinstance(value, str) for value in metadata.values())
        encoder = SymbolicEncoder()
        encoder.load_state_dict({k: v.float() for k, v in content["tensors"].items()})
        assert not list((tmp_path / "cache" / "checkpoints").glob("*"))

    def test_no_corpus(self, tmp_path: Path) -> None:
        with pytest.raises(ParameterError, match="no corpus to pre-train on"):
            study.pretrain_encoder((), destination=tmp_path / "encoder.pt")
