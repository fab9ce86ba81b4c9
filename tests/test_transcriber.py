"""The transcriber's own parts: spectrogram, network, targets, decoding, training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import write_midi

from mer.audio import waveform
from mer.clips import Clip
from mer.corpora import load
from mer.errors import InvalidDataError
from mer.evaluation.transcription import note_scores
from mer.features.notes import read_notes
from mer.models.onsets_frames import HEADS, REACH, OnsetsFrames
from mer.rendering import default_soundfont
from mer.training.rendered import Take, play, played_notes, random_performance
from mer.transcription import frames, get_transcriber, transcribe_file, transcribe_samples
from mer.transcription.frames import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    SAMPLE_RATE,
    decode,
    log_frequency_spectrogram,
    note_targets,
    spectrogram_blocks,
)
from mer.transcription.onsets_frames import WEIGHTS
from mer.transcription.training import (
    Excerpt,
    TranscriberOptions,
    another_recording,
    head_loss,
    render_excerpt,
    render_varied_excerpt,
    train_transcriber,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def random_notes(n: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Notes of random pitches that do not follow on the same pitch within 0.3 s."""
    onset = np.sort(rng.uniform(0.2, seconds - 1, n))
    pitch = rng.permutation(88)[np.arange(n) % 88] + 21
    length = rng.uniform(0.1, 0.8, n)
    return np.stack([onset, onset + length, pitch, rng.integers(20, 120, n)], axis=1).astype(float)


class TestSpectrogram:
    @pytest.mark.parametrize("pitch", [33, 57, 69, 81, 100])
    def test_sine_is_loudest_in_the_band_of_its_pitch(self, pitch: int) -> None:
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        samples = np.sin(2 * np.pi * frequency * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
        levels = log_frequency_spectrogram(samples.astype(np.float32))[:, :, 16]
        expected = 3 * (pitch - 21) + 1
        assert abs(int(levels[1].argmax()) - expected) <= 1
        assert frames.band_frequencies()[expected] == pytest.approx(frequency)

    def test_full_scale_is_about_200_and_6_db_are_12_steps(self) -> None:
        t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
        sine = np.sin(2 * np.pi * 440 * t).astype(np.float32)
        loud, soft = (log_frequency_spectrogram(g * sine)[:, 145, 30] for g in (1.0, 0.5))
        assert np.all((loud > 180) & (loud <= 201))
        assert (loud - soft).tolist() == [12, 12]

        assert not log_frequency_spectrogram(0 * sine).any()

    @pytest.mark.parametrize("lengths", [[1], [100], [5000, 1, 0, 70000], [16384] * 9, [200000]])
    def test_blocks_give_the_whole(self, lengths: list[int], rng: np.random.Generator) -> None:
        samples = rng.normal(0, 0.1, sum(lengths)).astype(np.float32)
        blocks = np.split(samples, np.cumsum(lengths)[:-1])
        pieces = list(spectrogram_blocks(blocks, 50))
        assert [p.shape[2] for p in pieces[:-1]] == [50] * (len(pieces) - 1)
        whole = log_frequency_spectrogram(samples)
        np.testing.assert_array_equal(np.concatenate(pieces, axis=2), whole)
        with pytest.raises(InvalidDataError, match="no samples"):
            list(spectrogram_blocks([], 50))


class TestNetwork:
    def test_parameter_count(self) -> None:
        assert sum(p.numel() for p in OnsetsFrames().parameters()) == 242116

    def test_answers_reach_no_farther_than_stated(self, rng: np.random.Generator) -> None:
        torch.manual_seed(0)
        network = OnsetsFrames(channels=4).eval()
        levels = torch.from_numpy(rng.integers(0, 200, (1, 2, 294, 120))).float()
        changed = levels.clone()
        changed[..., 60] = 0
        with torch.inference_mode():
            moved = (network(levels) != network(changed)).any(dim=2)[0]
        for head in moved:
            frames = torch.nonzero(head).flatten()
            assert frames.min() >= 60 - REACH
            assert frames.max() <= 60 + REACH
        assert moved[HEADS.index("frame")].sum() > moved[HEADS.index("onset")].sum()

    def test_transposed_music_gives_transposed_answers(self, rng: np.random.Generator) -> None:
        torch.manual_seed(0)
        network = OnsetsFrames(channels=4).eval()
        levels = torch.zeros(1, 2, 294, 30)
        levels[:, :, 100:140] = torch.from_numpy(rng.integers(0, 200, (1, 2, 40, 30))).float()
        with torch.inference_mode():
            here, there = network(levels), network(levels.roll(3 * 5, dims=2))
        torch.testing.assert_close(here[:, :, 20:60], there[:, :, 25:65])

    def test_octave_is_a_harmonic_channel(self) -> None:
        levels = torch.zeros(1, 2, 294, 1)
        levels[0, 0, 1 + 36] = 50.0  # A1
        channels = OnsetsFrames(channels=4).harmonic_channels(levels)
        seen = {(int(c), int(p)) for _, c, p, _ in torch.nonzero(channels)}
        # As its own fundamental, as the second harmonic of A0, and below: one channel each.
        assert (7, 0) in seen
        assert (4, 12) in seen
        assert all(channels[0, c, p, 0] == 1.0 for c, p in seen)


def as_probabilities(target: np.ndarray) -> np.ndarray:
    """What a network that has learned the targets gives."""
    return target / np.asarray([255, 255, 255, 127])[:, None, None]


class TestTargetsAndDecoding:
    def test_round_trip(self, rng: np.random.Generator) -> None:
        notes = random_notes(150, 40, rng)
        found = decode([as_probabilities(note_targets(notes, int(41 * FRAMES_PER_SECOND)))])
        order = np.lexsort((notes[:, 2], notes[:, 0]))
        np.testing.assert_array_equal(found[:, 2:], notes[order, 2:])
        assert np.abs(found[:, 0] - notes[order, 0]).max() < 0.001
        # A frame that ends before its offset's peak ends the note: half a frame at most.
        assert np.abs(found[:, 1] - notes[order, 1]).max() < 0.017

    def test_pitches_outside_the_piano_are_left_out(self) -> None:
        notes = np.array([[0.1, 0.5, 10, 60], [0.1, 0.5, 120, 60], [0.2, 0.5, 60, 60]])
        target = note_targets(notes, 30)
        assert target[3].astype(int).sum() == 60

    def test_same_key_again_ends_the_note(self) -> None:
        notes = np.array([[0.5, 1.0, 60, 80], [1.0, 2.0, 60, 90]])
        probabilities = as_probabilities(note_targets(notes, 100))
        probabilities[1] = 0  # no offset is heard
        found = decode([probabilities])
        np.testing.assert_allclose(found[:, :2], notes[:, :2], atol=0.02)

    @pytest.mark.parametrize("n_frames", [1, 2, 3, 40, 300])
    def test_pieces_make_no_difference(self, n_frames: int, rng: np.random.Generator) -> None:
        probabilities = rng.random((4, 88, n_frames)).astype(np.float32)
        whole = decode([probabilities])
        cuts = np.sort(rng.integers(0, n_frames + 1, 5))
        pieces = [p for p in np.split(probabilities, cuts, axis=2) if p.shape[2]]
        np.testing.assert_array_equal(whole, decode(pieces))
        assert np.isfinite(whole).all()
        assert (whole[:, 1] > whole[:, 0]).all()

    def test_nothing_gives_no_notes(self) -> None:
        assert decode([]).shape == (0, 4)
        assert decode([np.zeros((4, 88, 50))]).shape == (0, 4)


class TestTraining:
    def test_loss_counts_the_velocity_at_onsets_only(self) -> None:
        logits = torch.zeros(1, 4, 88, 10)
        targets = torch.zeros(1, 4, 88, 10, dtype=torch.uint8)
        nothing = head_loss(logits, targets)
        # Three heads, 88 pitches: log 2 each, weighted 1, 0.5 and 0.5.
        assert nothing.item() == pytest.approx(2 * 88 * np.log(2), rel=1e-5)
        targets[0, 3, 5, 5] = 64
        assert head_loss(logits, targets).item() > nothing.item()

    def test_another_recording_keeps_the_shape_and_range(self, rng: np.random.Generator) -> None:
        levels = rng.integers(0, 200, (2, 294, 40)).astype(np.uint8)
        result = another_recording(levels, rng)
        assert result.shape == levels.shape
        assert result.dtype == np.float32
        assert result.min() >= 0
        assert result.max() <= 255

    @pytest.mark.slow
    def test_learns_a_melody_by_heart(self, rng: np.random.Generator) -> None:
        """Sines on known pitches: a small network finds them after a few epochs."""
        notes = random_notes(16, 8, rng)
        t = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
        samples = np.zeros(t.size, np.float32)
        for onset, offset, pitch, velocity in notes:
            inside = (t >= onset) & (t < offset)
            phase = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * (t[inside] - onset)
            samples[inside] += 0.2 * velocity / 127 * np.sin(phase)
        excerpt = Excerpt(log_frequency_spectrogram(samples)[..., : t.size // HOP_LENGTH], notes)
        torch.manual_seed(0)
        network = OnsetsFrames(channels=8)
        options = TranscriberOptions(batch_size=2, window=96, windows_per_excerpt=100)
        cpu = torch.device("cpu")
        history = train_transcriber(network, [excerpt], [excerpt], options, seed=0, device=cpu)
        assert history.epochs[history.best_epoch]["valid_accuracy"] > 0.8


class TestRendered:
    def test_take_is_within_the_performance(self) -> None:
        assert 0 <= random_performance(100.0, 20.0, 2, np.random.default_rng(3)).start <= 80

    def test_notes_match_the_sound(self, tmp_path: Path) -> None:
        notes = np.array([[0.5, 1.0, 60, 90], [1.5, 2.0, 64, 90], [2.5, 3.0, 67, 90]])
        path = write_midi(tmp_path / "three.mid", notes)
        take = Take(start=1.0, seconds=2.0, stretch=2 ** (50 / 1200))
        samples = play(path, take, [default_soundfont()], SAMPLE_RATE)
        played = played_notes(path, take, len(samples) / SAMPLE_RATE)
        assert played[:, 2].tolist() == [64, 67]
        assert played[0, 0] == pytest.approx(0.5 / take.stretch, abs=0.002)
        first = np.flatnonzero(np.abs(samples) > 1e-3)[0] / SAMPLE_RATE
        assert first == pytest.approx(played[0, 0], abs=0.02)

    @pytest.mark.parametrize("start", [0.0, 0.01, 0.02, 0.03])
    def test_varied_excerpts_keep_their_notes(self, tmp_path: Path, start: float) -> None:
        """The sound is random, but the same each time, and its onsets are where they were."""
        notes = np.array([[1.0 + k, 1.4 + k, 60, 110] for k in range(4)])
        path = write_midi(tmp_path / "four.mid", notes)
        arguments = (path, Take(start=start, seconds=5.0), [default_soundfont()])
        plain, varied = render_excerpt(*arguments), render_varied_excerpt(*arguments)
        np.testing.assert_array_equal(varied.notes, plain.notes)
        np.testing.assert_array_equal(varied.levels, render_varied_excerpt(*arguments).levels)
        assert np.abs(varied.levels.astype(int) - plain.levels).mean() > 0.5
        first, second = (
            np.diff(excerpt.levels[0].astype(float).mean(axis=0)).clip(0)
            for excerpt in (plain, varied)
        )
        lag = int(np.correlate(first, second, "full").argmax()) - (len(first) - 1)
        assert abs(lag) <= 1

    def test_pedal_holds_notes(self, tmp_path: Path) -> None:
        import pretty_midi

        midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
        times = [(60, 0.0, 0.5), (64, 0.2, 0.4), (60, 1.0, 1.2), (67, 2.5, 3.0)]
        piano.notes = [pretty_midi.Note(80, *note) for note in times]
        changes = [(64, 127, 0.3), (64, 0, 2.0)]
        piano.control_changes = [pretty_midi.ControlChange(*change) for change in changes]
        midi.instruments.append(piano)
        path = tmp_path / "pedal.mid"
        midi.write(str(path))
        offsets = read_notes(path, pedal=True)[:, 1]
        np.testing.assert_allclose(offsets, [1.0, 2.0, 2.0, 3.0], atol=0.002)
        np.testing.assert_allclose(read_notes(path)[:, 1], [0.5, 0.4, 1.2, 3.0], atol=0.002)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Piano of the composed corpus."""
    return load("composed", size=8, duration=8.0, arrangement="piano")[0]


class TestPackagedTranscriber:
    @pytest.mark.parametrize("name", WEIGHTS)
    def test_hears_a_clip_that_it_was_not_trained_on(self, name: str, clip: Clip) -> None:
        assert clip.midi is not None
        found = transcribe_samples(waveform(clip), 22050, get_transcriber(name))
        scores = note_scores(read_notes(clip.midi, pedal=True), found)
        assert scores["onset_f1"] > 0.9

    def test_cuts_make_no_difference(self, clip: Clip) -> None:
        samples = waveform(clip, SAMPLE_RATE)
        whole = get_transcriber().transcribe([samples])
        parts = get_transcriber().transcribe(np.array_split(samples, 7))
        np.testing.assert_array_equal(whole, parts)

    @pytest.mark.parametrize("seconds", [0.001, 0.2, 40.0])
    def test_silence_has_no_notes(self, seconds: float) -> None:
        samples = np.zeros(max(round(seconds * SAMPLE_RATE), 1), np.float32)
        assert get_transcriber().transcribe([samples]).shape == (0, 4)

    @pytest.mark.parametrize("offset", [1.0, -0.2, 0.005])
    def test_constant_offset_has_no_notes(self, offset: float, tmp_path: Path) -> None:
        samples = np.full(3 * 22050, offset)
        assert not len(transcribe_samples(samples, 22050, get_transcriber()))
        soundfile.write(tmp_path / "a.wav", samples, 22050, subtype="FLOAT")
        assert not len(transcribe_file(tmp_path / "a.wav", get_transcriber()))

    def test_constant_offset_changes_no_notes(self, clip: Clip) -> None:
        samples = waveform(clip, 16000)[: 5 * 16000]
        notes = transcribe_samples(samples, 16000, get_transcriber())
        shifted = transcribe_samples(samples + 0.1, 16000, get_transcriber())
        assert len(notes) > 3
        np.testing.assert_array_equal(shifted[:, 2], notes[:, 2])
        np.testing.assert_allclose(shifted[:, :2], notes[:, :2], atol=0.05)

    def test_later_sound_gives_later_notes(self, clip: Clip) -> None:
        samples = waveform(clip, SAMPLE_RATE)
        frames = 200
        later = np.concatenate([np.zeros(frames * HOP_LENGTH, np.float32), samples])
        first, second = (get_transcriber().transcribe([part]) for part in (samples, later))
        first[:, :2] += frames / FRAMES_PER_SECOND
        scores = note_scores(first, second)
        assert scores["onset_f1"] > 0.98
