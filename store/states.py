"""The states of a search and the reasons why one ended, as every part of labtui calls them.

Apart from the rows, which take three milliseconds to make: the first paint of the screens needs these alone.
"""

from __future__ import annotations

from typing import Literal, Protocol

JobState = Literal["queued", "running", "paused", "done", "cancelled", "failed"]
LIVE_STATES: tuple[JobState, ...] = ("queued", "running", "paused")
MOVING_STATES: tuple[JobState, ...] = ("queued", "running")
"""Those that a supervisor moves on by itself."""
ENDED_STATES: tuple[JobState, ...] = ("done", "failed", "cancelled")
Failure = Literal["failed", "out of memory", "device lost", "lost", "stale", "needs your word"]
"""Why a run ended without its job. failed: an error of its own; lost: its worker or supervisor died; stale:
no sign of it.
"""
GOALS = ("min", "max")
"""What the column ``distribution`` holds of a program."""
NEEDS_WORD = "needs_your_word"
"""The first line of the reason of a queued job whose program this user has not allowed here."""


def word_needed(job_id: int) -> str:
    """That reason."""
    return f"{NEEDS_WORD}\nlabtui allow {job_id} shows what it would run"


FAILURES: dict[str, Failure] = {
    "failed": "failed",
    "out_of_memory": "out of memory",
    "device": "device lost",
    "lost": "lost",
    "stale": "stale",
    "needs_your_word": "needs your word",
}
"""The first line of a job's reason -> what it is called."""


class Held(Protocol):
    """What tells whether a supervisor's lock is held: its row."""

    @property
    def alive(self) -> bool: ...


def supervised(row: Held | None) -> bool:
    """Tell whether a supervisor lives: without one nothing runs, whatever the other rows say."""
    return row is not None and row.alive
