"""Music in other sounds, descriptors that survive them, and systems that train on varied sound."""

from __future__ import annotations

import resource
import signal
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from rows import fitted, row, small

from mer import rendering, sounds
from mer.clips import Clip, Corpus
from mer.corpora import load
from mer.errors import DataWarning, InvalidDataError, MissingDataError, ParameterError
from mer.features import spectral
from mer.features.descriptors import acoustic_descriptors, robust_descriptors
from mer.papers import emopia
from mer.papers.emopia.systems import SpectrogramNetwork
from mer.papers.robustness import lineup, report, scoring
from mer.papers.zhao2023.systems import relative_mfcc_25
from mer.papers.zhu2023 import systems as zhu2023
from mer.papers.zhu2023.systems import SymbolicAcoustic
from mer.sounds import SAMPLE_RATE, SOUNDS, Variant
from mer.study import plots
from mer.study.settings import Settings
from mer.study.specs import plan
from mer.study.study import Study
from mer.systems.base import Context
from mer.systems.classical import DescriptorClassifier, DescriptorSVR, PitchClassClassifier
from mer.systems.clip_descriptors import pitch_class_shares, robust, symbolic
from mer.systems.transcribed import relative_descriptors, transcribed
from mer.tasks import get_task

NAN = float("nan")
SECONDS = 2.0
SMALL: dict[str, Any] = {"channels": 2, "window": 16, "epochs": 2}


def tone(hertz: float, level: float = 0.1) -> np.ndarray:
    time = np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=float))))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """A few composed clips."""
    return load("composed", size=24, duration=8.0)


@pytest.fixture(scope="module")
def music(corpus: Corpus) -> list[np.ndarray]:
    """Clips as loud as EMOPIA as it is rendered: -34 dB."""
    found = [Variant().samples(clip) for clip in corpus]
    return [(y * 10 ** ((-34 - decibels(y)) / 20)).astype(np.float32) for y in found]


@pytest.fixture
def one_soundfont(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are played by the soundfont that comes with a package, which is always there."""
    monkeypatch.setattr(sounds, "TRAINING_SOUNDFONTS", ("TimGM6mb",))


class TestVariants:
    def test_nothing_changes_by_default(self) -> None:
        np.testing.assert_array_equal(Variant().applied(tone(440)), tone(440))

    def test_gain(self) -> None:
        np.testing.assert_allclose(
            Variant(gain_db=-20).applied(tone(440)), tone(440) / 10, rtol=1e-5
        )

    @pytest.mark.parametrize(
        ("hertz", "least", "most"), [(1000, -0.1, 0.1), (5000, -3.2, -2.8), (8000, -90, -40)]
    )
    def test_lowpass(self, hertz: float, least: float, most: float) -> None:
        given = tone(hertz)
        changed = Variant(lowpass_hz=5000).applied(given)[SAMPLE_RATE // 2 :]
        assert least < decibels(changed) - decibels(given) < most

    def test_equaliser_raises_one_octave(self) -> None:
        gains = tuple(6.0 * (k == 4) for k in range(8))
        variant = Variant(equaliser_db=gains)
        found = [decibels(variant.applied(tone(f))) - decibels(tone(f)) for f in (250, 1000, 4000)]
        np.testing.assert_allclose(found, [0, 6, 0], atol=0.1)

    def test_noise_has_its_level_and_seed(self) -> None:
        silence = np.zeros(4 * SAMPLE_RATE, np.float32)
        first, again, other = (Variant(noise_db=-50, seed=s).applied(silence) for s in (0, 0, 1))
        assert decibels(first) == pytest.approx(-50, abs=0.1)
        np.testing.assert_array_equal(first, again)
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.02

    def test_a_room_adds_what_it_says_and_decays(self) -> None:
        click = np.zeros(2 * SAMPLE_RATE, np.float32)
        click[0] = 0.5
        found = Variant(reverberation_seconds=1.0, reverberation_db=-6).applied(click)
        assert found[0] == pytest.approx(0.5, rel=1e-4)
        energy = np.sum(np.square(found[1:], dtype=float)) / 0.25
        assert 10 * np.log10(energy) == pytest.approx(-6, abs=0.5)
        early, late = (decibels(found[s : s + 2000]) for s in (1000, 1000 + SAMPLE_RATE // 2))
        assert early - late == pytest.approx(30, abs=2)

    @pytest.mark.parametrize("name", scoring.CODECS)
    def test_codecs_keep_length_and_most_of_the_sound(self, name: str) -> None:
        variant = SOUNDS[name]
        if variant.lacks:
            pytest.skip(variant.lacks)
        given = tone(440) + tone(880)
        found = variant.applied(given)
        assert found.shape == given.shape
        middle = slice(SAMPLE_RATE // 2, -SAMPLE_RATE // 2)
        assert decibels(given[middle] - found[middle]) < decibels(given[middle]) - 15

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"soundfont": "Salamander"}, "soundfont is 'Salamander'; expected one of TimGM6mb"),
            ({"equaliser_db": (1.0,)}, "equaliser_db has 1 values; expected 8"),
            ({"lowpass_hz": 11025.0}, "lowpass_hz is 11025.0; expected a number from 0 to 11024"),
            ({"codec": "Opus", "kbits": 2.0}, "kbits is 2.0; expected a number from 6 to 256"),
            ({"reverberation_seconds": -1.0}, "reverberation_seconds is -1.0; expected a number"),
            (
                {"reverberation_seconds": 1e-6},
                "seconds is 1e-06; expected 0 for none",
            ),
            ({"lowpass_hz": 1e-6}, "lowpass_hz is 1e-06; expected 0 for none, or 20 or more"),
            ({"gain_db": NAN}, "gain_db is nan; expected a number from -60 to 60"),
            ({"gain_db": 400.0}, "gain_db is 400.0; expected a number"),
            ({"gain_db": "3"}, "gain_db is '3'; expected a number"),
            ({"gain_db": None}, "gain_db is None; expected a number"),
            ({"noise_db": 60.0}, "noise_db is 60.0; expected a number from -140 to 0"),
            ({"equaliser_db": (1000.0,) * 8}, "equaliser_db is 1000.0; expected a number"),
            ({"reverb": 7.0}, "reverb is 7.0; expected a number from 0 to 1"),
            ({"codec": "AAC"}, "codec is 'AAC'; expected one of Opus, MP3"),
            ({"codec": "MP3", "kbits": 8.0}, "kbits is 8.0; expected a number from 16 to 160"),
            ({"seed": -1}, "seed is -1; expected a whole number from 0"),
        ],
    )
    def test_wrong_values(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            Variant(**options)

    def test_numbers_of_numpy_are_those_of_python(self) -> None:
        given = {"gain_db": np.float32(3), "equaliser_db": np.ones(8), "seed": np.int64(3)}
        found: Any = Variant(**given)  # type: ignore[arg-type]
        assert found == Variant(gain_db=3.0, equaliser_db=(1.0,) * 8, seed=3)
        assert [type(v) for v in (found.gain_db, found.equaliser_db[0], found.seed)] == [
            *(float, float, int)
        ]

    def test_random_ones_are_valid_and_finite(self) -> None:
        found = [sounds.random_variant(np.random.default_rng(seed)) for seed in range(60)]
        assert len({repr(variant) for variant in found}) == 60
        assert {variant.codec for variant in found} == {None, "Opus", "MP3"}
        for variant in found[:12]:
            assert np.isfinite(variant.applied(tone(440))).all()


class TestSoundfonts:
    def test_missing_one_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rendering, "_FOLDERS", ("/nowhere",))
        with pytest.raises(MissingDataError, match=r"FluidR3.*install the Debian package fluid-"):
            rendering.find_soundfont("FluidR3")
        assert "FluidR3_GM.sf2" in Variant(soundfont="FluidR3").lacks
        assert "MuseScore" in sounds.lacking_for_copies(2)
        assert not sounds.lacking_for_copies(0)
        system = DescriptorClassifier(features=(robust,), sound_copies=1)
        assert "musescore-general-soundfont-small" in system.lacks

    def test_missing_codec_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(soundfile, "available_subtypes", lambda kind: {})
        assert SOUNDS["Opus 32 kbit/s"].lacks == "libsndfile lacks Opus"
        with pytest.raises(MissingDataError, match="cannot write Opus"):
            SOUNDS["Opus 32 kbit/s"].applied(tone(440))
        assert list(lineup.left_out(SOUNDS)) >= list(scoring.CODECS)

    @pytest.mark.parametrize("content", [b"", b"RIFF\x00\x00\x00\x00sfbk", b"x" * 5000])
    def test_damaged_one(
        self, content: bytes, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "FluidR3_GM.sf2").write_bytes(content)
        monkeypatch.setattr(rendering, "_FOLDERS", (str(tmp_path),))
        with pytest.raises(InvalidDataError):
            sounds.sound_file(corpus[0], Variant(soundfont="FluidR3"))

    def test_silent_one(self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Variant, "samples", lambda self, clip: np.zeros(100, np.float32))
        with pytest.raises(InvalidDataError, match="silent in this sound; expected a recording"):
            sounds.sound_file(corpus[0], Variant(gain_db=-3.5))
        message = "silent when soundfont TimGM6mb plays it; expected notes"
        with pytest.raises(InvalidDataError, match=message):
            sounds.sound_file(corpus[0], Variant(soundfont="TimGM6mb"))

    def test_unknown_one(self) -> None:
        with pytest.raises(ParameterError, match="soundfont is 'x'; expected one of TimGM6mb"):
            rendering.find_soundfont("x")

    def test_another_version_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "FluidR3_GM.sf2").write_bytes(b"another")
        monkeypatch.setattr(rendering, "_FOLDERS", (str(tmp_path),))
        with pytest.warns(DataWarning, match="another version than that of the stored results"):
            rendering.find_soundfont("FluidR3")

    def test_a_recording_has_no_notes_to_play(self, corpus: Corpus) -> None:
        clip = replace(corpus[0], midi=None)
        message = "has no MIDI file, which soundfont TimGM6mb would play"
        with pytest.raises(MissingDataError, match=message):
            sounds.sound_file(clip, SOUNDS["reverb"])

    def test_played_by_the_soundfont_of_training_it_is_as_rendered(self, corpus: Corpus) -> None:
        clip = replace(corpus[0], audio=None)
        np.testing.assert_allclose(
            Variant(soundfont="TimGM6mb").samples(clip), Variant().samples(clip), atol=2**-15
        )


class TestCorpora:
    def test_labels_stay_and_files_are_made_once(self, corpus: Corpus) -> None:
        found = sounds.in_sound(corpus, SOUNDS["12 dB quieter"])
        assert found.ids == corpus.ids
        assert [clip.labels for clip in found] == [clip.labels for clip in corpus]
        first = found[0].audio
        assert first is not None
        changed = first.stat().st_mtime_ns
        assert sounds.in_sound(corpus, SOUNDS["12 dB quieter"])[0].audio == first
        assert first.stat().st_mtime_ns == changed
        assert sounds.in_sound(corpus, Variant()) is corpus

    def test_samples_beyond_full_scale_are_kept(self, corpus: Corpus) -> None:
        path = sounds.sound_file(corpus[0], Variant(gain_db=40.0))
        assert np.abs(soundfile.read(path)[0]).max() > 1

    def test_copies(self, corpus: Corpus, one_soundfont: None) -> None:
        found = sounds.with_varied_copies(corpus, 2)
        assert len(found) == 3 * len(corpus)
        assert len(set(found.ids)) == len(found)
        assert found.groups == corpus.groups * 3
        assert list(found)[: len(corpus)] == list(corpus)
        again = sounds.with_varied_copies(corpus, 2)
        assert [clip.audio for clip in again] == [clip.audio for clip in found]
        assert sounds.with_varied_copies(corpus, 0) is corpus

    def test_soundfonts_take_turns_where_there_is_no_recording(self, corpus: Corpus) -> None:
        notes, recorded = (replace(corpus[0], audio=audio) for audio in (None, Path("x.wav")))
        names = {sounds.training_variant(notes, copy).soundfont for copy in range(2)}
        assert names == {*sounds.TRAINING_SOUNDFONTS}
        assert lineup.UNSEEN not in names
        assert sounds.training_variant(recorded, 0).soundfont is None

    def test_a_full_disk_leaves_no_half_file(self, corpus: Corpus) -> None:
        variant = Variant(gain_db=-7.25)
        whole = len(variant.samples(corpus[1]))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            for limit in (1_000, 7_400):
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
                with pytest.raises(OSError, match="File too large"):
                    sounds.sound_file(corpus[1], variant)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert soundfile.info(sounds.sound_file(corpus[1], variant)).frames == whole

    @pytest.mark.parametrize("damage", [b"", b"half", b"fLaC" + bytes(100)])
    def test_a_damaged_file_is_made_again(self, corpus: Corpus, damage: bytes) -> None:
        variant = Variant(gain_db=-7.5)
        path = sounds.sound_file(corpus[1], variant)
        content = path.read_bytes()
        path.write_bytes(damage)
        assert sounds.sound_file(corpus[1], variant) == path
        assert path.read_bytes() == content

    def test_soft_sound_keeps_its_precision(self, corpus: Corpus) -> None:
        variant = Variant(gain_db=-60.0)
        expected = variant.samples(corpus[1])
        found = soundfile.read(sounds.sound_file(corpus[1], variant), dtype="float32")[0]
        np.testing.assert_array_equal(found, expected)

    def test_copies_that_are_no_number(self, corpus: Corpus) -> None:
        for copies in (-1, 1.5, "2"):
            with pytest.raises(ParameterError, match=f"copies is {copies!r}; expected a whole"):
                sounds.with_varied_copies(corpus, copies)  # type: ignore[arg-type]

    def test_transcriptions_take_the_place_of_notes(
        self, corpus: Corpus, perfect_transcriber: None
    ) -> None:
        few = corpus.select(corpus.ids[:2])
        found = transcribed(few)
        for clip, given in zip(found, few, strict=True):
            assert clip.midi != given.midi
            assert clip.midi is not None
            assert stat.S_ISREG(clip.midi.stat().st_mode)
            assert clip.audio == given.audio
            content = clip.midi.read_bytes()
            clip.midi.write_bytes(content[:20])
        again = transcribed(few)
        assert [clip.midi for clip in again] == [clip.midi for clip in found]
        assert len(content) > 20
        assert again[1].midi is not None
        assert again[1].midi.read_bytes() == content


class TestRobustDescriptors:
    @pytest.mark.parametrize(
        "name", ["12 dB louder", "12 dB quieter", "low-pass 5 kHz", "noise at -50 dB"]
    )
    def test_no_descriptor_moves_by_half_a_deviation(
        self, music: list[np.ndarray], name: str
    ) -> None:
        self._check(music, SOUNDS[name])

    @pytest.mark.parametrize("name", scoring.CODECS)
    def test_nor_through_a_codec(self, music: list[np.ndarray], name: str) -> None:
        if SOUNDS[name].lacks:
            pytest.skip(SOUNDS[name].lacks)
        self._check(music, SOUNDS[name])

    @staticmethod
    def _check(music: list[np.ndarray], variant: Variant) -> None:
        home, away = (
            pd.DataFrame([robust_descriptors(v.applied(y)) for y in music])
            for v in (Variant(), variant)
        )
        shift = (away - home).mean().abs() / home.std().clip(lower=1e-6)
        assert shift.max() < 0.5, shift.nlargest(3)

    def test_the_plain_ones_do_move(self, music: list[np.ndarray]) -> None:
        home, away = (
            pd.DataFrame([acoustic_descriptors(v.applied(y)) for y in music[:8]])
            for v in (Variant(), SOUNDS["noise at -50 dB"])
        )
        assert ((away - home).mean().abs() / home.std()).max() > 2

    def test_a_gain_changes_nothing(self, music: list[np.ndarray]) -> None:
        softer = (0.125 * music[0]).astype(np.float32)
        first, second = (list(robust_descriptors(y).values()) for y in (music[0], softer))
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("samples", [np.zeros(22050), np.zeros(10), np.ones(3000) * 1e-9])
    def test_silence_and_short_audio(self, samples: np.ndarray) -> None:
        found = robust_descriptors(samples.astype(np.float32))
        assert len(found) == 150
        assert np.isfinite(list(found.values())).all()

    def test_low_sample_rate(self) -> None:
        with pytest.raises(ParameterError, match="need more than 12800 Hz"):
            robust_descriptors(tone(440), 8000)

    def test_relative_bands_do_not_hear_the_level(self) -> None:
        given = tone(440) + tone(3000, 0.01)
        first, second = (spectral.relative_log_mel(g * given, SAMPLE_RATE) for g in (1.0, 0.05))
        np.testing.assert_allclose(first, second, atol=1e-3)
        assert first.max() == 0
        assert first.min() == -40


class TestRelativeDescriptors:
    NOTES = np.asarray([[0, 0.5, 60, 40], [0.5, 1, 64, 60], [1, 1.5, 67, 90], [1.5, 3, 72, 50]])

    def test_velocities_are_relative(self) -> None:
        other = self.NOTES * [1, 1, 1, 0.5] + [0, 0, 0, 30]
        first, second = (relative_descriptors(n.astype(float)) for n in (self.NOTES, other))
        assert first == pytest.approx(second)
        assert not {"n_notes", "rhythm_duration", "dynamics_mean", "dynamics_sd"} & {*first}

    def test_without_notes_or_differences(self) -> None:
        for notes in (np.zeros((0, 4)), self.NOTES * [1, 1, 1, 0] + [0, 0, 0, 64]):
            assert np.isfinite(list(relative_descriptors(notes).values())).all()


class TestRelativeInputs:
    def test_networks_of_notes_do_not_hear_velocities_of_the_level(
        self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = np.asarray([[0, 0.5, 60, 40], [0.5, 1, 64, 60], [1, 1.5, 67, 45], [1, 2, 70, 100]])
        options: dict[str, Any] = {"branches": ("symbolic",), "pretraining": "none", "width": 8}
        system = SymbolicAcoustic(**options, relative_velocities=True)
        assert "relative_velocities" not in SymbolicAcoustic(**options).parameters
        found = []
        for factor in (1.0, 0.5, 1e-6):
            played = given * [1, 1, 1, factor]
            monkeypatch.setattr(zhu2023, "transcribed_notes", lambda clip, n=played, **_: n)
            found.append(system.item(corpus[0]).events)
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])

    def test_notes_are_those_of_the_transcriber_that_is_named(
        self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []

        def notes(clip: Any, *, name: str, **_: Any) -> np.ndarray:
            asked.append(name)
            return np.asarray([[0, 0.5, 60, 40]])

        monkeypatch.setattr(zhu2023, "transcribed_notes", notes)
        options: dict[str, Any] = {"branches": ("symbolic",), "pretraining": "none", "width": 8}
        SymbolicAcoustic(**options).item(corpus[0])
        SymbolicAcoustic(**options, transcriber="onsets-frames-varied").item(corpus[0])
        assert asked == ["onsets-frames", "onsets-frames-varied"]
        assert "transcriber" not in SymbolicAcoustic(**options).parameters
        with pytest.raises(ParameterError, match="unknown transcriber 'ear'; the transcribers are"):
            SymbolicAcoustic(**options, transcriber="ear")

    def test_cepstral_coefficients_do_not_hear_the_level(self) -> None:
        frames = {"n_fft": 2048, "hop_length": 512}
        given = tone(440) + tone(3000, 0.02)
        first, second = (relative_mfcc_25(g * given, SAMPLE_RATE, **frames) for g in (1, 0.1))
        assert first.shape[0] == 25
        np.testing.assert_allclose(first, second, atol=1e-2)


class TestSystems:
    @pytest.mark.parametrize(
        ("name", "task"), [("Segment inheritance", "A"), ("2-Stage", "A"), ("C2D-M", "VA")]
    )
    def test_networks_of_segments_and_sources_take_copies(
        self,
        name: str,
        task: str,
        corpus: Corpus,
        one_soundfont: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        made: list[int] = []
        make = sounds.with_varied_copies

        def counted(given: Corpus, copies: int) -> Corpus:
            found = make(given, copies)
            made.append(len(found) // len(given))
            return found

        monkeypatch.setattr(sounds, "with_varied_copies", counted)
        parts = (corpus.select(corpus.ids[:8]), corpus.select(corpus.ids[8:12]), corpus)
        system = small(name, sound_copies=1)
        answered = fitted(system, parts, task).predict(parts[1])
        assert made == [2, 2]
        assert list(answered["id"]) == parts[1].ids
        other = fitted(small(name), parts, task).predict(parts[1])
        assert not answered.drop(columns="id").equals(other.drop(columns="id"))

    def test_true_stems_have_no_other_sound(self) -> None:
        with pytest.raises(ParameterError, match="sound_copies is 1, but separator is 'true'"):
            row("C2D-V", separator="true", sound_copies=1)

    def test_keys_of_stored_runs_stay(self) -> None:
        plain = DescriptorClassifier(features=(robust,))
        assert not {"sound_copies", "by_collection"} & {*plain.parameters}
        varied = replace(plain, sound_copies=2)
        facts = {"corpus": "c", "fingerprint": "f", "split": "s", "folds": [0], "seeds": [0]}
        specs = plan({"plain": plain, "varied": varied}, ["4Q"], **facts)  # type: ignore[arg-type]
        assert ["sounds" in spec.revisions for spec in specs] == [False, True]

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda: DescriptorClassifier(features=(robust,), sound_copies=-1), "expected 0 or"),
            (
                lambda: DescriptorClassifier(features=(symbolic,), sound_copies=1),
                r"features are of MIDI alone \(symbolic\)",
            ),
            (
                lambda: replace(emopia.SYMBOLIC["LSTM-Attn + REMI"], sound_copies=1),  # type: ignore[call-arg]
                "sound_copies is 1, but this system reads notes alone",
            ),
            (lambda: SpectrogramNetwork(sound_copies=-1), "sound_copies is -1; expected 0 or more"),
            (lambda: PitchClassClassifier(by_collection=True), "by_collection is no option of P"),
        ],
    )
    def test_wrong_options(self, build: Any, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            build()

    @pytest.mark.usefixtures("one_soundfont")
    def test_classifiers_are_fitted_on_clips_and_copies(
        self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[int] = []

        def values(self: DescriptorClassifier, given: Corpus) -> np.ndarray:
            seen.append(len(given))
            return np.random.default_rng(len(seen)).normal(size=(len(given), 3))

        monkeypatch.setattr(DescriptorClassifier, "values", values)
        system = DescriptorClassifier(features=(robust,), sound_copies=2)
        system.fit(corpus, corpus.select(corpus.ids[:8]), Context(get_task("4Q")))
        assert seen == [3 * len(corpus), 3 * 8]

    @pytest.mark.usefixtures("one_soundfont")
    def test_networks_draw_one_sound_of_each_clip_in_each_epoch(
        self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn: list[list[int]] = []
        plain = SpectrogramNetwork._drawn

        def spy(self: SpectrogramNetwork, items: Any, rng: np.random.Generator) -> Any:
            found = plain(self, items, rng)
            places = {id(item): place for place, item in enumerate(items)}
            drawn.append([places[id(item)] for item in found])
            return found

        monkeypatch.setattr(SpectrogramNetwork, "_drawn", spy)
        system = SpectrogramNetwork(sound_copies=2, **SMALL)
        system.fit(corpus, corpus.select(corpus.ids[:6]), Context(get_task("A")))
        n = len(corpus)
        assert len(drawn) == 2
        for epoch in drawn:
            assert [place % n for place in epoch] == list(range(n))
            assert {place // n for place in epoch} == {0, 1, 2}
        assert drawn[0] != drawn[1]

    @pytest.mark.parametrize("task", ["4Q", "VA"])
    def test_a_collection_is_standardised_by_itself(self, corpus: Corpus, task: str) -> None:
        def scaled(clip: Clip) -> np.ndarray:
            return 5 * pitch_class_shares(clip) + np.arange(12)

        kind: Any = DescriptorClassifier if task == "4Q" else DescriptorSVR
        system = kind(features=(pitch_class_shares,), by_collection=True)
        fitted = system.fit(corpus, corpus, Context(get_task(task)))
        other = replace(fitted, system=replace(system, features=(scaled,)))
        found, known = (f.predict(corpus).drop(columns="id") for f in (other, fitted))
        np.testing.assert_allclose(found, known)
        with pytest.raises(ParameterError, match="by_collection takes 20 clips or more; found 19"):
            fitted.predict(corpus.select(corpus.ids[:19]))


class TestPage:
    ANSWERS = pd.DataFrame(
        {
            "system": np.repeat(["Audio-SVM", "Robust-SVM", "Robust-SVM, varied sound"], 40),
            "sound": np.tile(np.repeat(["as rendered", "FluidR3"], 20), 3),
            "id": np.tile([f"c{n}" for n in range(20)], 6),
            "group": np.tile([f"g{n // 2}" for n in range(20)], 6),
            "target": np.tile([0, 1, 2, 3], 30),
            "predicted": [
                *np.tile([0, 1, 2, 0], 5),
                *np.zeros(20, int),
                *np.tile([0, 1, 1, 3], 5),
                *np.tile([0, 1, 1, 1], 5),
                *np.tile([0, 1, 2, 0], 10),
            ],
        }
    )

    def test_scores_against_counting(self) -> None:
        found: Any = scoring.scores(self.ANSWERS).set_index(["system", "sound"])
        plain = found.loc["Audio-SVM", "FluidR3"]
        assert (plain["accuracy"], plain["commonest"]) == (0.25, 1.0)
        assert plain["difference"] == pytest.approx(-0.5)
        assert plain["difference_low"] <= -0.5 <= plain["difference_high"]
        assert found.loc[("Audio-SVM", "as rendered"), "difference"] == 0

    def test_losses_and_summary(self) -> None:
        scored = scoring.scores(self.ANSWERS)
        found = scoring.losses(scored)
        assert found["unseen"].to_dict() == pytest.approx(
            {"Audio-SVM": -0.5, "Robust-SVM": -0.25, "Robust-SVM, varied sound": 0.0}
        )
        assert found.loc["Audio-SVM", "worst"] == "FluidR3"
        text = report.summary(scored)
        assert "Audio-SVM .750 to .250 (FluidR3)" in text
        line = "lose at most .05 in a soundfont that was in no part of their training: "
        assert f"{line}Robust-SVM, varied sound." in text
        assert "codec" not in text
        worse = scored.assign(difference=-0.4)
        assert f"{line}none (in cross-validation" in report.summary(scored, worse)
        assert (
            "Varied sound changes Robust-SVM by +.000 in the sound of training and from .500 to"
            in text
        )
        assert "were not run in other sounds" in report.worth(scored)
        assert report.summary(scored.iloc[:0]) == "No system was run in other sounds."

    def test_clips_are_paired_by_name(self) -> None:
        home = self.ANSWERS["sound"].eq("as rendered")
        turned = pd.concat([self.ANSWERS[home], self.ANSWERS[~home][::-1]])
        columns = ["system", "sound"]
        first, second = (
            scoring.scores(given).sort_values(columns, ignore_index=True)
            for given in (self.ANSWERS, turned)
        )
        pd.testing.assert_frame_equal(first, second)

    def test_nothing_to_score(self) -> None:
        empty = scoring.scores(self.ANSWERS.iloc[:0])
        assert empty.empty
        assert report.accuracy_table(empty).empty
        assert "Nothing to show" in report.accuracy_figure(empty).axes[0].texts[0].get_text()
        assert scoring.losses(empty).empty
        assert report.difference_table(empty, ["Audio-SVM"]).empty

    def test_heat_maps_are_described(self) -> None:
        scored = scoring.scores(self.ANSWERS)
        text = plots.description(report.accuracy_figure(scored))
        assert text.startswith(
            "Accuracy of systems in sounds. A row for each system, a column for each sound"
        )
        assert "FluidR3: .250 to .750" in text
        shares = plots.description(report.commonest_figure(scored))
        assert shares.startswith("Share of the most frequent prediction.")

    def test_tables(self) -> None:
        scored = scoring.scores(self.ANSWERS)
        assert list(report.accuracy_table(scored)) == ["as rendered", "FluidR3"]
        table: Any = report.difference_table(scored, ["Audio-SVM"])
        assert list(table.index) == ["Audio-SVM"]
        assert table.loc["Audio-SVM", "sound"] == "FluidR3"
        assert table.loc["Audio-SVM", "difference"].startswith("-.500 [")
        overview = report.difference_overview(scored, scored["system"])
        assert overview.loc["Audio-SVM", "FluidR3"] == "-.500\N{NO-BREAK SPACE}*"
        clear = scored["difference_high"].lt(0) | scored["difference_low"].gt(0)
        assert overview.map(lambda text: text.endswith("*")).to_numpy().sum() == clear.sum() > 0
        moved = pd.DataFrame(
            {
                "descriptors": "robust",
                "sound": ["as rendered"] * 2 + ["FluidR3"] * 2,
                "name": ["a", "b"] * 2,
                "shift": [0.0, 0.0, -3.3, 0.5],
            }
        )
        told: Any = report.moved_table(moved).loc["FluidR3"]
        assert told.to_list() == ["50%", "a (-3.3)"]

    def test_players_say_what_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        shown: list[Any] = []
        monkeypatch.setattr("IPython.display.display", lambda *parts: shown.extend(parts))
        monkeypatch.setattr(rendering, "_FOLDERS", ("/nowhere",))
        monkeypatch.setattr(report.players, "sound", lambda *given, **options: "player")
        study = Study({"profile": "smoke", "corpus": "composed"}, "classes")
        report.show_players(study, ["as rendered", "FluidR3"])
        texts = [getattr(part, "data", part) for part in shown]
        assert texts[:2] == ["**as rendered**", "player"]
        assert texts[2].startswith("**FluidR3**: soundfont FluidR3 (FluidR3_GM.sf2) is in none of")
        monkeypatch.setenv("MER_DATA", str(tmp_path))
        shown.clear()
        report.show_players(Study({"profile": "cpu", "compute": False}, "classes"), [])
        assert [part.data for part in shown] == [
            "This is a composed clip, since EMOPIA is not on this machine."
        ]

    def test_the_transcriber_has_heard_fluid(self) -> None:
        assert lineup.unseen(lineup.TRANSCRIBED) == "MuseScore General"
        assert lineup.unseen(lineup.TRANSCRIBED_VARIED) == "FluidR3"
        assert lineup.unseen(lineup.RELATIVE_NOTES_VARIED) == "FluidR3"
        assert lineup.unseen("Robust-SVM, varied sound") == "FluidR3"

    def test_unknown_sound(self) -> None:
        with pytest.raises(ParameterError, match="unknown sound 'vinyl'; the sounds are: as rend"):
            Settings(sounds=["vinyl"])


@pytest.mark.realdata
class TestStoredAnswers:
    def test_they_are_shown_without_soundfonts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rendering, "_FOLDERS", ("/nowhere",))
        study = Study({"profile": "cpu", "compute": False}, "classes")
        found = scoring.predictions(study, lineup.specs(study), list(SOUNDS))
        assert set(found["sound"]) == {*SOUNDS}
        assert "Robust-SVM, varied sound" in set(found["system"])
        assert (found.groupby(["system", "sound"]).size() == 86).all()
        text = report.missing_text(study, lineup.specs(study), found, list(SOUNDS))
        assert text == "Tested on 86 clips of EMOPIA."
        in_cv = scoring.predictions(study, lineup.cv_specs(study), lineup.CV_SOUNDS)
        assert set(in_cv["system"]) == {*lineup.IN_CV}
        assert (in_cv.groupby(["system", "sound"])["id"].nunique() == 1078).all()

    def test_goals_on_the_unseen_soundfont_and_codecs(self) -> None:
        study = Study({"profile": "cpu", "compute": False}, "classes")
        answers = scoring.predictions(study, lineup.specs(study), list(SOUNDS))
        found = scoring.losses(scoring.scores(answers))
        network = lineup.varied(lineup.RELATIVE)
        for name in (lineup.TRANSCRIBED, network):
            assert found.loc[name, ["unseen", "codecs"]].min() >= -report.MARGIN
