"""Notes of MIDI files and token sequences: hand-worked values, round trips, beat grids."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import notes_at, write_midi

from mer.corpora import emopia
from mer.errors import InvalidDataError
from mer.features import tokens
from mer.features.notes import read_notes
from mer.libraries import load_librosa

ON, OFF, SHIFT, VELOCITY = 2, 130, 258, 358
EMPTY = np.empty((0, 4))
ONE = np.asarray([[1.0, 2.0, 60, 90]])


def random_notes(seed: int, n: int = 200) -> np.ndarray:
    """Notes that overlap, some of one pitch, some shorter than 10 ms, some far apart."""
    rng = np.random.default_rng(seed)
    onsets = np.cumsum(rng.exponential(0.1, n) + 4.0 * (rng.random(n) < 0.02))
    lengths = rng.exponential(0.3, n)
    pitches = rng.integers(0, 128, n) if seed % 2 else rng.integers(55, 65, n)
    notes = notes_at(onsets, lengths, pitches, rng.integers(1, 128, n))
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def decode_midi_like(sequence: np.ndarray) -> np.ndarray:
    """Notes from the first onset; a note-off ends the oldest sounding note of its pitch."""
    notes: list[list[float]] = []
    sounding: dict[int, list[int]] = {}
    now, velocity = 0, 0
    for token in sequence.tolist():
        if token >= VELOCITY:
            velocity = 4 * (token - VELOCITY) + 2
        elif token >= SHIFT:
            now += token - SHIFT + 1
        elif token >= OFF:
            notes[sounding[token - OFF].pop(0)][1] = now
        elif token >= ON:
            sounding.setdefault(token - ON, []).append(len(notes))
            notes.append([now, np.inf, token - ON, velocity])
    return np.asarray(notes).reshape(-1, 4) * [0.01, 0.01, 1, 1]


def check_round_trip(notes: np.ndarray) -> None:
    """Onsets and offsets of every pitch to 10 ms, velocities to their bin of 4."""
    sequence = tokens.midi_like(notes)
    assert sequence[0] == tokens.START
    assert sequence.min() >= 1
    assert sequence.max() < tokens.MIDI_LIKE_SIZE
    decoded = decode_midi_like(sequence)
    assert len(decoded) == len(notes)
    decoded[:, :2] += np.rint(notes[0, 0] * 100) / 100
    given = notes.copy()
    given[:, 1] = np.maximum(given[:, 1], given[:, 0] + 0.005)
    for column, tolerance in ((0, 0.00501), (1, 0.01001), (3, 2)):
        order, given_order = (np.lexsort((t[:, column], t[:, 2])) for t in (decoded, given))
        np.testing.assert_array_equal(decoded[order, 2], given[given_order, 2])
        difference = decoded[order, column] - given[given_order, column]
        assert np.abs(difference).max() <= tolerance


class TestReadNotes:
    def test_seconds_pitch_velocity_sorted(self, tmp_path: Path) -> None:
        notes = np.asarray([[0.5, 1.0, 64, 80], [0.5, 0.7, 60, 90], [0.0, 2.0, 70, 1]])
        found = read_notes(write_midi(tmp_path / "a.mid", notes))
        np.testing.assert_allclose(found, notes[[2, 1, 0]], atol=1e-6)

    def test_drums_are_left_out_and_tracks_joined(self, tmp_path: Path) -> None:
        import pretty_midi

        score = pretty_midi.PrettyMIDI()
        for program, is_drum, pitch in ((0, False, 60), (0, True, 38), (40, False, 72)):
            part = pretty_midi.Instrument(program, is_drum=is_drum)
            part.notes.append(pretty_midi.Note(64, pitch, 0.25, 1.0))
            score.instruments.append(part)
        score.write(str(tmp_path / "a.mid"))
        found = read_notes(tmp_path / "a.mid")
        np.testing.assert_allclose(found, [[0.25, 1, 60, 64], [0.25, 1, 72, 64]], atol=2e-3)

    def test_no_notes(self, tmp_path: Path) -> None:
        assert read_notes(write_midi(tmp_path / "a.mid", EMPTY)).shape == (0, 4)


class TestMidiLike:
    def test_hand_worked_sequence(self) -> None:
        notes = np.asarray(
            [
                [1.00, 1.50, 60, 64],  # bin 16
                [1.00, 1.50, 64, 64],  # the same velocity: no token
                [1.50, 3.75, 67, 100],  # bin 25; starts when the others end
                [1.50, 1.501, 72, 100],  # lasts one step at least
            ]
        )
        expected = [1, VELOCITY + 16, ON + 60, ON + 64, SHIFT + 49]
        expected += [OFF + 60, OFF + 64, VELOCITY + 25, ON + 67, ON + 72, SHIFT, OFF + 72]
        expected += [SHIFT + 99, SHIFT + 99, SHIFT + 23, OFF + 67]
        assert tokens.midi_like(notes).tolist() == expected

    def test_vocabulary_size(self) -> None:
        assert tokens.MIDI_LIKE_SIZE == 2 + 128 + 128 + 100 + 32 == 390
        extremes = np.asarray([[0.0, 1.0, 0, 1], [0.0, 1.0, 127, 127]])
        sequence = tokens.midi_like(extremes)
        assert {ON, ON + 127, OFF, OFF + 127, SHIFT + 99} < set(sequence.tolist())
        assert sequence.max() == tokens.MIDI_LIKE_SIZE - 1

    def test_does_not_depend_on_where_the_music_starts(self) -> None:
        notes = np.round(random_notes(0), 2)
        later = notes + np.asarray([5.0, 5.0, 0, 0])
        np.testing.assert_array_equal(tokens.midi_like(later), tokens.midi_like(notes))

    @pytest.mark.parametrize("seed", range(6))
    def test_round_trip_of_random_notes(self, seed: int) -> None:
        check_round_trip(random_notes(seed))

    def test_no_notes(self) -> None:
        assert tokens.midi_like(EMPTY).tolist() == [tokens.START]

    @pytest.mark.realdata
    def test_round_trip_of_every_emopia_clip(self, data_folder: Path) -> None:
        for clip in emopia.load(data_folder / "emopia"):
            assert clip.midi is not None
            check_round_trip(read_notes(clip.midi))


class TestBeats:
    @pytest.mark.parametrize("tempo", [60, 90, 120, 140])
    def test_metronome_is_recovered(self, tempo: int) -> None:
        period = 60 / tempo
        onsets = 1.2 + period * np.arange(40)
        beats = tokens.estimate_beats(notes_at(onsets, 0.1, velocities=90))
        assert np.median(np.diff(beats)) == pytest.approx(period, abs=0.011)
        distance = np.abs(beats[:, None] - onsets[None]).min(axis=1)
        assert np.quantile(distance, 0.9) < 0.02
        assert np.abs(onsets[:, None] - beats[None]).min(axis=1).max() < 0.02

    @pytest.mark.parametrize("notes", [EMPTY, ONE, np.repeat(ONE, 3, axis=0)])
    def test_few_notes_give_two_beats_at_least(self, notes: np.ndarray) -> None:
        beats = tokens.estimate_beats(notes)
        assert beats.size >= 2
        assert np.all(np.diff(beats) > 0)


def decode_remi(sequence: np.ndarray) -> list[tuple[float, int]]:
    """(beat, pitch) of every note, counted in quarter notes from the first bar."""
    tokenizer = tokens._remi_tokenizer()
    score = tokenizer([[int(token) - 2 for token in sequence[1:]]])
    return [(note.time / score.tpq, note.pitch) for note in score.tracks[0].notes]


class TestRemi:
    def test_metronome_falls_on_beats(self) -> None:
        onsets = 0.5 * np.arange(32)
        pitches = 60 + np.arange(32) % 12
        decoded = decode_remi(tokens.remi(notes_at(onsets, 0.4, pitches, 90)))
        assert [pitch for _, pitch in decoded] == pitches.tolist()
        assert [beat - decoded[0][0] for beat, _ in decoded] == list(range(32))

    def test_size_is_that_of_the_tokenizer(self) -> None:
        assert len(tokens._remi_tokenizer()) + 2 == tokens.REMI_SIZE

    def test_ids_are_in_the_vocabulary(self) -> None:
        for seed in range(4):
            sequence = tokens.remi(random_notes(seed))
            assert sequence.dtype == np.int64
            assert sequence[0] == tokens.START
            assert sequence[1:].min() > tokens.START
            assert sequence.max() < tokens.REMI_SIZE

    def test_tempo_changes_tempo_tokens_only(self) -> None:
        slow = notes_at(np.arange(24), 0.9, velocities=90)
        fast = slow * [0.5, 0.5, 1, 1]
        assert decode_remi(tokens.remi(slow)) == decode_remi(tokens.remi(fast))

    def test_keeps_every_note(self) -> None:
        notes = random_notes(1)
        inside = notes[(notes[:, 2] > 20) & (notes[:, 2] < 109)]
        assert len(decode_remi(tokens.remi(inside))) == len(inside)

    def test_few_notes(self) -> None:
        assert tokens.remi(EMPTY).tolist() == [tokens.START]
        assert [pitch for _, pitch in decode_remi(tokens.remi(ONE))] == [60]

    @pytest.mark.realdata
    def test_emopia_clips_are_in_the_vocabulary(self, data_folder: Path) -> None:
        for clip in emopia.load(data_folder / "emopia")[::60]:
            assert clip.midi is not None
            sequence = tokens.remi(read_notes(clip.midi))
            assert len(sequence) > 100
            assert sequence.max() < tokens.REMI_SIZE


class TestLongPerformances:
    def test_tempo_is_that_of_librosa(self, monkeypatch: pytest.MonkeyPatch) -> None:
        librosa = load_librosa()
        monkeypatch.setattr(tokens, "_PIECE", 7)
        for period in (29, 40, 75):
            onsets = np.zeros(6000)
            onsets[100::period] = 1 + np.arange(100, 6000, period) % 3
            expected = librosa.feature.tempo(onset_envelope=onsets, sr=100, hop_length=1)[0]
            assert tokens._tempo_of_long(onsets, 100) == expected

    def test_memory_does_not_grow_with_the_length(self) -> None:
        onsets = 0.25 * np.arange(8000)
        tokens.estimate_beats(notes_at(onsets[:100], 0.2))
        tracemalloc.start()
        beats = tokens.estimate_beats(notes_at(onsets, 0.2))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert np.diff(beats).mean() == pytest.approx(0.5, abs=0.01)
        assert peak < 500 * 2**20

    def test_silence_of_hours_takes_no_time(self) -> None:
        """Pieces without an onset add nothing to the tempogram."""
        tokens.estimate_beats(notes_at([0.0, 400.0], 1.0))
        began = time.process_time()
        beats = tokens.estimate_beats(notes_at([0.0, 10_800.0], 1.0))
        assert time.process_time() - began < 10
        assert beats[0] < 1
        assert beats[-1] > 10_799

    def test_performance_of_many_notes(self) -> None:
        rng = np.random.default_rng(0)
        onsets = np.sort(rng.uniform(0, 600, 300_000))
        notes = notes_at(onsets, 0.1, rng.integers(21, 108, onsets.size))
        tokens.remi(notes[:100])
        began = time.process_time()
        assert len(tokens.remi(notes)) > onsets.size
        assert time.process_time() - began < 30

    @pytest.mark.parametrize("end", [1e5, 1e12, np.inf, np.nan])
    def test_times_that_are_damaged(self, end: float) -> None:
        notes = notes_at([0.0, 1.0], [0.5, end])
        for use in (tokens.midi_like, tokens.remi, tokens.estimate_beats):
            with pytest.raises(InvalidDataError, match=r"notes span .* no more than 86,400 s"):
                use(notes)
