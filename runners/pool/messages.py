"""Everything that supervisor and worker say to each other:
JSON lines over two inherited pipes (:mod:`runners.pool.codec`).

Every message about training carries a :class:`Tag`. The supervisor drops, and logs,
what comes with a tag that it no longer waits for: a late word of an attempt that it has given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runners.engine.types import Ended, Member, Plan
from runners.pool.codec import MessageError, decode


@dataclass(frozen=True)
class Tag:
    """Which attempt at which assignment."""

    assignment: str
    epoch: int
    """The supervisor's, counted up in the lab file at every start."""
    attempt: int
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


@dataclass(frozen=True)
class Prepare:
    """A hint: the data of these members will probably be asked for next."""

    job: str
    members: tuple[Member, ...]
    device: str


@dataclass(frozen=True)
class Drop:
    """These probes of the running assignment are not needed any more."""

    tag: Tag
    probes: tuple[str, ...]


@dataclass(frozen=True)
class Stop:
    """End the running assignment before its end."""

    tag: Tag
    mode: Literal["checkpoint", "discard"]


@dataclass(frozen=True)
class Hold:
    """Stand still at the next look at the control, or go on:
    there is no room to keep what training would give.
    """

    on: bool


@dataclass(frozen=True)
class Quit:
    """Checkpoint if there is something to keep, and end the process."""


# Up: worker to supervisor.


@dataclass(frozen=True)
class Ready:
    """The trainer is imported."""

    pid: int
    trainer: str
    library: str
    """Version of torch, empty for a stand-in."""
    device_name: str


@dataclass(frozen=True)
class Beat:
    """The process lives."""

    assignment: str
    """Empty: nothing to do."""
    silent_s: float
    """Seconds since the trainer last looked at its control or reported something."""
    rss: int
    """Resident memory in bytes."""


@dataclass(frozen=True)
class Point:
    """A member's losses at one evaluation."""

    member: int
    step: int
    train: float
    validation: float


@dataclass(frozen=True)
class Progress:
    """Evaluations since the last such message, all members together; at most about five a second."""

    tag: Tag
    points: tuple[Point, ...]


@dataclass(frozen=True)
class TrialEnded:
    """One trial is over, with its whole curve (thinned to at most 130 points: first, best and last kept)."""

    tag: Tag
    ended: Ended
    steps: tuple[int, ...]
    train: tuple[float, ...]
    validation: tuple[float, ...]
    wall_s: float


@dataclass(frozen=True)
class Planned:
    """The plan that training goes by from here on."""

    tag: Tag
    plan: Plan


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    tag: Tag
    step: int
    blocked_s: float


@dataclass(frozen=True)
class Noted:
    """Something a person should know."""

    tag: Tag
    text: str
    level: Literal["info", "warning"]


@dataclass(frozen=True)
class Halted:
    """Stopped as asked; ``kept`` tells whether a checkpoint holds what was done."""

    tag: Tag
    kept: bool


@dataclass(frozen=True)
class Finished:
    """Every member has ended."""

    tag: Tag
    setup_s: float
    """Seconds until the trainer's first event."""
    train_s: float
    checkpoint_s: float
    """Seconds that training stood still for checkpoints."""


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


Down = Train | Prepare | Drop | Stop | Hold | Quit
Up = Ready | Beat | Progress | TrialEnded | Planned | Saved | Noted | Halted | Finished | Failed
DOWN: dict[str, type] = {k.__name__: k for k in (Train, Prepare, Drop, Stop, Hold, Quit)}
UP: dict[str, type] = {
    k.__name__: k
    for k in (Ready, Beat, Progress, TrialEnded, Planned, Saved, Noted, Halted, Finished, Failed)
}


def decode_down(line: bytes) -> Down:
    """Read what a supervisor sent.

    Raises:
        MessageError: it is not a message.
    """
    message: Down = decode(line, DOWN)
    return message


def decode_up(line: bytes) -> Up:
    """Read what a worker sent.

    Raises:
        MessageError: it is not a message, or its lists do not fit together.
    """
    message: Up = decode(line, UP)
    if isinstance(message, TrialEnded) and not len(message.steps) == len(message.train) == len(
        message.validation
    ):
        raise MessageError("TrialEnded has lists of different lengths")
    return message
