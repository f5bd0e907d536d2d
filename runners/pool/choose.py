"""What trains next and where: pure functions of the state, no transaction, no process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from runners.engine.types import Plan
from runners.pool.state import Run, Slot, WorkItem
from runners.search import speculate
from runners.spec import Job
from runners.strategies import STRATEGIES


@dataclass
class Batch:
    """What one free slot gets: one item, or several of one shape that train together."""

    slot: Slot
    items: list[WorkItem]
    plan: Plan | None = None
    """As stored for this shape and slot."""


def waiting(run: Run) -> WorkItem | None:
    """What a running search waits for, if it is not training already."""
    candidate = run.progress.next if run.progress is not None else None
    if run.leaving or candidate is None or candidate.n in run.probes:
        return None
    return WorkItem(run, candidate)


def ahead(run: Run, width: int) -> list[WorkItem]:
    """Candidates worth trying before their turn, most useful first."""
    if run.leaving or not run.speculate or run.progress is None or run.progress.next is None:
        return []
    if not STRATEGIES[run.job.search.strategy].ahead:
        return []
    known = {n: success for n, (_, success) in run.known.items()}
    wanted = speculate(run.job, run.evidence, known, width, tuple(run.probes))
    return [WorkItem(run, c, True) for c in wanted if c.n not in run.probes and c.n != run.progress.next.n]


@dataclass
class Shares:
    """How many assignments of a program a device has, where the program says how many it may."""

    taken: Counter[tuple[str, str]] = field(default_factory=Counter)

    def fits(self, slot: Slot, run: Run) -> bool:
        """One more may run there."""
        program = run.job.program
        return program is None or program.slots is None or self.taken[_share(slot, run.job)] < program.slots

    def take(self, slot: Slot, job: Job) -> None:
        """One more runs there."""
        if job.program is not None and job.program.slots is not None:
            self.taken[_share(slot, job)] += 1


def _share(slot: Slot, job: Job) -> tuple[str, str]:
    assert job.program is not None
    return slot.device.id, repr((job.program.command, job.program.function, job.program.cwd))


Capacity = Callable[[Slot, Run], int]
"""Members of a job's shape that a slot trains at once at full profit; 0: not known, nothing is packed."""


def allot(
    free: Sequence[Slot],
    items: Iterable[WorkItem],
    extra: Iterable[WorkItem],
    capacity: Capacity,
    shares: Shares | None = None,
) -> list[Batch]:
    """Hand the items to the free slots.

    Each slot first gets one item, a search's last slot by preference; then items left over join a batch of
    their shape where the device profits; then slots left over try candidates ahead of their turn (``extra``),
    and so does room left in a batch on a GPU.

    Args:
        free: slots whose worker is ready and idle.
        items: in the order of the queue.
        extra: speculative ones, most useful first.
        capacity: how many members a slot profits from.
        shares: what programs have already.
    """
    shares = shares or Shares()
    slots = list(free)
    batches: list[tuple[Slot, list[WorkItem]]] = []
    left: list[WorkItem] = []
    items = list(items)
    at_home = {id(w.run.slot) for w in items[: len(slots)] if w.run.slot is not None}
    for item in items:
        fit = [s for s in slots if shares.fits(s, item.run)]
        if not fit:
            left.append(item)
            continue
        home = next((s for s in fit if s is item.run.slot), None)
        # A search without a home leaves the others' homes alone while there is another slot.
        slot = home or next((s for s in fit if id(s) not in at_home), fit[0])
        slots.remove(slot)
        shares.take(slot, item.run.job)
        batches.append((slot, [item]))
    for item in left:
        _join(batches, item, capacity)
    for item in extra:
        fit = [s for s in slots if shares.fits(s, item.run)]
        if fit:
            slots.remove(fit[0])
            shares.take(fit[0], item.run.job)
            batches.append((fit[0], [item]))
        elif not slots:
            _join([x for x in batches if x[0].kind != "cpu"], item, capacity)
    return [Batch(slot, pack) for slot, pack in batches]


def _join(batches: Sequence[tuple[Slot, list[WorkItem]]], item: WorkItem, capacity: Capacity) -> bool:
    if item.run.solo:
        return False
    shape = item.run.shape
    for slot, pack in batches:
        fits = sum(w.size for w in pack) + item.size <= capacity(slot, item.run)
        if fits and not any(w.run.solo or w.run.shape != shape for w in pack):
            pack.append(item)
            return True
    return False
