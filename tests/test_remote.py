"""Downloading, from a server on loopback."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mer.corpora import emopia
from mer.corpora.remote import Remote, RemoteFile, fetch
from mer.errors import InvalidDataError, MissingDataError, ParameterError


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    folder = tmp_path_factory.mktemp("served")
    handler = partial(QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def archive(top: str = "") -> bytes:
    """A zip file with a table, and noise that does not compress."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr(f"{top}label.csv", "ID,4Q\n" * 500)
        content.writestr(f"{top}midis/a.mid", np.random.default_rng(0).bytes(5000))
        if top:
            content.writestr("__MACOSX/junk", "x")
    return buffer.getvalue()


def remote(served: tuple[Path, str], content: bytes, *, sha256: str | None = None) -> Remote:
    folder, address = served
    (folder / "toy.zip").write_bytes(content)
    return Remote(name="Toy", url=f"{address}/toy.zip", sha256=sha256, folder="toy")


def check_nothing_left(destination: Path) -> None:
    assert not destination.exists() or not list(destination.iterdir())


@pytest.mark.parametrize("top", ["", "Toy_1.0/"])
@pytest.mark.parametrize("checked", [True, False])
def test_unpacks_into_the_folder(
    served: tuple[Path, str], tmp_path: Path, top: str, checked: bool
) -> None:
    content = archive(top)
    sha256 = hashlib.sha256(content).hexdigest() if checked else None
    folder = fetch(remote(served, content, sha256=sha256), tmp_path)
    assert folder == tmp_path / "toy"
    assert (folder / "label.csv").read_text() == "ID,4Q\n" * 500
    assert (folder / "midis" / "a.mid").stat().st_size == 5000
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_mirror_is_used(served: tuple[Path, str], tmp_path: Path) -> None:
    toy = remote(served, archive())
    elsewhere = Remote(name="Toy", url="http://127.0.0.1:9/x.zip", sha256=None, folder="toy")
    assert fetch(elsewhere, tmp_path, url=toy.url).is_dir()


def test_wrong_checksum(served: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"download of Toy is damaged: .*hash"):
        fetch(remote(served, archive(), sha256="0" * 64), tmp_path)
    check_nothing_left(tmp_path)


def test_address_without_a_file(served: tuple[Path, str], tmp_path: Path) -> None:
    toy = remote(served, archive())
    with pytest.raises(MissingDataError, match=r"could not download Toy from .*gone\.zip: 404"):
        fetch(toy, tmp_path, url=toy.url.replace("toy.zip", "gone.zip"))
    check_nothing_left(tmp_path)


def test_no_server(tmp_path: Path) -> None:
    toy = Remote(name="Toy", url="http://127.0.0.1:9/toy.zip", sha256=None, folder="toy")
    with pytest.raises(MissingDataError, match="could not download Toy"):
        fetch(toy, tmp_path / "new")
    check_nothing_left(tmp_path / "new")


def damaged_archives() -> dict[str, bytes]:
    whole = archive()
    in_first, in_second = whole.index(b"label.csv") + 20, len(whole) // 2
    return {
        "not a zip file": b"<html>Sign in</html>",
        "empty": b"",
        "cut short": whole[: len(whole) // 2],
        "compressed data overwritten": whole[:in_first] + b"\xff" * 8 + whole[in_first + 8 :],
        "bytes changed": whole[:in_second] + b"\0" * 8 + whole[in_second + 8 :],
    }


@pytest.mark.parametrize("damage", damaged_archives())
def test_damaged_archive(served: tuple[Path, str], tmp_path: Path, damage: str) -> None:
    toy = remote(served, damaged_archives()[damage])
    with pytest.raises(InvalidDataError, match="the download of Toy is damaged"):
        fetch(toy, tmp_path)
    check_nothing_left(tmp_path)


def test_folder_that_exists_is_kept(served: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "mine").touch()
    with pytest.raises(ParameterError, match=r"toy exists already; remove it to download Toy"):
        fetch(remote(served, archive()), tmp_path)
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["mine"]


class TestFiles:
    def with_file(self, served: tuple[Path, str], name: str, sha256: str) -> Remote:
        toy = remote(served, archive())
        (served[0] / "extra.csv").write_text("extra")
        file = RemoteFile(f"{served[1]}/{name}", sha256, "split/extra.csv")
        return dataclasses.replace(toy, files=(file,))

    def test_are_added(self, served: tuple[Path, str], tmp_path: Path) -> None:
        sha256 = hashlib.sha256(b"extra").hexdigest()
        folder = fetch(self.with_file(served, "extra.csv", sha256), tmp_path)
        assert (folder / "split" / "extra.csv").read_text() == "extra"
        assert (folder / "label.csv").is_file()
        assert [path.name for path in tmp_path.iterdir()] == ["toy"]

    @pytest.mark.parametrize("name", ["extra.csv", "gone.csv"])
    def test_failure_leaves_no_folder(
        self, served: tuple[Path, str], tmp_path: Path, name: str
    ) -> None:
        toy = self.with_file(served, name, "0" * 64)
        with pytest.raises((MissingDataError, InvalidDataError), match=r"Toy .*(hash|404)"):
            fetch(toy, tmp_path)
        check_nothing_left(tmp_path)

    @pytest.mark.realdata
    def test_checksums_of_the_real_ones(self, data_folder: Path) -> None:
        for file in emopia.REMOTE.files:
            content = (data_folder / "emopia" / file.path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == file.sha256


def test_failure_while_unpacking_leaves_no_folder(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(self: zipfile.ZipFile, path: Path) -> None:
        (path / "label.csv").parent.mkdir(parents=True)
        (path / "label.csv").write_text("ID")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full_disk)
    with pytest.raises(MissingDataError, match="No space left on device"):
        fetch(remote(served, archive()), tmp_path)
    check_nothing_left(tmp_path)


def test_emopia_comes_in_the_layout_that_its_loader_reads(
    served: tuple[Path, str], emopia_folder: Path, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for path in emopia_folder.rglob("*"):
            content.write(path, Path("EMOPIA_1.0") / path.relative_to(emopia_folder))
    toy = remote(served, buffer.getvalue())
    folder = fetch(dataclasses.replace(emopia.REMOTE, files=()), tmp_path, url=toy.url)
    assert emopia.load(folder).fingerprint == emopia.load(emopia_folder).fingerprint
