"""New files that a person asked for: never over another, never through a link, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from labtui.cli.errors import BadInput

BESIDE = ("-wal", "-shm", "-journal", ".d", ".toml")
"""How the names of files end that stand beside a lab and are read with it."""


def into(path: Path, write: Callable[[Path], None]) -> None:
    """Write a new file, of this user alone; it is there whole or not at all.

    Raises:
        BadInput: there is something of that name, or it cannot be written.
    """
    require_new(path)
    try:
        # Aside first: half a table would look like a whole one, and a killed process takes nothing away.
        with tempfile.TemporaryDirectory(prefix=".labtui-", dir=path.absolute().parent) as folder:
            aside = Path(folder) / path.name
            aside.open("x").close()
            write(aside)
            _put(aside, path)
    except FileExistsError:  # it came meanwhile
        raise BadInput(f"{path} is there already; expected a new file") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None


def _put(aside: Path, path: Path) -> None:
    """Put a file in its place, never over another; raises OSError."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        path.open("x").close()
        aside.replace(path)


def require_new(path: Path) -> None:
    """Raises BadInput where something has this name, or it would be read as a part of a lab."""
    if os.path.lexists(path):
        raise BadInput(f"{path} is there already; expected a new file")
    for ending in BESIDE:
        lab = path.with_name(path.name.removesuffix(ending)) if path.name != ending else path
        if lab != path and lab.is_file():
            raise BadInput(f"{path} would be taken for a part of {lab}; expected another name")
