"""What hostile input may not do: run code, write, reach out. Python's own audit events tell of each."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NEVER = (
    *(
        "exec",
        "compile",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "subprocess.Popen",
        "pickle.find_class",
    ),
    *(
        "socket.connect",
        "socket.bind",
        "ctypes.dlopen",
        "os.remove",
        "os.rename",
        "os.mkdir",
        "os.truncate",
        "shutil.rmtree",
    ),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ROOM = 1 << 30
"""Bytes of memory that one input may need beside what the process has."""
_seen: list[str] | None = None
_spare = ""


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event == "exec" and not getattr(args[0], "co_filename", "<").startswith("<"):
        return  # a module that is imported late
    if event == "os.remove" and args[1] != -1:
        return  # within a folder that shutil.rmtree, which is watched, has opened
    if event in _NEVER and not (_spare and args and _spare in str(args[0])):
        _seen.append(f"{event} {str(args)[:200]}")
    elif event == "open" and args[2] & _WRITES and not (_spare and _spare in str(args[0])):
        _seen.append(f"open to write {args[0]!r}")


sys.addaudithook(_hook)


@contextmanager
def watched(spare: str = "") -> Iterator[None]:
    """Fail where anything in the block runs code, writes or connects;
    paths that hold ``spare`` may be written.

    A function that imports what it needs runs code of ours the first time: call it once before.
    """
    global _seen, _spare
    _seen, _spare = [], spare
    try:
        yield
        found, _seen = _seen, None
        assert not found, found
    finally:
        _seen = None


@contextmanager
def bounded() -> Iterator[None]:
    """Within, memory beyond ``ROOM`` is a MemoryError, which is no sentence."""
    try:
        with open("/proc/self/statm") as f:  # noqa: PTH123 - not a path of ours
            pages = int(f.read().split()[0])
    except OSError:  # elsewhere than on Linux
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
