"""The studies that the README and docs/labs show: ``python -m benchmarks.study NAME [--lab FILE]``.

It trains a preset (or takes a lab in which it is trained), puts a snapshot at docs/labs/NAME.db, which opens
with ``labtui --read-only``, and writes anew what pages tell of it: each block that stands behind
``<!-- labtui ... -->`` in README.md and docs/labs, and the pictures. ``python -m benchmarks.study`` alone
writes the pages anew from the labs that are there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.tour import Picture, draw

ROOT = Path(__file__).resolve().parents[1]
LABS = ROOT / "docs" / "labs"
BLOCK = re.compile(r"^<!-- labtui ([^\n]+) -->\n```\n(.*?)^```$", re.M | re.S)
"""A command, and what it printed."""
SHOWN = {
    "demo": (),
    "laptop": (
        Picture("laptop-kappa", "kappa", (), "N*_joint", (110, 26)),
        Picture("laptop-paper", "paper", ("down",) * 2, "does the paper hold?", (120, 40)),
    ),
}
FIGURES = {
    "laptop": (
        "figure kappa docs/figures/laptop-kappa.svg --width 6.75",
        "figure scaling docs/figures/laptop-scaling.svg --width 6.75",
    )
}
PAGES = [ROOT / "README.md", *(LABS / f"{name}.md" for name in SHOWN)]


def labtui(*words: str) -> str:
    """What a command prints on stdout."""
    command = [sys.executable, "-m", "labtui", *words]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def refreshed(text: str) -> str:
    """A page in which every command's block holds what the command prints."""

    def block(found: re.Match[str]) -> str:
        return f"<!-- labtui {found[1]} -->\n```\n{labtui(*shlex.split(found[1])).rstrip()}\n```"

    return BLOCK.sub(block, text)


def take(name: str, lab: Path | None) -> None:
    """Put a preset's lab at docs/labs, trained here where none is given, and draw its pictures."""
    with tempfile.TemporaryDirectory() as place:
        if lab is None:
            lab = Path(place) / "lab.db"
            labtui("submit", name, "--lab", str(lab))
            labtui("run", "--lab", str(lab))
        snapshot = LABS / f"{name}.db"
        snapshot.unlink(missing_ok=True)
        labtui("snapshot", str(snapshot), "--lab", str(lab))
    for picture in SHOWN[name]:
        target = ROOT / "docs" / "pictures" / f"{picture.name}.svg"
        target.write_text(asyncio.run(draw(snapshot, picture)), "utf-8")
    for words in FIGURES.get(name, ()):
        (ROOT / words.split()[2]).unlink(missing_ok=True)
        labtui("--read-only", "--lab", f"docs/labs/{name}.db", *words.split())


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", nargs="?", choices=sorted(SHOWN), help="the preset")
    arguments.add_argument("--lab", type=Path, help="a lab in which the preset is done")
    given = arguments.parse_args()
    os.environ.update(
        LABTUI_NO_SUPERVISOR="1", LANG="C.UTF-8", TERM="xterm-256color", COLORTERM="truecolor", TZ="UTC"
    )
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        if given.name:
            take(given.name, given.lab)
        for page in PAGES:
            page.write_text(refreshed(page.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
