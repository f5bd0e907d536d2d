"""``labtui doctor``: versions, devices, disk, and what may go wrong here, each with its remedy."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from labtui import __version__
from labtui.cli.context import Context
from labtui.cli.entry import FAILED

Level = Literal["ok", "note", "problem"]
LOGIND = ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd")
"""Where logind's settings lie; a file of one name counts in the last of them, and drop-ins count over ``logind.conf``."""
MIN_FREE = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def doctor(context: Context) -> int:
    """Look at everything; exit 1 where something is wrong."""
    found = [*_software(), *_machine(), *_session(), *_terminal(context), *_lab(context)]
    if context.json:
        context.emit(found)
    else:
        from labtui.text import clean

        marks = {"ok": " ", "note": "·", "problem": "!"}
        for f in found:
            context.line(clean(f"{marks[f.level]} {f.check:<12} {f.text}", limit=400))
            if f.remedy:
                context.line(clean(f"  {'':<12} -> {f.remedy}", limit=400))
    return FAILED if any(f.level == "problem" for f in found) else 0


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _software() -> Iterator[Finding]:
    yield Finding("labtui", "ok", f"{__version__}, Python {platform.python_version()} on {platform.platform(terse=True)}")
    torch = _installed("torch")
    if torch is None:
        yield Finding("torch", "note", "not installed: nothing can be trained here", "pip install 'labtui[train]'")
    else:
        yield Finding("torch", "ok", torch)
    for name in ("textual", "sqlmodel", "alembic", "numpy", "scipy", "plotext", "psutil"):
        found = _installed(name)
        if found is None:
            yield Finding(name, "problem", "not installed", f"pip install {name}")
    yield _sqlite(sqlite3.sqlite_version_info)


def wal_reset_fault(found: tuple[int, ...]) -> bool:
    """Whether this SQLite can lose commits when a write races a checkpoint (3.7.0 to 3.51.2; fixed in 3.50.7, 3.44.6)."""
    if not (3, 7, 0) <= found < (3, 51, 3):
        return False
    return not ((3, 50, 7) <= found < (3, 51, 0) or (3, 44, 6) <= found < (3, 45, 0))


def _sqlite(found: tuple[int, ...]) -> Finding:
    text = f"{'.'.join(map(str, found))}"
    if not wal_reset_fault(found):
        return Finding("sqlite", "ok", text)
    return Finding("sqlite", "note", f"{text} has the WAL-reset fault; labtui's write lock keeps it from happening")


def _machine() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    yield Finding("cpu", "ok", f"{cores} cores for this process, {free}")
    yield from _gpus()


def _gpus() -> Iterator[Finding]:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no driver, no library, no permission: each means no GPU to use
        yield Finding("gpu", "ok", "none seen by NVML: the CPU trains")
        return
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        for i in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(i)
            name, memory = _text(pynvml.nvmlDeviceGetName(handle)), pynvml.nvmlDeviceGetMemoryInfo(handle)
            used = f"{memory.used / 2**30:.1f} of {memory.total / 2**30:.1f} GiB used"
            yield Finding(f"cuda:{i}", "ok", f"{name}, driver {driver}, {used}")
        torch = _installed("torch")
        if torch is not None and torch.endswith("+cpu"):
            yield Finding("torch", "problem", f"{torch} cannot use the GPU", "install a CUDA build of torch")
    except Exception as error:
        yield Finding("gpu", "note", f"NVML fails: {error}")
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def kills_user_processes(user: str, places: tuple[str, ...] = LOGIND) -> bool:
    """logind ends what this user leaves running at log-out (logind.conf(5))."""
    main = Path("none")
    extra: dict[str, Path] = {}
    for place in map(Path, places):
        main = place / "logind.conf" if (place / "logind.conf").is_file() else main
        extra |= {file.name: file for file in (place / "logind.conf.d").glob("*.conf")}
    told = {"KillUserProcesses": "no", "KillOnlyUsers": "", "KillExcludeUsers": "root"}
    for file in (main, *(extra[name] for name in sorted(extra))):
        try:
            lines = file.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, equals, value = line.partition("=")
            if equals and key.strip() in told:
                told[key.strip()] = value.strip()
    only = told["KillOnlyUsers"].split()
    spared = user in told["KillExcludeUsers"].split() or (only and user not in only)
    return told["KillUserProcesses"].lower() in ("yes", "true", "y", "t", "1", "on") and not spared


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())


def _session() -> Iterator[Finding]:
    user = _user()
    if kills_user_processes(user):
        if (Path("/var/lib/systemd/linger") / user).is_file():
            yield Finding("logout", "ok", "KillUserProcesses=yes, but this user lingers")
        else:
            yield Finding(
                "logout",
                "problem",
                "KillUserProcesses=yes: the supervisor would be killed when you log out",
                "loginctl enable-linger, or systemd-run --user --scope labtui daemon start",
            )
    if job := os.environ.get("SLURM_JOB_ID"):
        yield Finding(
            "slurm",
            "note",
            f"inside allocation {job}: the supervisor ends with it, and goes on from its checkpoints at the next start",
            "put `labtui run` into the batch script and submit that with sbatch; it takes up what an earlier one left",
        )


def _terminal(context: Context) -> Iterator[Finding]:
    encoding = getattr(sys.stdout, "encoding", None) or "?"
    text = f"TERM={context.env.get('TERM', '')}, {encoding}"
    if context.ascii:
        yield Finding("terminal", "note", f"{text}: ASCII signs are used", "a UTF-8 locale: export LANG=C.UTF-8")
    else:
        yield Finding("terminal", "ok", text)


def _lab(context: Context) -> Iterator[Finding]:
    from labtui.plain.queue import count_line, supervisor_line
    from store.errors import LabError
    from store.paths import LabPaths, network_filesystem

    path = context.lab_path
    place = path.parent if path.parent.exists() else Path()
    kind = network_filesystem(path)
    if kind is not None:
        yield Finding(
            "disk", "problem", f"{path} lies on a network disk ({kind}): a live lab loses data there", "--lab a local path"
        )
    free = shutil.disk_usage(place).free
    level: Level = "ok" if free >= MIN_FREE else "problem"
    yield Finding("disk", level, f"{free / 2**30:.1f} GiB free", "" if level == "ok" else "make room: results wait in memory")
    if not path.exists():
        yield Finding("lab", "ok", f"none yet at {path}")
        return
    try:
        lab = context.lab
        yield Finding(
            "lab", "ok", f"{path}: schema {lab.schema}, {path.stat().st_size / 2**20:.1f} MiB, {count_line(lab.counts())}"
        )
        row = lab.supervisor()
        yield Finding("supervisor", "ok" if row is not None and row.alive else "note", supervisor_line(row, lab.holding()))
        if (waiting := lab.pending_commands()) and not (row is not None and row.alive):
            yield Finding("commands", "note", f"{waiting} verbs wait for a supervisor", "labtui daemon start")
        folder = LabPaths(path).folder
        if folder.exists() and folder.stat().st_mode & 0o077:
            yield Finding("folder", "problem", f"{folder} is open to others", f"chmod 700 {folder}")
    except LabError as error:
        yield Finding("lab", "problem", str(error))
