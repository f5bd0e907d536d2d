"""What this user on this machine has allowed to run: a command with its values, its folder and the digests of
its files. Kept in the user's own folder, never in a lab.

Asked before anything of a program runs, by the supervisor (which hands nothing out) and again by the worker.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_config_path

if TYPE_CHECKING:
    from runners.spec import Job

_LARGEST = 64 << 20
_OF_PROGRAM = ("command", "function", "cwd", "env", "files")
_last: dict[str, Any] = {}
"""The file as it was last read, and what was in it."""


def allowed_file() -> Path:
    """Where it is kept; without a home nowhere, for the current folder is data."""
    folder = user_config_path("labtui")
    return (folder if folder.is_absolute() else Path("/", *folder.parts[-1:])) / "allowed.json"


def terms(job: Job) -> dict[str, Any]:
    """All that is run and with what: what a person is asked about. The numbers n and seed are left open."""
    program = job.program
    assert program is not None
    return {name: getattr(program, name) for name in _OF_PROGRAM} | {
        "command": list(program.command),
        "values": dict(getattr(job.task, "values", {})),
        "grid": {name: list(values) for name, values in job.grid.axes.items()},
    }


def key(job: Job) -> str:
    """The digest of :func:`terms`."""
    return _key(terms(job))


def _key(terms: dict[str, Any]) -> str:
    text = json.dumps(terms, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def allowed(job: Job) -> bool:
    """Whether this user has allowed what the job runs."""
    return key(job) in _read()


@lru_cache(maxsize=4096)
def _key_of_spec(spec: str) -> str:
    """:func:`key` of a stored spec, every default resolved; empty where it cannot be read."""
    try:
        job = json.loads(spec)
        found = {name: job["model"][name] for name in _OF_PROGRAM}
        return _key(found | {"values": job["task"]["values"], "grid": job["grid"]["axes"]})
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def allowed_spec(spec: str) -> bool:
    """The same of a stored spec, for lists: nothing is run upon this word, and no pydantic is loaded."""
    return _key_of_spec(spec) in _read()


def changed_at() -> float:
    """When something was last allowed: a number that moves with it."""
    try:
        return allowed_file().stat().st_mtime
    except OSError:
        return 0.0


def allow(jobs: Iterable[Job]) -> int:
    """Write down that these may run; how many are new.

    Raises:
        OSError: the user's folder cannot be written.
    """
    with _locked() as file:
        known = _read()
        wanted = {key(job): _told(job) for job in jobs}
        fresh = {k: v for k, v in wanted.items() if k not in known}
        if fresh:
            _write(file, known | fresh)
    return len(fresh)


def changed_files(job: Job) -> list[str]:
    """Files of the program that are not what was allowed: changed, gone or not to be read."""
    from runners.spec.program_sugar import digest  # loads pydantic

    program = job.program
    assert program is not None
    found = []
    for name, wanted in program.files.items():
        try:
            same = digest(Path(program.cwd) / name) == wanted
        except OSError:
            same = False
        if not same:
            found.append(name)
    return found


def _told(job: Job) -> str:
    program = job.program
    assert program is not None
    return " ".join((*program.command, program.function)).strip()[:500]


def _read() -> dict[str, str]:
    """What is allowed: digest -> the command, for people; a file that others could write counts nothing."""
    try:
        descriptor = os.open(allowed_file(), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    with os.fdopen(descriptor, "rb") as f:
        found = os.fstat(f.fileno())
        if found.st_uid != os.geteuid() or found.st_mode & 0o022 or found.st_size > _LARGEST:
            return {}
        mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if _last.get("mark") != mark:  # asked for every queued job, many times
            try:
                data = json.loads(f.read())
            except (ValueError, RecursionError):
                return {}
            rows = data.get("allowed") if isinstance(data, dict) else None
            rows = {k: str(v) for k, v in rows.items()} if isinstance(rows, dict) else {}
            _last.update(mark=mark, rows=rows)
    known: dict[str, str] = _last["rows"]
    return known


@contextmanager
def _locked() -> Iterator[Path]:
    file = allowed_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(lock)


def _write(file: Path, rows: dict[str, str]) -> None:
    aside = file.with_suffix(".tmp")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as f:
        json.dump({"allowed": rows}, f, indent=1)
    aside.replace(file)
