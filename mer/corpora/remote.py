"""Downloading a dataset, with its checksum where one is known."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.paths import data_folder

_PROTOCOLS = ("https://", "http://", "ftp://")
_LARGEST = 20 * 2**30
"""Bytes that a download may have."""
_PATIENCE, _SLOWEST = 60.0, 10_000
"""Seconds after which a server must have sent so many bytes a second."""
_UNPACKED, _RATIO = 100 * 2**20, 50
"""Bytes to which any archive may unpack; how many times its own size a larger one may have."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A single file that goes with a dataset; `path` is below the folder of the dataset."""

    url: str
    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class Remote:
    """A dataset's archive, and files, published elsewhere, that are added to what it holds.

    The checksum is None where none is known; `folder` names the folder that the loader reads.
    """

    name: str
    url: str
    sha256: str | None
    folder: str
    files: tuple[RemoteFile, ...] = ()


def local_folder(remote: Remote, corpus: str, folder: Path | None) -> Path:
    """Folder of a dataset; by default its own in `$MER_DATA`.

    Raises
    ------
    MissingDataError
        If there is no such folder; says how to download the corpus of that name.
    """
    folder = folder or data_folder() / remote.folder
    if not folder.is_dir():
        raise MissingDataError(
            f"{folder} does not exist; expected {remote.name.partition(' (')[0]} there: run "
            f"'mer data fetch {corpus}' or set MER_DATA to the folder that holds {remote.folder!r}"
        )
    return folder


def fetch(remote: Remote, destination: Path, *, url: str | None = None) -> Path:
    """Download and unpack an archive into `destination / remote.folder`.

    The folder appears only when the archive has been downloaded, checked and unpacked whole.

    The destination is usually `$MER_DATA`; `url` may name a mirror.

    Raises
    ------
    ParameterError
        If the folder is there already, or `url` is no address of the web.
    MissingDataError
        If the download fails, takes too long or is too large. Passwords in addresses are left out.
    InvalidDataError
        If the checksum differs, or what comes is no archive, a damaged one, one with a password
        or one that unpacks to far more than its size.
    """
    address = url or remote.url
    if not address.lower().startswith(_PROTOCOLS):
        raise ParameterError(
            f"the address of {remote.name} begins with {address.partition('/')[0]!r}; expected "
            f"{' or '.join(_PROTOCOLS)}"
        )
    folder = destination / remote.folder
    if folder.exists():
        raise ParameterError(f"{folder} exists already; remove it to download {remote.name} again")
    download = destination / ".download"
    try:
        _unpack(_retrieve(address, remote.sha256, download), download / "unpacked")
        content = _content(download / "unpacked")
        for file in remote.files:
            path = content / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _retrieve(file.url, file.sha256, download).rename(path)
        content.rename(folder)
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            raise MissingDataError(
                f"{destination} cannot be written; set MER_DATA to a folder that can"
            ) from None
        told = f"could not download {remote.name} from {address}: {error}"
        raise MissingDataError(_without_passwords(told)) from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        told = f"the download of {remote.name} is damaged: {error}"
        raise InvalidDataError(_without_passwords(told)) from None
    except RuntimeError as error:  # such as a password
        raise InvalidDataError(
            f"the archive of {remote.name} cannot be unpacked: {error}; unpack it as {folder}"
        ) from None
    finally:
        shutil.rmtree(download, ignore_errors=True)
    return folder


def _without_passwords(text: str) -> str:
    return re.sub(r"//\S*@", "//", text)


@dataclass
class _Sink:
    """Where a download is written to, up to a size."""

    file: BinaryIO | None = None
    size: int = 0
    is_open: bool = True
    begun: float = field(default_factory=time.monotonic)

    def write(self, block: bytes) -> None:
        self.size += len(block)
        if self.size > _LARGEST or not self.is_open:
            raise OSError(f"it has more than {_LARGEST:,} bytes")
        assert self.file is not None
        self.file.write(block)

    def flush(self) -> None:
        """Nothing, though it is asked for after each kilobyte."""

    def check_speed(self) -> None:
        seconds = time.monotonic() - self.begun
        if self.size < (seconds - _PATIENCE) * _SLOWEST:
            self.is_open = False
            raise OSError(f"only {self.size:,} bytes came in {seconds:.0f} s; try again later")


def _retrieve(url: str, sha256: str | None, folder: Path) -> Path:
    import pooch

    sink = _Sink()

    def download(address: str, path: str, _: Any) -> None:
        with open(path, "wb") as sink.file:
            pooch.HTTPDownloader(progressbar=True)(address, sink, None)

    def retrieve() -> str:
        known_hash = sha256 and f"sha256:{sha256}"
        return pooch.retrieve(url, known_hash=known_hash, path=folder, downloader=download)

    pooch.get_logger().setLevel(logging.WARNING)  # it would tell the address with its password
    result: Future[str] = Future()
    # A server can keep a socket waiting for ever: the thread is left alone then
    Thread(target=_answer, args=(retrieve, result), daemon=True).start()
    while not wait([result], timeout=0.5).done:
        sink.check_speed()
    return Path(result.result())


def _answer(call: Callable[[], str], result: Future[str]) -> None:
    try:
        result.set_result(call())
    except Exception as error:  # raised where the result is taken
        result.set_exception(error)


def _unpack(archive: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with archive.open("rb") as file:
        head = file.read(40)
    if head and not head.startswith(b"PK"):
        what = "a web page (HTML)" if head.lstrip().startswith(b"<") else f"a file with {head!r}"
        raise InvalidDataError(f"the address gives {what}, not a zip archive; check the address")
    with zipfile.ZipFile(archive) as content:
        size, unpacked = archive.stat().st_size, sum(part.file_size for part in content.infolist())
        if unpacked > max(_UNPACKED, _RATIO * size):
            raise zipfile.BadZipFile(f"its {size:,} bytes would unpack to {unpacked:,}")
        damaged = content.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} fails its checksum")
        content.extractall(folder)


def _content(folder: Path) -> Path:
    """The unpacked folder itself, or the one folder that it holds."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith("__")]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
