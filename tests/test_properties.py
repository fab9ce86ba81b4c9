"""Whatever bytes, tables, stored files and parameters hold: a result or an error of one sentence.

Each kind runs in a process of its own with limits on time, memory and disk, as

    python tests/test_properties.py <examples> <folder> <kind> ...
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mer.errors import InvalidDataError, MerError

SECONDS = 20
"""Of the processor, that an example may take."""
MEMORY, DISK = 8 << 30, 64 << 20
"""Bytes of address space of a process, and of a file."""

LIGHT = ("midi_bytes", "midi_events", "audio", "tables")
HEAVY = ("stored", "systems", "notebooks")
"""Kinds that need torch, which takes seconds to load."""

Edits = list[tuple[float, int, bytes]]

WORDS = b'0|\xff|\x80|\n|"|,|;|-1|nan|1e999|\xef\xbb\xbf'.split(b"|")
LENGTHS = st.just(-1) | st.integers(0, 3) | st.sampled_from([20, 1 << 20])
PLACES = st.floats(0, 1) | st.integers(2, 100).map(float)
EDITS = st.lists(
    st.tuples(PLACES, LENGTHS, st.binary(max_size=4) | st.sampled_from(WORDS)),
    min_size=1,
    max_size=3,
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**63, 10**30, "auto", "[", "true", "nan", ""])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


PLAUSIBLE = st.integers(0, 64) | st.floats(0, 1) | st.sampled_from([0.001, True, "none", "cosine"])


def edited(content: bytes, edits: Edits) -> bytes:
    """The content with bytes replaced: from a place on, so many (-1: as many), by others.

    A place is a share of the content, up to 1, or the number of a byte.
    """
    for place, length, new in edits:
        start = round(place * len(content)) if place <= 1 else int(place)
        stop = start + (len(new) if length < 0 else length)
        content = content[:start] + new + content[stop:]
    return content


@pytest.fixture
def data(tmp_path: Path, emopia_folder: Path) -> Path:
    """The tiny datasets."""
    from toy_datasets import BUILDERS

    shutil.copytree(emopia_folder, tmp_path / "emopia")
    for name, build in BUILDERS.items():
        build(tmp_path / name)
    return tmp_path


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))


def check(data: Path, examples: int, *kinds: str) -> None:
    command = [sys.executable, __file__, str(examples), str(data), *kinds]
    done = subprocess.run(
        command,
        env={**os.environ, "TMPDIR": str(data), "OMP_NUM_THREADS": "1"},
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    assert done.stdout.count(" 0 failed") == len(kinds)
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    assert size < DISK


@pytest.mark.parametrize("kinds", [LIGHT, HEAVY], ids=["light", "heavy"])
def test_some(data: Path, kinds: tuple[str, ...]) -> None:
    check(data, 20, *kinds)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIGHT + HEAVY)
def test_many(data: Path, kind: str) -> None:
    check(data, 800 if kind.startswith("midi") else 3000, kind)


def check_midi(path: Path) -> None:
    """A file that is read sounds, and nothing that is made of its notes fails."""
    from mer.features import compound_words, descriptors, note_events, tokens
    from mer.features.notes import read_notes
    from mer.midi import read_score
    from mer.rendering import render_midi

    _, last = read_score(path)
    for pedal in (False, True):
        notes = read_notes(path, pedal=pedal)
        assert np.isfinite(notes).all()
        assert (notes[:, 0] >= 0).all()
        assert (notes[:, 1] >= notes[:, 0]).all()
        assert ((notes[:, 2:] >= [0, 1]) & (notes[:, 2:] <= 127)).all()
    assert np.isfinite(list(descriptors.symbolic_descriptors(notes).values())).all()
    assert note_events.note_events(notes).shape[1] == 1 + len(notes)
    assert compound_words.compound_words(notes).shape[1] == len(notes)
    if last < 200:
        assert tokens.midi_like(notes)[0] == tokens.START
        assert tokens.remi(notes)[0] == tokens.START
    if last < 20:
        try:
            assert np.isfinite(render_midi(path, 8000)).all()
        except InvalidDataError as error:
            if "sounds on for" not in str(error):
                raise AssertionError("what is read does not sound") from error


def midi_bytes(folder: Path) -> Callable[[], None]:
    """Files of this package, changed."""
    from conftest import quadrant_notes, write_midi

    path = folder / "a.mid"
    bases = [
        write_midi(path, quadrant_notes(quadrant, seed=0, seconds=1.0)).read_bytes()
        for quadrant in (1, 3)
    ]

    @given(st.sampled_from(bases), EDITS)
    @example(bases[0], [(8.0, 2, b"\0\2")])
    @example(bases[0], [(10.0, 2, b"\0\0")])
    @example(bases[0], [(18.0, 4, b"\0\0\0\0")])
    def run(base: bytes, edits: Edits) -> None:
        path.write_bytes(edited(base, edits))
        judge("midi_bytes", check_midi, path)

    return run


def number(value: int) -> bytes:
    """As a number of variable length."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def midi_events(folder: Path) -> Callable[[], None]:
    """Files of events that are mostly allowed."""
    byte = st.integers(0, 127).map(lambda value: bytes([value]))
    pitch = st.sampled_from([b"\x3c", b"\x40"]) | byte
    status = st.integers(0x80, 0xEF).map(lambda value: bytes([value]))
    note = st.tuples(st.sampled_from([b"\x90", b"\x80", b"\x99", b""]), pitch, byte).map(b"".join)
    channel = st.tuples(status, byte, byte).map(
        lambda parts: b"".join(parts)[: 2 if 0xC0 <= parts[0][0] < 0xE0 else 3]
    )
    lengths = st.sampled_from([(0x01, 5), (0x20, 1), (0x2F, 0), (0x51, 3), (0x58, 4), (0x59, 2)])
    meta = lengths.flatmap(
        lambda kind: st.binary(min_size=kind[1], max_size=kind[1]).map(
            lambda content: bytes([0xFF, kind[0], kind[1]]) + content
        )
    )
    system = st.binary(max_size=4).map(lambda content: b"\xf0" + number(len(content)) + content)
    content = st.one_of(note, note, note, channel, meta, system)
    delta = st.integers(0, 1000) | st.sampled_from([0, 480, 2**28 - 1])
    event = st.tuples(delta.map(number), content).map(b"".join)
    end = st.sampled_from([b"\0\xff\x2f\0", b"\0\xff\x2f\0", b""])
    track = st.tuples(st.lists(event, max_size=12).map(b"".join), end).map(b"".join)
    kind = st.sampled_from([b"MTrk"] * 5 + [b"XFIH", b"\0\0\0\0"])
    chunk = st.tuples(kind, track).map(
        lambda parts: parts[0] + len(parts[1]).to_bytes(4, "big") + parts[1]
    )
    division = st.sampled_from([1, 96, 480]) | st.integers(0, 0xFFFF)
    chunks = st.lists(chunk, min_size=1, max_size=3)
    path = folder / "a.mid"

    @given(st.integers(0, 1), st.integers(0, 3), division, chunks, st.just([]) | EDITS)
    def run(form: int, n: int, division: int, chunks: list[bytes], edits: Edits) -> None:
        words = b"".join(value.to_bytes(2, "big") for value in (form, n, division))
        content = b"MThd\0\0\0\6" + words + b"".join(chunks)
        path.write_bytes(edited(content, edits))
        judge("midi_events", check_midi, path)

    return run


def check_audio(path: Path) -> None:
    from mer.audio import audio_blocks, audio_seconds, load_audio

    assert audio_seconds(path) >= 0
    samples, rate = load_audio(path)
    assert 1000 <= rate <= 768_000
    assert np.abs(samples).max() <= 1000
    stereo = list(audio_blocks(path, 16000, mono=False))
    assert all(np.isfinite(block).all() for block in stereo)
    length = sum(len(block) for block in stereo)
    assert abs(length - len(load_audio(path, 16000)[0])) <= 1


def audio(folder: Path) -> Callable[[], None]:
    """Short recordings in several formats, changed, mostly in their headers."""
    import soundfile

    tone = 0.5 * np.sin(np.arange(8000) / 10)
    forms = {"wav": "PCM_16", "WAV": "FLOAT", "flac": None, "ogg": None, "mp3": None, "aiff": None}
    bases: list[tuple[str, bytes]] = []
    for suffix, subtype in forms.items():
        path = folder / f"a.{suffix}"
        soundfile.write(path, np.stack([tone, tone / 2], axis=1), 16000, subtype=subtype)
        bases.append((path.name, path.read_bytes()))

    @given(st.sampled_from(bases), EDITS)
    @example(bases[0], [(24.0, 4, (1).to_bytes(4, "little"))])
    @example(bases[0], [(24.0, 4, (10**9).to_bytes(4, "little"))])
    @example(bases[1], [(1000.0, 4, np.float32(1e38).tobytes())])
    @example(bases[2], [(22.0, 4, b"\0\0\0\0")])
    @example(bases[2], [(22.0, 4, b"\xff\xff\xff\xff")])
    def run(base: tuple[str, bytes], edits: Edits) -> None:
        path = folder / base[0]
        path.write_bytes(edited(base[1], edits))
        judge("audio", check_audio, path)

    return run


def tables(folder: Path) -> Callable[[], None]:
    """Tables of all corpora, changed."""
    from mer.corpora import load

    found = sorted(p for s in ("csv", "txt") for p in folder.glob(f"*/**/*.{s}"))
    contents = {path: path.read_bytes() for path in found}
    assert len(contents) > 10

    def check_corpus(path: Path) -> None:
        name = path.relative_to(folder).parts[0]
        options = {"release": "deam"} if name == "deam" else {}
        name = "emotion_in_music" if name == "deam" else name
        corpus = load(name, folder=folder / path.relative_to(folder).parts[0], **options)
        assert corpus.counts()["clips"] == len(corpus)
        for split in corpus.split_names:
            corpus.split(split)

    @given(st.sampled_from(found), EDITS)
    @example(folder / "emopia" / "split" / "test_clip.csv", [(0.5, -1, b"\n")])
    def run(path: Path, edits: Edits) -> None:
        path.write_bytes(edited(contents[path], edits))
        try:
            judge("tables", check_corpus, path)
        finally:
            path.write_bytes(contents[path])

    return run


def stored(folder: Path) -> Callable[[], None]:
    """Files of a stored run, and the card of a corpus, changed or of other JSON."""
    from test_store import SPEC, make_run

    from mer.study.store import RunStore

    runs = RunStore(folder / "results")
    runs.write(make_run())
    runs.write_card("emopia", {"clips": 1})
    found = sorted(path for path in runs.root.rglob("*") if path.is_file())
    contents = {path: path.read_bytes() for path in found}

    def check_stored() -> None:
        assert runs.read(SPEC).spec == SPEC
        assert isinstance(runs.read_card("emopia"), dict)

    @given(st.sampled_from(found), EDITS | VALUES.map(json.dumps))
    @example(found[0], "[" * 100_000)
    def run(path: Path, change: Edits | str) -> None:
        content = change.encode() if isinstance(change, str) else edited(contents[path], change)
        path.write_bytes(content)
        try:
            judge("stored", check_stored)
        finally:
            path.write_bytes(contents[path])

    return run


def systems(folder: Path) -> Callable[[], None]:
    """Hyper-parameters of all rows."""
    from rows import ROWS

    def configure(name: str, values: dict[str, Any]) -> None:
        system = ROWS[name].configured(values)
        assert json.loads(json.dumps(system.parameters))

    names = {name: [field.name for field in dataclasses.fields(row)] for name, row in ROWS.items()}
    choice = st.sampled_from(sorted(names)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.dictionaries(
                st.sampled_from([*names[name], "x"]), PLAUSIBLE | VALUES, min_size=1, max_size=2
            ),
        )
    )

    @given(choice)
    def run(chosen: tuple[str, dict[str, Any]]) -> None:
        judge("systems", configure, *chosen)

    return run


def notebooks(folder: Path) -> Callable[[], None]:
    """Parameters of notebooks, from the command line and from papermill."""
    from mer.study.settings import Settings, check, parse_assignments

    names = list(Settings.model_fields)

    def from_papermill(values: dict[str, Any]) -> None:
        assert check(values, names).profile

    def from_command_line(assignments: list[str]) -> None:
        from_papermill(parse_assignments(assignments))

    name = st.sampled_from(names) | st.text(max_size=4)
    right = ["profile='smoke'", "seeds=[0, 1]", "tasks=['4Q']", "n_jobs=2", "compute=False"]
    free = st.tuples(name, st.just("=") | st.text(max_size=1), VALUES.map(repr) | st.text())
    assignment = st.sampled_from(right) | free.map("".join)

    @given(st.dictionaries(name, VALUES) | st.lists(assignment, max_size=3))
    @example(["seeds=" + "[" * 100_000])
    @example(["overrides={[]: 1}"])
    def run(given_values: dict[str, Any] | list[str]) -> None:
        is_line = isinstance(given_values, list)
        judge("notebooks", from_command_line if is_line else from_papermill, given_values)

    return run


@cache
def counts(kind: str) -> Counter[str]:
    return Counter()


def judge(kind: str, use: Callable[..., None], *given_values: Any) -> None:
    """Counts what comes of it; any error but one sentence of ours is raised."""
    began, result = time.process_time(), "failed"
    faulthandler.dump_traceback_later(6 * SECONDS, exit=True)
    try:
        use(*given_values)
        result = "fine"
    except MerError as error:
        if not str(error).strip() or "\n" in str(error):
            raise AssertionError("not one sentence") from error
        result = "clear error"
    finally:
        faulthandler.cancel_dump_traceback_later()
        slow = time.process_time() - began > SECONDS
        counts(kind)["failed" if slow else result] += 1
    assert not slow


def main(examples: str, folder: str, *kinds: str) -> None:
    """Run some kinds, print their counts, and raise what fails."""
    warnings.simplefilter("ignore")
    chosen = settings(
        max_examples=int(examples),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    failures: list[Exception] = []
    for kind in kinds:
        try:
            chosen(globals()[kind](Path(folder)))()
        except Exception as error:  # the others run, too
            failures.append(error)
        found = counts(kind)
        parts = [f"{found[name]} {name}" for name in ("fine", "clear error", "failed")]
        print(f"{kind}: {found.total()} tried, {', '.join(parts)}", flush=True)
    if failures:
        raise ExceptionGroup("neither a result nor a clear error", failures)


if __name__ == "__main__":
    main(*sys.argv[1:])
