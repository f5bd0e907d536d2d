"""The folders of checkpoints: one for each probe, with a manifest that names the members in their order.

A packed assignment's folder is that of its first probe. Before one of its probes goes on without the others,
it gets a copy of its own: each then resumes the whole batch with the others dropped.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection
from pathlib import Path

from runners.engine.types import Member
from runners.pool.state import Assignment, Returned, SupervisorState, WorkItem, manifest, read_manifest
from store import files
from store.paths import LabPaths

NAME = "assignment.json"
ROOM = 1 << 14
"""Bytes that must go in before a probe begins: a manifest of some hundred members."""


def obstacle(paths: LabPaths) -> str:
    """Why no checkpoint could be written now, in words; empty where one could.

    Asked before a probe begins: one that could not be kept would begin and be given back without end.
    """
    probe = paths.checkpoints / f"{NAME}.room"
    try:
        files.replace(probe, bytes(ROOM))
    except OSError as error:
        return f"checkpoints cannot be written: {error.strerror}"
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return ""


def prepare(assignment: Assignment) -> None:
    """Make the folder and its manifest.

    Raises:
        OSError: no room.
    """
    folder = Path(assignment.folder)
    files.own_folder(folder)
    files.replace(folder / NAME, manifest(assignment).encode())


def members(folder: Path) -> tuple[Member, ...] | None:
    """Of whom the checkpoint in a folder is; None without a readable manifest, or with nothing but that."""
    try:
        if all(file.name.startswith(NAME) for file in folder.iterdir()):
            return None
        return read_manifest((folder / NAME).read_text("utf-8", "replace"))
    except OSError:
        return None


def separate(paths: LabPaths, folder: Path) -> int:
    """Give every probe of a packed checkpoint a folder of its own; how many copies were made.

    A copy that finds no room is left out: that probe begins again, which costs time and no result.
    """
    kept = members(folder)
    copies = 0
    for key in {m.probe for m in kept or ()}:
        own = paths.checkpoints / key
        if own == folder or own.exists() or not key.isdigit():
            continue
        aside = own.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(folder, aside)
            aside.rename(own)
            copies += 1
    return copies


def recover(paths: LabPaths) -> None:
    """After a supervisor's death: separate what was packed, before anything goes on;
    clear half-made copies away.
    """
    with contextlib.suppress(OSError):
        for folder in sorted(paths.checkpoints.iterdir()):
            if folder.suffix == ".tmp":
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir() and not folder.is_symlink():
                separate(paths, folder)


def expire(paths: LabPaths, needed: Collection[str], before: float) -> list[str]:
    """Delete what was written before a time (Unix seconds) and no live search goes on from.

    Args:
        needed: names of the folders that live searches go on from.

    Returns:
        The names of those that are gone.
    """
    gone = []
    with contextlib.suppress(OSError):
        for folder in sorted(paths.checkpoints.iterdir()):
            if not folder.name.isdecimal() or folder.name in needed or folder.is_symlink():
                continue
            with contextlib.suppress(OSError):
                if max(p.lstat().st_mtime for p in (folder, *folder.iterdir())) < before:
                    remove(folder)
                    gone.append(folder.name)
    return gone


def remove(folder: Path) -> None:
    """Delete a probe's checkpoints."""
    shutil.rmtree(folder, ignore_errors=True)


def own_folder(state: SupervisorState, probe: WorkItem, assignment: Assignment) -> Path:
    """The folder from which a probe would go on: its own, or its pack's where no copy could be made."""
    own = state.folder(probe.id)
    return own if own.exists() else Path(assignment.folder)


def part(state: SupervisorState, returned: Returned) -> None:
    """Before the probes of a pack go separate ways."""
    if len({m.probe for m in returned.assignment.members}) > 1:
        separate(state.paths, Path(returned.assignment.folder))


def discard(state: SupervisorState, probe: WorkItem) -> None:
    """Delete the checkpoints of a probe that is over; those of a pack go with its last probe."""
    home = probe.home
    folder = state.folder(probe.id)
    if home is None or home.folder != str(folder):
        remove(folder)
    if home is not None and not home.probes:
        remove(Path(home.folder))
