"""Queue, Job and ``labtui show`` tell one time of a search: all know the lab's past."""

from __future__ import annotations

import shutil
from pathlib import Path

from labtui.analysis.eta import read_outlook
from labtui.tui.past import PAST
from labtui.tui.screens.job import JobRequest
from labtui.tui.screens.queue import QueueRequest
from labtui.views.job import facts
from labtui.views.lines import plain
from store.read import open_lab
from tests.support import fakelab


def test_the_time_that_is_left_is_one_on_every_screen(tmp_path: Path) -> None:
    lab = fakelab.small_lab(tmp_path / "lab.db", alive=True)
    with open_lab(lab) as found:
        queue = QueueRequest()(found)
        going = [job for job in queue.rows if job.state in ("running", "queued", "paused")]
        assert {job.state for job in going} >= {"running", "queued"}
        for job in going:
            data = JobRequest(job.id)(found)
            assert data is not None
            assert data.outlook is not None
            told = queue.outlook.outlook.left(job)
            assert data.outlook.left(job) == told
            assert read_outlook(found, [job.id]).outlook.left(job) == told
            if job.state == "running":
                line = "\n".join(plain(line) for line in facts(job, 120, True, data.outlook))
                assert told.text in line


def test_what_was_read_serves_until_an_event_is_written(small: Path, tmp_path: Path) -> None:
    lab = shutil.copy(small, tmp_path / "lab.db")
    with open_lab(lab, read_only=True) as found, open_lab(small, read_only=True) as other:
        first = PAST.outlook(found)
        assert PAST.outlook(other) is not first, "of another lab"
        assert PAST.outlook(found) is not first, "and back"
