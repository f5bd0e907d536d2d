"""Hand out work: one transaction begins the probes, then the workers are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from runners.engine.types import Member, Plan, shape_key
from runners.pool import checkpoints
from runners.pool import protocol as m
from runners.pool.bench import Bench, Returned, log
from runners.pool.choose import Load, Wish, ahead, allot, waiting
from runners.pool.persist import Standing, adopt, blaming, stand
from runners.pool.protocol import MessageError, from_json
from runners.pool.state import Assignment, Probe, Run, Slot, Trial, grid_of, members_of
from runners.search import Candidate
from runners.spec import Job
from store.errors import Illegal
from store.write import Begun, QueuedJob, Tx, Writer, jobs, lab
from store.write import probes as probe_rows

CUDA_PACK = 64
"""Members that one load on a GPU is filled up to, where the shape's calibration found company to pay."""
PACK_AHEAD = 8
"""How far beyond the slots the queue is read for searches that could share a load."""
HINTS = 2


@dataclass(frozen=True)
class _Begun:
    """A probe whose rows exist, not yet in memory."""

    wish: Wish
    begun: Begun
    wins: Mapping[tuple[float, int], int]
    """Of each (learning rate, seed), from what is stored: a restart changes no order."""


@dataclass(frozen=True)
class _Order:
    load: Load
    probes: tuple[_Begun, ...]
    plan: Plan | None


def free_slots(bench: Bench) -> list[Slot]:
    """Slots that can take work now."""
    return [
        s
        for s in bench.slots
        if s.worker is not None
        and s.worker.ready is not None
        and s.assignment is None
        and s.ending is None
        and not s.worker.closed
        and not s.worker.quitting
        and not s.retired
    ]


def dispatch(bench: Bench, writer: Writer) -> int:
    """Begin what can begin; how many more slots could be used than have a worker that is free.

    Speculative probes make room for real ones.

    Raises:
        Poisoned: one job's probe cannot begin; nothing has.
    """
    _promote(bench, writer)
    if bench.holding or bench.draining:
        return 0
    free = free_slots(bench)
    guesses = sum(1 for a in bench.assignments if a.speculative and not a.stopping)
    staffed = sum(1 for s in bench.slots if s.worker is not None)
    unstaffed = sum(1 for s in bench.slots if s.worker is None and not s.retired)
    if not free and not guesses and not unstaffed:
        return 0
    if free:
        before, bench.obstacle = bench.obstacle, checkpoints.obstacle(bench.paths)
        if bench.obstacle:
            if bench.obstacle != before:
                log.warning("%s; nothing new begins", bench.obstacle)
            return 0
    most = len(free) + guesses + unstaffed + 1
    orders: list[_Order] = []
    fresh: list[tuple[Run, Standing]] = []
    # Not durable on its own: a power cut would take back a beginning, never a verdict.
    with writer.transaction(durable=False) as tx:
        wishes = _wishes(bench, tx, most, fresh)
        if len(wishes) == most and any(
            _capacity(bench, tx, s, w.run) >= 2 * w.size for s in free for w in wishes
        ):
            fresh.clear()
            wishes = _wishes(bench, tx, most + PACK_AHEAD, fresh)
        extra = _extra(bench, wishes, fresh) if bench.options.speculate else []
        loads = allot(free, wishes, extra, lambda slot, run: _capacity(bench, tx, slot, run))
        started = {w.run.id: load.slot.device.id for load in loads for w in load.wishes}
        for run, _ in fresh:
            if run.id in started:
                run.attempt = jobs.set_job(tx, run.id, "running", device=started[run.id])
        for load in loads:
            orders.append(_begin(bench, tx, load))
    for run, standing in fresh:
        if run.id in started:
            adopt(run, standing)
            bench.runs[run.id] = run
    for order in orders:
        _hand_out(bench, order)
    taken = {id(w) for load in loads for w in load.wishes}
    short = sum(1 for w in wishes if id(w) not in taken)
    _make_room(bench, short)
    left = short + sum(1 for w in extra if id(w) not in taken)
    return min(unstaffed, max(0, len(bench.assignments) + left - staffed))


def _promote(bench: Bench, writer: Writer) -> None:
    """A speculative probe whose turn has come is the search's own from now on."""
    due = []
    for run in bench.runs.values():
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


def _wishes(bench: Bench, tx: Tx, most: int, fresh: list[tuple[Run, Standing]]) -> list[Wish]:
    """The first ``most`` candidates that can train now, by priority, running jobs first,
    then the queue's order.
    """
    keyed: list[tuple[tuple[int, int, int], Wish]] = []
    for place, row in enumerate(jobs.running(tx)):
        run = bench.runs.get(row.id)
        wish = waiting(run) if run is not None else None
        if wish is not None:
            keyed.append(((-row.priority, 0, place), wish))
    for place, row in enumerate(jobs.queued(tx, limit=most)):
        opened = _open(bench, tx, row)
        if opened is None:
            continue
        fresh.append(opened)
        run, standing = opened
        if standing.progress.next is not None:
            keyed.append(((-row.priority, 1, place), Wish(run, standing.progress.next)))
    keyed.sort(key=lambda pair: pair[0])
    return [wish for _, wish in keyed][:most]


def _open(bench: Bench, tx: Tx, row: QueuedJob) -> tuple[Run, Standing] | None:
    """A queued job as a run; None if it is over already or cannot be read (then it is done or failed)."""
    try:
        job = Job.from_json(row.spec_json)
        run = Run(row.id, job, row.attempt, row.crashes, solo=row.crashes > 0)
        standing = stand(tx, run, write=False)
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
    if standing.progress.next is None:
        jobs.set_job(tx, row.id, "running")
        jobs.set_job(tx, row.id, "done")
        return None
    return run, standing


def _refuse(tx: Tx, row: QueuedJob, text: str) -> None:
    """A job that cannot be trained fails with the reason, and blocks nobody."""
    log.error("job %d: %s", row.id, text)
    jobs.set_job(tx, row.id, "running")
    jobs.set_job(tx, row.id, "failed", reason="failed", text=text)


def _extra(bench: Bench, wishes: Sequence[Wish], fresh: Sequence[tuple[Run, Standing]]) -> list[Wish]:
    """Candidates ahead of their turn, the searches taking turns, each offering its best first."""
    asked = {w.run.id for w in wishes}
    runs = list(bench.runs.values())
    for run, standing in fresh:
        if run.id in asked and run.id not in bench.runs:
            shadow = replace(run)
            adopt(shadow, standing)
            runs.append(shadow)
    owners = {id(run): run for run, _ in fresh}
    by_id = {run.id: run for run in owners.values()} | bench.runs
    offers = [[Wish(by_id[w.run.id], w.candidate, True) for w in ahead(run, bench.width)] for run in runs]
    out = []
    for turn in range(max(map(len, offers), default=0)):
        out += [offer[turn] for offer in offers if turn < len(offer)]
    return out


def _capacity(bench: Bench, tx: Tx, slot: Slot, run: Run) -> int:
    if not bench.options.pack:
        return 0
    plan = _plan_of(lab.calibration(tx, shape_key(run.job), slot.calibration_key))
    if plan is None:
        return 0
    if slot.kind == "cpu":
        return plan.members_at_once
    return CUDA_PACK if plan.members_at_once * plan.streams >= run.grid else 0


def _plan_of(text: str | None) -> Plan | None:
    if not text:
        return None
    try:
        return from_json(text, Plan)
    except MessageError as error:
        log.warning("a stored plan is not readable: %s", error)
        return None


def _begin(bench: Bench, tx: Tx, load: Load) -> _Order:
    slot = load.slot
    begun = []
    for wish in load.wishes:
        with blaming(wish.run):
            rows = probe_rows.begin_probe(
                tx,
                wish.run.id,
                wish.candidate.n,
                grid_of(wish.run.job, wish.candidate),
                device=slot.device.id,
                slot=slot.name,
                attempt=wish.run.attempt,
                speculative=wish.speculative,
            )
        # Not on a GPU: a member's place in a batch may change its last bits there,
        # and the grid trains at once anyway.
        begun.append(_Begun(wish, rows, probe_rows.wins(tx, wish.run.id) if slot.kind == "cpu" else {}))
    stored = _plan_of(begun[0].begun.plan) if begun[0].begun.resumed else None
    if stored is None:
        key = slot.calibration_key
        if slot.kind != "cpu":
            key += f"/{sum(w.size for w in load.wishes)}"
        stored = _plan_of(lab.calibration(tx, shape_key(load.wishes[0].run.job), key))
    return _Order(load, tuple(begun), replace(stored, device=slot.device.id) if stored else None)


def _hand_out(bench: Bench, order: _Order) -> None:
    """The probes of one load become an assignment; a probe with a checkpoint of a pack goes out with it,
    on its own.
    """
    slot = order.load.slot
    probes = [_probe(bench, b) for b in order.probes]
    if len(probes) > 1:
        probes = _unpacked(bench, order, probes)
        if not probes:
            return
    lead = probes[0]
    folder = bench.folder(lead.id)
    members: tuple[Member, ...] | None = None
    resumed = order.probes[0].begun.resumed
    if resumed and len(probes) == 1:
        members = checkpoints.members(folder)
        if members is not None and not _holds(members, lead):
            members = None
    resume = members is not None
    if members is None:
        wins = {b.begun.probe_id: b.wins for b in order.probes}
        members = tuple(x for p in probes for x in members_of(p, wins[p.id]))
    by_key = {p.key: p for p in probes}
    places = {(p.key, t.lr, t.seed): place for p in probes for place, t in enumerate(p.trials)}
    index = [(x.probe, places.get((x.probe, x.lr, x.seed), -1)) for x in members]
    assignment = Assignment(
        tag=bench.next_tag(lead.id),
        slot=slot,
        job=lead.run.job,
        members=members,
        folder=str(folder),
        probes=by_key,
        index=index,
        plan=order.plan,
        device_id=slot.device.id,
        sent=bench.clock(),
        resumed=resume,
    )
    for probe in probes:
        probe.home = assignment
        probe.run.probes[probe.candidate.n] = probe
        if not probe.speculative:
            probe.run.slot = slot
    if all(p.complete for p in probes):
        assignment.probes.clear()
        return
    try:
        checkpoints.prepare(assignment)
    except OSError as error:
        log.warning("%s: no folder for checkpoints: %s", slot.name, error)
        bench.returned += [Returned(p, assignment, "stopped") for p in probes]
        return
    slot.assignment = assignment
    assert slot.worker is not None
    gone = tuple(key for key in dict.fromkeys(x.probe for x in members) if key not in by_key)
    job = lead.run.job.to_json()
    slot.worker.send(
        m.Train(assignment.tag, job, members, slot.device.id, order.plan, str(folder), resume, gone)
    )
    _hint(bench, lead, slot)


def _probe(bench: Bench, b: _Begun) -> Probe:
    grid = grid_of(b.wish.run.job, b.wish.candidate)
    rows = b.begun
    trials = [
        Trial(i, lr, seed, over) for i, (lr, seed), over in zip(rows.trial_ids, grid, rows.ended, strict=True)
    ]
    for trial, steps, wall in zip(trials, rows.steps, rows.walls, strict=False):  # none of a fresh probe
        trial.step, trial.earlier_s = steps, wall
    return Probe(
        rows.probe_id,
        b.wish.run,
        b.wish.candidate,
        b.wish.speculative,
        trials,
        bench.clock(),
        told=bench.clock(),
        earlier_wall_s=rows.wall_s,
        earlier_device_s=rows.device_s,
    )


def _unpacked(bench: Bench, order: _Order, probes: list[Probe]) -> list[Probe]:
    """Those of a load that have no checkpoint yet; one that has goes on alone, from there,
    at the next turn.
    """
    fresh = []
    for probe, b in zip(probes, order.probes, strict=True):
        if b.begun.resumed and checkpoints.members(bench.folder(probe.id)) is not None:
            probe.run.solo = True
            probe.run.probes[probe.candidate.n] = probe
            home = Assignment(
                bench.next_tag(probe.id), order.load.slot, probe.run.job, (), "", {}, [], None, "", 0.0
            )
            bench.returned.append(Returned(probe, home, "stopped"))
        else:
            fresh.append(probe)
    return fresh


def _holds(members: Sequence[Member], probe: Probe) -> bool:
    """The checkpoint has this probe's trials; it keeps the order in which they begin."""
    mine = [(x.n, x.lr, x.seed) for x in members if x.probe == probe.key]
    return sorted(mine) == sorted((probe.candidate.n, t.lr, t.seed) for t in probe.trials)


def _hint(bench: Bench, probe: Probe, slot: Slot) -> None:
    """Have the data of the likely next candidates made ready while this one trains."""
    run = probe.run
    if slot.worker is None or run.progress is None:
        return
    likely: list[Candidate] = [w.candidate for w in ahead(run, HINTS + 1) if w.candidate.seeds is None][
        :HINTS
    ]
    eps = run.job.search.eps
    members = tuple(Member("hint", c.n, lr, seed, eps) for c in likely for lr, seed in grid_of(run.job, c))
    if members:
        slot.worker.send(m.Prepare(run.job.to_json(), members, slot.device.id))


def _make_room(bench: Bench, short: int) -> None:
    """Real work waits: take slots back from speculation, the youngest first."""
    if any(s.worker is not None and s.worker.ready is None for s in bench.slots):
        return  # a worker is about to come
    guesses = [a for a in bench.assignments if a.speculative and not a.stopping]
    short -= sum(1 for a in bench.assignments if a.speculative and a.stopping)
    for assignment in sorted(guesses, key=lambda a: -a.sent)[: max(0, short)]:
        bench.stop(assignment, "checkpoint")
