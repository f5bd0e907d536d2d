"""Which trials train now: batches filled from those that wait, composed anew as trials end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from runners.engine.device import is_gpu
from runners.engine.fused_batch import FusedBatch, Rows, Setup, Supply, fresh
from runners.engine.trials import Trials
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
    """The batches of a run and who waits.

    Trials with different B = min(batch, N) never share a fused batch; those of the first live trial's B
    train first,
    the others after them. Among one B the members' given order decides who starts first. On the CPU a fused
    batch is
    composed anew as soon as a trial has ended: the rows' bits do not depend on it. On a GPU that costs a new
    capture and other kernels, so it happens when at most half of a fused batch's rows are alive; both are
    functions
    of the plan and of the course of training alone.
    """

    def __init__(self, job: Job, device: str, plan: Plan, trials: Trials) -> None:
        self.job, self.device, self.plan, self.trials = job, device, plan, trials
        self.batches: list[FusedBatch] = []
        self._batch_size = 0
        self._begun: set[int] = set()
        self._tests = any(t.member.generalisation for t in trials)
        self._changed = True

    @property
    def step(self) -> int:
        """The furthest optimiser step of a live trial."""
        return max(
            (s for fused in self.batches for s, live in zip(fused.steps, fused.live, strict=True) if live),
            default=0,
        )

    def compose(self) -> None:
        """Give every fused batch its members; no batches are left when every trial is over.

        Raises:
            Interrupted: while data and parameters of newcomers were made;
            the batches that there were are whole.
        """
        if not self._changed:
            return
        self._changed = False
        while True:
            for fused in tuple(self.batches):
                self._renew(fused)
            waiting = self._waiting()
            while waiting and len(self.batches) < self.plan.streams:
                chosen, waiting = waiting[: self.plan.members_at_once], waiting[self.plan.members_at_once :]
                self.batches.append(self._fused(None, (), chosen))
            live = self.trials.live
            if self.batches or not live:
                return
            self._batch_size = self._size(live[0])

    def find(self, trial: int) -> tuple[FusedBatch, int] | None:
        """Find the fused batch and row in which a trial trains."""
        for fused in self.batches:
            if trial in fused.slots:
                row = fused.slots.index(trial)
                return (fused, row) if fused.live[row] else None
        return None

    def end(self, over: Sequence[int]) -> None:
        """These trials are over."""
        for fused in self.batches:
            fused.end(over)
        self._changed = True

    def restore(self, batch_size: int, batches: Sequence[Rows]) -> None:
        """Put the batches back as a checkpoint has them."""
        self._batch_size = batch_size
        for rows in batches:
            self._begun.update(rows.slots)
            self.batches.append(self._build(rows))

    def rows(self) -> list[Rows]:
        """The state of every fused batch, not copied."""
        return [fused.rows for fused in self.batches]

    @property
    def batch_size(self) -> int:
        """B of the batches."""
        return self._batch_size

    def synchronise(self) -> None:
        for fused in self.batches:
            fused.wait()

    def release(self) -> None:
        """Free what the batches hold; nothing is under way."""
        for fused in self.batches:
            fused.release()
        self.batches = []

    def _size(self, trial: int) -> int:
        return min(self.job.training.batch_size, self.trials[trial].member.n)

    def _waiting(self) -> list[int]:
        return [i for i in self.trials.live if i not in self._begun and self._size(i) == self._batch_size]

    def _renew(self, fused: FusedBatch) -> None:
        keep = [e for e, live in enumerate(fused.live) if live]
        if len(keep) == len(fused.slots):
            return
        if not keep:
            fused.wait()
            self.batches.remove(fused)
            fused.release()  # whoever still names it must not keep its memory from the next one
        elif not fused.shape.cuda or 2 * len(keep) <= len(fused.slots):
            chosen = self._waiting()[: max(0, self.plan.members_at_once - len(keep))]
            self.batches[self.batches.index(fused)] = self._fused(fused, keep, chosen)

    def _fused(self, old: FusedBatch | None, keep: Sequence[int], chosen: Sequence[int]) -> FusedBatch:
        """The rows ``keep`` of ``old`` and the trials ``chosen``.

        All that takes long comes before ``old`` is let go.
        """
        shape = self.shape()
        slots = [*(old.slots[e] for e in keep), *chosen] if old is not None else list(chosen)
        steps = [old.steps[e] for e in keep] if old is not None else []
        supply = Supply.of(shape, self._members(slots), [*steps, *(0 for _ in chosen)], self._batch_size)
        rows = fresh(shape, chosen, self._members(chosen), keep_best=self._tests) if chosen else None
        if old is not None:
            old.wait()
            kept = old.rows.select(keep)
            old.release()  # before the next one asks for as much memory
            rows = kept if rows is None else kept.join(rows)
        assert rows is not None
        self._begun.update(chosen)
        return self._build(rows, shape, supply)

    def _build(self, rows: Rows, shape: Setup | None = None, supply: Supply | None = None) -> FusedBatch:
        return FusedBatch(shape or self.shape(), rows, self._members(rows.slots), self._batch_size, supply)

    def _members(self, slots: Sequence[int]) -> list[Member]:
        return [self.trials[i].member for i in slots]

    def shape(self) -> Setup:
        """What a new fused batch trains on."""
        # A GPU's graphs point into the model's work space, so there each fused batch has its own.
        cuda = is_gpu(self.device)
        model = new_model(self.job, self.device) if cuda else _cpu_model(self.job.to_json())
        return Setup(self.job, model, self.device, self.plan.graph and cuda)
