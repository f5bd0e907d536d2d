"""What the screens say of work that goes on is what the lab says at that moment."""

from __future__ import annotations

from dataclasses import replace

from store.rows import SupervisorRow
from tests.tui.conftest import Opened, seen, until
from tests.tui.fake import FakeLab, job_row, small_lab


def running_lab() -> FakeLab:
    """A job in training, and nothing else."""
    lab = small_lab()
    job = job_row(
        1, state="running", lo=6, hi=8, candidates=6, wall_s=10.0, current_n=7, progress=0.4, device="cpu"
    )
    lab.rows = [job, job_row(2), job_row(3, state="done", status="bracket", lo=6, hi=7)]
    lab.probe_rows = []
    return lab


async def test_the_job_screen_follows_the_job_that_it_opened_with(opened: Opened) -> None:
    async with opened(lab=running_lab()) as (app, pilot, lab):
        await pilot.press("2")
        await until(pilot, lambda: "in (6, 8]" in seen(app))
        lab.change(1, state="done", status="bracket", lo=6, hi=7, current_n=None)
        await until(pilot, lambda: "✓ done" in seen(app))
        assert "N* 7  in (6, 7]" in seen(app)


async def test_nothing_runs_where_no_supervisor_lives(opened: Opened) -> None:
    lab = running_lab()
    assert isinstance(lab.supervisor_row, SupervisorRow)
    lab.supervisor_row = replace(lab.supervisor_row, alive=False)
    async with opened(lab=lab) as (app, pilot, _):
        for key in ("1", "2"):
            await pilot.press(key)
            await until(pilot, lambda: "‖ stopped" in seen(app))
            assert "running" not in seen(app)
            assert "ETA" not in seen(app)
