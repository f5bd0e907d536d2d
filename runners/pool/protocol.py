"""Everything that supervisor and worker say to each other: JSON lines over two inherited pipes. Never pickle.

The pipe is ours, but a worker can be a plugin's code gone wild: pydantic checks every value against its
annotation, so whatever arrives is either a message or one sentence.

Every message about training carries a :class:`Tag`. The supervisor drops, and logs,
what comes with a tag that it no longer waits for: a late word of an attempt that it has given up.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from runners.engine.types import Ended, Member, Plan
from runners.pool.devices import Device
from runners.pool.identity import ProcessId
from store.rows import NodeRow

Int = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
"""One that a column of the lab can hold."""


@dataclass(frozen=True)
class Tag:
    """Which attempt at which assignment."""

    assignment: str
    epoch: Int
    """The supervisor's, counted up in the lab file at every start."""
    attempt: Int
    """Counts the hand-outs of this assignment within the epoch."""


# Down: supervisor to worker.


@dataclass(frozen=True)
class Train:
    """Train these members to their end."""

    tag: Tag
    job: str
    """JSON of runners.spec.Job; gives the shape of all members."""
    members: tuple[Member, ...]
    device: str
    plan: Plan | None
    checkpoint_dir: str
    resume: bool
    drop: tuple[str, ...] = ()
    """Probes that the checkpoint holds and nobody wants any more."""
    trainer: str = ""
    """``module:Class`` for a search that runs no program; empty: the one that the worker was started with."""
    kind: Literal["Train"] = "Train"


@dataclass(frozen=True)
class Prepare:
    """A hint: the data of these members will probably be asked for next."""

    job: str
    members: tuple[Member, ...]
    device: str
    kind: Literal["Prepare"] = "Prepare"


@dataclass(frozen=True)
class Drop:
    """These probes of the running assignment are not needed any more."""

    tag: Tag
    probes: tuple[str, ...]
    kind: Literal["Drop"] = "Drop"


@dataclass(frozen=True)
class Stop:
    """End the running assignment before its end."""

    tag: Tag
    mode: Literal["checkpoint", "discard"]
    kind: Literal["Stop"] = "Stop"


@dataclass(frozen=True)
class Hold:
    """Stand still at the next look at the control, or go on:
    there is no room to keep what training would give.
    """

    on: bool
    kind: Literal["Hold"] = "Hold"


@dataclass(frozen=True)
class Quit:
    """Checkpoint if there is something to keep, and end the process."""

    kind: Literal["Quit"] = "Quit"


# Up: worker to supervisor.


@dataclass(frozen=True)
class Ready:
    """The trainer is imported."""

    pid: Int
    trainer: str
    library: str
    """Version of torch, empty for a stand-in."""
    device_name: str
    kind: Literal["Ready"] = "Ready"


@dataclass(frozen=True)
class Beat:
    """The process lives."""

    assignment: str
    """Empty: nothing to do."""
    silent_s: float
    """Seconds since the trainer last looked at its control or reported something."""
    rss: Int
    """Resident memory in bytes."""
    kind: Literal["Beat"] = "Beat"


@dataclass(frozen=True)
class Point:
    """A member's losses at one evaluation."""

    member: Int
    step: Int
    train: float
    validation: float
    exact: bool
    """False: the validation loss is that of a first part of the set."""


@dataclass(frozen=True)
class Progress:
    """Evaluations since the last such message, all members together; at most about five a second."""

    tag: Tag
    points: tuple[Point, ...]
    kind: Literal["Progress"] = "Progress"


@dataclass(frozen=True)
class TrialEnded:
    """One trial is over, with its whole curve (thinned to at most 130 points: first, best and last kept)."""

    tag: Tag
    ended: Ended
    steps: tuple[Int, ...]
    train: tuple[float, ...]
    validation: tuple[float, ...]
    exact: tuple[bool, ...]
    wall_s: float
    kind: Literal["TrialEnded"] = "TrialEnded"


@dataclass(frozen=True)
class Planned:
    """The plan that training goes by from here on."""

    tag: Tag
    plan: Plan
    kind: Literal["Planned"] = "Planned"


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    tag: Tag
    step: Int
    blocked_s: float
    kind: Literal["Saved"] = "Saved"


@dataclass(frozen=True)
class Noted:
    """Something a person should know."""

    tag: Tag
    text: str
    level: Literal["info", "warning"]
    kind: Literal["Noted"] = "Noted"


@dataclass(frozen=True)
class Halted:
    """Stopped as asked; ``kept`` tells whether a checkpoint holds what was done."""

    tag: Tag
    kept: bool
    kind: Literal["Halted"] = "Halted"


@dataclass(frozen=True)
class Finished:
    """Every member has ended."""

    tag: Tag
    setup_s: float
    """Seconds until the trainer's first event."""
    train_s: float
    checkpoint_s: float
    """Seconds that training stood still for checkpoints."""
    kind: Literal["Finished"] = "Finished"


@dataclass(frozen=True)
class Failed:
    """The trainer raised."""

    tag: Tag
    reason: Literal["failed", "out_of_memory", "device"]
    text: str
    """The exception in one line."""
    trace: str
    """The end of the traceback."""
    broken: bool = False
    """The process can compute no more: its CUDA context is spoiled."""
    kind: Literal["Failed"] = "Failed"


Down = Train | Prepare | Drop | Stop | Hold | Quit
Up = Ready | Beat | Progress | TrialEnded | Planned | Saved | Noted | Halted | Finished | Failed


Clock = Callable[[], float]


class WorkerProcess(Protocol):
    """A worker as the supervisor sees it, wherever it runs.

    On this machine it is a ``local.LocalWorker``, on a node of a cluster a ``ray_pool.RayWorker``.

    Nothing here blocks; a worker that has gone is no error: :meth:`exit_code` tells what became of it.
    """

    up: int
    """A descriptor that is readable when it has said something."""
    id: ProcessId
    ready: Ready | None
    rss: int
    silent_s: float
    closed: bool
    """It can be heard no more."""
    quitting: bool
    """It was told to end; its end is no failure."""
    holding: bool
    """It was told to stand still."""

    @property
    def heard(self) -> float:
        """When it last said something, by the supervisor's clock."""

    @property
    def pid(self) -> int:
        """Of its process, for people."""

    def send(self, message: Down) -> None:
        """Queue a message."""

    def flush(self) -> None:
        """Send what can be sent of what is queued."""

    def receive(self) -> Iterator[Up]:
        """Every whole message that is there; MessageError: nothing that follows can be trusted."""

    def quit(self) -> None:
        """Ask it to end, keeping what it can."""

    def exit_code(self) -> int | None:
        """Of the process if it has ended, negative for a signal."""

    def kill(self) -> None:
        """End it now."""

    def close(self) -> None:
        """Give up what it holds here; it must have ended or been killed."""

    def tail(self, size: int = 2000) -> str:
        """The end of its log."""


class Pool(Protocol):
    """The place where workers run: this machine (``local.LocalPool``) or a cluster (``ray_pool.RayPool``).

    Nothing here blocks.
    """

    @property
    def lost(self) -> bool:
        """It is gone as a whole, and with it every orderly way to leave it."""

    def devices(self) -> list[Device]:
        """The devices that can be used now.

        Raises:
            PoolLost: the place is gone as a whole.
        """

    def slots(self, device: Device) -> int:
        """How many workers a device has where nobody said otherwise."""

    def shortage(self, device: Device, need: int, reserve: float) -> str:
        """Why no worker fits on a device now, in words; empty if one fits.

        Args:
            need: host memory of the worker in bytes.
            reserve: share of the memory that is left alone.

        Raises:
            LookupError: the device has gone.
        """

    def prepare(self, device: Device, trainer: str) -> bool:
        """Make ready for workers with a trainer; False where that is worth waiting for: ask again."""

    def start(
        self, slot: str, device: Device, trainer: str, threads: int, log: Path, clock: Clock
    ) -> WorkerProcess:
        """Start a worker for a slot.

        Raises:
            OSError: it cannot be started now.
        """

    def free(self, slot: str) -> None:
        """A slot is not used any more."""

    def news(self) -> list[News]:
        """What has happened since it was last asked, for people."""

    def nodes(self) -> list[NodeRow]:
        """The machines of a cluster as they are now; none: it is this machine."""

    def close(self) -> None:
        """Give everything back; no worker is left."""


@dataclass(frozen=True)
class News:
    """Something a person should know of the place where workers run."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


class PoolLost(Exception):  # noqa: N818 - says what happened
    """The place where workers run is gone as a whole; ``str(e)`` is one sentence."""


MAX_LINE = 32 << 20
"""Bytes of one message; the largest honest one is an assignment with 65,536 trials."""
T = TypeVar("T")


class MessageError(ValueError):
    """What came over the pipe is not a message; ``str(e)`` is one sentence."""


# Dataclasses of the standard library take this over from the union that they stand in, nested ones too.
_CONFIG = ConfigDict(strict=True, extra="forbid", ser_json_inf_nan="constants")
_DOWN: TypeAdapter[Down] = TypeAdapter(Annotated[Down, Field(discriminator="kind")], config=_CONFIG)
_UP: TypeAdapter[Up] = TypeAdapter(Annotated[Up, Field(discriminator="kind")], config=_CONFIG)


def encode(message: Down | Up) -> bytes:
    """Write it as one line, newline included. Non-finite floats travel as NaN and Infinity."""
    adapter: TypeAdapter[Any] = _DOWN if isinstance(message, Down) else _UP
    try:
        return adapter.dump_json(message) + b"\n"
    except PydanticSerializationError:  # half a character: a file name in the text of an error
        texts = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
        whole: Any = {
            k: v.encode("utf-8", "replace").decode() for k, v in texts.items() if isinstance(v, str)
        }
        return adapter.dump_json(dataclasses.replace(message, **whole)) + b"\n"


def decode_down(line: bytes) -> Down:
    """Read what a supervisor sent.

    Raises:
        MessageError: it is not a message.
    """
    return _read(_DOWN, line, "a message")


def decode_up(line: bytes) -> Up:
    """Read what a worker sent.

    Raises:
        MessageError: it is not a message, or its lists do not fit together.
    """
    message = _read(_UP, line, "a message")
    if (
        isinstance(message, TrialEnded)
        and len({len(c) for c in (message.steps, message.train, message.validation, message.exact)}) > 1
    ):
        raise MessageError("TrialEnded has lists of different lengths")
    return message


def to_json(value: Any) -> str:
    """A dataclass as JSON text without its kind (a plan in a row, an assignment in a file)."""
    return json.dumps(dataclasses.asdict(value), separators=(",", ":"), sort_keys=True)


def from_json(text: str, kind: type[T]) -> T:
    """The dataclass that :func:`to_json` wrote.

    Raises:
        MessageError: the text is not that.
    """
    adapter: TypeAdapter[Any] = _stored(cast("Any", kind))
    found = _read(adapter, text, kind.__name__)
    if found is None:
        raise MessageError(f"{kind.__name__} is null")
    return cast("T", found)


@cache
def _stored(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind | None, config=_CONFIG)


def _read(adapter: TypeAdapter[T], text: bytes | str, what: str) -> T:
    if len(text) > MAX_LINE:
        raise MessageError(f"{what} has {len(text)} bytes; expected at most {MAX_LINE}")
    try:
        found = adapter.validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in problem["loc"][:4])
        words = f"{what} is not one: {place}{': ' if place else ''}{problem['msg']}"
        raise MessageError(" ".join(words.split())[:250]) from None
    except ValueError as error:  # half a character
        raise MessageError(f"{what} is no text ({type(error).__name__})") from None
    if not _fits(found):
        raise MessageError(f"{what} holds an integer beyond 64 bits")
    return found


def _fits(value: Any) -> bool:
    """The integers of the engine's own types, whose annotations say nothing of 64 bits, can be stored."""
    if isinstance(value, TrialEnded):
        value = value.ended
    elif isinstance(value, Planned | Train):
        value = (value.plan, *getattr(value, "members", ()))
    elif not isinstance(value, Ended | Plan | Member):
        return True
    parts = value if isinstance(value, tuple) else (value,)
    numbers = [n for part in parts if part is not None for n in vars(part).values() if type(n) is int]
    return all(-(1 << 63) <= n < 1 << 63 for n in numbers)
