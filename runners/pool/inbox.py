"""What comes up the pipes, put into the state.

No transaction here: the ledger writes it down a moment later.
"""

from __future__ import annotations

import math
from pathlib import Path

from runners.pool import checkpoints
from runners.pool import protocol as m
from runners.pool.protocol import MessageError
from runners.pool.state import Assignment, Returned, Slot, SupervisorState, log


def read(state: SupervisorState, slot: Slot) -> None:
    """Take everything that a slot's worker has said."""
    worker = slot.worker
    if worker is None:
        return
    try:
        for message in worker.receive():
            take(state, slot, message)
    except MessageError as error:
        state.remark("worker", f"{slot.name}: {error}; the worker is killed", "warning")
        slot.ending = ("failed", str(error))
        worker.kill()


def take(state: SupervisorState, slot: Slot, message: m.Up) -> None:
    """Take in one message."""
    if isinstance(message, m.Beat):
        return
    if isinstance(message, m.Ready):
        state.wake = True
        slot.idle_since = state.clock()
        log.info("%s: worker %d is ready (%s)", slot.name, message.pid, message.library or message.trainer)
        return
    assignment = slot.assignment
    if assignment is None or message.tag != assignment.tag:
        state.late += 1
        log.info("%s: dropped a late %s of %s", slot.name, type(message).__name__, message.tag)
        return
    if isinstance(message, m.Progress):
        for point in message.points:
            _point(assignment, point, state.clock())
    elif isinstance(message, m.TrialEnded):
        found = assignment.trial(message.ended.member)
        if found is not None:
            probe, trial = found
            trial.ended = trial.ended or message
            probe.changed = True
            state.completed = state.completed or probe.complete
    elif isinstance(message, m.Planned):
        if assignment.plan is not None and assignment.trained and message.plan != assignment.plan:
            _begin_again(assignment)
        assignment.plan = message.plan
        state.plans.append((assignment, message.plan))
    elif isinstance(message, m.Saved):
        state.saved.append((assignment, message.step))
    elif isinstance(message, m.Noted):
        job = next((p.run.id for p in assignment.probes.values()), None)
        state.remark("worker", f"{slot.name}: {message.text}", message.level, job_id=job)
    else:
        _over(state, slot, assignment, message)


def _point(assignment: Assignment, point: m.Point, now: float) -> None:
    found = assignment.trial(point.member)
    if found is None:
        return
    probe, trial = found
    assignment.trained = True
    trial.step, trial.train, trial.validation = point.step, point.train, point.validation
    trial.curve.add(point.step, point.train, point.validation, point.exact)
    if point.exact and math.isfinite(point.validation) and point.validation < trial.best:
        trial.best, trial.best_step = point.validation, point.step
    trial.changed = probe.changed = True
    if trial.heard is None:
        trial.heard = now


def _begin_again(assignment: Assignment) -> None:
    """A new plan in mid-run: trials that are not over start at step 0."""
    for probe in assignment.probes.values():
        for trial in probe.trials:
            if trial.ended is None and not trial.over:
                trial.step, trial.best = 0, float("inf")
                trial.curve = type(trial.curve)()


def _over(
    state: SupervisorState, slot: Slot, assignment: Assignment, message: m.Finished | m.Failed | m.Halted
) -> None:
    slot.assignment = None
    slot.idle_since = state.clock()
    state.wake = True
    if isinstance(message, m.Finished):
        slot.failures = 0
        _measure(state, slot, assignment, message)
        text = "the trainer ended without an end of every trial"
        give_back(state, assignment, "failed", text)
    elif isinstance(message, m.Halted):
        if not assignment.stopping and slot.worker is not None:
            slot.worker.quit()  # it will train no more: a refused capture may have spoiled its allocator
        give_back(state, assignment, "stopped", kept=message.kept)
    else:
        give_back(state, assignment, message.reason, f"{message.text}\n{message.trace}")
        if (message.reason == "device" or message.broken) and slot.worker is not None:
            slot.ending = (message.reason, message.text)
            slot.worker.kill()  # a broken context heals only with its process
        elif message.reason == "out_of_memory" and slot.kind != "cpu" and slot.worker is not None:
            slot.worker.quit()  # others took the card's memory: the next worker waits until it is free


def give_back(
    state: SupervisorState,
    assignment: Assignment,
    reason: str,
    text: str = "",
    *,
    kept: bool = False,
    died: bool = False,
) -> None:
    """Every probe of an assignment that has no end goes back; one that was asked to stop did not fail."""
    if assignment.stopping and (died or reason == "stopped"):
        reason, text = "stopped", ""
    for probe in assignment.probes.values():
        if not probe.complete and not probe.dropped:
            state.returned.append(Returned(probe, assignment, reason, text, kept))  # type: ignore[arg-type]
    if not assignment.probes and not any(a.folder == assignment.folder for a in state.assignments):
        checkpoints.remove(Path(assignment.folder))  # what it still wrote after it was told to forget it all


def _measure(state: SupervisorState, slot: Slot, assignment: Assignment, message: m.Finished) -> None:
    steps = sum(p.steps() for p in assignment.probes.values())
    if assignment.job.program is None and message.train_s > 0.2 and steps and not assignment.resumed:
        job = assignment.job
        state.speeds.append((job.model.label, job.lengths.length, slot.plan_key, steps / message.train_s))
