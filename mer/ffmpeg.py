"""Sound of files that libsndfile does not read, such as MP4 and WebM, decoded by ffmpeg."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from mer.errors import DataWarning, InvalidDataError

_KINDS = {
    "mov": (rb".{4}ftyp", "an MP4 file (m4a, AAC, video)"),
    "matroska": (rb"\x1aE\xdf\xa3", "a Matroska or WebM file"),
    "asf": (rb"0&\xb2u\x8ef\xcf\x11", "a Windows Media file (WMA)"),
    "aac": (rb"\xff[\xf0\xf1\xf8\xf9]", "an AAC file (ADTS)"),
    "avi": (rb"RIFF.{4}AVI ", "an AVI file"),
    "wv": (rb"wvpk", "a WavPack file"),
    "ape": (rb"MAC ", "a Monkey's Audio file"),
}
"""By ffmpeg's name of a format: how such a file begins, and what it is in words. ffmpeg must not
find out the format by itself: a list of other files would make it read these."""

_WITHOUT_LENGTH = "aac"
"""Format whose length ffmpeg takes from its bit rate."""

_BYTES = 4
"""Of a sample."""


def format_of(head: bytes) -> str | None:
    """Ffmpeg's name for the format of a file, by its first bytes, if it takes ffmpeg to read it."""
    found = (name for name, (mark, _) in _KINDS.items() if re.match(mark, head, re.DOTALL))
    return next(found, None)


@contextmanager
def ffmpeg_file(path: Path, form: str) -> Iterator[FfmpegFile]:
    """The first audio stream of a file, to be read once.

    Parameters
    ----------
    path : Path
    form : str
        From `format_of`.

    Raises
    ------
    InvalidDataError
        If there is no ffmpeg, or if it finds no audio in the file.
    """
    kind = _KINDS[form][1]
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise InvalidDataError(
            f"{path} is {kind}, which cannot be read without ffmpeg; install ffmpeg, or "
            "convert it to WAV or FLAC"
        )
    with tempfile.TemporaryFile() as log:
        file = FfmpegFile(path, form, log)
        try:
            yield file
        finally:
            file.end()


class FfmpegFile:
    """What `soundfile.SoundFile` offers for reading from the start on, see `ffmpeg_file`.

    Attributes
    ----------
    samplerate, channels : int
    duration : float
        In seconds, as the file tells it; 0 if it does not.
    frames : int
        The same of the stream in samples; 0 if only the file as a whole tells its length, which
        may be that of its pictures, or if it is a guess.
    """

    def __init__(self, path: Path, form: str, log: IO[bytes]) -> None:
        self._path, self._kind, self._log = path, _KINDS[form][1], log
        self._input = ["-f", form, "-protocol_whitelist", "file", "-i", f"file:{path}"]
        self._process: subprocess.Popen[bytes] | None = None
        entries = "stream=sample_rate,channels,duration:format=duration"
        what = ["-select_streams", "a:0", "-show_entries", entries, "-of", "json"]
        done = subprocess.run(
            ["ffprobe", "-v", "error", *what, *self._input],
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise self._unreadable(done.stderr)
        try:
            found = json.loads(done.stdout)
            stream, whole = (found.get("streams") or [None])[0], found.get("format", {})
            if stream is not None:
                self.samplerate, self.channels = int(stream["sample_rate"]), int(stream["channels"])
        except (ValueError, KeyError):
            raise self._unreadable(b"its sample rate or its channels are not known") from None
        if stream is None:
            raise InvalidDataError(f"{path} is {self._kind} and has no audio")
        self.duration = _seconds(stream) or _seconds(whole)
        known = 0.0 if form == _WITHOUT_LENGTH else _seconds(stream)
        self.frames = round(known * self.samplerate)

    def end(self) -> None:
        """End ffmpeg, if it runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()

    def read(self, frames: int, **_: Any) -> np.ndarray:
        """The next samples, shape (at most `frames`, channels), float32; all of them if -1.

        Raises
        ------
        InvalidDataError
            At the end, if ffmpeg failed. What it complains of otherwise is warned of.
        """
        if self._process is None:
            form = ["-map", "0:a:0", "-ac", str(self.channels), "-ar", str(self.samplerate)]
            form += ["-c:a", "pcm_f32le", "-f", "f32le", "-"]
            self._process = subprocess.Popen(
                ["ffmpeg", "-v", "error", "-nostdin", *self._input, *form],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log,
                process_group=0,
            )
        assert self._process.stdout is not None
        size = _BYTES * self.channels
        found = self._process.stdout.read(frames * size if frames >= 0 else -1)
        if len(found) < frames * size or frames < 0:
            self._check_end()
        whole = np.frombuffer(found[: len(found) // size * size], np.float32)
        return whole.reshape(-1, self.channels).copy()

    def _check_end(self) -> None:
        assert self._process is not None
        status = self._process.wait()
        self._log.seek(0)
        said = self._log.read()
        self._log.truncate(0)
        if status:
            raise self._unreadable(said)
        if said:
            text = f"{self._path} is damaged: ffmpeg says {self._reason(said)}"
            warnings.warn(text, DataWarning, stacklevel=4)

    def _unreadable(self, said: bytes) -> InvalidDataError:
        return InvalidDataError(
            f"{self._path} is {self._kind} that ffmpeg cannot decode: {self._reason(said)}; copy "
            "it again, or convert it to WAV or FLAC with the program that made it"
        )

    def _reason(self, said: bytes) -> str:
        lines = (
            said.decode(errors="replace").replace(f"{self._input[-1]}: ", "").strip().splitlines()
        )
        return re.sub(r"^\[[^]]* @ 0x\w+\] ", "", lines[0]) if lines else "no reason"


def _seconds(entry: dict[str, Any]) -> float:
    with suppress(KeyError, ValueError):
        seconds = float(entry["duration"])
        return seconds if 0 < seconds < math.inf else 0.0
    return 0.0
