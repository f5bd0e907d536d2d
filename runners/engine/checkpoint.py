"""Checkpoint files: JSON and tensors in one file, written aside, fsync'd and renamed;
damage is found by a checksum.

Layout: 8 bytes of magic, two little-endian uint64 (length of the JSON, length of the tensors), SHA-256 over
both, the JSON (the state, and each tensor's type, shape and place), the tensors as they lie in memory, each
at a multiple of 64 bytes. So a gigabyte is written and read without a copy. Nothing in it is ever run.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_MAGIC = b"LABTUIC2"
_HEAD = struct.Struct("<8sQQ32s")
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGN = 64
_CHUNK = 1 << 24
_NAME = re.compile(r"^checkpoint-(\d{8})\.labtui$")
KEEP = 2


class CheckpointError(Exception):
    """A file that is no whole checkpoint; ``str(error)`` says why."""


def files(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    if not folder.is_dir():
        return []
    found = {int(match.group(1)): path for path in folder.iterdir() if (match := _NAME.match(path.name))}
    return [found[number] for number in sorted(found, reverse=True)]


def write(folder: Path, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write the next checkpoint of ``folder`` (mode 0600), keep the one before it, remove older ones.

    Args:
        state: JSON values.
        tensors: contiguous CPU tensors.

    Raises:
        OSError: the disk is full, or the place has gone or cannot be written;
        the checkpoints that were there stay.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "is a link, through which nothing is written", str(folder))
    there = files(folder)
    number = int(there[0].stem.rpartition("-")[2]) + 1 if there else 1
    path = folder / f"checkpoint-{number:08d}.labtui"
    table, size = _table(tensors)
    text = json.dumps({"state": state, "tensors": table}, allow_nan=False).encode()
    text += b" " * (-(_HEAD.size + len(text)) % _ALIGN)
    digest = hashlib.sha256(text)
    aside = folder / f"{path.name}.aside"
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(bytes(_HEAD.size))
            f.write(text)
            for piece in _pieces(tensors):
                digest.update(piece)
                f.write(piece)
            f.seek(0)
            f.write(_HEAD.pack(_MAGIC, len(text), size, digest.digest()))
            f.flush()
            os.fsync(f.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    for old in there[KEEP - 1 :]:
        old.unlink(missing_ok=True)
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON and the tensors (on the CPU) of a checkpoint.

    Raises:
        CheckpointError: truncated, damaged, or not a checkpoint.
    """
    try:
        data = bytearray(path.stat().st_size)
        with path.open("rb") as f:
            whole = f.readinto(data) == len(data)
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})") from error
    if not whole or len(data) < _HEAD.size:
        raise CheckpointError("is cut short")
    magic, text_length, size, digest = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise CheckpointError("is not a checkpoint of this version")
    if len(data) != _HEAD.size + text_length + size:
        raise CheckpointError("is cut short")
    if hashlib.sha256(memoryview(data)[_HEAD.size :]).digest() != digest:
        raise CheckpointError("is damaged (its checksum does not agree)")
    try:
        content = json.loads(data[_HEAD.size : _HEAD.size + text_length])
        start = _HEAD.size + text_length
        tensors = {name: _tensor(data, start, *entry) for name, entry in content["tensors"].items()}
        state: dict[str, Any] = content["state"]
    except Exception as error:
        raise CheckpointError(f"cannot be decoded ({type(error).__name__})") from error
    return state, tensors


def _table(tensors: Mapping[str, Tensor]) -> tuple[dict[str, tuple[str, list[int], int]], int]:
    """(type, shape, first byte) of each tensor, and the bytes of all."""
    table, at = {}, 0
    for name, tensor in tensors.items():
        table[name] = (_NAMES[tensor.dtype], list(tensor.shape), at)
        at += -(-tensor.nbytes // _ALIGN) * _ALIGN
    return table, at


def _pieces(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    for tensor in tensors.values():
        content: memoryview[int] = memoryview(tensor.reshape(-1).view(torch.uint8).numpy().data)
        for at in range(0, len(content), _CHUNK):
            yield content[at : at + _CHUNK]
        yield memoryview(bytes(-len(content) % _ALIGN))


def _tensor(data: bytearray, start: int, dtype: str, shape: list[int], at: int) -> Tensor:
    kind, count = _DTYPES[dtype], prod(shape)
    if count == 0:
        return torch.zeros(shape, dtype=kind)
    return torch.frombuffer(data, dtype=kind, count=count, offset=start + at).view(shape)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
