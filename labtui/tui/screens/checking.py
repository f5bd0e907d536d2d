"""Reading a spec while it is typed, and what it would cost;
runs in a thread, loads pydantic at its first call (0.2 s).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from labtui.analysis.eta import Outlook
    from runners.spec import Job


@dataclass(frozen=True)
class Known:
    """What the lab knows: what is reused, and how long searches took."""

    hashes: frozenset[str] = frozenset()
    outlook: Outlook | None = None


@dataclass(frozen=True)
class Checked:
    """A spec that was read."""

    toml: str
    problem: str = ""
    """The sentence of the spec; empty: it is good."""
    line: int | None = None
    name: str = ""
    cells: int = 0
    searches: int = 0
    reused: int = 0
    trials: int = 0
    time: str = ""
    """``~3m04 of one CPU slot``, or why it is not known."""
    basis: str = ""
    json: str = ""
    """The spec as the store's ``enqueue`` takes it."""
    unasked: tuple[Job, ...] = ()
    """Its searches that run a program which this user has not allowed here."""


def check(toml: str, known: Known, folder: Path | None = None) -> Checked:
    """Read a spec and reckon its cost; never raises for what is in it.

    Args:
        folder: that a program's files are looked for in; None: the current one.
    """
    from labtui.analysis.cost import cost
    from labtui.analysis.eta import Outlook
    from labtui.views.cost import device
    from labtui.views.program import waiting_for_word
    from runners.spec import SpecError, Study, parse

    try:
        spec = parse(toml, folder=folder)
    except SpecError as error:
        return Checked(toml, error.problem, error.line)
    except (ValueError, RecursionError) as error:
        return Checked(toml, str(error).split("\n", 1)[0])
    jobs = spec.jobs() if isinstance(spec, Study) else (spec.job,)
    new = [job for job in jobs if job.hash not in known.hashes]
    outlook = known.outlook or Outlook()
    found = cost(new, outlook)
    told = f"{found.device.text} of one {device(outlook)}" if found.device.seconds is not None else "unknown"
    return Checked(
        toml, "", None, spec.name, len(spec.cells()) if isinstance(spec, Study) else 0, len(jobs),
        len(jobs) - len(new), found.trials, told, found.device.basis,
        json.dumps(spec.model_dump(mode="json")), tuple(waiting_for_word(jobs)),
    )  # fmt: skip


class Checker:
    """Checks the newest text, one at a time; texts that were overtaken are never looked at."""

    def __init__(self, done: Callable[[Checked], None]) -> None:
        self._done = done
        self._lock = threading.Lock()
        self._wanted: tuple[str, Known, Path | None] | None = None
        self._busy = False

    def ask(self, toml: str, known: Known, folder: Path | None = None) -> None:
        with self._lock:
            self._wanted = (toml, known, folder)
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._run, name="labtui-checker", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._busy = False
                    return
            self._done(check(*wanted))
