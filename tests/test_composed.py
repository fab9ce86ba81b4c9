"""The embedded corpus: the music, its labels, its files and its splits."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import combinations, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer.clips import Clip, Corpus, quadrant_of
from mer.composing import METERS, emotion, harmony
from mer.composing.planning import phrase_lengths, plan_clip
from mer.composing.score import Composition, compose, describe, perform_plan, to_midi
from mer.composing.stems import mixture, stems
from mer.corpora.composed import load, load_trajectories, quadrant_shares
from mer.errors import MissingDataError
from mer.rendering import render_midi
from mer.segments import segment_starts, segment_times

PARTS = {
    "right hand": ((57, 96), (71, 4962)),
    "left hand": ((21, 67), (105, 5238)),
    "vocals": ((52, 91), (52, 3538)),
    "bass": ((26, 57), (27, 1021)),
    "drums": ((35, 81), (139, 5673)),
    "keys": ((27, 72), (119, 6166)),
    "pad": ((48, 76), (48, 2902)),
}
"""Lowest and highest pitch of a part; number of notes and sum of pitches in the first clip."""

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None, reason="FluidSynth is not installed"
)


@pytest.fixture(scope="module")
def piano() -> Corpus:
    return load()


@pytest.fixture(scope="module")
def bands() -> list[Composition]:
    return [compose(0, index, "band", 30.0, False) for index in range(40)]


@pytest.fixture(scope="module")
def changing() -> Corpus:
    return load(size=40, arrangement="mixed", trajectories=True)


def track_notes(clip: Clip) -> dict[str, np.ndarray]:
    from symusic import Score

    assert clip.midi is not None
    score: Any = Score(clip.midi)
    columns = ("time", "duration", "pitch", "velocity")
    tables = {track.name: track.notes.numpy() for track in score.tracks}
    return {
        name: np.stack([t[c].astype(int) for c in columns], axis=1) for name, t in tables.items()
    }


def test_counts_and_balance(piano: Corpus) -> None:
    piano.check()
    counts = piano.counts()
    assert counts["clips"] == counts["midi"] == 160
    assert counts["groups"] == 64
    assert all(30 <= counts[f"Q{quadrant}"] <= 50 for quadrant in (1, 2, 3, 4))
    labels = piano.to_frame()
    assert (labels[["valence", "arousal"]].abs() >= 0.05).all(axis=None)
    quadrants = map(quadrant_of, labels["valence"], labels["arousal"])
    assert labels["quadrant"].tolist() == list(quadrants)


def test_a_small_corpus_holds_every_quadrant() -> None:
    for seed in range(3):
        small = load(size=4, seed=seed)
        assert {clip.labels.quadrant for clip in small} == {1, 2, 3, 4}
        assert len(set(small.groups)) == 4


def test_clip_does_not_depend_on_size(piano: Corpus) -> None:
    assert list(load(size=7)) == list(piano[:7])


def test_seeds_and_arrangements_differ() -> None:
    files = {
        to_midi(compose(seed, 3, arrangement, 30.0, changes))
        for seed in (0, 1)
        for arrangement in ("piano", "band")
        for changes in (False, True)
    }
    assert len(files) == 8


def test_the_music_of_this_revision() -> None:
    # where these change, mer.composing.score.REVISION must be raised
    found = {
        part.name: (len(part.notes), int(part.notes[:, 2].sum()))
        for arrangement in ("piano", "band")
        for part in compose(0, 0, arrangement, 30.0, False).parts
    }
    assert found == {name: golden for name, (_, golden) in PARTS.items()}


def test_clips_of_a_song_mostly_agree(piano: Corpus) -> None:
    songs: dict[str, list[Clip]] = defaultdict(list)
    for clip in piano:
        songs[clip.group].append(clip)
    pairs = [pair for members in songs.values() for pair in combinations(members, 2)]
    agreement = np.mean([a.labels.quadrant == b.labels.quadrant for a, b in pairs])
    assert 0.5 < agreement < 0.8
    for members in songs.values():
        assert 1 <= len(members) <= 4
        assert len({clip.meta["key"].split()[0] for clip in members}) == 1
        assert len({clip.meta["meter"] for clip in members}) == 1


def test_music_is_varied(piano: Corpus) -> None:
    assert {clip.meta["meter"] for clip in piano} == {"4/4", "3/4", "6/8"}
    assert len({clip.meta["key"] for clip in piano}) >= 20
    qualities = {label.split(":")[1] for clip in piano for _, label in clip.meta["chords"]}
    assert qualities == set(harmony.INTERVALS)


def test_cues_follow_emotion(piano: Corpus) -> None:
    valence = np.array([clip.labels.valence for clip in piano])
    arousal = np.array([clip.labels.arousal for clip in piano])
    notes = [np.concatenate(list(track_notes(clip).values())) for clip in piano]
    loudness = [table[:, 3].mean() for table in notes]
    rate = [len(table) for table in notes]
    pitch = [table[:, 2].mean() for table in notes]
    tempo = [clip.meta["tempo"] for clip in piano]
    for cue in (loudness, rate, tempo):
        assert 0.3 < np.corrcoef(cue, arousal)[0, 1] < 0.9
    assert np.corrcoef(pitch, valence)[0, 1] > 0.15
    major = np.array(["major" in clip.meta["key"] for clip in piano])
    assert 0.5 < major[valence > 0].mean() - major[valence < 0].mean() < 0.9


def test_plain_descriptors_are_neither_at_chance_nor_perfect(piano: Corpus) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from mer.features.descriptors import symbolic_descriptors
    from mer.features.notes import read_notes

    features = {
        clip.id: list(symbolic_descriptors(read_notes(clip.midi)).values())
        for clip in piano
        if clip.midi is not None
    }
    quadrant = {clip.id: clip.labels.quadrant for clip in piano}
    right = []
    for fold in piano.split("cv5").folds:
        train = [*fold.train, *fold.valid]
        model = make_pipeline(StandardScaler(), SVC(C=3.0))
        model.fit([features[i] for i in train], [quadrant[i] for i in train])
        predicted = model.predict([features[i] for i in fold.test])
        right += [p == quadrant[i] for p, i in zip(predicted, fold.test, strict=True)]
    assert 0.55 < np.mean(right) < 0.85


def test_splits_keep_songs_together(piano: Corpus) -> None:
    (official,) = piano.split("official").folds
    shares = [len(part) / 160 for part in (official.train, official.valid, official.test)]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.03)
    for name, n_folds in (("cv5", 5), ("cv10", 10), ("nested5x5", 25)):
        folds = piano.split(name).folds
        assert len(folds) == n_folds
        tested = sorted(i for fold in folds for i in fold.test)
        assert tested == sorted(piano.ids * (5 if n_folds == 25 else 1))


def test_files_hold_the_notes_composed() -> None:
    corpus = load(size=6, arrangement="mixed", trajectories=True)
    for index, clip in enumerate(corpus):
        composition = compose(0, index, "mixed", 30.0, True)
        read = track_notes(clip)
        assert list(read) == [part.name for part in composition.parts]
        for part in composition.parts:
            found = read[part.name]
            order = np.lexsort((found[:, 2], found[:, 0]))
            assert np.array_equal(found[order], part.notes)


def test_times_are_those_of_another_reader() -> None:
    import pretty_midi

    clip = load(size=1, arrangement="band")[0]
    composition = compose(0, 0, "band", 30.0, False)
    read = pretty_midi.PrettyMIDI(str(clip.midi))
    for part, instrument in zip(composition.parts, read.instruments, strict=True):
        found = (instrument.name, instrument.program, instrument.is_drum)
        assert found == (part.name, part.program, part.is_drum)
        expected = np.sort(composition.tempo_map.seconds(part.notes[:, 0]))
        starts = np.sort([note.start for note in instrument.notes])
        np.testing.assert_allclose(starts, expected, atol=1e-6)
    assert read.time_signature_changes[0].numerator == int(clip.meta["meter"].split("/")[0])
    names = {pretty_midi.key_number_to_key_name(k.key_number) for k in read.key_signature_changes}
    assert names == {clip.meta["key"].replace("major", "Major")}


def test_notes_are_playable(piano: Corpus, bands: list[Composition]) -> None:
    tables = [item for clip in piano for item in track_notes(clip).items()]
    tables += [(part.name, part.notes) for band in bands for part in band.parts]
    for name, notes in tables:
        onset, duration, pitch, velocity = notes.T
        lowest, highest = PARTS[name][0]
        assert lowest <= pitch.min() <= pitch.max() <= highest
        assert 1 <= velocity.min() <= velocity.max() <= 127
        assert duration.min() >= 28
        order = np.lexsort((onset, pitch))
        free = onset[order][1:] - (onset + duration)[order][:-1]
        assert (free[np.diff(pitch[order]) == 0] > 0).all()


def test_a_hand_has_five_fingers_and_melodies_repeat(piano: Corpus) -> None:
    for clip in piano:
        onset, _, pitch, _ = track_notes(clip)["right hand"].T
        assert np.bincount(np.searchsorted(np.unique(onset // 60), onset // 60)).max() <= 4
        assert 4 <= len(np.unique(pitch)) <= 30


@pytest.mark.parametrize("duration", [5, 12.5, 30.0, 61.0])
def test_duration(duration: float) -> None:
    for changes in (False, True) if duration >= 12 else (False,):
        for index in range(8):
            composition = compose(1, index, "mixed", duration, changes)
            assert describe(composition)["duration"] == pytest.approx(duration, abs=1e-3)
            ends = max(int((p.notes[:, 0] + p.notes[:, 1]).max()) for p in composition.parts)
            assert duration * 0.9 < composition.tempo_map.seconds(ends) <= duration + 1e-3


def test_meta_is_json_and_tells_the_band(bands: list[Composition]) -> None:
    for band in bands:
        meta = describe(band)
        assert json.loads(json.dumps(meta)) == meta
        assert {part["source"] for part in meta["parts"]} == {"vocals", "bass", "drums", "other"}
        assert "stands in" in meta["vocals"]
        assert set(meta["carrier"]) == {"valence", "arousal"}


def test_the_carrier_follows_arousal_most() -> None:
    steps = []
    for index in range(20):
        plan = plan_clip(0, index, "band", 8.0, False)
        loudness = {}
        for carrier in ("drums", "bass"):
            song = replace(plan.song, carrier={"valence": "other", "arousal": carrier})
            band = perform_plan(replace(plan, song=song), 8.0, np.random.default_rng(index))
            drums = next(part for part in band.parts if part.is_drum)
            loudness[carrier] = float(drums.notes[:, 3].mean())
        towards = np.sign(plan.phrases[0].arousal) * plan.expression.sign["loudness"]
        steps.append(towards * (loudness["drums"] - loudness["bass"]))
    assert np.mean(steps) > 3


def test_trajectories(changing: Corpus) -> None:
    for index, clip in enumerate(changing):
        meta = clip.meta
        segments = meta["segments"]
        assert 2 <= len(segments) <= 4
        assert meta["change_times"] == [segment["start"] for segment in segments[1:]]
        assert segments[0]["start"] == 0
        assert segments[-1]["end"] == meta["duration"]
        for before, after in pairwise(segments):
            assert before["end"] == after["start"]
            assert before["quadrant"] != after["quadrant"]
        lasting: dict[int, float] = defaultdict(float)
        for segment in segments:
            lasting[segment["quadrant"]] += segment["end"] - segment["start"]
        assert clip.labels.quadrant == max(lasting, key=lambda q: lasting[q])
        weights = [segment["end"] - segment["start"] for segment in segments]
        for name in ("valence", "arousal"):
            mean = np.average([segment[name] for segment in segments], weights=weights)
            assert getattr(clip.labels, name) == pytest.approx(mean, abs=2e-4)
        composition = compose(0, index, "mixed", 30.0, True)
        bars = np.array(composition.starts) / composition.plan.song.meter.bar
        assert np.array_equal(bars, np.rint(bars))


def test_music_changes_with_the_emotion() -> None:
    louder: list[float] = []
    calmer: list[float] = []
    for index in range(60):
        composition = compose(2, index, "piano", 30.0, True)
        segments = describe(composition)["segments"]
        notes = np.concatenate([part.notes for part in composition.parts])
        times = composition.tempo_map.seconds(notes[:, 0])
        for before, after in pairwise(segments):
            inside = [notes[(times >= s["start"]) & (times < s["end"])] for s in (before, after)]
            step = inside[1][:, 3].mean() - inside[0][:, 3].mean()
            change = after["arousal"] - before["arousal"]
            (louder if change > 0.5 else calmer if change < -0.5 else []).append(step)
    assert np.mean(louder) > 10
    assert np.mean(calmer) < -10


@needs_fluidsynth
def test_mixture_is_the_sum_of_the_stems() -> None:
    clip = load(size=1, arrangement="band", duration=6.0)[0]
    assert clip.midi is not None
    sources = stems(clip)
    assert set(sources) == {"vocals", "bass", "drums", "other"}
    assert all(np.abs(samples).max() > 0.01 for samples in sources.values())
    np.testing.assert_allclose(mixture(sources), render_midi(clip.midi), atol=1e-5)


@needs_fluidsynth
def test_a_piano_is_all_other() -> None:
    clip = load(size=1, duration=5.0)[0]
    assert clip.midi is not None
    sources = stems(clip)
    assert np.array_equal(sources["other"], render_midi(clip.midi))
    assert not any(sources[name].any() for name in ("vocals", "bass", "drums"))


def test_only_composed_clips_have_stems(piano: Corpus) -> None:
    with pytest.raises(MissingDataError, match="only clips of corpus 'composed'"):
        stems(Clip("a", "b"))
    gone = Clip("a", "b", midi=Path("gone.mid"), meta=piano[0].meta)
    with pytest.raises(MissingDataError, match=r"gone\.mid does not exist"):
        stems(gone)


def test_damaged_file_is_written_again() -> None:
    corpus = load(size=2)
    path = corpus[0].midi
    assert path is not None
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    assert load(size=2).fingerprint == corpus.fingerprint
    assert path.read_bytes() == whole


def fingerprint(size: int) -> str:
    return load(size=size, seed=5).fingerprint


def test_two_processes_write_the_same_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_CACHE", str(tmp_path))
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        found = set(pool.map(fingerprint, [24, 24, 24, 24]))
    assert found == {fingerprint(24)}
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(names) == sorted(f"{clip.id}.mid" for clip in load(size=24, seed=5))


def test_phrases_fill_the_bars() -> None:
    for bars in np.arange(0.3, 40, 0.1):
        lengths = phrase_lengths(float(bars))
        assert abs(sum(lengths) - bars) <= 1.0
        assert lengths == [1] or min(lengths) >= 2


def test_leading_note_over_the_dominant_of_minor() -> None:
    assert harmony.scale_over(harmony.Chord(7, "7"), major=False) == [0, 2, 3, 5, 7, 8, 11]
    assert harmony.scale_over(harmony.Chord(0, "min"), major=False) == [0, 2, 3, 5, 7, 8, 10]


@pytest.mark.parametrize("major", [True, False])
def test_phrases_end_on_their_cadence(major: bool) -> None:
    style = harmony.HarmonicStyle(None, 0.0)
    endings = {"authentic": 0, "half": 7, "deceptive": 9 if major else 8}
    for cadence, root in endings.items():
        rng = np.random.default_rng(3)
        spans = harmony.progression(4, METERS["3/4"], major, cadence, 0.0, style, rng)
        assert spans[-1].chord.root == root
        assert sum(span.length for span in spans) == 12
        assert spans[0].chord.root == 0


def test_voices_move_little() -> None:
    c_major = harmony.voicing([0, 4, 7], 60, None)
    f_major = harmony.voicing([5, 9, 0], 60, c_major)
    assert [pitch % 12 for pitch in f_major].count(0) == 1
    assert np.abs(np.subtract(f_major, c_major)).max() <= 2


def test_rules_at_the_corners() -> None:
    plain = emotion.Expression(dict.fromkeys(emotion.RULES, 0.0), dict.fromkeys(emotion.RULES, 1))
    joy, sadness = plain.cues(1.0, 1.0), plain.cues(-1.0, -1.0)
    for cue in ("tempo", "mode", "register", "loudness", "articulation", "density"):
        assert getattr(joy, cue) > getattr(sadness, cue)
    assert joy.tension < sadness.tension
    neutral = plain.cues(0.0, 0.0)
    assert neutral.tempo == 98.0
    assert neutral.loudness == 72.0


def test_name_of_trajectories() -> None:
    corpora = load_trajectories(size=2), load(size=2, trajectories=True)
    assert [corpus.name for corpus in corpora] == ["composed_trajectories"] * 2
    assert list(corpora[0]) == list(corpora[1])


def test_shares_by_hand() -> None:
    segments = [(0.0, 10.0, 1), (10.0, 16.0, 3), (16.0, 30.0, 1)]
    names = ("start", "end", "quadrant")
    known = [dict(zip(names, segment, strict=True)) for segment in segments]
    clip = Clip("c", "g", meta={"segments": known})
    times = np.array([[0, 5], [8, 12], [9, 17], [14, 19], [29, 31]])
    expected = np.zeros((5, 4))
    expected[:, 0] = [1, 0.5, 0.25, 0.6, 1]
    expected[:, 2] = [0, 0.5, 0.75, 0.4, 0]
    np.testing.assert_allclose(quadrant_shares(clip, times), expected)
    assert quadrant_shares(clip, np.empty((0, 2))).shape == (0, 4)


def test_shares_of_segments(changing: Corpus) -> None:
    for clip in changing:
        times = segment_times(segment_starts(1292, 129, 43), 129)
        shares = quadrant_shares(clip, times)
        assert shares.shape == (28, 4)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)
        held = {segment["quadrant"] for segment in clip.meta["segments"]}
        assert set((1 + np.flatnonzero(shares.any(axis=0))).tolist()) == held


def test_some_segments_contradict_the_label_of_their_clip(changing: Corpus) -> None:
    times = segment_times(segment_starts(1292, 43, 43), 43)
    noisy = [
        quadrant_shares(clip, times).argmax(axis=1) + 1 != clip.labels.quadrant for clip in changing
    ]
    assert 0.2 < np.mean(noisy) < 0.6
