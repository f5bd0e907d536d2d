"""Every change of a job's state, legal or not, with all that it sets; each transaction is undone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from store.errors import Illegal, LabError
from store.states import JobState
from store.write import Writer, jobs
from store.write.tx import Tx

WAYS: dict[JobState, tuple[JobState, ...]] = {
    "queued": (), "running": ("running",), "paused": ("paused",), "cancelled": ("cancelled",),
    "failed": ("running", "failed"), "done": ("running", "done"),
}  # fmt: skip
"""How a new job comes to each state."""
FOLLOW = {
    "queued": "running paused cancelled", "running": "queued paused done failed cancelled",
    "paused": "queued cancelled", "failed": "queued", "cancelled": "queued paused", "done": "",
}  # fmt: skip
ENDS = ("done", "failed", "cancelled")
COLUMNS = """state attempt started_at finished_at cancelled_from progress device epoch current_n reason wanted
crashes not_before"""


class Undone(Exception):  # noqa: N818 - it only ends a transaction
    """Ends a transaction without a trace."""


@contextmanager
def undone(writer: Writer) -> Iterator[Tx]:
    with suppress(Undone), writer.transaction() as tx:
        yield tx
        raise Undone


def row(tx: Tx) -> dict[str, Any]:
    names = COLUMNS.split()
    (found,) = tx.rows(f"SELECT {', '.join(names)} FROM job WHERE id = 1")
    return dict(zip(names, found, strict=True))


def test_what_may_follow_what_and_what_it_sets(writer: Writer) -> None:
    for old, new in itertools.product(WAYS, WAYS):
        with undone(writer) as tx:
            for state in WAYS[old]:
                jobs.set_job(tx, 1, state, device="cpu" if state == "running" else None)
            before = row(tx)
            if new not in FOLLOW[old].split():
                told = ", ".join(sorted(FOLLOW[old].split())) or "no change at all"
                with pytest.raises(Illegal, match=f"{old} and cannot become {new}; expected {told}$"):
                    jobs.set_job(tx, 1, new)
                assert row(tx) == before
                continue
            tx.run(
                "UPDATE job SET wanted = 'paused', progress = 0.5, current_n = 7, not_before = 5 WHERE id = 1"
            )
            given = jobs.set_job(tx, 1, new, reason="why", text="a\nb", device="cpu")
            after = row(tx)
            attempt = before["attempt"] + (old == "running" and new != "done")
            assert given == after["attempt"] == attempt, (old, new)
            assert after["state"] == new
            assert after["wanted"] is None
            assert after["finished_at"] == (tx.now if new in ENDS else None), (old, new)
            assert after["not_before"] == 0 or new != "running"
            assert after["started_at"] == (tx.now if new == "running" else before["started_at"])
            assert after["cancelled_from"] == (old if new == "cancelled" else before["cancelled_from"])
            assert after["progress"] == (new == "done")
            assert after["device"] == ("cpu" if new == "running" else None)
            assert after["epoch"] == (tx.epoch if new == "running" else None)
            assert after["current_n"] == (7 if new == "running" else None)
            reason = "why\na\nb" if new in ("failed", "queued", "cancelled") else None
            assert after["reason"] == reason, (old, new)
            ((kind, level, text),) = tx.rows("SELECT kind, level, text FROM event ORDER BY id DESC LIMIT 1")
            assert kind == f"job.{new}"
            assert level == {"failed": "error"}.get(new, "warning")
            assert text.endswith(f"{old} to {new} (why)")


@pytest.mark.parametrize("wanted", [None, "paused", "cancelled"])
def test_what_a_run_that_ended_early_leaves(writer: Writer, wanted: str | None) -> None:
    for counts, crashes, delay in itertools.product((True, False), (0, 1, 2), (0.0, 30.0, 9e9)):
        with undone(writer) as tx:
            jobs.set_job(tx, 1, "running")
            tx.run(
                "UPDATE job SET max_attempts = 3, crashes = :crashes, wanted = :wanted WHERE id = 1",
                crashes=crashes,
                wanted=wanted,
            )
            found = jobs.requeue(tx, 1, "crash", counts=counts, delay_s=delay)
            after = row(tx)
            expected = wanted or ("failed" if counts and crashes == 2 else "queued")
            assert found == after["state"] == expected
            assert after["crashes"] == crashes + counts
            assert after["not_before"] == (tx.now + min(delay, 600.0) if delay else 0.0)
            assert jobs.requeue(tx, 1, "crash") == expected, "it does not run: it is left as it is"
            assert row(tx) == after
    with undone(writer) as tx:
        jobs.set_job(tx, 1, "running")
        tx.run("UPDATE job SET wanted = :wanted WHERE id = 1", wanted=wanted)
        assert jobs.stopped(tx, 1) == row(tx)["state"] == (wanted or "queued")
        assert jobs.stopped(tx, 1) == (wanted or "queued")
        for call in (jobs.stopped, lambda tx, job: jobs.requeue(tx, job, "crash")):
            with pytest.raises(LabError, match="there is no job 99"):
                call(tx, 99)


def test_which_jobs_may_start(writer: Writer) -> None:
    """The lone job has priority 3; the study's are in their order."""
    with undone(writer) as tx:
        assert [j.id for j in jobs.queued(tx)] == [6, 1, 2, 3, 4, 5]
        assert [j.id for j in jobs.queued(tx, 2, (6, 2))] == [1, 3]
        for job_id, at in ((1, tx.now), (2, tx.now + 1), (3, tx.now + 600), (4, tx.now + 601)):
            tx.run("UPDATE job SET not_before = :at WHERE id = :job", at=at, job=job_id)
        told = "a clock that was set back makes no short wait a long one"
        assert [j.id for j in jobs.queued(tx)] == [6, 1, 4, 5], told
        jobs.due_now(tx, [2])
        assert [j.id for j in jobs.queued(tx)] == [6, 1, 2, 4, 5]
        jobs.set_job(tx, 2, "running")
        jobs.set_job(tx, 6, "running")
        assert jobs.running(tx) == [(6, 3), (2, 0)]
        assert [j.id for j in jobs.queued(tx)] == [1, 4, 5]
        tx.run("UPDATE job SET epoch = 0 WHERE id = 6")
        assert [(r.job_id, r.state) for r in jobs.take_over(tx)] == [(6, "queued")]
        assert [tuple(r) for r in tx.rows("SELECT crashes FROM job WHERE id = 6")] == [(0,)]


def test_a_job_that_needs_a_word_waits_and_says_so_once(writer: Writer) -> None:
    with undone(writer) as tx:
        for _ in range(2):
            jobs.needs_word(tx, 1)
        after = row(tx)
        assert (after["state"], after["not_before"]) == ("queued", tx.now + 10.0)
        assert "labtui allow 1" in after["reason"]
        told = tx.rows("SELECT level, job_id FROM event WHERE kind = 'job.needs_word'")
        assert [tuple(event) for event in told] == [("warning", 1)]
        assert [j.id for j in jobs.queued(tx)] == [6, 2, 3, 4, 5]
        jobs.set_job(tx, 2, "running")
        assert jobs.requeue(tx, 2, "crash") == "queued"
        tx.run("UPDATE job SET max_attempts = crashes + 1 WHERE id = 2")
        assert [j.id for j in jobs.queued(tx)] == [6, 2, 3, 4, 5], "without a delay it may start at once"
