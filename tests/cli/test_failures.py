"""Failed, out of memory, device lost, lost, stale: each is seen in the list, in JSON, on the screen,
and can be asked for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from labtui.views import numbers as figures
from labtui.views.queue import cells
from store.filters import Condition
from store.read import open_lab
from store.states import FAILURES
from store.write import Identity, Writer, jobs, submit
from store.write import lab as lab_rows
from tests.cli.conftest import Labtui
from tests.store.lab_steps import lone, study


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """Jobs that used up their attempts, each for another reason, with more text than is kept."""
    path = tmp_path / "lab.db"
    submit(path, study())
    submit(path, lone())
    with Writer(path) as writer, writer.transaction() as tx:
        lab_rows.claim(tx, Identity(1, 2.0, "bench", "boot", "0.1.0"))
        for job_id, reason in enumerate(FAILURES, 1):
            for _ in range(5):
                jobs.set_job(tx, job_id, "running", device="cpu")
                state = jobs.requeue(tx, job_id, reason, "x" * 9000 + "\nValueError: the end")
            assert state == "failed"
    return path


def test_each_failure_is_told_and_found(labtui: Labtui, failing: Path) -> None:
    told = {job["id"]: job["failure"] for job in labtui("jobs", "--json").json}
    assert told == dict(enumerate(FAILURES.values(), 1))
    lines = {int(line.split()[0]): line for line in labtui("jobs").out.splitlines()[2:]}
    for job_id, (word, kind) in enumerate(FAILURES.items(), 1):
        end = "ValueError: the end"
        assert f" {end if kind == 'failed' else f'failed: {kind}'} " in lines[job_id]
        assert f"failure       {kind}\n" in labtui("show", str(job_id)).out
        for asked in (f'failure:"{kind}"', f"failure:{kind.replace(' ', '_')}"):
            assert [job["id"] for job in labtui("jobs", asked, "--json").json] == [job_id]
        with open_lab(failing) as lab:
            job = lab.job(job_id)
        assert (job.reason or "").split("\n")[0] == word
        assert figures.why(job) == (end if kind == "failed" else f"{kind}: {end}")
        assert cells(job, {})["state"][0][0].split(" ", 1)[1] in (
            "failed",
            "no memory",
            "no device",
            "lost",
            "stale",
        )
    assert [job["id"] for job in labtui("jobs", "state:failed", "failure:lost,stale", "--json").json] == [
        4,
        5,
    ]
    assert [job["id"] for job in labtui("jobs", "oom", "--json").json] == [2]


def test_what_gave_a_job_up_is_its_crashes_not_its_pauses(labtui: Labtui, failing: Path) -> None:
    labtui("retry", "1")
    with Writer(failing) as writer, writer.transaction() as tx:
        lab_rows.claim(tx, Identity(1, 2.0, "bench", "boot", "0.1.0"))
        for counts in (False, False, *[True] * 5):
            jobs.set_job(tx, 1, "running", device="cpu")
            jobs.requeue(tx, 1, "lost", "its worker ended", counts=counts)
    assert labtui("events", "1").out.splitlines()[-1].endswith(", crash 5 of 5: lost: its worker ended")


def test_a_job_that_is_tried_again_tells_why_until_it_runs(labtui: Labtui, failing: Path) -> None:
    labtui("retry", "2", "4")
    with Writer(failing) as writer, writer.transaction() as tx:
        lab_rows.claim(tx, Identity(1, 2.0, "bench", "boot", "0.1.0"))
        jobs.set_job(tx, 2, "running", device="cpu")
        jobs.requeue(tx, 2, "stale", "no sign for 30 s", counts=False)
        jobs.set_job(tx, 4, "running", device="cpu")
    with open_lab(failing) as lab:
        assert (lab.job(2).failure, lab.job(4).failure) == ("stale", None)
        assert list(lab.job_ids([Condition("failure", "=", "lost")])) == []
    assert "queued again: stale " in labtui("jobs", "failure:stale", "state:queued").out
