"""Downloading a dataset, with its checksum where one is known."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.paths import data_folder

_PROTOCOLS = ("https://", "http://", "ftp://")


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
        If the download fails.
    InvalidDataError
        If the checksum differs, or what comes is no archive, a damaged one or needs a password.
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
        raise MissingDataError(
            f"could not download {remote.name} from {address}: {error}"
        ) from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidDataError(f"the download of {remote.name} is damaged: {error}") from None
    except RuntimeError as error:  # such as a password
        raise InvalidDataError(
            f"the archive of {remote.name} cannot be unpacked: {error}; unpack it as {folder}"
        ) from None
    finally:
        shutil.rmtree(download, ignore_errors=True)
    return folder


def _retrieve(url: str, sha256: str | None, folder: Path) -> Path:
    import pooch

    known_hash = sha256 and f"sha256:{sha256}"
    return Path(pooch.retrieve(url, known_hash=known_hash, path=folder, progressbar=True))


def _unpack(archive: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with archive.open("rb") as file:
        head = file.read(40)
    if head and not head.startswith(b"PK"):
        what = "a web page (HTML)" if head.lstrip().startswith(b"<") else f"a file with {head!r}"
        raise InvalidDataError(f"the address gives {what}, not a zip archive; check the address")
    with zipfile.ZipFile(archive) as content:
        damaged = content.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} fails its checksum")
        content.extractall(folder)


def _content(folder: Path) -> Path:
    """The unpacked folder itself, or the one folder that it holds."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith("__")]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
