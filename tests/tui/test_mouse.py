"""What is drawn as a key takes a click; footers say what holds for the row; questions say what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from labtui.tui.app import LabApp
from labtui.tui.choice import Choice
from labtui.tui.dialogs import Chooser, Confirm
from labtui.tui.frame import Footer, Header
from labtui.tui.pane import Pane
from labtui.tui.screens.job import JobPane
from labtui.tui.screens.queue import QueuePane
from labtui.views.lines import plain
from tests.tui.conftest import Opened, seen, until
from tests.tui.fake import small_lab


async def click_on(pilot: Pilot[None], pane: Pane, link: str) -> None:
    """Click on the first span that stands for ``link``."""
    for y, line in enumerate(pane._lines):
        x = 0
        for text, key in line:
            if f"@{link}" in key.split():
                await pilot.click(pane, offset=(x + len(text) // 2, y))
                return
            x += len(text)
    raise AssertionError(f"nothing is drawn for {link}")


def at_state(app: LabApp, state: str) -> Callable[[], bool]:
    queue = app.front
    assert isinstance(queue, QueuePane)
    at = next(i for i, id in enumerate(queue.window.ids) if queue.window.rows[id].state == state)
    queue.window.go(at)
    queue.window.held = True
    queue.moved()
    return lambda: queue.window.row is not None and queue.window.row.state == state


async def test_footer_keys_tabs_and_headings_take_clicks(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        queue = app.front
        assert isinstance(queue, QueuePane)
        await click_on(pilot, queue, "sort:model")
        await until(pilot, lambda: queue.request.order == "model")
        await click_on(pilot, queue, "sort:model")
        await until(pilot, lambda: queue.request.order == "-model")
        await click_on(pilot, app.query_one(Footer), "help")
        await until(pilot, lambda: "Queue: keys" in seen(app))
        await click_on(pilot, app.query_one(Footer), "show_new")  # a dialog keeps the screen behind it
        await pilot.press("escape")
        await until(pilot, lambda: not app.overlays)
        assert app.front is queue
        await click_on(pilot, app.query_one(Header), "show_kappa")
        await until(pilot, lambda: app.front.key == "kappa" and not app.front.fresh)
        await click_on(pilot, app.front, "cell:0,1")
        await until(pilot, lambda: getattr(app.front, "column", None) == 1)


async def test_rows_of_lists_and_answers_take_clicks(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        queue = app.front
        assert isinstance(queue, QueuePane)
        await pilot.press("o")
        await until(pilot, lambda: bool(app.overlays))
        chooser = app.overlays[0]
        assert isinstance(chooser, Chooser)
        assert "✓ the queue" in chooser.text()
        await click_on(pilot, chooser, "row:1")
        await until(pilot, lambda: queue.request.order == "-id" and not app.overlays)
        said: list[str] = []
        question = Confirm("Delete it?", lambda: said.append("yes"), grave=True)
        app.push(question)
        await until(pilot, lambda: bool(question._lines))
        await pilot.press("enter")  # of what deletes, enter says no
        await until(pilot, lambda: not app.overlays)
        assert not said
        question = Confirm("Delete it?", lambda: said.append("yes"), grave=True)
        app.push(question)
        await until(pilot, lambda: bool(question._lines))
        await click_on(pilot, question, "yes")
        await until(pilot, lambda: said == ["yes"])


async def test_the_footer_follows_the_state_of_the_row(opened: Opened) -> None:
    async with opened() as (app, pilot, lab):
        lab.change(lab.rows[5].id, state="failed", reason="failed\nValueError: no")
        lab.change(lab.rows[6].id, state="cancelled")
        queue = app.front
        assert isinstance(queue, QueuePane)
        await until(pilot, lambda: any(r.state == "cancelled" for r in queue.window.rows.values()))
        for state, there, gone in (
            ("failed", "R retry", "p pause"),
            ("cancelled", "R retry", "x cancel"),
            ("running", "p pause  x cancel", "R retry"),
        ):
            await until(pilot, at_state(app, state))
            footer = plain(app.query_one(Footer)._lines[0])
            assert there in footer, state
            assert gone not in footer, state
        at_state(app, "running")
        await pilot.press("!")
        await until(pilot, lambda: queue.window.row is not None and queue.window.row.state == "failed")
        row = queue.window.row
        await pilot.press("2")  # the row under the cursor, not whatever is first
        await until(pilot, lambda: app.front.key == "job" and not app.front.fresh)
        assert isinstance(app.front, JobPane)
        await until(pilot, lambda: app.front.data is not None)  # type: ignore[attr-defined]
        assert row is not None
        assert app.front.data is not None
        assert app.front.data.job.id == row.id
        app.refresh_frame()
        footer = plain(app.query_one(Footer)._lines[0])
        assert "tab log" in footer
        assert "] next job" in footer


async def test_a_verb_that_cannot_says_what_it_takes(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        await until(pilot, at_state(app, "running"))
        await pilot.press("R")
        await until(pilot, lambda: "retry takes failed or cancelled jobs" in seen(app).replace(":", ""))


async def test_the_verbs_on_a_study_count_what_they_do(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        queue = app.front
        states = queue.states()
        assert sum(states.values()) == len(queue.window.ids)  # type: ignore[attr-defined]
        await pilot.press("V")
        await until(pilot, lambda: bool(app.overlays))
        text = app.overlays[0].text()
        assert "All jobs" in text
        assert f"{states['running']:,} running" in text
        if not states.get("paused"):
            assert "no job is paused" in text


@pytest.mark.parametrize("width", [180, 200])
async def test_a_wide_queue_shows_the_chosen_job_beside_it(opened: Opened, width: int) -> None:
    async with opened((width, 40)) as (app, pilot, _):
        queue: Any = app.front
        queue.reload()
        await until(pilot, lambda: queue.side is not None and queue.side.job_id == queue.window.id)
        before = queue.side.job_id
        await pilot.press("j")
        await until(pilot, lambda: queue.side.job_id == queue.window.id != before)
        assert f"{queue.window.id} " in queue.text()
    async with opened((120, 40), lab=small_lab()) as (app, pilot, _):
        assert app.front.side is None  # type: ignore[attr-defined]


async def test_the_palette_opens_a_job_by_its_number(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        await pilot.press("colon")
        await until(pilot, lambda: bool(app.overlays))
        labels = [c.label for c in app.overlays[0].choices]  # type: ignore[attr-defined]
        assert len(labels) == len(set(labels))
        await pilot.press(*"job 3")
        await pilot.press("enter")
        await until(pilot, lambda: app.front.key == "job" and not app.front.fresh)


async def test_the_palette_finds_a_job_by_words(opened: Opened) -> None:
    async with opened() as (app, pilot, _):
        await pilot.press("colon")
        await until(pilot, lambda: bool(app.overlays))
        await pilot.press(*"lstm")
        await until(pilot, lambda: "job 27" in app.overlays[0].text())


async def test_a_failed_jobs_reason_goes_on_below(opened: Opened) -> None:
    reason = "failed\nRuntimeError: CUDA error: an illegal memory access was encountered by a kernel before"
    async with opened((80, 24)) as (app, pilot, lab):
        lab.change(lab.rows[5].id, state="failed", reason=reason)
        queue: Any = app.front
        await until(pilot, lambda: any(r.state == "failed" and r.id == 6 for r in queue.window.rows.values()))
        queue.window.go(list(queue.window.ids).index(6))
        queue.window.held = True
        queue.moved()
        told = " ".join(" ".join(queue.text().splitlines()[-2:]).split())
        assert "an illegal memory access" in told
        assert "kernel before" in told


@pytest.mark.parametrize("screen", ["trials", "events", "scaling", "job", "kappa"])
async def test_a_screen_that_waits_says_so(opened: Opened, screen: str) -> None:
    async with opened() as (app, pilot, _):
        app.poller.stop()  # no answer comes
        pane = app.show_screen(screen)
        await until(pilot, lambda: "reading…" in pane.text())


async def test_a_wide_trials_screen_draws_the_curve_unasked(opened: Opened) -> None:
    async with opened((180, 40), screen="trials") as (app, pilot, _):
        await until(pilot, lambda: "validation" in app.front.text())
        await pilot.press("c")
        await until(pilot, lambda: "validation" not in app.front.text())


async def test_new_promises_no_key_that_is_typing(opened: Opened) -> None:
    async with opened(screen="new") as (app, pilot, _):
        await until(pilot, lambda: app.front.key == "new" and not app.front.fresh)
        app.refresh_frame()
        footer = plain(app.query_one(Footer)._lines[0])
        assert "f1 help" in footer
        assert "^q quit" in footer
        tabs = app.query_one(Header)._lines[1]
        assert not any("key" in style.split() for _, style in tabs)


async def test_a_note_without_room_stands_in_full_below_the_list(opened: Opened) -> None:
    notes = [
        "short",
        "what is told at length so that no list of this width has room for all of it beside a name",
    ]
    async with opened((80, 24)) as (app, pilot, _):
        app.push(
            Chooser("Choose", [Choice(f"entry {i}", lambda: None, note) for i, note in enumerate(notes)])
        )
        await until(pilot, lambda: bool(app.overlays))
        assert "beside a name" not in app.overlays[0].text()
        await pilot.press("down")
        await until(pilot, lambda: notes[1] in " ".join(app.overlays[0].text().split()))


async def test_a_verb_on_all_names_the_jobs_that_it_changes(opened: Opened) -> None:
    async with opened((120, 60)) as (app, pilot, _):
        queue: Any = app.front
        await pilot.press("V", "enter")  # pause, the first of them
        await until(pilot, lambda: bool(app.overlays) and isinstance(app.overlays[-1], Confirm))
        question: Any = app.overlays[-1]
        taken = [
            i
            for i in queue.window.ids
            if i in queue.window.rows and queue.window.rows[i].state in ("running", "queued")
        ]
        assert f"Pause {len(taken)} jobs" in question.question
        assert question.detail.startswith(", ".join(map(str, taken[:6])))


async def test_the_footer_says_what_enter_opens_in_a_kappa(opened: Opened) -> None:
    async with opened(screen="kappa") as (app, pilot, _):
        footer = app.query_one(Footer)
        await until(pilot, lambda: "enter parts" in footer.text())
        await pilot.press("enter")
        await until(pilot, lambda: "enter job" in footer.text())
        await pilot.press("escape")
        await until(pilot, lambda: "enter parts" in footer.text())
