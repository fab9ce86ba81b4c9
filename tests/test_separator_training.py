"""Music whose sources are known, and training of the small separator on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mer.errors import InvalidDataError, MissingDataError
from mer.rendering import default_soundfont, soundfont_digests
from mer.separation import SOURCES
from mer.separation.demucs import SAMPLE_RATE
from mer.separation.training import SeparatorOptions, example, train_separator
from mer.study import weights as study
from mer.study.weights import train_weights
from mer.training.rendered import (
    ACCOMPANIMENT,
    BASSES,
    KITS,
    LEADS,
    VOICES,
    Take,
    midi_seconds,
    random_stems,
    render_stems,
    replace_programs,
    track_sources,
)

SOUNDFONTS = [default_soundfont()]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def track(
    name: str = "",
    program: int = 0,
    pitch: int = 60,
    *,
    drums: bool = False,
    chords: bool = False,
    n: int = 40,
) -> Any:
    """A track in seconds: n notes, or chords of two, twice a second."""
    from symusic import Note, Track

    result: Any = Track(name=name, program=program, is_drum=drums, ttype="second")
    for k in range(n):
        for interval in (0, 4) if chords else (0,):
            result.notes.append(Note(k / 2, 0.45, pitch + interval, 90, "second"))
    return result


TITLE = track("Voice of", 0, 62, chords=True)


class TestSources:
    @pytest.mark.parametrize(
        ("tracks", "expected"),
        [
            ([track(drums=True), track(program=33, pitch=40)], ["drums", "bass"]),
            ([track("Lead Vocal", 4), track("melodica", 22, 40)], ["vocals", "bass"]),
            ([track("E. Bass", 0, 60), track("Strings", 48, chords=True)], ["bass", "other"]),
            ([track("Bass Clarinet", 71, 60), track(program=34)], ["vocals", "bass"]),
            ([track(pitch=70), track(pitch=45), track(chords=True)], ["vocals", "bass", "other"]),
            # Nothing is low enough, or high enough and alone
            ([track(chords=True), track(pitch=95)], ["other", "other"]),
            ([track(n=5), track("bass drum", drums=True)], ["other", "drums"]),
            # The title of the song, in every track
            ([*[TITLE] * 4, track(pitch=66)], [*["other"] * 4, "vocals"]),
            ([track("vocals", n=0), track(pitch=66)], ["other", "vocals"]),
            ([], []),
        ],
    )
    def test_rules(self, tracks: Sequence[Any], expected: list[str]) -> None:
        assert track_sources(tracks) == expected

    def test_composed_bands_follow_their_parts(self) -> None:
        from symusic import Score

        from mer.composing.arranging import SOURCE_OF_PART
        from mer.corpora import load

        for clip in load("composed", size=3, duration=8.0, arrangement="band"):
            assert clip.midi is not None
            tracks = Score(clip.midi, ttype="second").tracks
            assert track_sources(tracks) == [SOURCE_OF_PART[t.name] for t in tracks]

    def test_other_instruments_are_of_their_kind(self, rng: np.random.Generator) -> None:
        leads = (*VOICES, *LEADS)
        kinds = {"drums": KITS, "bass": BASSES, "other": ACCOMPANIMENT, "vocals": leads}
        assert not {*ACCOMPANIMENT} & {*leads}
        seen = set()
        for _ in range(20):
            tracks = [track(program=73) for _ in SOURCES]
            replace_programs(tracks, SOURCES, rng)
            for changed, source in zip(tracks, SOURCES, strict=True):
                assert changed.program in kinds[source]
                seen.add((source, changed.program))
        assert len(seen) > 20


def write_song(path: Path, parts: Sequence[Any]) -> Path:
    from symusic import Score

    score: Any = Score(480, ttype="second")
    for part in parts:
        score.tracks.append(part)
    score.to("tick").dump_midi(path)
    return path


@pytest.fixture
def song(tmp_path: Path) -> Path:
    bass, vocals = track("bass", 33, 40, n=12), track("vocals", 73, 72, n=12)
    drums = track(drums=True, pitch=36, n=12)
    return write_song(tmp_path / "song.mid", [bass, vocals, drums])


class TestRendered:
    def test_sources_of_an_excerpt(self, song: Path) -> None:
        stems = render_stems(song, Take(start=1.0, seconds=3.0), SOUNDFONTS)
        assert stems.shape == (4, 3 * SAMPLE_RATE)
        assert stems.dtype == np.float16
        loud = dict(zip(SOURCES, np.abs(stems.astype(float)).max(axis=1) > 0.01, strict=True))
        assert loud == {"drums": True, "bass": True, "vocals": True, "other": False}
        assert not stems[SOURCES.index("other")].any()

    def test_starts_where_it_is_told(self, song: Path) -> None:
        whole = render_stems(song, Take(start=0.0, seconds=4.0), SOUNDFONTS)
        part = render_stems(song, Take(start=2.0, seconds=2.0), SOUNDFONTS)
        drums = np.abs(np.stack([whole[0, 2 * SAMPLE_RATE :], part[0]]).astype(float))
        # A note every half second; FluidSynth places it to some milliseconds
        loudest = drums.reshape(2, 4, -1).argmax(axis=2) / SAMPLE_RATE
        np.testing.assert_allclose(loudest[0], loudest[1], atol=0.01)
        # What was played before the excerpt rings on
        assert drums[1, :200].max() > 0.0

    def test_stretch_changes_pitch_and_length(self, song: Path) -> None:
        takes = [Take(start=0.0, seconds=4.0, stretch=s) for s in (1.0, 1.05)]
        plain, fast = (render_stems(song, take, SOUNDFONTS) for take in takes)
        assert fast.shape[1] == pytest.approx(plain.shape[1] / 1.05, abs=2)

        def peak(samples: np.ndarray) -> float:
            power = np.abs(np.fft.rfft(samples[:SAMPLE_RATE].astype(float)))
            return float(power.argmax())

        assert peak(fast[3]) / peak(plain[3]) == pytest.approx(1.05, abs=0.01)

    def test_volume_that_was_set_before_holds(self, tmp_path: Path) -> None:
        from symusic import ControlChange

        peaks = []
        for value in (127, 40):
            part = track("bass", 33, 40, n=12)
            part.controls.append(ControlChange(0.0, 7, value, "second"))
            path = write_song(tmp_path / f"{value}.mid", [part])
            stems = render_stems(path, Take(start=3.0, seconds=1.0), SOUNDFONTS)
            peaks.append(float(np.abs(stems[1]).max()))
        assert peaks[1] < 0.3 * peaks[0]

    def test_random_take_is_within_the_song(self) -> None:
        assert 0 <= random_stems(100.0, 30.0, 2, np.random.default_rng(3)).start <= 70
        assert random_stems(5.0, 30.0, 1, np.random.default_rng(3)).seconds == 5.0

    def test_damaged_files(self, song: Path, tmp_path: Path) -> None:
        (tmp_path / "text.mid").write_text("no MIDI")
        with pytest.raises(InvalidDataError, match=r"text\.mid is not a readable MIDI file"):
            midi_seconds(tmp_path / "text.mid")
        with pytest.raises(InvalidDataError, match="has no notes"):
            midi_seconds(write_song(tmp_path / "empty.mid", [track(n=0)]))


def pieces(rng: np.random.Generator, seconds: float = 2.0) -> list[np.ndarray]:
    """Three pieces of music with a sine of its own for each source."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    frequencies = 10 ** rng.uniform(2, 3.5, (3, 4, 1))
    return [(0.3 * np.sin(2 * np.pi * f * t)).astype(np.float16) for f in frequencies]


class TestExamples:
    def test_reproducible(self, rng: np.random.Generator) -> None:
        music = pieces(rng)
        first, second = (example(music, 4096, np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert first.shape == (4, 4096)
        assert first.dtype == np.float32

    def test_gains_and_silences(self, rng: np.random.Generator) -> None:
        music = pieces(rng)
        peaks = np.array([np.abs(example(music, 4096, rng)).max(axis=1) for _ in range(200)])
        assert 0.05 < (peaks < 1e-4).mean() < 0.16
        sounding = peaks[peaks > 1e-4]
        assert sounding.min() > 0.03
        assert sounding.max() < 0.8

    def test_sources_of_several_pieces_meet(self) -> None:
        music = [np.full((4, 100), k + 1, np.float16) for k in range(50)]
        rng = np.random.default_rng(0)
        apart = 0
        for _ in range(50):
            stems = np.abs(example(music, 100, rng))
            apart += np.ptp(stems[stems.max(axis=1) > 0].mean(axis=1)) > 5
        assert apart > 10


def small() -> Any:
    from demucs.demucs import Demucs

    torch.manual_seed(0)
    sizes = {"audio_channels": 1, "channels": 8, "depth": 3, "dconv_mode": 0}
    return Demucs(list(SOURCES), **sizes, resample=False)


OPTIONS = SeparatorOptions(epochs=2, patience=2, batch_size=2, steps=2, window=4096)
CPU = torch.device("cpu")


class TestTraining:
    def test_pieces_shorter_than_a_window(self, rng: np.random.Generator) -> None:
        with pytest.raises(InvalidDataError, match="no training piece has 4096 samples"):
            train_separator(small(), [np.zeros((4, 100))], [], OPTIONS, seed=0, device=CPU)

    def test_recipe_stores_weights_and_how_they_were_trained(
        self, song: Path, tmp_path: Path
    ) -> None:
        jobs = [(song, Take(start=0.0, seconds=2.0))]
        changes: dict[str, Any] = {"network": small, "options": OPTIONS}
        recipe = replace(study.SEPARATOR, jobs=lambda *_: (jobs, jobs), **changes)
        facts = recipe(tmp_path / "weights.pt", SOUNDFONTS, 0)
        digest = soundfont_digests(SOUNDFONTS, "")[0]
        assert facts["soundfonts"] == f"{SOUNDFONTS[0].name} {digest}"
        assert (facts["excerpts"], facts["hours"], facts["epochs"]) == ("1", "0.0", "2")
        assert float(facts["validation_si_sdr"]) < 60
        stored = torch.load(tmp_path / "weights.pt", weights_only=True)
        assert stored["metadata"] == facts
        assert stored["tensors"].keys() == small().state_dict().keys()

    @pytest.mark.slow
    def test_learns_bands_by_heart(self) -> None:
        """Noise below and above 1 kHz: a few steps tell it apart."""
        from scipy.signal import butter, sosfilt

        rng = np.random.default_rng(0)
        noise = rng.normal(0, 0.2, (2, 5 * SAMPLE_RATE))
        stems = np.zeros((4, noise.shape[1]), np.float16)
        for row, kind in ((0, "highpass"), (1, "lowpass")):
            stems[row] = sosfilt(butter(6, 1000, kind, fs=SAMPLE_RATE, output="sos"), noise[row])
        sizes: dict[str, Any] = {"epochs": 4, "patience": 4, "batch_size": 4, "steps": 60}
        options = SeparatorOptions(**sizes, window=8192, learning_rate=1e-2)
        history = train_separator(small(), [stems], [stems], options, seed=0, device=CPU)
        assert history.epochs[history.best_epoch]["valid_accuracy"] > 12


class TestData:
    def test_songs_are_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MER_DATA", str(tmp_path))
        with pytest.raises(MissingDataError, match="has 0 readable MIDI files; expected the 196"):
            study.songs()

    def test_missing_soundfont(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match=r"none\.sf2 does not exist"):
            train_weights("separator", soundfonts=[tmp_path / "none.sf2"], folder=tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.realdata
    @pytest.mark.usefixtures("data_folder")
    def test_parts_share_no_song(self) -> None:
        parts = study.songs()
        assert [len(part) for part in parts] == [171, 12, 12]
        assert len({path for part in parts for path in part}) == 195

    @pytest.mark.realdata
    @pytest.mark.usefixtures("data_folder")
    def test_jobs_are_reproducible(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(study, "N_COMPOSED", 40)
        train, valid = study.stem_jobs(2, seed=0)
        assert (train, valid) == study.stem_jobs(2, seed=0)
        assert (len(train), len(valid)) == (20 + 2 * 171, 24)
        assert not {path for path, _ in train} & {path for path, _ in valid}
