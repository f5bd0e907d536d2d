"""From the state into the lab: each function is one transaction, and memory follows only what was committed.

A transaction that finds no room or no lock raises;
the state is as before, and the same call is made again later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from runners.engine.types import shape_key
from runners.machine import processor_name
from runners.pool import checkpoints
from runners.pool.identity import machine
from runners.pool.protocol import TrialEnded, to_json
from runners.pool.state import Assignment, Returned, Run, SupervisorState, Trial, WorkItem, log
from runners.search import Candidate, Progress, replay, speculate
from runners.spec import SCIENCE_VERSION
from runners.verdict import Evidence, Outcome
from store.errors import Illegal, LabError
from store.rows import Curve, Usage
from store.write import Tx, Verdict, Writer, jobs, lab
from store.write import probes as probe_rows

TELL_S = 5.0
"""Seconds after which a probe's time is written although nothing was heard: so much a kill may forget."""
LEAST_LIVE = 64
"""Running trials whose curves one transaction brings up to date where one probe has more of them."""


class FailingJob(Exception):  # noqa: N818 - says what happened
    """A transaction cannot go through because of one job: without it, it can."""

    def __init__(self, run: Run, why: Exception) -> None:
        super().__init__(str(why) if isinstance(why, LabError) else f"{type(why).__name__}: {why}")
        self.run = run


@contextmanager
def blaming(run: Run) -> Iterator[None]:
    """What the store or the search refuses in here is this job's fault.

    Raises:
        FailingJob: it was refused.
    """
    try:
        yield
    except (Illegal, ValueError) as error:
        raise FailingJob(run, error) from error


def fail(state: SupervisorState, writer: Writer, failing: FailingJob) -> None:
    """Take a failing job out, so that it blocks nobody: failed, with the reason in its row."""
    run = failing.run
    with writer.transaction() as tx:
        if run.id not in state.runs:
            jobs.set_job(tx, run.id, "running")
        jobs.set_job(tx, run.id, "failed", reason="failed", text=f"its search cannot go on: {failing}"[:2000])
    log.error("job %d cannot go on and is failed: %s", run.id, failing)
    for probe in list(run.probes.values()):
        state.forget(probe)
    state.runs.pop(run.id, None)
    state.wake = True


@dataclass(frozen=True)
class Replayed:
    """A search after its evidence was read."""

    evidence: tuple[Evidence, ...]
    known: dict[int, tuple[int, bool]]
    progress: Progress


def replay_job(tx: Tx, run: Run, *, write: bool = True) -> Replayed:
    """Replay a job's search from what is stored, consuming speculative verdicts whose turn has come;
    stores the bracket.

    Args:
        write: store the bracket even if nothing was consumed and the search is not over.

    Raises:
        ValueError: the stored evidence and the job do not fit together.
    """
    evidence = tuple(_evidence(v) for v in jobs.evidence(tx, run.id))
    ahead = {v.n: v for v in jobs.speculated(tx, run.id)}
    progress = replay(run.job, evidence)
    before = len(evidence)
    while progress.next is not None and _answers(ahead.get(progress.next.n), progress.next):
        verdict = ahead.pop(progress.next.n)
        probe_rows.consume(tx, verdict.probe_id)
        evidence = (*evidence, _evidence(verdict))
        progress = replay(run.job, evidence)
    if not write and len(evidence) == before and progress.next is not None:
        return Replayed(evidence, {n: (v.probe_id, v.success) for n, v in ahead.items()}, progress)
    jobs.set_bracket(
        tx,
        run.id,
        lo=progress.lo,
        hi=progress.hi,
        status=progress.status,
        flags=progress.flags,
        best_loss=progress.best_loss,
        estimate=progress.estimate.as_tuple() if progress.estimate else None,
        n50=progress.n50.as_tuple() if progress.n50 else None,
    )
    return Replayed(evidence, {n: (v.probe_id, v.success) for n, v in ahead.items()}, progress)


def _answers(verdict: Verdict | None, asked: Candidate) -> bool:
    """A verdict ahead of its turn is about the very seeds that are asked for now."""
    return verdict is not None and (asked.seeds is None or set(asked.seeds) == set(verdict.seed_list))


def _evidence(v: Verdict) -> Evidence:
    return Evidence(v.n, v.success, v.seeds, v.successes, v.best_loss, v.diverged)


def adopt(run: Run, replayed: Replayed) -> None:
    """After the commit."""
    run.evidence, run.known, run.progress = replayed.evidence, dict(replayed.known), replayed.progress


def flush(
    state: SupervisorState, writer: Writer, *, live: bool, enough: Callable[[], bool] = lambda: False
) -> bool:
    """Write what has come in: events, plans, progress, ends of trials, verdicts;
    True if anything was written.

    Where much has come in it is written in several transactions, each of whole jobs.

    Args:
        live: also the curves of running trials, for the screens.
        enough: asked after each transaction: the rest is left for the next turn, for somebody waits.

    Raises:
        FailingJob: one job's verdict cannot be written; nothing of its transaction was.
    """
    wrote = False
    while _write(state, writer, live=live):
        wrote = True
        if enough():
            break
    return wrote


def _write(state: SupervisorState, writer: Writer, *, live: bool) -> bool:
    """One transaction of it; False where nothing is left."""
    begun = state.clock()
    most = state.written.size
    probes = [p for run in state.runs.values() for p in run.probes.values()]
    ended = _ends(state, most)
    taken = {id(p.run) for p, _ in ended}
    # A probe may be complete with nothing left to write of its trials: all had ended before it was resumed.
    complete = [
        p for p in probes if p.complete and (id(p.run) in taken or not _unwritten(p)) and _sound(state, p)
    ]
    now = begun
    changed = _changed(probes, now, max(most - len(ended), most // 4)) if live else []
    remarks, plans = state.remarks[:most], state.plans[: most // 4]
    saved, speeds = state.saved[:most], state.speeds[:most]
    if not (complete or ended or changed or remarks or plans or saved or speeds):
        state.completed = False
        return False
    closed: list[tuple[Run, Replayed, list[WorkItem]]] = []
    fresh = [t for p in changed for t in _stirred(p)][: max(most, LEAST_LIVE)]
    with writer.transaction(durable=bool(ended or complete)) as tx:
        for r in remarks:
            tx.event(r.kind, r.text, level=r.level, job_id=r.job_id, probe_id=r.probe_id)
        for assignment, plan in plans:
            _plan(state, tx, assignment, to_json(plan), keep=not plan.passing)
        for assignment, step in saved:
            for probe in assignment.probes.values():
                probe_rows.checkpointed(tx, probe.id, assignment.folder, step)
        for speed in speeds:
            lab.set_speed(tx, *speed)
        for probe in changed:
            _progress(state, tx, probe)
        for trial in fresh:
            _trial_progress(state, tx, trial)
        for probe, trial in ended:
            _end(state, tx, probe, trial)
        for run in {id(p.run): p.run for p in complete}.values():
            with blaming(run):
                closed.append(_close(state, tx, run, [p for p in complete if p.run is run]))
    for done, number in ((state.remarks, len(remarks)), (state.plans, len(plans)), (state.saved, len(saved))):
        del done[:number]
    del state.speeds[: len(speeds)]
    for trial in fresh:
        trial.changed = False
    for probe in changed:
        probe.changed, probe.told = bool(_stirred(probe)), now
    for _, trial in ended:
        trial.over = True
        trial.stored = trial.ended.ended.outcome.value if trial.ended is not None else ""
    for run, replayed, unneeded in closed:
        _closed(state, run, replayed, [p for p in complete if p.run is run], unneeded)
    state.completed = any(p.complete for run in state.runs.values() for p in run.probes.values())
    state.written.took(len(ended) + len(changed) + len(fresh), state.clock() - begun)
    return True


def _unwritten(probe: WorkItem) -> list[Trial]:
    return [t for t in probe.trials if t.ended is not None and not t.over]


def _stirred(probe: WorkItem) -> list[Trial]:
    return [t for t in probe.trials if t.changed and t.ended is None and not t.over]


def _changed(probes: Iterable[WorkItem], now: float, most: int) -> list[WorkItem]:
    """Probes of about so many trials that the lab knows an older state of, those told longest ago first."""
    old = sorted((p for p in probes if p.changed or now - p.told > TELL_S), key=lambda p: p.told)
    out: list[WorkItem] = []
    for probe in old:
        if most <= 0:
            break
        most -= 1 + len(_stirred(probe))
        out.append(probe)
    return out


def _ends(state: SupervisorState, most: int) -> list[tuple[WorkItem, Trial]]:
    """The ends that the next transaction writes, about so many: whole jobs, first those whose probes came
    back without their end, then those whose search waits for them.
    """
    back = {r.probe.run.id for r in state.returned}
    ended: list[tuple[WorkItem, Trial]] = []

    def turn(run: Run) -> int:
        return 0 if run.id in back else 1 if any(p.complete for p in run.probes.values()) else 2

    for run in sorted(state.runs.values(), key=turn):
        if len(ended) >= most:
            break
        ended += [(probe, trial) for probe in run.probes.values() for trial in _unwritten(probe)]
    return ended


def _sound(state: SupervisorState, probe: WorkItem) -> bool:
    """Superseded trials need a success that superseded them;
    an engine that says otherwise is not believed.
    """
    outcomes = {t.ended.ended.outcome for t in probe.trials if t.ended is not None} | {
        t.stored for t in probe.trials
    }
    if Outcome.SUPERSEDED not in outcomes or Outcome.SUCCESS in outcomes:
        return True
    if probe.home is not None and not any(r.probe is probe for r in state.returned):
        text = "trials were superseded and none succeeded"
        state.returned.append(Returned(probe, probe.home, "failed", text, void=True))
    return False


def _plan(state: SupervisorState, tx: Tx, assignment: Assignment, plan: str, *, keep: bool) -> None:
    slot = assignment.slot
    for probe in assignment.probes.values():
        probe_rows.set_plan(tx, probe.id, plan)
        library = (
            slot.worker.ready.library if slot.worker is not None and slot.worker.ready is not None else ""
        )
        lab.add_provenance(
            tx,
            probe.run.id,
            {
                **machine(),
                "processor": processor_name(),
                "science_version": SCIENCE_VERSION,
                "torch": library,
                "trainer": state.options.trainer,
                "device": slot.device.id,
                "device_name": slot.device.name,
                "threads": probe.run.job.training.threads or slot.threads,
                "precision": probe.run.job.training.precision,
                "plan": plan,
            },
        )
    if not keep:
        return
    shape = shape_key(assignment.job)
    lab.set_calibration(tx, shape, slot.calibration_key, plan)
    if slot.kind != "cpu":  # a GPU's plan is made for so many members
        lab.set_calibration(tx, shape, f"{slot.calibration_key}/{len(assignment.members)}", plan)


def _progress(state: SupervisorState, tx: Tx, probe: WorkItem) -> None:
    best = min(
        (t.ended.ended.best_loss if t.ended is not None else t.best for t in probe.trials), default=math.inf
    )
    probe_rows.progress(
        tx,
        probe.id,
        step=max((t.step for t in probe.trials), default=0),
        fraction=probe.fraction(probe.run.job.budget),
        best_loss=best if math.isfinite(best) else None,
        member_steps=probe.steps(),
        wall_s=probe.wall_s(state.clock()),
        device_s=probe.device_s(state.clock()),
    )


def _drop(
    state: SupervisorState, tx: Tx, probe: WorkItem, how: Literal["interrupted", "cancelled", "lost"]
) -> None:
    """A probe ends without a verdict; how far it came, and in what time, is kept for the run that goes on."""
    _progress(state, tx, probe)
    for trial in probe.trials:
        if trial.heard is not None and trial.ended is None and not trial.over:
            _trial_progress(state, tx, trial)
    probe_rows.drop_probe(tx, probe.id, how)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _trial_progress(state: SupervisorState, tx: Tx, trial: Trial) -> None:
    probe_rows.trial_progress(
        tx,
        trial.id,
        steps=trial.step,
        best_loss=_finite(trial.best),
        best_step=trial.best_step,
        last_loss=_finite(trial.validation),
        wall_s=trial.wall_s(state.clock()),
        curve=Curve(*trial.curve.columns()),
    )


def _end(state: SupervisorState, tx: Tx, probe: WorkItem, trial: Trial) -> None:
    assert trial.ended is not None
    message, ended = trial.ended, trial.ended.ended
    probe_rows.end_trial(
        tx,
        trial.id,
        ended.outcome.value,
        attempt=probe.run.attempt,
        epoch=state.epoch,
        steps=ended.steps,
        best_loss=_finite(ended.best_loss),
        best_step=ended.best_step,
        last_loss=_finite(ended.last_loss),
        wall_s=trial.earlier_s + message.wall_s,
        generalisation=ended.generalisation,
        curve=_curve(message) if message.steps else None,
    )


def _curve(message: TrialEnded) -> Curve:
    ended = message.ended
    usage = Usage(*map(_finite, ended.usage)) if len(ended.usage) == 3 else None
    return Curve(message.steps, message.train, message.validation, message.exact, ended.by_position, usage)


def _close(
    state: SupervisorState, tx: Tx, run: Run, probes: Sequence[WorkItem]
) -> tuple[Run, Replayed, list[WorkItem]]:
    """The verdicts of a job's complete probes; ends the job if its search is over."""
    for probe in probes:
        probe_rows.end_probe(
            tx,
            probe.id,
            attempt=run.attempt,
            epoch=state.epoch,
            wall_s=probe.wall_s(state.clock()),
            device_s=probe.device_s(state.clock()),
            speculative=probe.speculative,
        )
    replayed = replay_job(tx, run)
    left = [p for p in run.probes.values() if p not in probes]
    over = replayed.progress.next is None
    if left and not over:
        known = {n: success for n, (_, success) in replayed.known.items()}
        running = [p.candidate.n for p in left]
        needed = {c.n for c in speculate(run.job, replayed.evidence, known, state.width, running)}
        if replayed.progress.next is not None:
            needed.add(replayed.progress.next.n)
        left = [p for p in left if p.speculative and p.candidate.n not in needed]
    for probe in left:
        _drop(state, tx, probe, "cancelled")
    if over:
        jobs.set_job(tx, run.id, "done")
    return run, replayed, left


def _closed(
    state: SupervisorState,
    run: Run,
    replayed: Replayed,
    complete: Sequence[WorkItem],
    unneeded: Sequence[WorkItem],
) -> None:
    adopt(run, replayed)
    run.solo, run.crashes = False, 0
    state.wake = True
    for probe in complete:
        run.probes.pop(probe.candidate.n, None)
        if probe.home is not None:
            probe.home.probes.pop(probe.key, None)
        checkpoints.discard(state, probe)
    for probe in unneeded:
        state.forget(probe)
        checkpoints.discard(state, probe)
    if replayed.progress.next is None:
        state.runs.pop(run.id, None)


def settle(state: SupervisorState, writer: Writer) -> bool:
    """Write down what came back without its end: put jobs back, pause, cancel or fail them; of each only once
    all that it told is written.
    """
    telling = {p.run.id for a, _ in (*state.plans, *state.saved) for p in a.probes.values()}
    wanted = [r for r in state.returned if not r.probe.dropped]
    telling |= {r.probe.run.id for r in wanted if any(map(_unwritten, r.probe.run.probes.values()))}
    back = [r for r in wanted if r.probe.run.id not in telling]
    waiting = [r for r in wanted if r.probe.run.id in telling]
    leaving = [
        r
        for r in state.runs.values()
        if r.leaving and all(any(b.probe is p for b in back) for p in r.probes.values())
    ]
    if not back and not leaving:
        state.returned[:] = waiting
        return False
    for returned in back:
        checkpoints.part(state, returned)
    gone: dict[int, Run] = {}
    orphans: list[WorkItem] = []
    with writer.transaction() as tx:
        for r in back:
            if r.kept:
                own = checkpoints.own_folder(state, r.probe, r.assignment)
                probe_rows.checkpointed(tx, r.probe.id, str(own), max(t.step for t in r.probe.trials))
            _drop(state, tx, r.probe, "lost" if r.void else "interrupted")
        for r in back:
            run = r.probe.run
            if r.reason == "stopped" or r.probe.speculative or run.leaving or run.id in gone:
                continue
            orphans += [p for p in run.probes.values() if not any(b.probe is p for b in back)]
            delay = min(state.options.backoff_max_s, state.options.backoff_s * 2 ** min(run.crashes, 20))
            jobs.requeue(tx, run.id, r.reason, r.text[-4000:], counts=True, delay_s=delay)
            gone[run.id] = run
        for probe in orphans:
            _drop(state, tx, probe, "interrupted")
        for run in leaving:
            if run.id not in gone and run.leaving is not None:
                jobs.stopped(tx, run.id)
                gone[run.id] = run
    state.returned[:] = waiting
    state.wake = True
    for r in back:
        run = r.probe.run
        r.probe.dropped = True
        run.probes.pop(r.probe.candidate.n, None)
        r.assignment.probes.pop(r.probe.key, None)
        if r.reason != "stopped":
            run.solo, run.crashes = True, run.crashes + 1
            run.speculate = run.speculate and not r.probe.speculative
    for probe in orphans:
        state.forget(probe)
    for run in gone.values():
        state.runs.pop(run.id, None)
    return True
