"""Downloading, from a server on loopback."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer.corpora import emopia
from mer.corpora import remote as remote_module
from mer.corpora.remote import Remote, RemoteFile, fetch
from mer.errors import InvalidDataError, MerError, MissingDataError, ParameterError

Served = tuple[Path, str]
"""A folder, and its address."""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
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


class OddHandler(QuietHandler):
    """Sends to itself, or drips, until its server ends."""

    ended = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/again":
            self.send_response(302)
            self.send_header("Location", f"http://user:secret@{self.headers['Host']}/again")
            self.end_headers()
        elif self.path in ("/body", "/header", "/silent"):
            start = b"HTTP/1.0 200 OK\r\n" + b"\r\n" * (self.path == "/body")
            self.wfile.write(start if self.path != "/silent" else b"")
            with suppress(OSError):
                while not self.ended.wait(0.05):
                    self.wfile.write(b"x" * (self.path != "/silent"))
        else:
            self.send_error(404)


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    """Address of a server that does not do what it should."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), OddHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    OddHandler.ended.set()
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


def remote(served: Served, content: bytes, *, sha256: str | None = None) -> Remote:
    folder, address = served
    (folder / "toy.zip").write_bytes(content)
    return Remote(name="Toy", url=f"{address}/toy.zip", sha256=sha256, folder="toy")


def check_nothing_left(destination: Path) -> None:
    assert not destination.exists() or not list(destination.iterdir())


@pytest.mark.parametrize("top", ["", "Toy_1.0/"])
@pytest.mark.parametrize("checked", [True, False])
def test_unpacks_into_the_folder(served: Served, tmp_path: Path, top: str, checked: bool) -> None:
    content = archive(top)
    sha256 = hashlib.sha256(content).hexdigest() if checked else None
    folder = fetch(remote(served, content, sha256=sha256), tmp_path)
    assert folder == tmp_path / "toy"
    assert (folder / "label.csv").read_text() == "ID,4Q\n" * 500
    assert (folder / "midis" / "a.mid").stat().st_size == 5000
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_mirror_is_used(served: Served, tmp_path: Path) -> None:
    toy = remote(served, WHOLE)
    elsewhere = Remote(name="Toy", url="http://127.0.0.1:9/x.zip", sha256=None, folder="toy")
    assert fetch(elsewhere, tmp_path, url=toy.url).is_dir()


WHOLE = archive()
FIRST, HALF = WHOLE.index(b"label.csv") + 20, len(WHOLE) // 2
DAMAGED = {
    "empty": b"",
    "cut short": WHOLE[:HALF],
    "compressed data overwritten": WHOLE[:FIRST] + b"\xff" * 8 + WHOLE[FIRST + 8 :],
    "bytes changed": WHOLE[:HALF] + b"\0" * 8 + WHOLE[HALF + 8 :],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_archive(served: Served, tmp_path: Path, damage: str) -> None:
    with pytest.raises(InvalidDataError, match="the download of Toy is damaged"):
        fetch(remote(served, DAMAGED[damage]), tmp_path)
    check_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\n<!DOCTYPE html><html>Sign in</html>", r"a web page \(HTML\)"),
        (b"Rar!\x1a\x07", r"a file with b'Rar!\\x1a\\x07'"),
    ],
)
def test_address_of_something_else(
    served: Served, tmp_path: Path, content: bytes, found: str
) -> None:
    message = rf"^the address gives {found}, not a zip archive; check the address$"
    with pytest.raises(InvalidDataError, match=message):
        fetch(remote(served, content), tmp_path)
    check_nothing_left(tmp_path)


def test_archive_with_a_password(served: Served, tmp_path: Path) -> None:
    content = bytearray(WHOLE)
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1  # "encrypted"
    message = rf"the archive of Toy cannot be unpacked: .*password.*; unpack it as {tmp_path}/toy$"
    with pytest.raises(InvalidDataError, match=message):
        fetch(remote(served, bytes(content)), tmp_path)
    check_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"url": "file:///a.zip"}, ParameterError, "of Toy begins with 'file:'; expected https://"),
        (
            {"url": "[/a].zip"},
            ParameterError,
            r"of Toy begins with '\['; expected https:// or http",
        ),
        ({"sha256": "0" * 64}, InvalidDataError, "download of Toy is damaged: .*hash"),
        ({"url": "{}/gone.zip"}, MissingDataError, r"could not download Toy from .*gone\.zip: 404"),
        ({"url": "http://127.0.0.1:9/toy.zip"}, MissingDataError, "could not download Toy"),
    ],
)
def test_failed_download(
    served: Served, tmp_path: Path, change: dict[str, Any], error: type[MerError], message: str
) -> None:
    changed = {name: value.format(served[1]) for name, value in change.items()}
    toy = dataclasses.replace(remote(served, WHOLE), **changed)
    with pytest.raises(error, match=message):
        fetch(toy, tmp_path / "new")
    check_nothing_left(tmp_path / "new")


def test_folder_that_exists_is_kept(served: Served, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "mine").touch()
    with pytest.raises(ParameterError, match=r"toy exists already; remove it to download Toy"):
        fetch(remote(served, WHOLE), tmp_path)
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["mine"]


class TestFiles:
    def with_file(self, served: Served, name: str, sha256: str) -> Remote:
        toy = remote(served, WHOLE)
        (served[0] / "extra.csv").write_text("extra")
        file = RemoteFile(f"{served[1]}/{name}", sha256, "split/extra.csv")
        return dataclasses.replace(toy, files=(file,))

    def test_are_added(self, served: Served, tmp_path: Path) -> None:
        sha256 = hashlib.sha256(b"extra").hexdigest()
        folder = fetch(self.with_file(served, "extra.csv", sha256), tmp_path)
        assert (folder / "split" / "extra.csv").read_text() == "extra"
        assert (folder / "label.csv").is_file()
        assert [path.name for path in tmp_path.iterdir()] == ["toy"]

    @pytest.mark.parametrize("name", ["extra.csv", "gone.csv"])
    def test_failure_leaves_no_folder(self, served: Served, tmp_path: Path, name: str) -> None:
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
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(self: zipfile.ZipFile, path: Path) -> None:
        (path / "label.csv").parent.mkdir(parents=True)
        (path / "label.csv").write_text("ID")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full_disk)
    with pytest.raises(MissingDataError, match="No space left on device"):
        fetch(remote(served, WHOLE), tmp_path)
    check_nothing_left(tmp_path)


def test_emopia_comes_in_the_layout_that_its_loader_reads(
    served: Served, emopia_folder: Path, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for path in emopia_folder.rglob("*"):
            content.write(path, Path("EMOPIA_1.0") / path.relative_to(emopia_folder))
    toy = remote(served, buffer.getvalue())
    folder = fetch(dataclasses.replace(emopia.REMOTE, files=()), tmp_path, url=toy.url)
    assert emopia.load(folder).fingerprint == emopia.load(emopia_folder).fingerprint


class TestLimits:
    def test_archive_that_unpacks_to_far_more(self, served: Served, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as content:
            content.writestr("zeros", bytes(300 * 2**20))
        assert len(buffer.getvalue()) < 400_000
        message = r"download of Toy is damaged: its 30\d,\d{3} bytes would unpack to 314,572,800$"
        with pytest.raises(InvalidDataError, match=message):
            fetch(remote(served, buffer.getvalue()), tmp_path)
        check_nothing_left(tmp_path)

    def test_too_large(
        self, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remote_module, "_LARGEST", 1000)
        with pytest.raises(MissingDataError, match=r"from http.*: it has more than 1,000 bytes$"):
            fetch(remote(served, WHOLE), tmp_path)
        check_nothing_left(tmp_path)

    @pytest.mark.parametrize("path", ["/body", "/header", "/silent"])
    def test_server_that_drips(
        self, odd: str, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remote_module, "_PATIENCE", 1)
        toy = Remote(name="Toy", url=odd + path, sha256=None, folder="toy")
        started = time.monotonic()
        with pytest.raises(MissingDataError, match=r"only \d+ bytes came in \d s; try again later"):
            fetch(toy, tmp_path)
        assert time.monotonic() - started < 10
        check_nothing_left(tmp_path)

    def test_redirects_without_end(self, odd: str, tmp_path: Path) -> None:
        toy = Remote(name="Toy", url=f"{odd}/again", sha256=None, folder="toy")
        with pytest.raises(MissingDataError, match=r"could not download Toy .* 30 redirects"):
            fetch(toy, tmp_path)

    def test_encrypted(self, served: Served, tmp_path: Path) -> None:
        content = bytearray(WHOLE)
        for mark, place in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
            content[content.index(mark) + place] |= 1
        with pytest.raises(InvalidDataError, match=r"cannot be unpacked: .*is encrypted"):
            fetch(remote(served, bytes(content)), tmp_path)
        check_nothing_left(tmp_path)


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(errno.EROFS, "read-only")])
def test_folder_that_cannot_be_written(
    error: OSError, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise error

    monkeypatch.setattr("mer.corpora.remote._retrieve", refused)
    with pytest.raises(MissingDataError, match=rf"^{tmp_path} cannot be written; set MER_DATA to"):
        fetch(remote(served, WHOLE), tmp_path)


@pytest.mark.parametrize("path", ["/gone.zip", "/again", "/toy.zip", ":x/", "/a/b@c", "@/"])
def test_passwords_are_never_shown(
    odd: str,
    tmp_path: Path,
    path: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", logger="pooch")
    address = odd.replace("//", "//user:p@ss:secret@") + path
    with pytest.raises(MerError, match="Toy") as caught:
        fetch(Remote(name="Toy", url=address, sha256=None, folder="toy"), tmp_path)
    shown = "".join([str(caught.value), *capfd.readouterr(), caplog.text])
    assert "secret" not in shown
    assert "p@ss" not in shown
    check_nothing_left(tmp_path)
