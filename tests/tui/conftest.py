"""The app over a lab in memory, its settings out of reach of the machine's own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from labtui.config import Settings
from labtui.tui.app import LabApp
from tests.support import fakelab
from tests.tui.fake import FakeLab, small_lab
from tests.tui.ptys import Terminal, environment

Opened = Callable[..., AbstractAsyncContextManager[tuple[LabApp, Pilot[None], FakeLab]]]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NO_COLOR", "COLORFGBG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("LABTUI_NO_SUPERVISOR", "1")
    monkeypatch.setenv("LABTUI_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(LabApp, "strict", True)


@asynccontextmanager
async def _opened(
    size: tuple[int, int] = (120, 40),
    *,
    lab: FakeLab | None = None,
    screen: str | None = None,
    theme: str = "labtui-dark",
    **options: Any,
) -> AsyncIterator[tuple[LabApp, Pilot[None], FakeLab]]:
    lab = lab if lab is not None else small_lab()
    settings = options.pop("settings", Settings(theme=theme))
    app = LabApp("lab.db", open_lab=lambda: lab, settings=settings, screen=screen, **options)
    app.poller.interval = 0.01
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: not app.front.fresh or bool(app.problem))
        yield app, pilot, lab


@pytest.fixture
def opened() -> Opened:
    """``async with opened((80, 24), screen="job") as (app, pilot,
    lab)``: the first snapshot is on the screen.
    """
    return _opened


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """``terminal(lab, "--slow", columns=80, rows=24, LANG="C")``: the command, in a terminal of its own."""
    opened: list[Terminal] = []

    def start(lab: Path, *options: str, columns: int = 120, rows: int = 40, **env: str) -> Terminal:
        command = [sys.executable, "-m", "labtui", "--lab", str(lab), *options]
        opened.append(Terminal(command, columns, rows, environment(tmp_path, **env)))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of 43 searches in every state; at rest, so it may be copied as a file."""
    return fakelab.small_lab(tmp_path_factory.mktemp("small") / "lab.db")


async def until(pilot: Pilot[Any], true: Callable[[], bool], ticks: int = 400) -> None:
    """Wait for a condition, not for a time."""
    for _ in range(ticks):
        if true():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("what was waited for did not come")


def seen(app: LabApp) -> str:
    """What stands on the terminal, overlays and all."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())
