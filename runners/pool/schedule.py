"""Hand out work: one transaction begins the probes, then the workers are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from pydantic import ValidationError

from runners.engine.types import Member, Plan
from runners.pool import checkpoints
from runners.pool import protocol as m
from runners.pool.choose import Batch, Capacity, Shares, ahead, allot, waiting
from runners.pool.persist import FailingJob, Replayed, adopt, blaming, replay_job
from runners.pool.protocol import MessageError, from_json
from runners.pool.state import (
    Assignment,
    Returned,
    Run,
    Slot,
    SupervisorState,
    Trial,
    WorkItem,
    grid_of,
    log,
    members_of,
)
from runners.programs import consent
from runners.search import Candidate
from runners.spec import Job, PluginModel, SpecError
from runners.spec.plugins import MODELS, find
from store.errors import Illegal, LabError
from store.files import UnusableError
from store.write import QueuedJob, Tx, Writer, jobs, lab
from store.write import probes as probe_rows

CUDA_PACK = 64
"""Members that one batch on a GPU is filled up to, where the shape's calibration found company to pay."""
PACK_AHEAD = 8
"""How far beyond the slots the queue is read for searches that could share a batch."""
HINTS = 2


def free_slots(state: SupervisorState) -> list[Slot]:
    """Slots that can take work now."""
    return [
        s
        for s in state.slots
        if s.worker is not None
        and s.worker.ready is not None
        and s.assignment is None
        and s.ending is None
        and not s.worker.closed
        and not s.worker.quitting
        and not s.retired
    ]


def dispatch(state: SupervisorState, writer: Writer) -> int:
    """Begin what can begin; how many more slots could be used than have a worker that is free.

    Speculative probes make room for real ones.

    Raises:
        FailingJob: one job's probe cannot begin; nothing has.
    """
    _promote(state, writer)
    if state.holding or state.draining:
        return 0
    begun = state.clock()
    free, at_once = free_slots(state), state.begun.size
    if len(free) > at_once:  # a transaction for a thousand slots would keep verbs and screens waiting
        free, state.wake = free[:at_once], True
    guesses = sum(1 for a in state.assignments if a.speculative and not a.stopping)
    staffed = sum(1 for s in state.slots if s.worker is not None)
    unstaffed = sum(1 for s in state.slots if s.worker is None and not s.retired)
    if not free and not guesses and not unstaffed:
        return 0
    if free:
        before, state.obstacle = state.obstacle, checkpoints.obstacle(state.paths)
        if state.obstacle:
            if state.obstacle != before:
                log.warning("%s; nothing new begins", state.obstacle)
            return 0
    most = len(free) + guesses + min(unstaffed, at_once) + 1
    fresh: list[tuple[Run, Replayed]] = []
    # Not durable on its own: a power cut would take back a beginning, never a verdict.
    with writer.transaction(durable=False) as tx:
        items = _items(state, tx, most, fresh)
        capacity = _capacities(state, tx)
        kinds = {s.calibration_key: s for s in free}.values()
        if len(items) == most and any(capacity(s, w.run) >= 2 * w.size for s in kinds for w in items):
            fresh.clear()
            items = _items(state, tx, most + PACK_AHEAD, fresh)
        extra = _extra(state, items, fresh) if state.options.speculate else []
        shares = Shares()
        for assignment in state.assignments:
            shares.take(assignment.slot, assignment.job)
        batches = allot(free, items, extra, capacity, shares)
        started = {w.run.id: batch.slot.device.id for batch in batches for w in batch.items}
        for run, _ in fresh:
            if run.id in started:
                run.attempt = jobs.set_job(tx, run.id, "running", device=started[run.id])
        for batch in batches:
            _begin(state, tx, batch)
        outrun = _outrun(state, tx, batches)
    _settle(state, [pair for pair in fresh if pair[0].id in started], outrun)
    for batch in batches:
        _hand_out(state, batch)
    state.begun.took(len(batches), state.clock() - begun)
    taken = {id(w) for batch in batches for w in batch.items}
    places = {s.device.id: s for s in state.slots}.values()
    short = sum(1 for w in items if id(w) not in taken and all(shares.fits(s, w.run) for s in places))
    _make_room(state, short)
    left = short + sum(1 for w in extra if id(w) not in taken)
    return min(unstaffed, max(0, len(state.assignments) + left - staffed))


def _promote(state: SupervisorState, writer: Writer) -> None:
    """A speculative probe whose turn has come is the search's own from now on."""
    due = []
    for run in state.runs.values():
        probe = (
            run.probes.get(run.progress.next.n)
            if run.progress is not None and run.progress.next is not None
            else None
        )
        if probe is not None and probe.speculative:
            due.append(probe)
    if due:
        with writer.transaction(durable=False) as tx:
            for probe in due:
                probe_rows.wanted_now(tx, probe.id)
        for probe in due:
            probe.speculative = False


def _items(state: SupervisorState, tx: Tx, most: int, fresh: list[tuple[Run, Replayed]]) -> list[WorkItem]:
    """The first ``most`` candidates that can train now, by priority, running jobs first,
    then the queue's order.
    """
    keyed: list[tuple[tuple[int, int, int], WorkItem]] = []
    items = {run.id: item for run in state.runs.values() if (item := waiting(run)) is not None}
    for place, (job_id, priority) in enumerate(jobs.running(tx) if items else ()):
        if job_id in items:
            keyed.append(((-priority, 0, place), items[job_id]))
    _ask_again(state, tx)
    seen: list[int] = []
    while rows := jobs.queued(tx, limit=most - len(fresh), after=seen):
        for row in rows:
            seen.append(row.id)
            opened = _open(state, tx, row)
            if opened is None:
                continue
            fresh.append(opened)
            run, replayed = opened
            if replayed.progress.next is not None:
                keyed.append(((-row.priority, 1, len(seen)), WorkItem(run, replayed.progress.next)))
        if len(fresh) >= most:
            break
    keyed.sort(key=lambda pair: pair[0])
    return [item for _, item in keyed][:most]


def _outrun(state: SupervisorState, tx: Tx, batches: Sequence[Batch]) -> list[int]:
    """Queue again the searches of which nothing trains while one out of the queue, of a higher priority,
    takes a slot: only what trains is told as running. Gives their ids.
    """
    if all(batch.items[0].run.id in state.runs for batch in batches):
        return []
    served = {w.run.id for batch in batches for w in batch.items}
    idle = (run for run in state.runs.values() if not run.probes and waiting(run) is not None)
    outrun = [run.id for run in idle if run.id not in served]
    for job_id in outrun:
        jobs.set_job(tx, job_id, "queued")
    return outrun


def _settle(state: SupervisorState, begun: Sequence[tuple[Run, Replayed]], outrun: Sequence[int]) -> None:
    """Keep in memory what runs from now on, once it is committed."""
    for run, replayed in begun:
        adopt(run, replayed)
        state.runs[run.id] = run
    for job_id in outrun:
        del state.runs[job_id]


def _ask_again(state: SupervisorState, tx: Tx) -> None:
    """Where a person has allowed something since, the jobs that wait for a word are looked at anew."""
    now = consent.changed_at()
    if state.unallowed and now != state.allowed_at:
        jobs.due_now(tx, sorted(state.unallowed))
        state.unallowed.clear()
    state.allowed_at = now


def _open(state: SupervisorState, tx: Tx, row: QueuedJob) -> tuple[Run, Replayed] | None:
    """A queued job as a run; None if it is over already or cannot be read (then it is done or failed)."""
    try:
        job = Job.from_json(row.spec_json)
        if job.program is not None and not consent.allowed(job):
            state.unallowed.add(row.id)
            jobs.needs_word(tx, row.id)
            return None
        run = Run(row.id, job, row.attempt, row.crashes, solo=row.crashes > 0)
        replayed = replay_job(tx, run, write=False)
    except (ValidationError, ValueError, Illegal) as error:
        _refuse(tx, row, f"the stored job or its evidence cannot be read: {error}"[:2000])
        return None
    if job.hash != row.hash:
        text = (
            "it was queued under another version of the science, whose numbers would differ; "
            "submit its spec again"
        )
        _refuse(tx, row, text)
        return None
    if replayed.progress.next is None:
        jobs.set_job(tx, row.id, "running")
        jobs.set_job(tx, row.id, "done")
        return None
    if isinstance(job.model, PluginModel):
        try:
            _installed(job.model.name)
        except SpecError as error:
            _refuse(tx, row, f"{error}; install its package, then: labtui retry {row.id}")
            return None
    return run, replayed


@cache
def _installed(plugin: str) -> None:
    """Raises SpecError where no package offers the model, which trying again would not mend; a model that was
    found once is not looked for again.
    """
    find(MODELS, plugin)


def _refuse(tx: Tx, row: QueuedJob, text: str) -> None:
    """A job that cannot be trained fails with the reason, and blocks nobody."""
    log.error("job %d: %s", row.id, text)
    jobs.set_job(tx, row.id, "running")
    jobs.set_job(tx, row.id, "failed", reason="failed", text=text)


def _extra(
    state: SupervisorState, items: Sequence[WorkItem], fresh: Sequence[tuple[Run, Replayed]]
) -> list[WorkItem]:
    """Candidates ahead of their turn, the searches taking turns, each offering its best first."""
    asked = {w.run.id for w in items}
    runs = list(state.runs.values())
    for run, replayed in fresh:
        if run.id in asked and run.id not in state.runs:
            shadow = replace(run)
            adopt(shadow, replayed)
            runs.append(shadow)
    owners = {id(run): run for run, _ in fresh}
    by_id = {run.id: run for run in owners.values()} | state.runs
    offers = [[WorkItem(by_id[w.run.id], w.candidate, True) for w in ahead(run, state.width)] for run in runs]
    out = []
    for turn in range(max(map(len, offers), default=0)):
        out += [offer[turn] for offer in offers if turn < len(offer)]
    return out


def _capacities(state: SupervisorState, tx: Tx) -> Capacity:
    """What slots profit from in this transaction; each plan is read once, for slots and searches are many and
    kinds of devices and shapes few.
    """
    plans: dict[tuple[str, str], Plan | None] = {}

    def capacity(slot: Slot, run: Run) -> int:
        if not state.options.pack or run.job.program is not None:
            return 0
        key = run.shape, slot.calibration_key
        if key not in plans:
            plans[key] = _plan_of(lab.calibration(tx, *key))
        plan = plans[key]
        if plan is None:
            return 0
        if slot.kind == "cpu":
            return plan.members_at_once
        return CUDA_PACK if plan.members_at_once * plan.streams >= run.grid else 0

    return capacity


def _plan_of(text: str | None) -> Plan | None:
    if not text:
        return None
    try:
        return from_json(text, Plan)
    except MessageError as error:
        log.warning("a stored plan is not readable: %s", error)
        return None


def _begin(state: SupervisorState, tx: Tx, batch: Batch) -> None:
    """The rows of a batch's items, and the plan that it goes by."""
    slot = batch.slot
    for item in batch.items:
        grid = grid_of(item.run.job, item.candidate)
        with blaming(item.run):
            rows = probe_rows.begin_probe(
                tx,
                item.run.id,
                item.candidate.n,
                grid,
                device=slot.device.id,
                slot=slot.name,
                attempt=item.run.attempt,
                speculative=item.speculative,
            )
        # Not on a GPU: a member's place in a batch may change its last bits there,
        # and the grid trains at once anyway.
        item.wins = probe_rows.wins(tx, item.run.id) if slot.kind == "cpu" else {}
        item.id, item.resumed, item.plan = rows.probe_id, rows.resumed, rows.plan
        item.earlier_wall_s, item.earlier_device_s = rows.wall_s, rows.device_s
        item.trials = [
            Trial(i, lr, seed, over)
            for i, (lr, seed), over in zip(rows.trial_ids, grid, rows.ended, strict=True)
        ]
        for trial, steps, wall in zip(
            item.trials, rows.steps, rows.walls, strict=False
        ):  # none of a fresh one
            trial.step, trial.earlier_s = steps, wall
    first = batch.items[0]
    stored = _plan_of(first.plan) if first.resumed else None
    if stored is None:
        key = slot.calibration_key
        if slot.kind != "cpu":
            key += f"/{sum(item.size for item in batch.items)}"
        stored = _plan_of(lab.calibration(tx, first.run.shape, key))
    batch.plan = replace(stored, device=slot.device.id) if stored else None


# Long: one assignment, from its items to the message, in the order in which they depend on each other.
def _hand_out(state: SupervisorState, batch: Batch) -> None:
    """The items of one batch become an assignment; one with a checkpoint of a pack goes out with it,
    on its own.
    """
    slot = batch.slot
    probes = batch.items
    for probe in probes:
        probe.began = probe.told = state.clock()
    if len(probes) > 1:
        probes = _unpacked(state, batch)
        if not probes:
            return
    lead = probes[0]
    folder = state.folder(lead.id)
    members = checkpoints.members(folder) if batch.items[0].resumed and len(probes) == 1 else None
    if members is not None and not _holds(members, lead):
        members = None
    resume = members is not None
    if members is None:
        members = tuple(x for p in probes for x in members_of(p, p.wins))
    by_key = {p.key: p for p in probes}
    places = {(p.key, t.lr, t.seed): place for p in probes for place, t in enumerate(p.trials)}
    index = [(x.probe, places.get((x.probe, x.lr, x.seed), -1)) for x in members]
    assignment = Assignment(
        tag=state.next_tag(lead.id),
        slot=slot,
        job=lead.run.job,
        members=members,
        folder=str(folder),
        probes=by_key,
        index=index,
        plan=batch.plan,
        device_id=slot.device.id,
        sent=state.clock(),
        resumed=resume,
    )
    for probe in probes:
        probe.home = assignment
        probe.run.probes[probe.candidate.n] = probe
        if not probe.speculative:
            probe.run.slot = slot
    state.completed = state.completed or any(p.complete for p in probes)
    if all(p.complete for p in probes):
        assignment.probes.clear()
        return
    try:
        checkpoints.prepare(assignment)
    except UnusableError as error:  # planted there: it would be given back without end
        state.returned += [Returned(p, assignment, "stopped") for p in probes if p.run is not lead.run]
        raise FailingJob(lead.run, LabError(f"{error.filename} {error.strerror}")) from None
    except OSError as error:
        log.warning("%s: no folder for checkpoints: %s", slot.name, error)
        state.returned += [Returned(p, assignment, "stopped") for p in probes]
        return
    slot.assignment = assignment
    assert slot.worker is not None
    gone = tuple(key for key in dict.fromkeys(x.probe for x in members) if key not in by_key)
    job, trainer = lead.run.job.to_json(), state.options.trainer
    slot.worker.send(
        m.Train(assignment.tag, job, members, slot.device.id, batch.plan, str(folder), resume, gone, trainer)
    )
    _hint(state, lead, slot)


def _unpacked(state: SupervisorState, batch: Batch) -> list[WorkItem]:
    """Those of a batch that have no checkpoint yet; one that has goes on alone, from there,
    at the next turn.
    """
    fresh = []
    for probe in batch.items:
        if probe.resumed and checkpoints.members(state.folder(probe.id)) is not None:
            probe.run.solo = True
            probe.run.probes[probe.candidate.n] = probe
            home = Assignment(
                state.next_tag(probe.id), batch.slot, probe.run.job, (), "", {}, [], None, "", 0.0
            )
            state.returned.append(Returned(probe, home, "stopped"))
        else:
            fresh.append(probe)
    return fresh


def _holds(members: Sequence[Member], probe: WorkItem) -> bool:
    """The checkpoint has this probe's trials; it keeps the order in which they begin."""
    mine = [(x.n, x.lr, x.seed) for x in members if x.probe == probe.key]
    return sorted(mine) == sorted((probe.candidate.n, t.lr, t.seed) for t in probe.trials)


def _hint(state: SupervisorState, probe: WorkItem, slot: Slot) -> None:
    """Have the data of the likely next candidates made ready while this one trains."""
    run = probe.run
    if slot.worker is None or run.progress is None or run.job.program is not None:
        return
    likely: list[Candidate] = [w.candidate for w in ahead(run, HINTS + 1) if w.candidate.seeds is None][
        :HINTS
    ]
    bound = run.job.bound
    members = tuple(Member("hint", c.n, lr, seed, bound) for c in likely for lr, seed in grid_of(run.job, c))
    if members:
        slot.worker.send(m.Prepare(run.job.to_json(), members, slot.device.id))


def _make_room(state: SupervisorState, short: int) -> None:
    """Real work waits: take slots back from speculation, the youngest first."""
    if any(s.worker is not None and s.worker.ready is None for s in state.slots):
        return  # a worker is about to come
    guesses = [a for a in state.assignments if a.speculative and not a.stopping]
    short -= sum(1 for a in state.assignments if a.speculative and a.stopping)
    for assignment in sorted(guesses, key=lambda a: -a.sent)[: max(0, short)]:
        state.stop(assignment, "checkpoint")
