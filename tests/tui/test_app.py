"""The app in Textual's own test terminal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from labtui.tui.actions import SCREENS
from labtui.tui.app import LabApp
from labtui.tui.dialogs import Confirm, Help, Prompt
from labtui.tui.frame import Banner, Footer, Header, TooSmall
from labtui.tui.poller import Snapshot
from labtui.tui.screens.queue import QueuePane
from store.errors import LabError
from tests.tui.conftest import Opened, seen, until
from tests.tui.fake import FakeLab, job_row


def queue(app: LabApp) -> QueuePane:
    pane = app.panes["queue"]
    assert isinstance(pane, QueuePane)
    return pane


async def test_every_screen_at_every_size_and_theme(opened: Opened) -> None:
    for size, theme in (
        ((80, 24), "labtui-ansi"),
        ((120, 40), "labtui-dark"),
        ((200, 50), "labtui-light"),
        ((60, 16), "nord"),
    ):
        async with opened(size, theme=theme) as (app, pilot, _):
            for screen in SCREENS:
                app.show_screen(screen)
                await until(pilot, lambda: not app.front.fresh)
                assert app.front.key == screen
                assert len(app.front.text().splitlines()) <= size[1]
                assert "could not be drawn" not in app.front.text()


async def test_an_empty_lab_says_what_to_press(opened: Opened) -> None:
    async with opened((80, 24), lab=FakeLab()) as (app, pilot, _):
        assert "The bench is clear." in app.front.text()
        for screen in ("job", "kappa", "scaling", "trials", "events", "compare"):
            app.show_screen(screen)
            await until(pilot, lambda: bool(app.front.text().strip()))


def _noted(sent: list[tuple[str, Any]], pane: Any, *regions: Any, **_: Any) -> Any:
    sent.append((pane.key, regions))
    return pane


async def test_nothing_equal_is_drawn_again_and_nothing_hidden(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as (app, pilot, lab):
        app.show_screen("kappa")
        await until(pilot, lambda: app.front.key == "kappa" and not app.front.fresh)
        sent: list[tuple[str, Any]] = []
        for pane in app.panes.values():
            monkeypatch.setattr(pane, "refresh", partial(_noted, sent, pane))
        reads = len(lab.reads)
        lab.touch()
        app.poller.poke()
        await until(pilot, lambda: app.poller._free.is_set() and not app.poller._wanted.dirty)
        await pilot.pause(0.05)
        assert sent == []
        assert len(lab.reads) == reads  # the hidden Queue read no job


async def test_a_commit_changes_its_cells_only(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as (app, pilot, lab):
        pane = app.front
        running = next(r for r in lab.rows if r.state == "running")
        regions: list[Any] = []
        real = pane.refresh

        def refresh(*r: Any, **k: Any) -> Any:
            regions.extend(r)
            return real(*r, **k)

        monkeypatch.setattr(pane, "refresh", refresh)
        lab.change(running.id, progress=0.99)
        await until(pilot, lambda: " 99%" in pane.text())
        assert 1 <= len(regions) <= 4
        assert all(region.width < 40 for region in regions)


async def test_filter_marks_and_escape_in_layers(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        pane = queue(app)
        everything = len(pane.window.ids)
        await pilot.press("slash")
        await pilot.press(*"state:nonsense=")
        assert isinstance(app.overlays[-1], Prompt)
        await pilot.press("escape")
        await pilot.press("slash", *"model:lstm kappa>1", "enter")
        await until(pilot, lambda: 0 < len(pane.window.ids) < everything)
        await pilot.press("m", "m")
        assert len(pane.window.marked) == 2
        await pilot.press("escape")
        assert not pane.window.marked
        await pilot.press("escape")
        await until(pilot, lambda: len(pane.window.ids) == everything)


async def test_a_bad_filter_is_told_and_stays(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        await pilot.press("slash", *"colour:red", "enter")
        assert "there is no field colour" in seen(app).splitlines()[-1]


async def test_verbs_ask_count_and_can_be_undone(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as (app, pilot, _):
        sent: list[tuple[Any, ...]] = []

        def command(verb: str, ids: list[int], *args: Any, said: str = "") -> None:
            sent.append((verb, list(ids), *args))
            app.commands.sent(verb, list(ids), said)

        def last() -> tuple[Any, ...]:
            return sent[-1]

        monkeypatch.setattr(app.commands, "command", command)
        pane = queue(app)
        first = pane.window.ids[0]
        await pilot.press("p")
        assert sent == [("pause", [first])]
        await pilot.press("m", "m", "m", "x")
        assert isinstance(app.overlays[-1], Confirm)
        taken = [i for i in pane.window.ids[:3] if pane.window.rows[i].state in ("running", "queued")]
        assert len(taken) == 2  # the third has failed: a verb counts what it changes
        assert "Cancel 2 jobs?" in seen(app).splitlines()[-2]
        await pilot.press("y")
        assert last() == ("cancel", taken)
        await pilot.press("u")
        assert last()[0] == "undo_cancel"
        await pilot.press("g", "+")
        assert last() == ("priority", [first], 1)
        await pilot.press("R")  # nothing failed here: not valid, not sent
        assert sent[-1][0] == "priority"


async def test_a_read_only_lab_offers_no_verb(opened: Opened) -> None:
    lab = FakeLab(
        rows=[job_row(1)], read_only=True, notice="lab.db is open read-only: it was written by a newer labtui"
    )
    async with opened(lab=lab) as (app, pilot, _):
        assert "pause" not in app.valid()
        await pilot.press("p")
        assert "read-only" in app.query_one(Footer).text()
        assert "newer labtui" in app.query_one(Banner).text()


async def test_kappa_drills_down_to_a_job_and_its_trials(opened: Opened) -> None:
    async with opened(screen="kappa") as (app, pilot, _):
        await until(pilot, lambda: app.front.key == "kappa" and not app.front.fresh)
        await pilot.press("enter", "down", "enter")
        await until(pilot, lambda: app.front.key == "job" and "candidates" in app.front.text())
        assert "n=5" in app.front.text()
        await pilot.press("T")
        await until(pilot, lambda: app.front.key == "trials" and "filter" in app.front.text())
        await pilot.press("c")
        await until(pilot, lambda: "validation" in app.front.text())
        await pilot.press("escape", "escape", "escape")
        await until(pilot, lambda: app.front.key == "job")


async def test_the_form_checks_as_you_type(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(screen="new") as (app, pilot, _):
        await until(pilot, lambda: "8 searches" in app.front.text())
        submitted: list[Any] = []
        monkeypatch.setattr(app.commands, "submit", submitted.append)
        await pilot.press("end", "ctrl+u", *"mine", "down", "down", "down", *"x")
        await until(pilot, lambda: "priority" in app.front.text() and "not ready" in app.front.text())
        await pilot.press("ctrl+s")
        assert submitted == []
        await pilot.press("backspace")
        await until(pilot, lambda: "8 searches" in app.front.text())
        await pilot.press("ctrl+s")
        assert submitted[0].name == "mine"


async def test_help_and_palette_come_from_the_registry(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        await pilot.press("question_mark")
        assert isinstance(app.overlays[-1], Help)
        assert "pause: checkpoint and stop" in seen(app)
        await pilot.press("escape", "ctrl+p", *"scaling", "enter")
        await until(pilot, lambda: app.front.key == "scaling" and not app.front.fresh)
        await pilot.press("ctrl+p")
        assert "next line" in app.overlays[-1].text() or "hide" in app.overlays[-1].text()
        assert "pause" not in app.overlays[-1].text()


async def test_every_action_has_a_hand(opened: Opened) -> None:
    from labtui.tui.actions import ACTIONS

    async with opened() as (app, _, __):
        for screen in SCREENS:
            app.show_screen(screen)
        for action in ACTIONS:
            fronts = [app.panes[p] for p in action.panes] if action.panes else list(app.panes.values())
            hands = []
            for app.front in fronts:
                hands.append(app.hand(action.id))
            assert any(hands), action.id


async def test_hostile_text_anywhere(opened: Opened) -> None:
    evil = "[bold red]x[/]\x1b[2J\u202eabc\n日本語" * 3
    lab = FakeLab(
        rows=[
            replace(
                job_row(1),
                name=evil,
                notes=evil,
                tags=(evil,),
                reason=evil,
                device=evil,
                model_label=evil,
                task=evil,
            )
        ]
    )
    async with opened(lab=lab) as (app, pilot, _):
        text = app.front.text()
        assert "[bold red]" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        await pilot.press("enter")
        await until(pilot, lambda: app.front.key == "job" and not app.front.fresh)


async def test_a_lost_lab_is_told_and_comes_back(opened: Opened) -> None:
    async with opened() as (app, pilot, lab):
        lab.fails = LabError("lab.db was moved away; expected it where it was")
        await until(pilot, lambda: "moved away" in app.query_one(Banner).text())
        assert "running" in app.front.text()  # what was known stays in sight
        lab.fails = None
        app.poller.poke()
        await until(pilot, lambda: not app.problem)
        assert not app.query_one(Banner).display


async def test_a_supervisor_that_is_gone_has_a_banner(opened: Opened) -> None:
    async with opened() as (app, pilot, lab):
        assert not app.query_one(Banner).display
        assert lab.supervisor_row is not None
        lab.supervisor_row = replace(lab.supervisor_row, alive=False)
        lab.touch()
        await until(pilot, lambda: "S starts one" in app.query_one(Banner).text())
        assert "the supervisor is gone" in app.query_one(Banner).text()


async def test_a_supervisor_that_cannot_write_says_so_although_the_lab_stands_still(opened: Opened) -> None:
    async with opened() as (app, pilot, lab):
        app.poller.heartbeat = 0.0
        assert lab.supervisor_row is not None
        lab.supervisor_row = replace(lab.supervisor_row, state="waiting", message="database or disk is full")
        await until(pilot, lambda: "disk is full" in app.query_one(Banner).text())
        lab.supervisor_row = replace(lab.supervisor_row, state="running", message="")
        await until(pilot, lambda: not app.query_one(Banner).display)


async def test_a_finished_job_is_told(opened: Opened) -> None:
    from store.rows import EventRow

    async with opened() as (app, pilot, lab):
        row = next(r for r in lab.rows if r.state == "running")
        lab.change(row.id, state="done", status="bracket", lo=500, hi=540)
        lab.event_rows.append(EventRow(9999, 0.0, "job.done", "info", row.id, None, "done", "{}"))
        lab.touch()
        await until(pilot, lambda: "N* 540" in app.query_one(Footer).text())


async def test_a_long_name_leaves_a_failure_its_reason(opened: Opened) -> None:
    why = "RuntimeError: first words of it, and more"
    lab = FakeLab(rows=[job_row(1, state="failed", name="x" * 300, reason=why)])
    async with opened((80, 24), lab=lab) as (app, pilot, _):
        await until(pilot, lambda: "RuntimeError: first words" in seen(app))
        assert "x…" in seen(app)


async def test_too_small_is_polite_and_passes(opened: Opened) -> None:
    async with opened((120, 40)) as (app, pilot, _):
        await pilot.resize_terminal(50, 12)
        await until(pilot, lambda: app.query_one(TooSmall).display)
        assert "60 x 16" in app.query_one(TooSmall).text()
        await pilot.resize_terminal(60, 16)
        await until(pilot, lambda: not app.query_one(TooSmall).display)
        assert "▶ 45%" in app.front.text()


async def test_a_fault_of_drawing_costs_a_sentence(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as (app, pilot, _):
        monkeypatch.setattr(LabApp, "strict", False)
        monkeypatch.setattr(app.front, "draw", lambda w, h: 1 / 0)
        app.front.redraw()
        await pilot.pause()
        assert "cannot be drawn" in app.front.text()
        assert "labtui" in app.query_one(Header).text()


async def test_stale_snapshots_are_for_nobody(opened: Opened) -> None:
    async with opened() as (app, _, __):
        before = app.front.text()
        app.poller.deliver(Snapshot("trials", object(), None))
        assert app.front.text() == before


async def test_themes_turn(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        dark = app.palette.style("").bgcolor
        await pilot.press("ctrl+t")
        assert app.theme == "labtui-light"
        assert app.palette.style("").bgcolor != dark


async def test_paper_shows_each_statement_and_what_is_behind_it(opened: Opened) -> None:
    async with opened((100, 30)) as (app, pilot, _):
        await pilot.press("9")
        await until(pilot, lambda: not app.front.fresh)
        text = seen(app)
        assert "does the paper hold?" in text
        assert text.count("not measured") + text.count("open") >= 10
        assert "decided by two N* whose 90 % intervals do not touch" in text
        await pilot.press(*["down"] * 7)
        await until(pilot, lambda: "kappa = 0.28" in seen(app))
        assert "4.2" in app.front.copy_text()
