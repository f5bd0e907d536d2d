"""Which trials train now: lanes filled from those that wait, composed anew as trials end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from runners.engine.device import is_gpu
from runners.engine.fused_batch import FusedBatch, Rows, Shape, Supply, fresh
from runners.engine.resume import Saved
from runners.engine.trials import Ledger
from runners.engine.types import Member, Plan
from runners.models import StackedModel, build
from runners.spec import Job
from runners.tasks import Vocabulary


def new_model(job: Job, device: str) -> StackedModel:
    """A model of the job's shape with work space of its own."""
    vocabulary = Vocabulary.of(job)
    return build(job, device, n_inputs=vocabulary.n_inputs, n_outputs=vocabulary.n_outputs)


_cpu_model = lru_cache(maxsize=4)(lambda text: new_model(Job.from_json(text), "cpu"))


class Schedule:
    """The lanes of a run and who waits.

    Trials with different B = min(batch, N) never share a lane; those of the first live trial's B train first,
    the others after them. Among one B the members' given order decides who starts first. On the CPU a lane is
    composed anew as soon as a trial has ended: the rows' bits do not depend on it. On a GPU that costs a new
    capture and other kernels, so it happens when at most half of a lane's rows are alive; both are functions
    of the plan and of the course of training alone.
    """

    def __init__(self, job: Job, device: str, plan: Plan, ledger: Ledger) -> None:
        self.job, self.device, self.plan, self.ledger = job, device, plan, ledger
        self.lanes: list[FusedBatch] = []
        self._batch = 0
        self._begun: set[int] = set()
        self._changed = True

    @property
    def step(self) -> int:
        """The furthest optimiser step of a live trial."""
        return max(
            (s for lane in self.lanes for s, live in zip(lane.steps, lane.live, strict=True) if live),
            default=0,
        )

    def compose(self) -> None:
        """Give every lane its members; no lanes are left when every trial is over.

        Raises:
            Interrupted: while data and parameters of newcomers were made;
            the lanes that there were are whole.
        """
        if not self._changed:
            return
        self._changed = False
        while True:
            for lane in tuple(self.lanes):
                self._renew(lane)
            waiting = self._waiting()
            while waiting and len(self.lanes) < self.plan.streams:
                chosen, waiting = waiting[: self.plan.members_at_once], waiting[self.plan.members_at_once :]
                self.lanes.append(self._lane(None, (), chosen))
            live = self.ledger.live
            if self.lanes or not live:
                return
            self._batch = self._size(live[0])

    def find(self, trial: int) -> tuple[FusedBatch, int] | None:
        """The lane and row in which a trial trains."""
        for lane in self.lanes:
            if trial in lane.slots:
                row = lane.slots.index(trial)
                return (lane, row) if lane.live[row] else None
        return None

    def end(self, over: Sequence[int]) -> None:
        """These trials are over."""
        for lane in self.lanes:
            lane.end(over)
        self._changed = True

    def restore(self, saved: Saved) -> None:
        """Put the lanes back as a checkpoint has them."""
        self._batch = saved.batch
        for rows in saved.lanes:
            self._begun.update(rows.slots)
            self.lanes.append(self._build(rows))

    def rows(self) -> list[Rows]:
        """The state of every lane, not copied."""
        return [lane.rows for lane in self.lanes]

    @property
    def batch(self) -> int:
        """B of the lanes."""
        return self._batch

    def synchronise(self) -> None:
        for lane in self.lanes:
            lane.wait()

    def release(self) -> None:
        """Free what the lanes hold; nothing is under way."""
        for lane in self.lanes:
            lane.release()
        self.lanes = []

    def _size(self, trial: int) -> int:
        return min(self.job.training.batch_size, self.ledger.trials[trial].member.n)

    def _waiting(self) -> list[int]:
        return [i for i in self.ledger.live if i not in self._begun and self._size(i) == self._batch]

    def _renew(self, lane: FusedBatch) -> None:
        keep = [e for e, live in enumerate(lane.live) if live]
        if len(keep) == len(lane.slots):
            return
        if not keep:
            lane.wait()
            self.lanes.remove(lane)
            lane.release()  # whoever still names it must not keep its memory from the next one
        elif not lane.shape.cuda or 2 * len(keep) <= len(lane.slots):
            chosen = self._waiting()[: max(0, self.plan.members_at_once - len(keep))]
            self.lanes[self.lanes.index(lane)] = self._lane(lane, keep, chosen)

    def _lane(self, old: FusedBatch | None, keep: Sequence[int], chosen: Sequence[int]) -> FusedBatch:
        """The rows ``keep`` of ``old`` and the trials ``chosen``.

        All that takes long comes before ``old`` is let go.
        """
        shape = self.shape()
        slots = [*(old.slots[e] for e in keep), *chosen] if old is not None else list(chosen)
        steps = [old.steps[e] for e in keep] if old is not None else []
        supply = Supply.of(shape, self._members(slots), [*steps, *(0 for _ in chosen)], self._batch)
        rows = fresh(shape, chosen, self._members(chosen)) if chosen else None
        if old is not None:
            old.wait()
            kept = old.rows.select(keep)
            old.release()  # before the next one asks for as much memory
            rows = kept if rows is None else kept.join(rows)
        assert rows is not None
        self._begun.update(chosen)
        return self._build(rows, shape, supply)

    def _build(self, rows: Rows, shape: Shape | None = None, supply: Supply | None = None) -> FusedBatch:
        return FusedBatch(shape or self.shape(), rows, self._members(rows.slots), self._batch, supply)

    def _members(self, slots: Sequence[int]) -> list[Member]:
        return [self.ledger.trials[i].member for i in slots]

    def shape(self) -> Shape:
        """What a new lane trains on."""
        # A GPU's graphs point into the model's work space, so there each lane has its own.
        cuda = is_gpu(self.device)
        model = new_model(self.job, self.device) if cuda else _cpu_model(self.job.to_json())
        return Shape(self.job, model, self.device, self.plan.graph and cuda)
