"""What each screen looks like, as pictures.

``make snapshots`` takes them anew where a change is meant: look at them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion

from labtui.tui.actions import SCREENS
from labtui.views.gauges import HISTORY, Gauges
from runners import machine
from tests.tui.conftest import Opened, until

GB = 2.0**30
USERS = (
    machine.CardUser(4242, "ada", "python", 20 * GB, True),
    machine.CardUser(77, "bob", "jupyter", 21 * GB, False),
)
CARD = machine.Gpu(0, "NVIDIA H200", 0.87, 41 * GB, 141 * GB, 61, 540.0, USERS)
MACHINE = machine.Reading(0.4, 8, 6 * GB, 32 * GB, (CARD,))


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One machine, one time zone."""
    monkeypatch.setattr(machine, "look", lambda *_: MACHINE)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("size", "theme", "screens"),
    [
        ((120, 40), "labtui-dark", SCREENS),
        ((80, 24), "labtui-ansi", SCREENS),
        ((200, 50), "labtui-light", ("queue", "job", "kappa")),
    ],
    ids=["120x40-dark", "80x24-ansi", "200x50-light"],
)
async def test_screens(
    opened: Opened,
    snapshot: SnapshotAssertion,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    theme: str,
    screens: tuple[str, ...],
) -> None:
    changed = []
    async with opened(size, theme=theme) as (app, pilot, _):
        await until(pilot, lambda: app.machine.gauges.last is not None)
        gauges = app.machine.gauges
        monkeypatch.setattr(gauges, "add", lambda reading: None)  # how many readings there are is the clock's
        assert gauges.last is not None
        for _ in range(HISTORY):
            Gauges.add(gauges, gauges.last)
        for screen in screens:
            app.show_screen(screen)
            await until(
                pilot,
                lambda: not app.front.fresh and app.poller._free.is_set() and app.screen.focused is app.front,
            )
            picture = app.export_screenshot(title=f"labtui {screen}", simplify=True)
            if picture != snapshot(name=screen, extension_class=SVGImageExtension):
                changed.append(screen)
    assert not changed, "these look different; where that is meant, --snapshot-update takes them anew"
