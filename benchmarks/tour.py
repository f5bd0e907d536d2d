"""The pictures of docs/tour.md: ``python -m benchmarks.tour [FOLDER]`` draws each screen without
training anything.

What was measured is shown on docs/labs/demo.db, the lab that comes with labtui; work in progress on the lab
that tests/support/fakelab.small_lab writes through the supervisor's own transactions, the same every time.
"""

from __future__ import annotations

import asyncio
import html
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runners.machine import CardUser, Gpu, Reading

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DEMO = Path(__file__).resolve().parents[1] / "docs" / "labs" / "demo.db"
PATIENCE = 30.0
CELL = (12.2, 24.4)
"""Width and height of a cell in Textual's pictures."""
BITS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""(column, row) of each bit of a braille sign."""


@dataclass(frozen=True)
class Picture:
    """One screen, the keys that lead to what is shown, and a word that stands there once it is drawn."""

    name: str
    screen: str
    keys: tuple[str, ...] = ()
    sees: str = ""
    size: tuple[int, int] = (120, 40)
    theme: str = "labtui-dark"
    demo: bool = False
    """Of the committed lab, opened read-only; else of a lab in which work is going on."""


TOUR: tuple[Picture, ...] = (
    Picture("queue", "queue", ("down",), "lengths"),
    Picture("job", "job", (), "candidates", demo=True),
    Picture("job-live", "job", (), "candidates"),
    Picture("job-80", "job", (), "candidates", (80, 24), demo=True),
    Picture("kappa", "kappa", ("down", "right", "right"), "N*_joint", demo=True),
    Picture("scaling", "scaling", ("down",) * 6 + ("right",), "N* against", demo=True),
    Picture("trials", "trials", ("slash", *"outcome:success", "enter", "c"), "validation", demo=True),
    Picture("new", "new", ("down", "down", "down"), "searches"),
    Picture("compare", "queue", ("down",) * 10 + ("m", "m", "C"), "agree", demo=True),
    Picture("events", "events", (), "last visit"),
    Picture("paper", "paper", ("down",) * 8, "does the paper hold?", demo=True),
    Picture("devices", "queue", ("d",), "this lab"),
    Picture("axes", "kappa", ("a",), "Rows", demo=True),
    Picture("palette", "queue", ("ctrl+p",), "What do you want"),
    Picture("help", "queue", ("question_mark",), "Queue: keys"),
    Picture("queue-light", "queue", (), "lengths", (120, 40), "labtui-light"),
    Picture("queue-200", "queue", (), "lengths", (200, 50)),
    Picture("kappa-ansi-80", "kappa", ("down", "right", "right"), "N*_joint", (80, 24), "labtui-ansi", True),
    Picture("kappa-200", "kappa", ("down", "right", "right"), "interferes", (200, 50), "labtui-light", True),
    Picture("job-200", "job", (), "candidates", (200, 50)),
)


async def draw(lab: Path, picture: Picture) -> str:
    """One picture as SVG."""
    from labtui.config import Settings
    from labtui.tui.app import LabApp

    job = _telling_job(lab, live=picture.name == "job-live") if picture.screen == "job" else None
    app = LabApp(
        lab, read_only=picture.demo, settings=Settings(theme=picture.theme), screen=picture.screen, job=job
    )
    app.machine.look = lambda: None  # type: ignore[method-assign]
    for reading in _bench():
        app.machine.gauges.add(reading)
    app.lab_path = f"docs/labs/{lab.name}" if picture.demo else "lab.db"
    app._open_lab = lambda: _open(lab, picture.demo)
    app.poller.open_lab = app._open_lab
    async with app.run_test(size=picture.size) as pilot:
        await _until(lambda: not app.front.fresh and app.front.key == picture.screen, pilot.pause)
        for key in picture.keys:
            await pilot.press(key)
        await _until(lambda: picture.sees in _seen(app), pilot.pause)
        await pilot.pause(0.3)
        svg = app.export_screenshot(title="labtui")
    # The same picture every time: Textual numbers its styles by a checksum that holds the object's id.
    svg = re.sub(r"terminal-\d+-", "t-", svg)
    # Some viewers drop the spaces that a text begins with.
    return dotted(svg.replace("<svg ", '<svg xml:space="preserve" ', 1))


def dotted(svg: str) -> str:
    """Braille as squares: few fonts have it at the width of their other letters,
    and a plot must not depend on one.
    """
    return re.sub(r'<text class="(\S+)" x="(\S+)" y="(\S+)" ([^>]*)>([^<]*)</text>', _dots, svg)


def _dots(found: re.Match[str]) -> str:
    style, x, y, rest, text = found.groups()
    cells = html.unescape(text)
    left, top = float(x), float(y) - 18.5
    squares = [
        f"M{left + i * CELL[0] + column * CELL[0] / 2 + 1.5:.1f} {top + row * CELL[1] / 4 + 1.5:.1f}h3v3h-3z"
        for i, char in enumerate(cells)
        if "\u2800" < char <= "\u28ff"
        for bit, (column, row) in enumerate(BITS)
        if ord(char) >> bit & 1
    ]
    if not squares:
        return found[0]
    letters = (
        html.escape(re.sub("[\u2800-\u28ff]", " ", cells)).replace(" ", "&#160;").replace("\xa0", "&#160;")
    )
    text = f'<text class="{style}" x="{x}" y="{y}" {rest}>{letters}</text>'
    return f'{text}<path class="{style}" d="{"".join(squares)}"/>'


def _bench() -> list[Reading]:
    """Forty looks at a machine with one card that somebody else uses too."""
    users = (CardUser(2211, "you", "python", 3.1e10, True), CardUser(977, "ann", "python3", 1.1e10, False))
    card = Gpu(0, "NVIDIA H200", 0.0, 4.2e10, 1.5e11, 61, 498.0, users)
    waves = [(0.42 + 0.2 * math.sin(i / 3), 0.74 + 0.2 * math.sin(i / 5) ** 3) for i in range(40)]
    return [Reading(cpu, 16, 1.16e10, 6.4e10, (replace(card, use=gpu),)) for cpu, gpu in waves]


def _open(lab: Path, read_only: bool = False):  # type: ignore[no-untyped-def]
    from store.read import open_lab

    return open_lab(lab, read_only=read_only)


def _telling_job(lab: Path, *, live: bool = False) -> int:
    """The search with the most candidates: its bracket closes in best; ``live``: one that trains."""
    with _open(lab) as reader:
        jobs = [j for j in reader.jobs() if not live or j.state == "running"]
        return int(max(jobs, key=lambda j: (j.status == "bracket", j.hi is not None, j.candidates)).id)


def _seen(app) -> str:  # type: ignore[no-untyped-def]
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def _until(true: Callable[[], bool], pause) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise SystemExit("the screen did not come up")
        await pause(0.02)


def main(arguments: Sequence[str]) -> int:
    folder = Path(arguments[0]) if arguments else PICTURES
    os.environ.update(
        LABTUI_NO_SUPERVISOR="1", LANG="C.UTF-8", TERM="xterm-256color", COLORTERM="truecolor", TZ="UTC"
    )
    for name in ("NO_COLOR", "LC_ALL"):
        os.environ.pop(name, None)
    from store.locks import SupervisorLock
    from store.paths import LabPaths
    from tests.support.fakelab import small_lab

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_STATE_HOME"] = place
        lab = small_lab(Path(place) / "lab.db", alive=True)
        holding = SupervisorLock.acquire(
            LabPaths(lab)
        )  # as if one ran, so that no banner covers the first line
        for picture in TOUR:
            svg = asyncio.run(draw(DEMO if picture.demo else lab, picture))
            (folder / f"{picture.name}.svg").write_text(svg, "utf-8")
            print(folder / f"{picture.name}.svg", f"{len(svg) // 1024} KiB", file=sys.stderr)
        holding.release()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
