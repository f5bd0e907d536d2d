"""Checkpoint files: tensors and JSON in one file, written aside, fsync'd and renamed; damage is found by a checksum.

Layout: 8 bytes of magic, two little-endian uint64 (length of the JSON, length of the tensors), 32 bytes of SHA-256 over
both, the JSON, the tensors (safetensors, or torch's zip read with ``weights_only``). No pickle of anything is ever run.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

try:
    import safetensors.torch as _safetensors

    _HAS_SAFETENSORS = True
except ImportError:  # an optional form of the same content
    _HAS_SAFETENSORS = False

_MAGIC = {b"LABTUIS1": "safetensors", b"LABTUIT1": "torch"}
_HEAD = struct.Struct("<8sQQ32s")
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
        OSError: the disk is full, or the place has gone or cannot be written; the checkpoints that were there stay.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    there = files(folder)
    number = int(there[0].stem.rpartition("-")[2]) + 1 if there else 1
    path = folder / f"checkpoint-{number:08d}.labtui"
    text = json.dumps(state, allow_nan=False).encode()
    magic, body = _encode(tensors)
    digest = hashlib.sha256(text)
    digest.update(body)
    aside = folder / f"{path.name}.aside"
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(_HEAD.pack(magic, len(text), len(body), digest.digest()))
            f.write(text)
            f.write(body)
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
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})") from error
    if len(data) < _HEAD.size:
        raise CheckpointError("is cut short")
    magic, text_length, body_length, digest = _HEAD.unpack_from(data)
    if magic not in _MAGIC:
        raise CheckpointError("is not a checkpoint of this version")
    if len(data) != _HEAD.size + text_length + body_length:
        raise CheckpointError("is cut short")
    content = memoryview(data)[_HEAD.size :]
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError("is damaged (its checksum does not agree)")
    try:
        state = json.loads(bytes(content[:text_length]))
        tensors = _decode(_MAGIC[magic], bytes(content[text_length:]))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"cannot be decoded ({type(error).__name__})") from error
    return state, tensors


def _encode(tensors: Mapping[str, Tensor]) -> tuple[bytes, bytes]:
    if _HAS_SAFETENSORS:
        return b"LABTUIS1", _safetensors.save(dict(tensors))
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    return b"LABTUIT1", buffer.getvalue()


def _decode(kind: str, body: bytes) -> dict[str, Tensor]:
    if kind == "torch":
        loaded: dict[str, Tensor] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        return loaded
    if not _HAS_SAFETENSORS:
        raise CheckpointError("needs the package safetensors to be read")
    tensors: dict[str, Tensor] = _safetensors.load(body)
    return tensors


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
