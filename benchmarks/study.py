"""The study that the README shows: ``python -m benchmarks.study [--lab FILE]`` trains the preset demo and
writes it down.

It makes docs/labs/demo.db (a snapshot that opens with ``labtui --read-only``), docs/labs/demo.md (what the
commands print of it) and two pictures. With ``--lab`` a lab that is already trained is taken; else it trains
for some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.tour import Picture, draw

ROOT = Path(__file__).resolve().parents[1]
LABS = ROOT / "docs" / "labs"
PICTURES = ROOT / "docs" / "pictures"
COMMANDS = (
    ("kappa",),
    ("kappa", "--details"),
    ("plot", "scaling", "--height", "30"),
    ("generalisation",),
    ("compare", "paper"),
)
SHOWN = (
    Picture("demo-kappa", "kappa", (), "N*_joint", (100, 26)),
    Picture("demo-queue", "queue", ("down",), "bracket", (120, 30)),
)


def labtui(*words: str) -> str:
    """What a command prints on stdout."""
    command = [sys.executable, "-m", "labtui", *words]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def page(snapshot: Path) -> str:
    """docs/labs/demo.md."""
    out = [
        "# The preset demo, trained",
        "",
        "Three models, three formats, addition modulo 3, at a size far below the paper's: made by",
        "`python -m benchmarks.study` from `runners/spec/presets/demo.toml`, which has lengths, budget and",
        "eps of each cell.",
        "`labtui show JOB` tells the version and the commit that trained it.",
        "Look at it with `labtui --read-only docs/labs/demo.db`.",
    ]
    for words in COMMANDS:
        out += [
            "",
            f"`labtui {' '.join(words)}`",
            "```",
            labtui("--read-only", str(snapshot), *words).rstrip(),
            "```",
        ]
    return "\n".join(out) + "\n"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lab", type=Path, help="a lab in which the preset demo is done")
    given: Path | None = arguments.parse_args().lab
    LABS.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        LABTUI_NO_SUPERVISOR="1", LANG="C.UTF-8", TERM="xterm-256color", COLORTERM="truecolor", TZ="UTC"
    )
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_STATE_HOME"] = place
        lab = given or Path(place) / "lab.db"
        if given is None:
            labtui("submit", "demo", "--lab", str(lab))
            labtui("run", "--lab", str(lab))
        snapshot = LABS / "demo.db"
        snapshot.unlink(missing_ok=True)
        labtui("snapshot", str(snapshot), "--lab", str(lab))
        (LABS / "demo.md").write_text(page(Path("docs/labs/demo.db")), "utf-8")
        for picture in SHOWN:
            (PICTURES / f"{picture.name}.svg").write_text(asyncio.run(draw(snapshot, picture)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
