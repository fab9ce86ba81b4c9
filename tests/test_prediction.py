"""mer predict: embeddings of songs, the heads, the answers, and what is written."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import Run

import mer as package
from mer.audio import waveform
from mer.corpora import load
from mer.errors import (
    DataWarning,
    InvalidDataError,
    MerError,
    MissingDataError,
    ParameterError,
)
from mer.papers.across_corpora import predictions as across_corpora
from mer.papers.across_corpora.scores import scores
from mer.prediction import batch, songs
from mer.prediction.batch import as_collection, find_songs, predictions
from mer.prediction.embeddings import LEVEL, SAMPLE_RATE, Embedded, embed_blocks, level_of
from mer.prediction.heads import RIDGE, Songs, balanced, fit, song_vector, temperature
from mer.prediction.model import SongModel, fit_model, load_model
from mer.prediction.output import COLUMNS, output
from mer.prediction.pages import Pages, page_parts
from mer.prediction.songs import Options, predict_file, segments
from mer.prediction.training import figures, held_out
from mer.separation import SOURCES
from mer.study.study import Study
from mer.systems.musicnn import PATCH, log_bands, network


def noise(seconds: float, seed: int = 0, gain: float = 0.1) -> np.ndarray:
    """Noise whose level changes every second, so that windows differ."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SAMPLE_RATE)
    gains = np.repeat(rng.uniform(0.3, 1, int(seconds) + 1), SAMPLE_RATE)[:n]
    return (gain * gains * rng.normal(size=n)).astype(np.float32)


def music(seconds: float, seed: int = 0, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Chords of decaying tones, two a second."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * rate) + rate)
    time = np.arange(rate) / rate
    for onset in range(0, round(seconds * rate), rate // 2):
        for pitch in rng.choice([48, 52, 55, 60, 64, 67, 72], 3):
            wave = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) * np.exp(-3 * time)
            samples[onset : onset + rate] += 0.1 * wave
    return samples[: round(seconds * rate)].astype(np.float32)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, music(8), SAMPLE_RATE)
    return path


class TestEmbeddings:
    @pytest.mark.parametrize("length", [1000, 16000, 33333])
    def test_how_audio_is_cut_makes_no_difference(self, length: int) -> None:
        samples = noise(34)
        whole = embed_blocks(lambda: [samples])
        cut = embed_blocks(lambda: (samples[s : s + length] for s in range(0, 544000, length)))
        np.testing.assert_allclose(cut.embeddings, whole.embeddings, atol=2e-4)
        assert whole.embeddings.shape == (32, 200)

    def test_windows_are_those_of_the_whole_song(self) -> None:
        samples = noise(34)
        found = embed_blocks(lambda: [samples])
        gain = np.float32(10 ** ((LEVEL - found.level) / 20))
        with torch.inference_mode():
            frames = network().frames(torch.from_numpy(log_bands(samples * gain)[None]))
            # A second is 62.5 frames
            for number, start in ((0, 0), (1, 62), (2, 125), (30, 1875)):
                expected = network().of_frames(frames[..., start : start + PATCH])[0][0]
                np.testing.assert_allclose(found.embeddings[number], expected, atol=2e-4)

    @pytest.mark.parametrize("decibels", [-30.0, 12.0])
    def test_level_makes_no_difference(self, decibels: float) -> None:
        samples = music(8)
        plain = embed_blocks(lambda: [samples])
        moved = embed_blocks(lambda: [samples * np.float32(10 ** (decibels / 20))])
        np.testing.assert_allclose(moved.embeddings, plain.embeddings, atol=2e-3)
        assert moved.level - plain.level == pytest.approx(decibels, abs=1e-3)

    def test_level_of_a_sine(self) -> None:
        sine = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE)
        level, seconds = level_of([sine])
        assert level == pytest.approx(-23.01, abs=0.01)
        assert seconds == 4
        silence = np.zeros(20 * SAMPLE_RATE)
        assert level_of([sine, silence])[0] == pytest.approx(level, abs=0.01)
        assert level_of([silence])[0] == -np.inf

    def test_a_short_song_has_one_window(self) -> None:
        assert embed_blocks(lambda: [music(1.5)]).embeddings.shape == (1, 200)

    def test_silence(self) -> None:
        with pytest.raises(
            InvalidDataError, match=r"silent: no part of its 3\.0 s, .* is above -70 dB"
        ):
            embed_blocks(lambda: [np.zeros(3 * SAMPLE_RATE, np.float32)])


def embedded(values: np.ndarray) -> Embedded:
    """A song with these embeddings, and descriptors that are all 5."""
    tags = np.full((len(values), 50), 0.1, np.float32)
    return Embedded(values, tags, len(values) + 2.0, -20.0, np.full(150, 5.0))


def toy_songs(n: int = 300, seed: int = 0, spread: float = 0.3) -> Songs:
    """Songs whose labels are linear in their features, but for noise; two of each group."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 40))
    va = x[:, :2] * 0.2 + spread * 0.2 * rng.normal(size=(n, 2))
    names = np.array([f"emotify/{k}" for k in range(n)])
    groups = np.array([f"emotify/{k // 2}" for k in range(n)])
    quadrant = 2 * (va[:, 0] > 0) + (va[:, 1] > 0)
    cluster = np.argmax(x[:, 3:8] + spread * rng.normal(size=(n, 5)), axis=1)
    return Songs(names, groups, x, va, 0.2 + 0.1 * va, quadrant.astype(int), cluster)


class TestHeads:
    def test_what_is_linear_is_found(self) -> None:
        train, test = toy_songs(seed=0), toy_songs(seed=1)
        heads = fit(train)
        error = heads.numbers["va"](test.x) - test.va
        assert 1 - error.var(axis=0).max() / test.va.var(axis=0).min() > 0.8
        right = heads.probabilities("cluster", test.x).argmax(axis=1) == test.cluster
        assert right.mean() > 0.7

    def test_held_out_groups_are_unknown(self) -> None:
        """Labels that only the group tells, by a feature of its own, cannot be predicted."""
        rng = np.random.default_rng(0)
        groups = np.repeat(np.arange(60), 2)
        x, labels = np.eye(60)[groups], rng.integers(0, 4, 60)[groups]
        names = np.array([f"emopia/{k}" for k in range(120)])
        nan = np.full((120, 2), np.nan)
        own = Songs(names, groups.astype(str), x, nan, nan, labels, -np.ones(120, int))
        right, tested = [], []
        for model, held in held_out(own, own, "quadrant"):
            rows = np.isin(own.groups, held)
            found = model.heads.probabilities("quadrant", x[rows]).argmax(axis=1)
            right += (found == labels[rows]).tolist()
            tested += held.tolist()
        assert sorted(tested) == sorted(set(own.groups))
        assert np.mean(right) < 0.45

    def test_figures_are_those_of_held_out_groups(self) -> None:
        songs = toy_songs(150)
        random = np.random.default_rng(0).permutation(150)
        told = figures(replace(songs, spread=songs.spread[random]), None).split("; ")
        words = [text.rsplit(" ", 2)[0] for text in told]
        found = [float(text.split()[-2]) for text in told]
        spreads = [f"R2 of the spread of {name}" for name in ("valence", "arousal")]
        kinds = ["accuracy of quadrants", "accuracy of clusters"]
        assert words == ["R2 of valence", "R2 of arousal", *spreads, *kinds]
        assert min(found[:2]) > 0.7
        assert max(found[2:4]) < 0.1
        assert min(found[4:]) > 0.5

    def test_quadrants_are_those_of_the_corpus_that_a_song_is_like(self) -> None:
        """Two corpora that cut at other places, and that a feature tells apart."""
        first, second = toy_songs(seed=0), toy_songs(seed=1)
        first.x[:, 10] += 20
        high = second.va > 0.15
        second = replace(
            second,
            quadrant=(2 * high[:, 0] + high[:, 1]).astype(int),
            ids=np.char.replace(second.ids, "emotify", "emopia"),
            groups=np.char.replace(second.groups, "emotify", "emopia"),
        )
        heads = fit(Songs.of([first, second]), ["quadrant"])
        shares = heads.probabilities("quadrant", first.x)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        one = replace(
            heads,
            weights={"quadrant": heads.weights["quadrant of emotify"]},
            offsets={"quadrant": heads.offsets["quadrant of emotify"]},
        )
        np.testing.assert_allclose(shares, one.probabilities("quadrant", first.x), atol=0.05)
        for part in (first, second):
            found = heads.probabilities("quadrant", part.x).argmax(axis=1)
            assert (found == part.quadrant).mean() > 0.8

    def test_a_class_that_no_song_has_is_not_predicted(self) -> None:
        train = toy_songs()
        heads = fit(train[train.quadrant != 2], ["quadrant"])
        shares = heads.probabilities("quadrant", train.x)
        assert shares.shape == (300, 4)
        assert shares[:, 2].max() < 0.01

    def test_what_is_bent_is_found(self) -> None:
        train, test = toy_songs(seed=0, spread=0), toy_songs(seed=1, spread=0)
        train, test = (
            replace(songs, x=songs.x[:, :3], va=np.abs(songs.x[:, :2])) for songs in (train, test)
        )
        ratings = fit(train, ["va"]).numbers["va"]
        error = ratings(test.x) - test.va
        assert 1 - error.var(axis=0).max() / test.va.var(axis=0).min() > 0.8
        far = ratings(test.x + 100)
        np.testing.assert_allclose(far, np.tile(train.va.mean(axis=0), (300, 1)), atol=1e-6)

    def test_ratings_are_those_of_kernel_ridge_regression(self) -> None:
        from sklearn.kernel_ridge import KernelRidge

        train, test = toy_songs(seed=0), toy_songs(seed=1)
        ratings = fit(train, ["va"]).numbers["va"]
        z, other = ((songs.x - train.x.mean(0)) / train.x.std(0) for songs in (train, test))
        for k, target in enumerate(train.va.T):
            found = []
            for alpha in RIDGE:
                own = KernelRidge(alpha=alpha, kernel="rbf", gamma=ratings.widths[k] / 40)
                found.append(own.fit(z, target - target.mean()).predict(other) + target.mean())
            error = np.abs(np.array(found) - ratings(test.x)[:, k]).max(axis=1)
            assert error.min() < 1e-9

    def test_songs_without_labels_do_not_count(self) -> None:
        train = toy_songs()
        lacking = replace(train, va=np.where(np.arange(300)[:, None] < 100, np.nan, train.va))
        error = fit(lacking, ["va"]).numbers["va"](train.x[:100]) - train.va[:100]
        assert 1 - error.var(axis=0).max() / train.va.var(axis=0).min() > 0.8

    def test_each_corpus_and_group_weighs_the_same(self) -> None:
        groups = np.array(["a", "a", "a", "b", "c", "d"])
        weights = balanced(groups, np.array([*4 * ["one"], *2 * ["two"]]))
        np.testing.assert_allclose(weights, 6 * np.array([1 / 12] * 3 + [1 / 4] * 3))

    def test_temperature(self) -> None:
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(4000, 4))
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        target = np.array([rng.choice(4, p=p) for p in shares])
        assert temperature(3 * logits, target, np.ones(4000)) == pytest.approx(3, rel=0.1)


@pytest.fixture(scope="module")
def model() -> SongModel:
    return fit_model(toy_songs())


class TestModel:
    def test_intervals_hold_nine_of_ten_songs(self, model: SongModel) -> None:
        held = []
        for seed in range(1, 6):
            test = toy_songs(seed=seed)
            error = np.abs(model.heads.numbers["va"](test.x) - test.va)
            held.append(error <= model.heads.numbers["va"].half_widths)
        assert np.concatenate(held).mean(axis=0) == pytest.approx([0.9, 0.9], abs=0.04)

    def test_far_songs_are_outside_and_their_intervals_wider(self, model: SongModel) -> None:
        test = toy_songs(seed=1)
        distance, nearest, least = model.distances(np.concatenate([test.x, 8 + test.x]))
        assert (distance[:300] > 1).mean() < 0.1
        assert (least <= distance).all()
        assert (distance[300:] > 1).all()
        assert nearest.max() < len(model.names)
        widths = model.intervals(8 + test.x)
        half_widths = model.heads.numbers["va"].half_widths
        assert (widths >= half_widths).all()
        assert widths.max() <= 4 * half_widths.max() + 1e-9

    def test_nearest_of_a_training_song_is_itself(self, model: SongModel) -> None:
        nearest = model.distances(toy_songs().x[:20])[1]
        assert nearest[:, 0].tolist() == list(range(20))

    def test_the_packaged_one(self) -> None:
        model = load_model()
        assert model.heads.mean.shape == (350,)
        assert len(model.names) == len(model.points)
        assert {name.split("/")[0] for name in model.names} == {"emotify", "mirex_mood", "emopia"}
        assert "CC BY-NC-SA" in model.facts["licence"]

    def test_its_figures_are_those_of_the_page(self) -> None:
        study = Study({"profile": "cpu", "compute": False})
        scored = scores(across_corpora.predictions(study, across_corpora.BOTH))
        scored = scored[scored["sound"].eq(across_corpora.OWN)]
        known = scored.set_index(["corpus", "head", "measure"])["value"]
        known = known[~known.index.duplicated()]  # those trained on other corpora come later
        told = load_model().facts["held out"]
        for name in ("valence", "arousal"):
            assert f"R2 of {name} {known['emotify', 'va', f'R2 {name}']:.2f} (emotify)" in told
        for corpus, head in (("emopia", "quadrant"), ("mirex_mood", "cluster")):
            assert f"{head}s {known[corpus, head, 'accuracy']:.2f} ({corpus})" in told


class TestAnswers:
    def test_of_a_file(self, song: Path) -> None:
        found = predict_file(song, Options(segments=3))
        assert -1 <= found["valence_low"] <= found["valence"] <= found["valence_high"] <= 1
        for prefix, n in (("q", 4), ("cluster_", 5)):
            assert sum(found[f"{prefix}{k + 1}"] for k in range(n)) == pytest.approx(1, abs=1e-3)
        assert found["seconds"] == 8
        assert [s["start"] for s in found["segments"]] == [0, 1, 2, 3, 4, 5]
        assert found["segments"][-1]["end"] == 8
        assert len(found["nearest"]) == 5
        json.dumps(found)

    def test_segments_are_windows_of_the_song(self) -> None:
        rng = np.random.default_rng(0)
        own = embedded(rng.random((28, 200), np.float32))
        single, whole = segments(own, load_model(), 3), segments(own, load_model(), 30)
        assert len(single) == 28
        assert len(whole) == 1
        for name in ("valence", "arousal"):
            mean = np.mean([part[name] for part in single])
            assert mean == pytest.approx(whole[0][name], abs=2e-3)

    @pytest.mark.parametrize("seconds", [2.9, 301, -1])
    def test_lengths_of_segments(self, seconds: float) -> None:
        with pytest.raises(ParameterError, match=r"segments is .*; expected seconds from 3 to 300"):
            Options(segments=seconds)

    def test_level_codec_and_cut_hardly_matter(self, tmp_path: Path) -> None:
        clip = next(iter(load("composed_band", size=24, duration=20)))
        samples, found = waveform(clip, 22050), {}
        for name, part, form in (
            ("plain.wav", samples, {}),
            ("soft.wav", 0.2 * samples, {}),
            ("cut.wav", samples[22050:], {}),
            ("coded.mp3", samples, {"format": "MP3", "compression_level": 0.5}),
        ):
            soundfile.write(tmp_path / name, part, 22050, **form)
            found[name] = predict_file(tmp_path / name)
        for name, answer in found.items():
            near = 0.01 if name == "soft.wav" else 0.05
            for key in ("valence", "arousal"):
                assert answer[key] == pytest.approx(found["plain.wav"][key], abs=near), name

    def test_a_midi_file_is_played(self, tmp_path: Path) -> None:
        from mer.transcription import write_midi

        notes = np.array([[k / 2, k / 2 + 0.5, 60 + k, 80] for k in range(8)])
        write_midi(notes, tmp_path / "scale.mid")
        assert predict_file(tmp_path / "scale.mid")["sound"] == "synthesizer"

    def test_silent_and_short_files(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "silent.wav", np.zeros(SAMPLE_RATE * 2), SAMPLE_RATE)
        soundfile.write(tmp_path / "short.wav", music(1)[:8000], SAMPLE_RATE)
        with pytest.raises(InvalidDataError, match=r"silent\.wav: it is silent"):
            predict_file(tmp_path / "silent.wav")
        with pytest.raises(InvalidDataError, match=r"short\.wav: it lasts 0\.50 s; expected 1 s"):
            predict_file(tmp_path / "short.wav")

    def test_notes_of_a_midi_file(self, tmp_path: Path) -> None:
        from mer.transcription import write_midi

        notes = np.array([[k / 2, k / 2 + 0.5, 60 + k % 12, 80] for k in range(20)])
        write_midi(notes, tmp_path / "scale.mid")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = predict_file(tmp_path / "scale.mid", Options(notes=True, sources=True))
        assert any("has no sources to separate" in str(w.message) for w in caught)
        assert "sources" not in found
        own = found["notes"]
        assert own["n_notes"] == 20
        np.testing.assert_allclose(own["notes"], notes, atol=2e-3)
        for k in range(1, 5):
            assert own[f"both_q{k}"] == pytest.approx((own[f"q{k}"] + found[f"q{k}"]) / 2, abs=1e-3)

    def test_files_that_must_be_converted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        (tmp_path / "phone.m4a").write_bytes(b"\0\0\0 ftypM4A " + bytes(1000))
        with pytest.raises(InvalidDataError, match=r"phone\.m4a .* convert it to WAV or FLAC"):
            predict_file(tmp_path / "phone.m4a")

    def test_sources(self, song: Path) -> None:
        found = predict_file(song, Options(sources=True))["sources"]
        assert list(found) == list(SOURCES)
        for values in found.values():
            assert set(values) == {
                *("level", "valence", "arousal", "valence_without", "arousal_without")
            }


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that were really looked at; answers are those of a quick substitute."""
    asked: list[str] = []

    def answer(path: Path, options: Options) -> dict[str, Any]:
        asked.append(path.name)
        if path.stat().st_size == 0:
            raise InvalidDataError(f"{path} is empty")
        x = np.random.default_rng(path.stat().st_size).normal(size=350)
        found = {"seconds": 1.0, "level": -20.0, "sound": "recording", "model": "toy"}
        found |= {"distance": 0.5, "outside": False, "nearest": ["a/1"], "tags": {"pop": 0.5}}
        found |= {"in_training": False, "standardised_by": "training songs"}
        model = load_model()
        x = model.heads.mean + model.heads.scale * x
        found |= songs.answers(x, model) | {"features": x.tolist()}
        if options.segments:
            found["segments"] = [{"start": 0, "end": 3, "valence": 0.1, "arousal": 0.2}]
        return found

    monkeypatch.setattr(batch, "predict_file", answer)
    return asked


def files(folder: Path, n: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{k:02d}.wav" for k in range(n)]
    for k, path in enumerate(paths):
        path.write_bytes(bytes(k + 1))
    return paths


class TestFolders:
    def test_files_are_found_once_and_in_order(self, tmp_path: Path) -> None:
        for name in ("b.wav", "a.MP3", "sub/c.mid", "note.txt", ".hidden.wav", ".git/d.wav"):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        found = find_songs([tmp_path / "b.wav", tmp_path, tmp_path / "note.txt"])
        names = [str(path.relative_to(tmp_path)) for path in found]
        assert names == ["b.wav", "a.MP3", "sub/c.mid", "note.txt"]

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match=r"none\.wav does not exist"):
            find_songs([tmp_path / "none.wav"])
        with pytest.raises(MissingDataError, match=r"has no audio or MIDI files; expected \.wav"):
            find_songs([tmp_path])


def write(found: Iterable[dict[str, Any]], folder: Path, *kinds: str) -> list[Path]:
    with output(folder, kinds) as made:
        for song in found:
            made.add(song)
    return made.written


def write_pages(found: Iterable[dict[str, Any]], folder: Path) -> list[Path]:
    pages = Pages(folder / "pages")
    for song in found:
        pages.write(song)
    return pages.written


class TestBatch:
    def test_what_is_there_is_not_made_again(self, tmp_path: Path, calls: list[str]) -> None:
        paths, kept = files(tmp_path / "in", 3), tmp_path / "answers"
        kept.mkdir()
        ask = partial(predictions, paths, Options(), n_jobs=1, folder=kept)
        first = list(ask())
        assert calls == ["00.wav", "01.wav", "02.wav"]
        assert list(ask()) == first
        assert len(calls) == 3
        paths[1].write_bytes(b"other")
        damaged = next(kept.glob("02-*.json"))
        damaged.write_text(damaged.read_text().replace("pop", "rock"))
        list(ask())
        assert calls[3:] == ["01.wav", "02.wav"]
        list(predictions(paths, Options(segments=3), n_jobs=1, folder=kept))
        assert len(calls) == 8

    def test_an_interrupted_call_keeps_what_it_has(
        self, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths, kept = files(tmp_path / "in", 3), tmp_path / "answers"
        kept.mkdir()
        found: Iterator[Any] = predictions(paths, Options(), n_jobs=1, folder=kept)
        next(found)
        del found
        list(predictions(paths, Options(), n_jobs=1, folder=kept))
        assert calls == ["00.wav", "01.wav", "02.wav"]

    def test_a_bad_file_is_a_row_of_errors(self, tmp_path: Path, calls: list[str]) -> None:
        paths = files(tmp_path / "in", 3)
        paths[1].write_bytes(b"")
        found = list(predictions(paths, Options(segments=3), n_jobs=1))
        written = write(found, tmp_path)
        assert [path.name for path in written] == ["songs.csv", "errors.csv", "segments.csv"]
        table = pd.read_csv(tmp_path / "songs.csv")
        assert list(table.columns) == list(COLUMNS)
        assert table["file"].tolist() == [str(paths[0]), str(paths[2])]
        np.testing.assert_allclose(table["valence_1_9"], 5 + 4 * table["valence"], atol=1e-3)
        errors = pd.read_csv(tmp_path / "errors.csv")
        assert errors["error"].tolist() == [f"{paths[1]} is empty"]
        write([found[0]], tmp_path)
        assert not (tmp_path / "errors.csv").exists()

    def test_parts(self, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mer.prediction.output.PART", 4)
        paths = files(tmp_path / "in", 9)
        paths[1].write_bytes(b"")
        odd = paths[2].with_name("caf\udce9.wav")
        paths[2].rename(odd)
        paths[2] = odd
        found = list(predictions(paths, Options(segments=3), n_jobs=1))
        with output(tmp_path, ["parquet", "json"]) as made:
            for number, song in enumerate(found, 1):
                made.add(song)
                assert len(list(tmp_path.glob("**/part-*.parquet"))) >= number // 4
                assert not (tmp_path / "songs.csv").exists()
                assert not (tmp_path / "songs.parquet").exists()
        parquet = [f"{name}.parquet" for name in ("songs", "errors", "segments")]
        tables = ["songs.csv", "errors.csv", "segments.csv", *parquet, "songs.json"]
        assert [path.name for path in made.written] == tables
        for name in ("songs", "errors", "segments"):
            one = pd.read_csv(tmp_path / f"{name}.csv", na_filter=False)
            other = pd.read_parquet(tmp_path / f"{name}.parquet")
            pd.testing.assert_frame_equal(one, other, check_dtype=False)
        assert len(pd.read_csv(tmp_path / "songs.csv")) == 8
        told = json.loads((tmp_path / "songs.json").read_text(encoding="utf-8"))
        assert [song["file"] for song in told["songs"]] == [s["file"] for s in found if "tags" in s]
        assert told["errors"] == [{"file": str(paths[1]), "error": f"{paths[1]} is empty"}]
        parts = sorted(path.name for path in (tmp_path / "songs.parquet").iterdir())
        assert parts == [f"part-{k:05}.parquet" for k in range(3)]
        with pytest.warns(DataWarning, match="had 7 songs .*, and songs.json of that call as they"):
            write(found[:1], tmp_path, "parquet")
        assert len(pd.read_parquet(tmp_path / "songs.parquet")) == 1
        assert not (tmp_path / "errors.parquet").exists()

    def test_other_files_stay(self, tmp_path: Path, calls: list[str]) -> None:
        (tmp_path / "notes.csv").write_text("my notes\n")
        (tmp_path / "errors.parquet").mkdir()
        (tmp_path / "errors.parquet" / "part-0000-spark.parquet").touch()
        found = list(predictions(files(tmp_path / "in", 2), Options(), n_jobs=1))
        write(found, tmp_path, "parquet")
        assert (tmp_path / "notes.csv").read_text() == "my notes\n"
        assert (tmp_path / "errors.parquet" / "part-0000-spark.parquet").exists()

    @pytest.mark.parametrize(
        ("name", "what"),
        [("errors.csv", "folder"), ("songs.json", "folder"), ("notes.parquet", "file")],
    )
    def test_something_in_the_way(self, tmp_path: Path, name: str, what: str) -> None:
        if what == "folder":
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).touch()
        with pytest.raises(ParameterError, match=f"{name} is a {what}; expected"):
            write([], tmp_path)

    def test_odd_names(self, tmp_path: Path, calls: list[str]) -> None:
        names = ["a\rb.wav", "NA", "null", 'c\nd".wav', "caf\udce9.wav"]
        first = next(predictions(files(tmp_path / "in", 1), Options(), n_jobs=1))
        found = [{**first, "file": name} for name in names]
        written = ["a\\rb.wav", "NA", "null", 'c\nd".wav', "caf\\udce9.wav"]
        with warnings.catch_warnings(action="error"):
            for _ in range(2):
                write(found, tmp_path, "parquet")
        table = pd.read_csv(tmp_path / "songs.csv", keep_default_na=False)
        assert table["file"].tolist() == written
        assert pd.read_parquet(tmp_path / "songs.parquet")["file"].tolist() == written

    def test_nothing_is_half_written(self, tmp_path: Path, calls: list[str]) -> None:
        found = list(predictions(files(tmp_path / "in", 3), Options(segments=3), n_jobs=1))
        write(found[:2], tmp_path, "json")
        before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
        bad = {**found[2], "features": object(), "seconds": object()}
        with pytest.raises(TypeError):
            write([found[2], bad], tmp_path, "json")
        assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before

    def test_parquet_takes_a_library(
        self, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mer.prediction.output.find_spec", lambda name: None)
        with pytest.raises(MissingDataError, match="pip install pyarrow"):
            write([], tmp_path, "parquet")

    def test_a_file_that_may_not_be_read(self, tmp_path: Path, calls: list[str]) -> None:
        (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
        (found,) = predictions([tmp_path / "link.wav"], Options())
        assert "cannot be read" in found["error"]

    def test_collection(self, tmp_path: Path, calls: list[str]) -> None:
        paths = files(tmp_path / "in", 25)
        found = list(predictions(paths, Options(), n_jobs=1))
        model = load_model()
        shifted = [
            {
                **song,
                "features": (1.5 * np.array(song["features"]) + 0.1 * model.heads.scale).tolist(),
            }
            for song in found
        ]
        plain, moved = as_collection(found), as_collection(shifted)
        for one, other in zip(plain, moved, strict=True):
            assert one["arousal"] == pytest.approx(other["arousal"], abs=1e-3)
            assert one["standardised_by"] == "25 songs"
        with pytest.raises(ParameterError, match="has 19 songs with an answer; expected 20"):
            as_collection(found[:19])

    def test_python(self, tmp_path: Path, calls: list[str]) -> None:
        paths = files(tmp_path / "in", 3)
        paths[0].write_bytes(b"")
        found = package.predict(tmp_path / "in", segments=3, n_jobs=1)
        assert found["file"].tolist() == [str(path) for path in paths]
        assert found["error"].isna().tolist() == [False, True, True]
        assert found["segments"][1][0]["valence"] == 0.1
        assert found["outside"].tolist() == [pd.NA, False, False]
        assert found["quadrant"].dtype == "Int64"


class TestOddFiles:
    @pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
    def test_a_name_that_is_no_utf8(self, mer: Run, tmp_path: Path, calls: list[str]) -> None:
        (path,) = files(tmp_path / "in", 1)
        odd = path.with_name("caf\udce9.wav")
        path.rename(odd)
        out = tmp_path / "out"
        for _ in range(2):
            assert mer("predict", tmp_path / "in", "-o", out, "--format", "json")[0] == 0
        assert len(calls) == 1
        assert len(pd.read_csv(out / "songs.csv")) == 1
        assert json.loads((out / "songs.json").read_text())["songs"][0]["file"] == str(odd)

    def test_an_answer_has_the_path_of_this_call(
        self, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (path,) = files(tmp_path / "in", 1)
        kept = tmp_path / "kept"
        kept.mkdir()
        monkeypatch.chdir(tmp_path / "in")
        list(predictions([Path(path.name)], Options(), folder=kept))
        (found,) = predictions([path], Options(), folder=kept)
        assert len(calls) == 1
        assert found["file"] == str(path)

    def test_links_to_themselves_and_pipes(self, tmp_path: Path) -> None:
        (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
        os.mkfifo(tmp_path / "pipe.wav")
        found = {Path(s["file"]).name: s for s in predictions(find_songs([tmp_path]), Options())}
        assert "pipe.wav is no regular file" in found["pipe.wav"]["error"]
        assert "loop.wav" in found["loop.wav"]["error"]

    def test_a_page_that_fails_does_not_stop_the_others(
        self, tmp_path: Path, song: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = {**predict_file(song, Options(segments=5)), "file": str(song)}
        gone = {**found, "file": str(tmp_path / "gone.wav")}
        with pytest.warns(DataWarning, match=r"gone\.wav has no page: .* does not exist"):
            (page,) = write_pages([gone, found], tmp_path)
        assert page.name == "song.html"

    def test_far_beyond_full_scale(self, tmp_path: Path) -> None:
        path = tmp_path / "loud.wav"
        soundfile.write(path, 900 * np.clip(20 * music(4), -1, 1), SAMPLE_RATE, subtype="FLOAT")
        found = {**predict_file(path, Options(segments=3)), "file": str(path)}
        assert len(write_pages([found], tmp_path)) == 1

    def test_a_killed_process(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch, "_kept", _end)
        with pytest.raises(MerError, match=r"ended from outside, .* fewer --jobs"):
            list(predictions(files(tmp_path / "in", 2), Options(), n_jobs=2))


def _end(path: Path, **_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_on_a_cluster(tmp_path: Path, scheduler: str) -> None:
    from dask.distributed import Client

    for k in range(3):
        soundfile.write(tmp_path / f"{k}.wav", music(4, seed=k), SAMPLE_RATE)
    paths = find_songs([tmp_path])
    (tmp_path / "kept").mkdir()
    with Client(scheduler) as client:
        client.wait_for_workers(2, timeout=60)
    there = list(predictions(paths, Options(), cluster=scheduler, folder=tmp_path / "kept"))
    assert len(list((tmp_path / "kept").iterdir())) == 3
    for one, other in zip(there, predictions(paths, Options(), n_jobs=1), strict=True):
        assert one["file"] == other["file"]
        assert one["valence"] == pytest.approx(other["valence"], abs=1e-3)


class TestPython:
    @pytest.mark.parametrize("paths", [None, 5])
    def test_paths(self, paths: Any) -> None:
        with pytest.raises(ParameterError, match=rf"paths is {paths}; expected a path or several"):
            package.predict(paths)

    def test_numbers(self, song: Path) -> None:
        with pytest.raises(ParameterError, match="segments is '5'; expected seconds"):
            package.predict(song, segments="5")  # type: ignore[arg-type]
        with pytest.raises(ParameterError, match="n_jobs is 0; expected 1 or more"):
            package.predict(song, n_jobs=0)

    def test_collections(self, tmp_path: Path, calls: list[str]) -> None:
        paths = files(tmp_path / "in", 19)
        with pytest.raises(ParameterError, match="has 19 files; expected 20 or more"):
            package.predict(paths, collection=True)
        assert not calls
        same = tmp_path / "same"
        same.mkdir()
        for k in range(20):
            (same / f"{k}.wav").write_bytes(b"same")
        with pytest.raises(ParameterError, match="20 songs of the collection are all alike"):
            package.predict(same, collection=True, n_jobs=1)


class TestCommand:
    def test_tables_json_and_pages(self, mer: Run, tmp_path: Path, song: Path) -> None:
        (tmp_path / "bad.wav").write_bytes(b"")
        out = tmp_path / "out"
        options = ("-o", out, "--format", "json", "--format", "html")
        status, text, err = mer("predict", tmp_path, *options)
        assert status == 0
        assert "bad.wav is empty" in err
        assert "song.wav" in text
        names = {path.name for path in out.iterdir()}
        assert names == {
            *("answers", "pages", "songs.csv", "errors.csv", "segments.csv", "songs.json")
        }
        page = (out / "pages" / "song.html").read_text()
        assert "http" not in page.replace("http://www.w3.org", "")
        assert "$" not in page.split("<script")[0]
        assert json.loads((out / "songs.json").read_text())["songs"][0]["file"] == str(song)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "no file is named; expected audio files, MIDI files or folders"),
            (("none.wav",), "none.wav does not exist; expected a file or a folder"),
            (("song.wav", "--format", "json"), "--format json needs a folder to write in"),
            (("song.wav", "--notes"), "--notes needs a folder to write in: add -o FOLDER"),
            (
                ("song.wav", "--segments", "1", "-o", "out"),
                "segments is 1.0; expected seconds from 3 to 300",
            ),
            (("song.wav", "-o", "song.wav"), "output is song.wav, a file; expected a folder"),
            (("song.wav", "--collection"), "the collection has 1 files; expected 20 or more"),
        ],
    )
    def test_mistakes(
        self, mer: Run, song: Path, arguments: tuple[str, ...], said: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(song.parent)
        status, out, err = mer("predict", *arguments)
        assert (status, out) == (1, "")
        assert err.startswith(f"mer: {said}")
        assert err.count("\n") == 1

    def test_songs_that_leave_the_tables(self, mer: Run, tmp_path: Path, calls: list[str]) -> None:
        paths, out = files(tmp_path / "in", 3), tmp_path / "out"
        assert mer("predict", *paths, "-o", out, "--jobs", "1")[0] == 0
        err = mer("predict", paths[0], "-o", out, "--jobs", "1")[2]
        assert "songs.csv had 2 songs of an earlier call that are not in this one" in err
        assert len(pd.read_csv(out / "songs.csv")) == 1
        assert mer("predict", *paths, "-o", out, "--jobs", "1")[2].count("earlier") == 0
        assert len(calls) == 3

    def test_a_training_song_is_told(self, tmp_path: Path) -> None:
        model = load_model()
        heads = model.heads
        x = heads.mean + heads.scale * (np.linalg.pinv(model.basis.T) @ model.points[7])
        assert model.distances(x[None])[2][0] < 1e-6
        assert model.distances(heads.mean[None])[2][0] > 0.05

    def test_about(self, mer: Run) -> None:
        status, out, _ = mer("predict", "--about")
        assert status == 0
        assert out.startswith("model: song-emotion")
        assert "licence: CC BY-NC-SA 4.0" in out


class TestPages:
    def test_names_that_look_alike_get_pages_of_their_own(self, tmp_path: Path, song: Path) -> None:
        found = {**predict_file(song, Options(segments=5)), "file": str(song)}
        other = song.with_name("song.flac")
        soundfile.write(other, music(8), SAMPLE_RATE)
        pages = write_pages([found, {**found, "file": str(other)}], tmp_path)
        assert [page.name for page in pages] == ["song.html", "song-2.html"]

    def test_what_comes_from_outside_is_escaped(self, tmp_path: Path, song: Path) -> None:
        path = tmp_path / "<script>alert(1)<"
        os.rename(song, path)
        found = {**predict_file(path, Options(segments=5)), "file": str(path)}
        parts = page_parts({**found, "warnings": ["<b>"]})
        assert "<script" not in "".join(parts.values())
        assert "&lt;b&gt;" in parts["notes"]


def test_song_vector_is_mean_and_descriptors() -> None:
    values = np.array([[1.0] * 200, [3.0] * 200], np.float32)
    found = song_vector(embedded(values))
    assert found[:200].tolist() == [2.0] * 200
    assert found[200:].tolist() == [5.0] * 150
