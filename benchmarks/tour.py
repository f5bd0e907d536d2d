"""The pictures of docs/tour.md: ``python -m benchmarks.tour [FOLDER]`` makes a lab without training and draws each screen.

The lab is tests/support/fakelab.small_lab: written through the supervisor's own transactions, the same every time.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PATIENCE = 30.0


@dataclass(frozen=True)
class Picture:
    """One screen, the keys that lead to what is shown, and a word that stands there once it is drawn."""

    name: str
    screen: str
    keys: tuple[str, ...] = ()
    sees: str = ""
    size: tuple[int, int] = (120, 36)
    theme: str = "labtui-dark"


TOUR: tuple[Picture, ...] = (
    Picture("queue", "queue", ("down",), "bracket"),
    Picture("job", "job", (), "candidates"),
    Picture("kappa", "kappa", (), "N*(joint)"),
    Picture("scaling", "scaling", ("v", "down", "down", "right"), "one length n alone"),
    Picture("trials", "trials", ("c",), "validation"),
    Picture("new", "new", ("down", "down", "down"), "searches"),
    Picture("events", "events", (), "last visit"),
    Picture("palette", "queue", ("ctrl+p",), "What do you want"),
    Picture("help", "queue", ("question_mark",), "Queue: keys"),
    Picture("queue-light", "queue", (), "bracket", (120, 36), "labtui-light"),
    Picture("kappa-ansi-80", "kappa", (), "N*(joint)", (80, 24), "labtui-ansi"),
    Picture("job-200", "job", (), "candidates", (200, 50)),
)


async def draw(lab: Path, picture: Picture) -> str:
    """One picture as SVG."""
    from labtui.app import LabApp
    from labtui.machine import Gpu, Reading
    from labtui.settings import Settings

    job = _telling_job(lab) if picture.screen == "job" else None
    app = LabApp(lab, read_only=False, settings=Settings(theme=picture.theme), screen=picture.screen, job=job)
    app.gauges.add(Reading(0.42, 16, 11.6e9, 64e9, (Gpu(0, "NVIDIA H200", 0.87, 4.2e10, 1.5e11, 61, 498.0),)))
    app.lab_path = "lab.db"
    app._open_lab = lambda: _open(lab)
    app.poller.open_lab = app._open_lab
    async with app.run_test(size=picture.size) as pilot:
        await _until(lambda: not app.front.fresh and app.front.key == picture.screen, pilot.pause)
        for key in picture.keys:
            await pilot.press(key)
        await _until(lambda: picture.sees in _seen(app), pilot.pause)
        await pilot.pause(0.3)
        svg = app.export_screenshot(title="labtui")
    # The same picture every time: Textual numbers its styles by a checksum that holds the object's id.
    return re.sub(r"terminal-\d+-", "t-", svg)


def _open(lab: Path):  # type: ignore[no-untyped-def]
    from store.read import open_lab

    return open_lab(lab)


def _telling_job(lab: Path) -> int:
    """The search with the most candidates: its bracket closes in best."""
    with _open(lab) as reader:
        return int(max(reader.jobs(), key=lambda j: (j.status == "bracket", j.candidates)).id)


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
    os.environ.update(LABTUI_NO_SUPERVISOR="1", LANG="C.UTF-8", TERM="xterm-256color", COLORTERM="truecolor", TZ="UTC")
    for name in ("NO_COLOR", "LC_ALL"):
        os.environ.pop(name, None)
    from store.locks import SupervisorLock
    from store.paths import LabPaths
    from tests.support.fakelab import small_lab

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_STATE_HOME"] = place
        lab = small_lab(Path(place) / "lab.db", alive=True)
        holding = SupervisorLock.acquire(LabPaths(lab))  # as if one ran, so that no banner covers the first line
        for picture in TOUR:
            svg = asyncio.run(draw(lab, picture))
            (folder / f"{picture.name}.svg").write_text(svg, "utf-8")
            print(folder / f"{picture.name}.svg", f"{len(svg) // 1024} KiB", file=sys.stderr)
        holding.release()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
