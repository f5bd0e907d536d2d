"""What trains next and where: pure functions of the state, no transaction, no process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from runners.engine.types import shape_key
from runners.pool.state import Run, Slot, grid_of
from runners.search import Candidate, speculate


@dataclass(frozen=True)
class Wish:
    """A candidate that could train now."""

    run: Run
    candidate: Candidate
    speculative: bool = False

    @property
    def size(self) -> int:
        """Members."""
        return len(grid_of(self.run.job, self.candidate))


@dataclass(frozen=True)
class Load:
    """What one free slot gets: one wish, or several of one shape."""

    slot: Slot
    wishes: tuple[Wish, ...]


def waiting(run: Run) -> Wish | None:
    """What a running search waits for, if it is not training already."""
    candidate = run.progress.next if run.progress is not None else None
    if run.leaving or candidate is None or candidate.n in run.probes:
        return None
    return Wish(run, candidate)


def ahead(run: Run, width: int) -> list[Wish]:
    """Candidates worth trying before their turn, most useful first."""
    if run.leaving or not run.speculate or run.progress is None or run.progress.next is None:
        return []
    known = {n: success for n, (_, success) in run.known.items()}
    wanted = speculate(run.job, run.evidence, known, width, tuple(run.probes))
    return [Wish(run, c, True) for c in wanted if c.n not in run.probes and c.n != run.progress.next.n]


Capacity = Callable[[Slot, Run], int]
"""Members of a job's shape that a slot trains at once at full profit; 0: not known, nothing is packed."""


def allot(
    free: Sequence[Slot], wishes: Iterable[Wish], extra: Iterable[Wish], capacity: Capacity
) -> list[Load]:
    """Hand the wishes to the free slots.

    Each slot first gets one wish, a search's last slot by preference; then wishes left over join a load of
    their shape where the device profits; then slots left over try candidates ahead of their turn (``extra``),
    and so does room left in a load on a GPU.

    Args:
        free: slots whose worker is ready and idle.
        wishes: in the order of the queue.
        extra: speculative ones, most useful first.
        capacity: how many members a slot profits from.
    """
    slots = list(free)
    loads: list[tuple[Slot, list[Wish]]] = []
    left: list[Wish] = []
    wishes = list(wishes)
    at_home = {id(w.run.slot) for w in wishes[: len(slots)] if w.run.slot is not None}
    for wish in wishes:
        if not slots:
            left.append(wish)
            continue
        home = next((s for s in slots if s is wish.run.slot), None)
        # A search without a home leaves the others' homes alone while there is another slot.
        slot = home or next((s for s in slots if id(s) not in at_home), slots[0])
        slots.remove(slot)
        loads.append((slot, [wish]))
    for wish in left:
        _join(loads, wish, capacity)
    for wish in extra:
        if slots:
            loads.append((slots.pop(0), [wish]))
        else:
            _join([x for x in loads if x[0].kind != "cpu"], wish, capacity)
    return [Load(slot, tuple(pack)) for slot, pack in loads]


def _join(loads: Sequence[tuple[Slot, list[Wish]]], wish: Wish, capacity: Capacity) -> bool:
    if wish.run.solo:
        return False
    shape = shape_key(wish.run.job)
    for slot, pack in loads:
        fits = sum(w.size for w in pack) + wish.size <= capacity(slot, wish.run)
        if fits and not any(w.run.solo or shape_key(w.run.job) != shape for w in pack):
            pack.append(wish)
            return True
    return False
