"""``labtui doctor``: versions, devices, disk, and what may go wrong here, each with its remedy."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from labtui.cli.arguments import Parser
from labtui.cli.checks.check import Check, lines
from labtui.cli.checks.cluster import cluster
from labtui.cli.checks.lab_folder import lab_folder
from labtui.cli.checks.login_session import LoginSession
from labtui.cli.context import Context
from labtui.cli.errors import FAILED
from labtui.version import __version__
from labtui.views.grid import terminal_width
from labtui.views.numbers import volume
from runners.machine import driver_version, gpu_problem, look


def arguments(parser: Parser) -> None:
    """Take no option of its own."""
    parser.runs(run)


@dataclass(frozen=True)
class Machine:
    """What is asked of the machine, so that a test can have another one."""

    session: LoginSession = field(default_factory=LoginSession)
    sqlite: tuple[int, ...] = sqlite3.sqlite_version_info
    mounts: str | None = None
    """The text of ``/proc/mounts``; None: read from there."""


def run(context: Context, machine: Machine | None = None) -> int:
    """Look at everything; exit 1 where something is wrong."""
    machine = machine or Machine()
    found = [
        *_software(machine.sqlite),
        *_devices(),
        *cluster(context.lab_path, context.settings, context.env, read_only=context.args.read_only),
        *machine.session.ends(),
        *_terminal(context),
        *_settings(context),
        *lab_folder(
            context.lab_path, read_only=context.args.read_only, env=context.env, mounts=machine.mounts
        ),
    ]
    wrong = sum(f.level == "problem" for f in found)
    if context.json:
        context.emit(found)
    else:
        context.lines(lines(found, terminal_width()))
        context.say(
            "nothing is wrong" if not wrong else f"{wrong} thing{'s' * (wrong > 1)} to mend, marked !"
        )
    return FAILED if wrong else 0


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _software(sqlite: tuple[int, ...]) -> Iterator[Check]:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Check("labtui", "ok", f"{__version__}, Python {platform.python_version()}, {system}")
    torch = _installed("torch")
    if torch is None:
        yield Check(
            "torch", "note", "not installed: nothing can be trained here", "pip install 'labtui[train]'"
        )
    else:
        yield Check("torch", "ok", torch)
    for name in ("textual", "sqlmodel", "alembic", "numpy", "scipy", "plotext", "psutil"):
        found = _installed(name)
        if found is None:
            yield Check(name, "problem", "not installed", f"pip install {name}")
    yield _sqlite(sqlite)


def wal_reset_fault(found: tuple[int, ...]) -> bool:
    """Whether this SQLite can lose commits when a write races a checkpoint (3.7.0 to 3.51.2;
    fixed in 3.50.7, 3.44.6).
    """
    if not (3, 7, 0) <= found < (3, 51, 3):
        return False
    return not ((3, 50, 7) <= found < (3, 51, 0) or (3, 44, 6) <= found < (3, 45, 0))


def _sqlite(found: tuple[int, ...]) -> Check:
    text = f"{'.'.join(map(str, found))}"
    if not wal_reset_fault(found):
        return Check("sqlite", "ok", text)
    text = f"{text} has the WAL-reset fault, which labtui's write lock keeps from happening"
    return Check("sqlite", "note", text, "nothing needs to be done; SQLite 3.51.3 and later are without it")


def _devices() -> Iterator[Check]:
    try:
        import psutil
    except ImportError:  # told above
        return
    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = f"{volume(memory.available)} of {volume(memory.total)} memory free"
    yield Check("cpu", "ok", f"{cores} cores for this process, {free}")
    yield from _gpus()


def _gpus() -> Iterator[Check]:
    if problem := gpu_problem():
        text = f"the GPUs cannot be used: {problem}"
        yield Check("gpu", "problem", text, "mend the driver; until then train with --devices cpu")
        return
    cards = look().gpus
    if not cards:
        yield Check("gpu", "ok", "none seen by NVML: the CPU trains")
        return
    for card in cards:
        used = f"{volume(card.used)} of {volume(card.total)} used"
        yield Check(f"cuda:{card.index}", "ok", f"{card.name}, driver {driver_version()}, {used}")
    torch = _installed("torch")
    if torch is not None and torch.endswith("+cpu"):
        yield Check("torch", "problem", f"{torch} cannot use the GPU", "install a CUDA build of torch")


def _terminal(context: Context) -> Iterator[Check]:
    encoding = getattr(sys.stdout, "encoding", None) or "?"
    text = f"TERM={context.env.get('TERM', '')}, {encoding}"
    if context.ascii:
        yield Check(
            "terminal",
            "note",
            f"{text}: ASCII signs are used",
            "export LANG=C.UTF-8, or another UTF-8 locale",
        )
    else:
        yield Check("terminal", "ok", text)


def _settings(context: Context) -> Iterator[Check]:
    """Every fault of the settings, whoever gave them."""
    told = context.settings.problems
    for problem in told:
        remedy = "labtui config shows every setting and where it is from" if problem is told[-1] else ""
        yield Check("settings", "problem", problem, remedy)
    if not context.settings.problems and context.settings.sources:
        count = len(context.settings.sources)
        yield Check("settings", "ok", f"{count} of your own" if count > 1 else "one of your own")
