"""Checkpoints: what a file holds, how it is written and read, and when.

A file is JSON and tensors in one, written aside, fsync'd and renamed; damage is found by a checksum.
Layout: 8 bytes of
magic, two little-endian uint64 (length of the JSON, length of the tensors), SHA-256 over both, the JSON
(the state, and
each tensor's type, shape and place), the tensors as they lie in memory, each at a multiple of 64 bytes. So
a gigabyte
is written and read without a copy. Nothing in it is ever run. It is written while training goes on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

import torch
from torch import Tensor

from runners.engine.device import kernels, kind
from runners.engine.fused_batch import Rows
from runners.engine.trials import Trials
from runners.engine.types import Checkpointed, EngineEvent, Member, Note, Plan, shape_key
from runners.spec import Job

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
    """Read the JSON and the tensors (on the CPU) of a checkpoint.

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


VERSION = 2
_TENSORS = ("params", "mean", "square", "loss", "best")


@dataclass(frozen=True)
class Saved:
    """A checkpoint that fits the run; its book-keeping is in the run's trials already."""

    plan: Plan
    batch: int
    batches: tuple[Rows, ...]
    path: str

    def unfinished(self, trials: Trials) -> set[int]:
        """Trials that are decided and not ended: a stop came while one of them was tested at
        twice the length.
        """
        found = {
            slot for rows in self.batches for slot, live in zip(rows.slots, rows.live, strict=True) if live
        }
        return {i for i in found if not trials[i].live}


def identity(job: Job, members: Sequence[Member]) -> str:
    """What a checkpoint must agree on to be gone on from;
    the probes' names do not count, only who belongs together.
    """
    names = list(dict.fromkeys(m.probe for m in members))
    rows = [{**asdict(m), "probe": names.index(m.probe)} for m in members]
    return hashlib.sha256(json.dumps([shape_key(job), rows], sort_keys=True).encode()).hexdigest()


Snapshot = tuple[dict[str, Any], dict[str, Tensor]]
"""JSON values, and tensors on the host."""


def snapshot(
    identity: str,
    device: str,
    plan: Plan,
    trials: Trials,
    batch_size: int,
    rows: Sequence[Rows],
    *,
    copy: bool = True,
) -> Snapshot:
    """Copy the whole state of a run to the host.

    Args:
        copy: False: what lies on the host already is handed out as it is, for training has ended.
    """
    state = {
        "version": VERSION,
        "identity": identity,
        "kind": kind(device),
        "plan": asdict(plan),
        "batch": batch_size,
        "trials": trials.dump(),
        "batches": [{"slots": r.slots, "live": r.live, "steps": r.steps, "marks": r.marks} for r in rows],
    }
    tensors = {
        f"{i}.{name}": getattr(r, name).detach().to("cpu", copy=copy).contiguous()
        for i, r in enumerate(rows)
        for name in _TENSORS
    }
    return state, tensors


def latest(folder: Path | None, wanted: str, device: str, trials: Trials) -> tuple[Saved | None, list[Note]]:
    """The newest checkpoint that is whole and fits; its book-keeping is loaded into ``trials``.

    Returns:
        None where there is none, and in words what was passed over and why.
    """
    notes = []
    for path in files(folder) if folder is not None else []:
        try:
            state, tensors = read(path)
            _check(state, wanted, device)
            batches = tuple(
                _rows(saved_rows, i, tensors, device) for i, saved_rows in enumerate(state["batches"])
            )
            saved = Saved(Plan(**state["plan"]), int(state["batch"]), batches, str(path))
            trials.load(state["trials"])
        except CheckpointError as error:
            notes.append(Note(f"the checkpoint {path.name} {error} and is passed over", "warning"))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            notes.append(Note(f"the checkpoint {path.name} cannot be used ({why})", "warning"))
        else:
            return saved, notes
    return None, [*notes, Note("no checkpoint to go on from: training begins afresh", "warning")]


def _check(state: dict[str, Any], wanted: str, device: str) -> None:
    if state["version"] != VERSION:
        raise CheckpointError(f"has the format {state['version']!r:.40}, not {VERSION},")
    if state["identity"] != wanted:
        raise CheckpointError("belongs to another job or other trials")
    if state["kind"] != kind(device):
        raise CheckpointError(f"was made on {state['kind']!r:.40}, not on {kind(device)},")
    if state["plan"].get("kernels", "") != kernels(device, state["plan"]["threads"]):
        raise CheckpointError("was made with other compiled kernels, whose sums end on other last bits,")


def _rows(saved: dict[str, Any], i: int, tensors: dict[str, Tensor], device: str) -> Rows:
    held = [tensors[f"{i}.{name}"].to(device, copy=True) for name in _TENSORS]
    params, mean, square, loss, best = held
    slots = tuple(int(s) for s in saved["slots"])
    sizes = {len(slots), len(params), len(mean), len(square), len(loss), len(best)}
    if len(sizes) != 1 or loss.dtype != torch.float64:
        raise ValueError("its tensors do not agree with its members")
    return Rows(
        slots,
        tuple(bool(v) for v in saved["live"]),
        tuple(int(v) for v in saved["steps"]),
        tuple(int(v) for v in saved["marks"]),
        params,
        mean,
        square,
        loss,
        best,
    )


MIN_INTERVAL_S = 60.0
INTERVAL_OVER_COST = 100.0
"""A checkpoint may cost 1 % of the time: the interval after it is this many times what it blocked and what
writing it took of the processor."""


class _Write(threading.Thread):
    def __init__(
        self,
        folder: Path,
        state: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        step: int,
        blocked_s: float,
    ) -> None:
        super().__init__(name="checkpoint", daemon=False)
        self.step, self.blocked_s = step, blocked_s
        self.path: Path | None = None
        self.error: Exception | None = None
        self.cpu_s = 0.0
        self._content = (folder, state, tensors)

    def run(self) -> None:
        try:
            self.path = write(*self._content)
        except Exception as error:
            self.error = error
        self.cpu_s = thread_time()


class Saver:
    """Checkpoints of one run. Training stands still only while the state is copied to the host.

    Args:
        folder: None: nothing is ever written.
        clock: seconds; for tests.
    """

    def __init__(self, folder: Path | None, clock: Callable[[], float] = monotonic) -> None:
        self.folder = folder
        self._clock = clock
        self._next = clock() + MIN_INTERVAL_S
        self._write: _Write | None = None
        self.cost_s = 0.0
        """What the last one blocked, and took of the processor while it was written."""

    def due(self) -> bool:
        return self.folder is not None and self._write is None and self._clock() >= self._next

    def save(
        self, step: int, take: Callable[[], tuple[Mapping[str, Any], Mapping[str, Tensor]]]
    ) -> list[EngineEvent]:
        """Copy the state and start to write it; the events of a write that had not been told yet.

        Args:
            step: told with the event.
            take: copies the state to the host: JSON values and tensors that nobody else changes.
        """
        if self.folder is None:
            return []
        events = self.finish()
        begun = self._clock()
        state, tensors = take()
        blocked = self._clock() - begun
        self._write = _Write(self.folder, state, tensors, step, blocked)
        self._next = self._clock() + MIN_INTERVAL_S
        self._write.start()
        return events

    def poll(self) -> list[EngineEvent]:
        """The event of a write that is done, if there is one; does not wait."""
        return self.finish() if self._write is not None and not self._write.is_alive() else []

    def finish(self) -> list[EngineEvent]:
        """Wait for the write under way and tell how it went."""
        job, self._write = self._write, None
        if job is None:
            return []
        job.join()
        self.cost_s = job.blocked_s + job.cpu_s
        self._next = max(self._next, self._clock() + INTERVAL_OVER_COST * self.cost_s)
        if job.error is not None:
            return [Note(f"the checkpoint at step {job.step:,} could not be written: {job.error}", "warning")]
        return [Checkpointed(str(job.path), job.step, job.blocked_s)]
