"""Stems as audio files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from mer import __version__
from mer.files import atomic_path
from mer.separation.streaming import SOURCES

_LARGEST_WAV = 2**32 - 2**16
_BYTES_PER_SAMPLE = 4


def stem_paths(folder: Path) -> list[Path]:
    """The file of each source, in the order of `SOURCES`."""
    return [folder / f"{source}.wav" for source in SOURCES]


@contextmanager
def stem_files(
    folder: Path,
    *,
    sample_rate: int,
    channels: int,
    separator: str,
    seconds: float = 0.0,
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write stems piece by piece: one WAV file a source, of 32-bit numbers, so that none clips.

    The files take their names when the block ends well; if it raises, earlier ones stay as they
    were. Each says in its header which separator made it.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    sample_rate : int
        In Hz.
    channels : int
    separator : str
        Name of the separator.
    seconds : float
        Expected length: files of more than 4 GiB are written as RF64, which WAV readers take.

    Yields
    ------
    callable
        Takes the next samples, shape (len(SOURCES), channels, n).
    """
    import soundfile

    size = seconds * sample_rate * channels * _BYTES_PER_SAMPLE
    form = "WAV" if size < _LARGEST_WAV else "RF64"
    with ExitStack() as paths:
        temporary = [paths.enter_context(atomic_path(path)) for path in stem_paths(folder)]
        with ExitStack() as open_files:
            files = [
                open_files.enter_context(
                    soundfile.SoundFile(path, "w", sample_rate, channels, "FLOAT", format=form)
                )
                for path in temporary
            ]
            for file, source in zip(files, SOURCES, strict=True):
                file.title = source
                file.software = f"mer {__version__}, separator {separator}"

            def write(stems: np.ndarray) -> None:
                for file, stem in zip(files, stems, strict=True):
                    file.write(stem.T)

            yield write
