"""The verbs: left as rows by people, carried out by the supervisor, or at once where none runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from store import commands
from store.errors import LabError
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from store.write import Applied, Writer, apply_pending, jobs, submit
from store.write import commands as command_rows
from store.write import lab as lab_rows
from tests.store.lab_steps import assert_sound, begin, finish, lone, sql, start, study


def apply(writer: Writer) -> list[Applied]:
    """As the supervisor does."""
    with writer.transaction() as tx:
        return [command_rows.apply(tx, command) for command in command_rows.pending(tx)]


def states(lab: Path, ids: Sequence[int] = (1, 2, 3, 4, 5, 6)) -> list[str]:
    with open_lab(lab) as reader:
        return [job.state for job in reader.jobs(ids)]


def queue(lab: Path) -> list[int]:
    with open_lab(lab) as reader:
        return reader.job_ids().tolist()


def test_verbs_take_effect_at_once_where_no_supervisor_runs(lab: Path) -> None:
    number = commands.pause(lab, [1, 2])
    with open_lab(lab) as reader:
        assert reader.pending_commands() == 1
        found = reader.command(number)
        assert found is not None
        assert (found.kind, found.state, json.loads(found.payload)) == ("pause", "pending", {"jobs": [1, 2]})
    assert [a.text for a in apply_pending(lab)] == ["2 jobs paused"]
    assert states(lab) == ["paused", "paused", "queued", "queued", "queued", "queued"]
    with open_lab(lab) as reader:
        found = reader.command(number)
        assert found is not None
        assert (found.state, found.result) == ("done", "2 jobs paused")
        assert reader.pending_commands() == 0
        assert [e.kind for e in reader.events(job_id=2)] == ["job.queued", "job.paused"]
    commands.resume(lab, [1, 2, 3])
    commands.cancel(lab, [3, 4, 77])
    texts = [a.text for a in apply_pending(lab)]
    assert texts == ["2 jobs resumed; 1 queued left alone", "2 jobs cancelled"]
    assert_sound(lab)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("note", rb'{"jobs": [1], "text": "half a pair: \ud800"}'),
        ("tag", rb'{"jobs": [1], "tags": ["\udfff"]}'),
        ("note", b'{"jobs": [1], "text": "\xff\xfe"}'),
        ("\x00\xff", b"{}"),
        ("note", b""),
        ("study", b'{"study": 36893488147419103232, "patch": {"archived": true}}'),
        ("move", b'{"jobs": [1], "before": 36893488147419103232}'),
    ],
)
def test_a_command_that_cannot_be_read_is_refused_and_blocks_nothing(
    lab: Path, kind: str, payload: bytes
) -> None:
    """As an older labtui or a hostile lab may have left it."""
    commands.pause(lab, [2])
    with closing(sqlite3.connect(lab)) as connection, connection:
        connection.execute(
            "UPDATE command SET kind = CAST(? AS TEXT), payload = CAST(? AS TEXT)",
            (kind.encode("latin-1"), payload),
        )
    commands.pause(lab, [1])
    first, second = apply_pending(lab)
    assert not first.ok
    assert second.text == "1 job paused"
    with open_lab(lab) as reader:
        assert reader.pending_commands() == 0
    assert_sound(lab)


def test_where_a_supervisor_lives_it_alone_carries_them_out(lab: Path) -> None:
    held = SupervisorLock.acquire(LabPaths(lab))
    try:
        commands.pause(lab, [1])
        assert apply_pending(lab) == []
        assert states(lab, [1]) == ["queued"]
    finally:
        held.release()
    assert len(apply_pending(lab)) == 1


def test_pausing_what_runs_is_remembered_until_it_has_stopped(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        begin(tx, 1, 8)
    commands.pause(lab, [1, 2])
    applied = apply(writer)[0]
    assert applied.text == "2 jobs paused, 1 of them as soon as their checkpoints are written"
    assert ("stop", 1, "paused") in [(a.kind, a.job_id, a.then) for a in applied.actions]
    with open_lab(lab) as reader:
        assert (reader.job(1).state, reader.job(1).wanted) == ("running", "paused")
    with writer.transaction() as tx:
        assert jobs.stopped(tx, 1) == "paused"
    with open_lab(lab) as reader:
        assert (reader.job(1).state, reader.job(1).wanted, reader.probes(1)[0].state) == (
            "paused",
            None,
            "interrupted",
        )
    assert_sound(lab)


@pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_crash_in_between_still_obeys(writer: Writer, lab: Path, verb: str, state: str) -> None:
    start(writer)
    getattr(commands, verb)(lab, [1])
    apply(writer)
    with writer.transaction() as tx:
        assert jobs.requeue(tx, 1, "crash", "boom") == state
    assert states(lab, [1]) == [state]
    assert_sound(lab)


def test_a_verb_taken_back_before_the_run_has_stopped(writer: Writer, lab: Path) -> None:
    start(writer)
    for there, back in ((commands.pause, commands.resume), (commands.cancel, commands.undo_cancel)):
        there(lab, [1])
        back(lab, [1])
        assert [a.ok for a in apply(writer)] == [True, True]
    with writer.transaction() as tx:
        assert jobs.stopped(tx, 1) == "queued"
    with writer.transaction() as tx:
        assert jobs.stopped(tx, 1) == "queued"  # asked twice: no harm


def test_verbs_on_what_a_dead_supervisor_left_running(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        begin(tx, 1, 8)
    commands.cancel(lab, [1])
    assert apply_pending(lab)[0].ok
    assert states(lab, [1]) == ["cancelled"]
    assert_sound(lab)


def test_cancel_and_undo_bring_back_where_it_was(lab: Path) -> None:
    commands.pause(lab, [1])
    commands.cancel(lab, [1, 2])
    commands.undo_cancel(lab, [1, 2])
    assert [a.ok for a in apply_pending(lab)] == [True] * 3
    assert states(lab, [1, 2]) == ["paused", "queued"]
    assert_sound(lab)


def test_finished_probes_survive_cancel_and_retry(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        finish(tx, begin(tx, 1, 8), True)
        unfinished = begin(tx, 1, 4)
    commands.cancel(lab, [1])
    apply(writer)
    with writer.transaction() as tx:
        assert jobs.stopped(tx, 1) == "cancelled"
    commands.retry(lab, [1])
    assert apply(writer)[0].ok
    with writer.transaction() as tx:
        assert jobs.set_job(tx, 1, "running") == 2
        assert [v.n for v in jobs.evidence(tx, 1)] == [8]
        assert begin(tx, 1, 4, attempt=2).probe_id == unfinished.probe_id
    assert_sound(lab)


def test_done_never_leaves(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        finish(tx, begin(tx, 1, 1), True)
        jobs.set_bracket(tx, 1, lo=0, hi=1, status="bracket")
        jobs.set_job(tx, 1, "done")
    for verb in (commands.pause, commands.resume, commands.cancel, commands.retry, commands.undo_cancel):
        verb(lab, [1])
        applied = apply(writer)[0]
        assert not applied.ok
        assert "1 done" in applied.text
    commands.archive(lab, [1])
    assert apply(writer)[0].ok
    assert 1 not in queue(lab)
    with open_lab(lab) as reader:
        assert reader.job_ids(archived=True).tolist() == [1]
        assert len(reader.job_ids(archived=None)) == 6
    commands.unarchive(lab, [1])
    commands.delete(lab, [1])
    apply(writer)
    assert 1 not in queue(lab)
    commands.restore(lab, [1])
    apply(writer)
    assert states(lab, [1]) == ["done"]


def test_delete_refuses_what_runs(writer: Writer, lab: Path) -> None:
    start(writer)
    commands.delete(lab, [1, 2])
    applied = apply(writer)[0]
    assert not applied.ok
    assert "cancel them first" in applied.text
    assert states(lab, [2]) == ["queued"]
    commands.delete(lab, [2])
    commands.restore(lab, [2])
    apply(writer)
    assert states(lab, [2]) == ["cancelled"]


def test_priority_and_place_in_the_queue(lab: Path) -> None:
    assert queue(lab) == [6, 1, 2, 3, 4, 5]
    commands.priority(lab, [4], 9)
    commands.move(lab, [3, 5], before=2)
    apply_pending(lab)
    assert queue(lab) == [4, 6, 1, 3, 5, 2]
    commands.move(lab, [6, 1])
    apply_pending(lab)
    assert queue(lab) == [4, 3, 5, 2, 6, 1]
    commands.move(lab, [6], before=4)
    apply_pending(lab)
    assert queue(lab) == [6, 4, 3, 5, 2, 1]


def test_moving_into_one_gap_without_end(lab: Path) -> None:
    for k in range(150):
        moved, before = (3, 2) if k % 2 else (2, 3)
        commands.move(lab, [moved], before=before)
    assert all(a.ok for a in apply_pending(lab))
    found = queue(lab)
    assert found.index(3) == found.index(2) - 1
    assert sorted(found) == [1, 2, 3, 4, 5, 6]


def test_notes_tags_and_study(lab: Path) -> None:
    commands.note(lab, [1, 2], "look at this [bold]")
    commands.tag(lab, [2], ["a", "b", "a"])
    commands.study(lab, 1, '{"name": "renamed", "archived": true, "tags": ["x"]}')
    assert all(a.ok for a in apply_pending(lab))
    with open_lab(lab) as reader:
        assert reader.job(1).notes == "look at this [bold]"
        assert reader.job(2).tags == ("a", "b")
        found = reader.study(1)
        assert (found.name, found.archived, found.tags) == ("renamed", True, ("x",))


def test_editing_a_job_of_its_own(lab: Path) -> None:
    with open_lab(lab) as reader:
        before = reader.job(6)
    patch = {
        "name": "wider",
        "max_attempts": 2,
        "priority": -4,
        "spec": {"model": {"hidden": 16}, "search": {"eps": 0.5}},
    }
    commands.edit(lab, 6, json.dumps(patch))
    assert apply_pending(lab)[0].ok
    with open_lab(lab) as reader:
        job = reader.job(6)
        assert (job.name, job.max_attempts, job.priority, job.model_label, job.eps) == (
            "wider",
            2,
            -4,
            "lstm 16",
            0.5,
        )
        assert job.hash != before.hash
        assert json.loads(reader.job_spec(6))["model"]["hidden"] == 16
    assert submit(lab, lone()).new == 1  # the search that it was is not there any more


@pytest.mark.parametrize(
    ("job", "patch", "words"),
    [
        (1, {"spec": {"model": {"hidden": 16}}}, "belongs to study 1"),
        (6, {"spec": {"model": {"hidden": 0}}}, "not valid"),
        (6, {"spec": {"nonsense": 1}}, "not valid"),
        (6, {"spec": 3}, "not valid"),
        (6, {"colour": "red"}, "cannot be edited"),
        (6, {}, "needs a job and a patch"),
        (6, {"max_attempts": 0}, "max_attempts is 0"),
        (6, {"priority": 10**9}, "priority is"),
        (6, {"name": "x" * 81}, "name is no text"),
        (6, {"tags": "abc"}, "no list"),
        (99, {"name": "x"}, "no job 99"),
    ],
)
def test_a_refused_edit_changes_nothing_and_says_why(
    lab: Path, job: int, patch: dict[str, object], words: str
) -> None:
    before = sql(lab, "SELECT * FROM job"), sql(lab, "SELECT * FROM job_text")
    number = commands.edit(lab, job, json.dumps(patch))
    applied = apply_pending(lab)[0]
    assert not applied.ok
    assert words in applied.text
    with open_lab(lab) as reader:
        found = reader.command(number)
        assert found is not None
        assert (found.state, found.result) == ("refused", applied.text)
    assert (sql(lab, "SELECT * FROM job"), sql(lab, "SELECT * FROM job_text")) == before


def test_editing_into_a_search_that_is_there_already(lab: Path) -> None:
    other = lone().model_copy(update={"job": lone().job.model_copy(update={"format": "cot"})})
    submit(lab, other)
    commands.edit(lab, 6, '{"spec": {"format": "cot"}}')
    assert "job 7 is that very search" in apply_pending(lab)[0].text


def test_a_spec_with_results_is_not_edited(writer: Writer, lab: Path) -> None:
    start(writer, 6)
    with writer.transaction() as tx:
        begin(tx, 6, 8)
        jobs.requeue(tx, 6, "crash")
    commands.edit(lab, 6, '{"spec": {"format": "cot"}}')
    assert "has results" in apply(writer)[0].text


def test_hold_release_drain(writer: Writer, lab: Path) -> None:
    for verb, kinds in (
        (commands.hold, ["hold"]),
        (commands.release, ["release", "wake"]),
        (commands.drain, ["drain"]),
    ):
        verb(lab)
        assert [a.kind for a in apply(writer)[0].actions] == kinds
        with open_lab(lab) as reader, writer.transaction() as tx:
            assert reader.holding() == lab_rows.holding(tx) == (verb is commands.hold)


def test_devices(writer: Writer, lab: Path) -> None:
    from store.rows import DeviceRow

    with writer.transaction() as tx:
        lab_rows.set_devices(tx, [DeviceRow("cpu", "", 2, "active", "")])
    commands.device(lab, "cpu", state="excluded", slots=1)
    commands.device(lab, "tpu:0", state="active")
    commands.device(lab, "cpu", state="broken")
    commands.device(lab, "cpu", slots=-1)
    assert [a.ok for a in apply(writer)] == [True, False, False, False]
    with open_lab(lab) as reader:
        assert [(d.id, d.state, d.slots) for d in reader.devices()] == [("cpu", "excluded", 1)]


def test_enqueue(writer: Writer, lab: Path) -> None:
    other = lone().model_copy(
        update={"job": lone().job.model_copy(update={"format": "acot"}), "name": "by the form"}
    )
    commands.enqueue(lab, other.model_dump_json())
    commands.enqueue(lab, study().model_dump_json())
    commands.enqueue(lab, '{"sweep": [], "name": "x"}')
    commands.enqueue(lab, '{"nonsense": {}}')
    applied = apply(writer)
    assert [a.ok for a in applied] == [True, True, False, False]
    assert applied[0].text == "1 new jobs, 0 reused, 0 queued again"
    assert applied[1].text == "0 new jobs, 5 reused, 0 queued again"
    assert "the spec is not valid: sweep" in applied[2].text
    with open_lab(lab) as reader:
        assert reader.job(7).name == "by the form"


def test_calls_that_make_no_sense(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="names no jobs"):
        commands.pause(lab, [])
    with pytest.raises(LabError, match="no JSON object"):
        commands.edit(lab, 1, "{")
    with pytest.raises(LabError, match="no JSON object"):
        commands.enqueue(lab, "[" * 100_000)
    with pytest.raises(LabError, match="no JSON object"):
        commands.enqueue(lab, "[]")
    with pytest.raises(LabError, match="there is no lab"):
        commands.pause(tmp_path / "none.db", [1])
    commands.pause(lab, [99])
    for kind, payload in (("explode", "{}"), ("pause", "[["), ("pause", '{"jobs": ["x"]}')):
        sql(
            lab,
            "INSERT INTO command (at, kind, payload, state, result) VALUES (0, ?, ?, 'pending', '')",
            kind,
            payload,
        )
    assert [a.ok for a in apply_pending(lab)] == [False] * 4
