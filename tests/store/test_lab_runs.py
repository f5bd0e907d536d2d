"""A run through the supervisor's transactions: what is begun, ended, dropped, fenced."""

# ruff: noqa: PT012 - the transaction is the statement

from __future__ import annotations

from pathlib import Path

import pytest

from store.errors import Fenced, Illegal, LabError
from store.read import open_lab
from store.rows import Curve
from store.write import Writer, jobs
from store.write import lab as lab_rows
from store.write import probes as probe_rows
from tests.store.lab_steps import IDENTITY, MEMBERS, assert_sound, begin, end_trial, finish, start


def test_one_search_from_queued_to_done(writer: Writer, lab: Path) -> None:
    with writer.transaction() as tx:
        queued = jobs.queued(tx)
        # the lone job has priority 3, the study's come in its order
        assert [j.id for j in queued] == [6, 1, 2, 3, 4, 5]
        assert jobs.queued(tx, limit=2, after=[6, 2])[0].id == 1
    attempt = start(writer)
    for n, success in ((8, True), (4, False), (6, True), (5, False)):
        with writer.transaction() as tx:
            begun = begin(tx, 1, n)
            assert not begun.resumed
            assert begun.ended == (False,) * 4
            probe_rows.set_plan(tx, begun.probe_id, '{"device": "cpu"}')
            probe_rows.progress(tx, begun.probe_id, step=10, fraction=0.5, best_loss=0.9, member_steps=40)
        with open_lab(lab) as reader:
            job = reader.job(1)
            assert (job.state, job.current_n, job.progress, job.device) == ("running", n, 0.5, "cpu")
        with writer.transaction() as tx:
            verdict = finish(tx, begun, success, verdict=success)
            assert (verdict.n, verdict.success, verdict.seeds, verdict.seed_list) == (n, success, 2, (1, 2))
            assert verdict.successes == int(success)
    with writer.transaction() as tx:
        assert [(v.n, v.success) for v in jobs.evidence(tx, 1)] == [
            (8, True),
            (4, False),
            (6, True),
            (5, False),
        ]
        last = jobs.evidence(tx, 1)[-1]
        assert (last.seeds, last.successes, last.best_loss, last.seed_list) == (2, 0, 0.5, (1, 2))
        assert not last.diverged
        jobs.set_bracket(
            tx, 1, lo=5, hi=6, status="bracket", flags=("capped",), best_loss=0.001, estimate=(5.5, 5.0, 6.0)
        )
        lab_rows.add_provenance(tx, 1, {"torch": "2"})
        lab_rows.add_provenance(tx, 1, {"device": "cpu"})
        jobs.set_job(tx, 1, "done")
    with open_lab(lab) as reader:
        job = reader.job(1)
        assert (job.state, job.lo, job.hi, job.status, job.flags) == ("done", 5, 6, "bracket", ("capped",))
        assert (job.candidates, job.wall_s, job.member_steps, job.attempt, job.current_n) == (
            4,
            4.0,
            320,
            attempt,
            None,
        )
        assert job.estimate == (5.5, 5.0, 6.0)
        assert reader.provenance(1) == {"torch": "2", "device": "cpu"}
        probes = reader.probes(1)
        assert [(p.n, p.verdict, p.trials_ended, p.best_loss) for p in probes] == [
            (8, True, 4, 0.001),
            (4, False, 4, 0.5),
            (6, True, 4, 0.001),
            (5, False, 4, 0.5),
        ]
        assert [t.outcome for t in reader.trials(probe_id=probes[0].id)] == ["success"] + ["superseded"] * 3
        assert reader.curves(probes[0].id)[1].steps == (10, 20)
        assert reader.curve(1) is not None
        kinds = [e.kind for e in reader.events(job_id=1)]
        assert kinds == ["job.queued", "job.running", *["probe.begun", "probe.done"] * 4, "job.done"]
    assert_sound(lab)


def test_an_interrupted_probe_goes_on_under_its_own_rows(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        begun = begin(tx, 1, 8)
        probe_rows.set_plan(tx, begun.probe_id, "{}")
        probe_rows.checkpointed(tx, begun.probe_id, "checkpoints/1", 10)
        assert end_trial(tx, begun.trial_ids[2], "failure")
        assert jobs.requeue(tx, 1, "crash", "boom") == "queued"
    with open_lab(lab) as reader:
        job = reader.job(1)
        assert (job.state, job.attempt, job.crashes, job.reason) == ("queued", 2, 1, "crash\nboom")
        assert reader.probes(1)[0].state == "interrupted"
    with writer.transaction() as tx:
        assert jobs.set_job(tx, 1, "running") == 2
        again = begin(tx, 1, 8, attempt=2)
        assert (again.probe_id, again.resumed, again.checkpoint, again.plan) == (
            begun.probe_id,
            True,
            "checkpoints/1",
            "{}",
        )
        assert again.trial_ids == begun.trial_ids
        assert again.ended == (False, False, True, False)
        # what the dead run still tells is dropped, and said so
        assert not end_trial(tx, begun.trial_ids[0], "success", attempt=1)
        assert probe_rows.end_probe(tx, begun.probe_id, attempt=1) is None
        # a resumed engine tells once more what had ended before
        assert not end_trial(tx, begun.trial_ids[2], "failure", attempt=2)
        for k in (0, 1, 3):
            assert end_trial(tx, again.trial_ids[k], "failure", attempt=2)
        verdict = probe_rows.end_probe(tx, again.probe_id, attempt=2)
        assert verdict is not None
        assert not verdict.success
        assert probe_rows.end_probe(tx, again.probe_id, attempt=2) is None
    with open_lab(lab) as reader:
        assert reader.job(1).crashes == 0
        assert len(reader.trials(job_id=1)) == 4
        assert [e.kind for e in reader.events(job_id=1)].count("late") == 3
    assert_sound(lab)


def test_on_another_kind_of_device_it_begins_afresh(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        first = begin(tx, 1, 8)
        end_trial(tx, first.trial_ids[0], "failure")
        jobs.requeue(tx, 1, "lost", counts=False)
        jobs.set_job(tx, 1, "running")
        second = probe_rows.begin_probe(tx, 1, 8, MEMBERS, device="cuda:1", slot="g", attempt=2)
        assert (second.resumed, second.checkpoint) == (False, None)
        assert second.probe_id != first.probe_id
        finish(tx, second, False, attempt=2)
    with open_lab(lab) as reader:
        assert [p.state for p in reader.probes(1)] == ["lost", "done"]
        assert {t.outcome for t in reader.trials(probe_id=first.probe_id)} == {"lost"}
    assert_sound(lab)


def test_a_finished_probe_is_never_trained_again(writer: Writer) -> None:
    start(writer)
    with writer.transaction() as tx:
        finish(tx, begin(tx, 1, 8), True)
    with pytest.raises(Illegal, match="never trained again"), writer.transaction() as tx:
        begin(tx, 1, 8)
    with pytest.raises(Illegal, match="training N = 9"), writer.transaction() as tx:
        begin(tx, 1, 9)
        begin(tx, 1, 9)
    with pytest.raises(Illegal, match="attempt 7"), writer.transaction() as tx:
        begin(tx, 1, 10, attempt=7)


def test_the_verdict_is_what_the_trials_say(writer: Writer) -> None:
    start(writer)
    with writer.transaction() as tx:
        begun = begin(tx, 1, 8)
    with pytest.raises(Illegal, match="4 running trials"), writer.transaction() as tx:
        probe_rows.end_probe(tx, begun.probe_id, attempt=1)
    with pytest.raises(Illegal, match="said to be a success"), writer.transaction() as tx:
        finish(tx, begun, False, verdict=True)
    with pytest.raises(Illegal, match="cut short"), writer.transaction() as tx:
        for trial in begun.trial_ids:
            end_trial(tx, trial, "superseded")
        probe_rows.end_probe(tx, begun.probe_id, attempt=1)
    with writer.transaction() as tx:  # all three were rolled back whole
        assert finish(tx, begun, True).success


def test_speculation_is_no_evidence_until_it_is_asked_for(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        needed, ahead, dropped = (
            begin(tx, 1, 8),
            begin(tx, 1, 4, speculative=True),
            begin(tx, 1, 12, speculative=True),
        )
        finish(tx, ahead, False)
        assert jobs.evidence(tx, 1) == []
        assert [v.n for v in jobs.speculated(tx, 1)] == [4]
        finish(tx, needed, True)
        probe_rows.consume(tx, ahead.probe_id)
        assert [v.n for v in jobs.evidence(tx, 1)] == [8, 4]
        assert probe_rows.drop_probe(tx, dropped.probe_id, "cancelled")
        assert not probe_rows.drop_probe(tx, needed.probe_id, "cancelled")
    with pytest.raises(Illegal, match="cannot become evidence"), writer.transaction() as tx:
        probe_rows.consume(tx, ahead.probe_id)
    with open_lab(lab) as reader:
        assert [(p.state, p.speculative) for p in reader.probes(1)] == [
            ("done", False),
            ("done", False),
            ("cancelled", True),
        ]
        assert {t.outcome for t in reader.trials(probe_id=dropped.probe_id)} == {"superseded"}
        assert reader.job(1).candidates == 2
    with writer.transaction() as tx:  # asked for after all: the same rows
        again = begin(tx, 1, 12)
        assert (again.probe_id, again.trial_ids) == (dropped.probe_id, dropped.trial_ids)
        finish(tx, again, True)
    assert_sound(lab)


def test_a_running_speculation_can_become_wanted(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        ahead = begin(tx, 1, 4, speculative=True)
        probe_rows.wanted_now(tx, ahead.probe_id)
    with open_lab(lab) as reader:
        assert reader.job(1).current_n == 4
    with writer.transaction() as tx:
        finish(tx, ahead, True)
        assert [v.n for v in jobs.evidence(tx, 1)] == [4]
    assert_sound(lab)


def test_leftover_speculation_ends_with_the_job(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        finish(tx, begin(tx, 1, 1), True)
        begin(tx, 1, 7, speculative=True)
        jobs.set_bracket(tx, 1, lo=0, hi=1, status="bracket", flags=())
        jobs.set_job(tx, 1, "done")
    assert_sound(lab)


def test_an_older_supervisor_is_fenced_off(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        begun = begin(tx, 1, 8)
    with Writer(lab) as newer:
        with newer.transaction() as tx:
            assert lab_rows.claim(tx, IDENTITY) == 2
            assert [(r.job_id, r.state) for r in jobs.take_over(tx)] == [(1, "queued")]
        with pytest.raises(Fenced, match="epoch 2"), writer.transaction() as tx:
            end_trial(tx, begun.trial_ids[0], "success")
        with newer.transaction() as tx:
            assert jobs.set_job(tx, 1, "running") == 2
            resumed = begin(tx, 1, 8, attempt=2)
            # an event of the first supervisor's run that comes round another way
            assert not end_trial(tx, begun.trial_ids[0], "success", attempt=2, epoch=1)
            finish(tx, resumed, False, attempt=2)
    assert_sound(lab)


def test_crashes_are_counted_until_something_got_done(writer: Writer, lab: Path) -> None:
    for crash in range(1, 4):
        attempt = start(writer)
        assert attempt == crash
        with writer.transaction() as tx:
            begin(tx, 1, 8, attempt=attempt)
            assert jobs.requeue(tx, 1, "out of memory", "x" * 9000 + "the end") == "queued"
    with open_lab(lab) as reader:
        job = reader.job(1)
        assert job.crashes == 3
        assert job.reason is not None
        assert len(job.reason) < 5000
        assert job.reason.endswith("the end")
    attempt = start(writer)
    with writer.transaction() as tx:
        begun = begin(tx, 1, 8, attempt=attempt)
        probe_rows.checkpointed(tx, begun.probe_id, "c", 50)
        assert jobs.requeue(tx, 1, "failed") == "queued"  # the checkpoint was progress
    with open_lab(lab) as reader:
        assert reader.job(1).crashes == 1
    for _ in range(4):
        attempt = start(writer)
        with writer.transaction() as tx:
            begun = begin(tx, 1, 8, attempt=attempt)
            probe_rows.checkpointed(tx, begun.probe_id, "c", 50)  # no newer than before
            state = jobs.requeue(tx, 1, "failed", "Traceback: boom")
    assert state == "failed"
    with open_lab(lab) as reader:
        job = reader.job(1)
        assert (job.state, job.crashes, job.reason) == ("failed", 5, "failed\nTraceback: boom")
        assert reader.probes(1)[0].state == "interrupted"
    assert_sound(lab)


def test_a_lost_supervisor_uses_nothing_up(writer: Writer, lab: Path) -> None:
    for _ in range(8):
        start(writer)
        with writer.transaction() as tx:
            assert jobs.requeue(tx, 1, "lost", counts=False) == "queued"
    with open_lab(lab) as reader:
        assert (reader.job(1).crashes, reader.job(1).attempt) == (0, 9)


def test_backoff_survives_a_clock_that_is_set_back(lab: Path) -> None:
    now = [1000.0]
    with Writer(lab, clock=lambda: now[0]) as writer:
        with writer.transaction() as tx:
            lab_rows.claim(tx, IDENTITY)
            jobs.set_job(tx, 6, "running")
            jobs.requeue(tx, 6, "failed", delay_s=60)
            assert 6 not in [j.id for j in jobs.queued(tx)]
        now[0] = 1061.0
        with writer.transaction() as tx:
            assert 6 in [j.id for j in jobs.queued(tx)]
        now[0] = 1000.0 - 3600
        with writer.transaction() as tx:
            assert 6 in [j.id for j in jobs.queued(tx)]


def test_nothing_of_a_failed_transaction_stays(writer: Writer, lab: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer.transaction() as tx:
        jobs.set_job(tx, 1, "running")
        raise ZeroDivisionError
    with open_lab(lab) as reader:
        assert reader.job(1).state == "queued"
    with pytest.raises(Illegal, match="job 1 is queued and cannot become done"), writer.transaction() as tx:
        jobs.set_job(tx, 1, "done")
    with pytest.raises(LabError, match="no job 99"), writer.transaction() as tx:
        jobs.set_job(tx, 99, "done")


def test_losses_that_are_not_finite_are_stored_as_unknown(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        begun = begin(tx, 1, 8)
        inf, nan = float("inf"), float("nan")
        curve = Curve((1, 2), (nan, inf), (1e300, nan))
        probe_rows.trial_progress(
            tx, begun.trial_ids[0], steps=1, best_loss=inf, best_step=0, last_loss=nan, curve=curve
        )
        probe_rows.progress(tx, begun.probe_id, step=1, fraction=2.0, best_loss=nan)
        assert end_trial(tx, begun.trial_ids[0], "diverged", best_loss=inf, last_loss=nan, curve=curve)
    with open_lab(lab) as reader:
        trial = reader.trials(probe_id=begun.probe_id)[0]
        assert (trial.best_loss, trial.last_loss, trial.outcome) == (None, None, "diverged")
        assert reader.probes(1)[0].best_loss is None
        assert reader.job(1).progress == 1.0
        stored = reader.curve(trial.id)
        assert stored is not None
        assert stored.validation[0] == inf


def test_progress_of_a_trial_that_has_ended_is_ignored(writer: Writer, lab: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        begun = begin(tx, 1, 8)
        end_trial(tx, begun.trial_ids[0], "failure")
        late = Curve((1,), (9.0,), (9.0,))
        probe_rows.trial_progress(
            tx, begun.trial_ids[0], steps=1, best_loss=9.0, best_step=1, last_loss=9.0, curve=late
        )
    with open_lab(lab) as reader:
        assert reader.trials(probe_id=begun.probe_id)[0].steps == 20
        assert reader.curve(begun.trial_ids[0]) != late


def test_generalisation_of_the_best_trial_at_n_max(writer: Writer, lab: Path) -> None:
    with open_lab(lab) as reader:
        joint = next(c.joint.job_id for c in reader.cells())
        n_max = reader.job(joint).n_max
    start(writer, joint)
    with writer.transaction() as tx:
        begun = begin(tx, joint, n_max)
        for k, trial in enumerate(begun.trial_ids):
            end_trial(
                tx,
                trial,
                "success" if k == 2 else "failure",
                best_loss=0.1 * abs(k - 2) + 0.001,
                generalisation=0.25 * k,
            )
        probe_rows.end_probe(tx, begun.probe_id, attempt=1)
    with open_lab(lab) as reader:
        assert next(c.joint.generalisation for c in reader.cells()) == 0.5
    with writer.transaction() as tx:  # of fresh seeds a second one at N_max tells nothing new
        more = ((0.01, 70), (0.01, 80))
        begun = probe_rows.begin_probe(tx, joint, n_max, more, device="cpu", slot="cpu.0", attempt=1)
        for trial in begun.trial_ids:
            end_trial(tx, trial, "success", best_loss=1e-9, generalisation=0.9)
        probe_rows.end_probe(tx, begun.probe_id, attempt=1)
    with open_lab(lab) as reader:
        assert next(c.joint.generalisation for c in reader.cells()) == 0.5


def test_what_the_supervisor_remembers(writer: Writer, lab: Path) -> None:
    from store.rows import DeviceRow

    with writer.transaction() as tx:
        lab_rows.set_devices(
            tx, [DeviceRow("cpu", "x", 2, "active", ""), DeviceRow("cuda:0", "y", 4, "active", "")]
        )
        lab_rows.set_devices(tx, [DeviceRow("cpu", "x", 2, "active", "")])
        assert [row.state for row in tx.rows("SELECT state FROM device ORDER BY id")] == ["active", "lost"]
        for value in (100.0, 200.0):
            lab_rows.set_speed(tx, "lstm 8", 5, "cpu", value)
        assert lab_rows.calibration(tx, "shape", "cpu") is None
        lab_rows.set_calibration(tx, "shape", "cpu", "{}")
        assert lab_rows.calibration(tx, "shape", "cpu") == "{}"
        lab_rows.heartbeat(tx, "waiting", "the disk is full")
    with open_lab(lab) as reader:
        assert reader.speed() == {("lstm 8", 5): pytest.approx(130.0)}
        found = reader.supervisor()
        assert found is not None
        assert (found.epoch, found.state, found.message, found.alive) == (
            1,
            "waiting",
            "the disk is full",
            False,
        )
