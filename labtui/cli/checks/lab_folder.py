"""What ``labtui doctor`` says of the lab's folder: the disk, the file, who may read and write there."""

from __future__ import annotations

import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from labtui.cli.checks.check import Check
from labtui.config import config_file, state_folder
from labtui.views.numbers import volume
from labtui.views.queue import START, count_line, supervisor_line
from store.errors import LabError
from store.paths import NETWORK_WAY_OUT, LabPaths, network_filesystem
from store.read import open_lab
from store.states import supervised

MIN_FREE = 1 << 30


def lab_folder(path: Path, *, read_only: bool, env: Mapping[str, str], mounts: str | None) -> Iterator[Check]:
    """The disk, the lab, and the modes of all that is the user's alone."""
    yield from disk(path, mounts)
    try:
        yield from lab(path, read_only)
    except LabError as error:
        yield Check("lab", "problem", str(error))
    yield from modes(path, env)


def disk(path: Path, mounts: str | None) -> Iterator[Check]:
    """Its kind and its room."""
    kind = network_filesystem(path, mounts)
    if kind is not None:
        yield Check(
            "disk",
            "problem",
            f"{path} lies on a network disk ({kind}), where a live lab loses data",
            NETWORK_WAY_OUT,
        )
    try:
        free = shutil.disk_usage(next(p for p in path.absolute().parents if p.exists())).free
    except OSError as error:
        yield Check("disk", "note", f"its free room cannot be asked: {error.strerror}")
        return
    text = f"{volume(free)} free"
    if free >= MIN_FREE:
        yield Check("disk", "ok", text)
    else:
        yield Check("disk", "problem", f"{text}; where there is none, training stands still", "make room")


def lab(path: Path, read_only: bool) -> Iterator[Check]:
    """What it holds, whether it can be written, who supervises it."""
    if not path.exists() and not path.is_symlink():
        yield Check("lab", "ok", f"none yet at {path}")
        return
    with open_lab(path, read_only=read_only) as found:
        size = volume(path.stat().st_size)
        yield Check("lab", "ok", f"{path}: schema {found.schema}, {size}, {count_line(found.counts())}")
        if found.outdated:
            yield Check(
                "lab",
                "note",
                "it is of an older labtui",
                "labtui db upgrade, which makes a verified backup first",
            )
        elif found.notice and network_filesystem(path) is None:
            yield Check("lab", "note", found.notice)
        row = found.supervisor()
        alive = supervised(row)
        yield Check(
            "supervisor",
            "ok" if alive or found.read_only else "note",
            supervisor_line(row, found.holding(), remedy=""),
            "" if alive or found.read_only else START,
        )
        if (waiting := found.pending_commands()) and not alive:
            yield Check("commands", "note", f"{waiting} of them wait for a supervisor", "labtui daemon start")


def modes(path: Path, env: Mapping[str, str]) -> Iterator[Check]:
    """What others may read, or worse write.

    labtui makes all of it the user's alone, and leaves the mode of what is there.
    """
    paths = LabPaths(path)
    for owned, shared in (
        (paths.lab, "or leave it so where others are to look with --read-only"),
        (paths.folder, ""),
        (state_folder(), ""),
        (config_file(env), None),
    ):
        try:
            mode = stat.S_IMODE(owned.stat().st_mode)
        except OSError:
            continue
        folder, writable = owned.is_dir(), mode & 0o022
        if not mode & 0o077 or (shared is None and not writable):  # settings hold no secret
            continue
        who = "everybody" if mode & (0o002 if writable else 0o007) else "its group"
        verb = "written" if writable else "entered" if folder else "read"
        remedy = f"chmod {'700' if folder else '600'} {shlex.quote(str(owned))}"
        text = f"{owned} can be {verb} by {who} (mode {mode:04o})"
        if shared and not writable:
            remedy += f", {shared}"
        yield Check("modes", "problem" if writable else "note", text, remedy)
