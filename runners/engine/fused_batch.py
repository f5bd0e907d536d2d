"""A fused batch: members that train together, one per row."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from runners.engine.adamw import optimiser
from runners.engine.cuda_graphs import CudaGraphs
from runners.engine.data import validation_stack
from runners.engine.device import give_stream, is_gpu, new_event, take_stream, tf32
from runners.engine.evaluate import Validation
from runners.engine.loader import Loader
from runners.engine.types import Member
from runners.interrupt import check_interrupt
from runners.models import DropoutKeys, StackedModel, dropout_keys
from runners.spec import Job
from runners.tasks import FreshSequences
from runners.verdict import Thoroughness

POLL_S = 0.25
"""A block of steps is kept shorter than this, so that a request is heard within a second."""
FIRST_BLOCKS = (1, 4)
"""Steps of a fused batch's first blocks: the first one may capture a graph, the second one is a fair
timing."""


@dataclass(frozen=True)
class Setup:
    """What a fused batch trains, and on what."""

    job: Job
    model: StackedModel
    """Used by this fused batch alone on a GPU, where its graphs point into the model's work space."""
    device: str
    graph: bool = False

    @property
    def cuda(self) -> bool:
        return is_gpu(self.device)


@dataclass(frozen=True)
class Rows:
    """The state of some slots: what a checkpoint holds of them."""

    slots: tuple[int, ...]
    """Indices of the trials."""
    live: tuple[bool, ...]
    steps: tuple[int, ...]
    """Optimiser steps done."""
    marks: tuple[int, ...]
    """The step of the last evaluation."""
    params: Tensor
    mean: Tensor
    square: Tensor
    loss: Tensor
    """float64 [E]: training loss summed since the last evaluation."""
    best: Tensor
    """[E, P]: parameters of each row's best evaluation; [E, 0] where no member is tested at twice the
    length."""

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.params, self.mean, self.square, self.loss, self.best

    def select(self, keep: Sequence[int]) -> Rows:
        """Some of the rows, copied."""
        index = torch.tensor(keep, dtype=torch.int64, device=self.params.device)
        return Rows(
            tuple(self.slots[k] for k in keep),
            tuple(self.live[k] for k in keep),
            tuple(self.steps[k] for k in keep),
            tuple(self.marks[k] for k in keep),
            *(t.index_select(0, index) for t in self.tensors),
        )

    def join(self, other: Rows) -> Rows:
        """These rows and then those."""
        return Rows(
            self.slots + other.slots,
            self.live + other.live,
            self.steps + other.steps,
            self.marks + other.marks,
            torch.cat((self.params, other.params)),
            torch.cat((self.mean, other.mean)),
            torch.cat((self.square, other.square)),
            torch.cat((self.loss, other.loss)),
            torch.cat((self.best, other.best)),
        )


def fresh(shape: Setup, slots: Sequence[int], members: Sequence[Member], *, keep_best: bool = False) -> Rows:
    """Rows at step 0: initial parameters of each member's seed.

    Args:
        keep_best: there is room for the parameters of the best evaluation; the same for all rows of a run.
    """
    initial: dict[int, Tensor] = {}
    for member in members:
        if member.seed not in initial:
            check_interrupt()
            initial[member.seed] = shape.model.init(member.seed)
    params = torch.stack([initial[m.seed] for m in members]).to(shape.device)
    count = len(slots)
    return Rows(
        tuple(slots),
        (True,) * count,
        (0,) * count,
        (0,) * count,
        params,
        torch.zeros_like(params),
        torch.zeros_like(params),
        torch.zeros(count, dtype=torch.float64, device=shape.device),
        params.clone() if keep_best else params.new_zeros(count, 0),
    )


@dataclass(frozen=True)
class Supply:
    """The data of a fused batch, made before it: that may take long, and be interrupted."""

    loader: Loader
    seeds: tuple[int, ...]
    tokens: Tensor
    """int64 [D, V, T]: the validation set of each of the D seeds."""
    targets: Tensor

    @classmethod
    def of(cls, shape: Setup, members: Sequence[Member], steps: Sequence[int], batch: int) -> Supply:
        """For members that stand at these steps.

        Raises:
            Interrupted: nothing was made.
        """
        seeds = tuple(dict.fromkeys(m.seed for m in members))
        return cls(
            Loader(shape.job, members, steps, batch, shape.device),
            seeds,
            *validation_stack(shape.job, seeds, shape.device),
        )


class FusedBatch:
    """One fused batch.
    Rows never see one another; ended ones are dead weight until the fused batch is composed anew.

    Args:
        rows: taken over, not copied.
        members: one per row.
        batch: B of all of them.
        supply: their data; None: made here.
    """

    def __init__(
        self, shape: Setup, rows: Rows, members: Sequence[Member], batch: int, supply: Supply | None = None
    ) -> None:
        self.shape, self.members, self.batch = shape, tuple(members), batch
        job, device = shape.job, shape.device
        self.slots, self.live = list(rows.slots), list(rows.live)
        self.steps, self.marks = list(rows.steps), list(rows.marks)
        self.adam = optimiser(
            job.training,
            rows.params,
            [m.lr for m in members],
            rows.mean,
            rows.square,
            names=shape.model.names,
        )
        self.adam.steps.copy_(torch.tensor(rows.steps, dtype=torch.float32))
        self.loss, self.best = rows.loss, rows.best
        supply = supply or Supply.of(shape, members, rows.steps, batch)
        self.loader = supply.loader
        self.loader.allocate()
        self.dropout = None
        if shape.model.uses_dropout:
            position = torch.tensor(rows.steps, dtype=torch.int64, device=device)
            self.dropout = DropoutKeys(dropout_keys([m.seed for m in members], device), position)
        interval = min(job.training.eval_every, job.training.steps)
        tokens, targets = supply.tokens, supply.targets
        self.fresh = FreshSequences(job, device) if job.search.fresh is not None else None
        if self.fresh is not None:  # a set of its own for each row, overwritten at each evaluation
            drawn = [self.fresh.draw(m.seed, 0) for m in members]
            tokens, targets = (torch.stack(every) for every in zip(*drawn, strict=True))
        size = tokens.shape[1]
        self.thorough = Thoroughness.of(size, batch, interval)
        self.validation = Validation(
            tokens,
            targets,
            size if shape.cuda else self.thorough.first,
            whole=job.search.criterion == "accuracy",
        )
        own = [supply.seeds.index(m.seed) for m in members] if self.fresh is None else range(len(members))
        self.sets = torch.tensor(own, device=device)
        self.stream = take_stream(device) if shape.cuda else None
        self.graphs = CudaGraphs(device) if shape.graph else None
        self._precision = tf32() if shape.cuda and job.training.precision == "tf32" else nullcontext()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(device))
        self._step_s = 0.0
        self._timed = 0
        self._queued: deque[tuple[torch.cuda.Event, int]] = deque()

    @property
    def params(self) -> Tensor:
        return self.adam.params

    @property
    def rows(self) -> Rows:
        """The state itself, not a copy."""
        return Rows(
            tuple(self.slots),
            tuple(self.live),
            tuple(self.steps),
            tuple(self.marks),
            self.params,
            self.adam.mean,
            self.adam.square,
            self.loss,
            self.best,
        )

    def until_due(self) -> int:
        """Steps until the next evaluation of a live row; 0: one is due now."""
        training = self.shape.job.training
        ahead = []
        for step, mark, live in zip(self.steps, self.marks, self.live, strict=True):
            if live:
                ahead.append(
                    min((mark // training.eval_every + 1) * training.eval_every, training.steps) - step
                )
        return min(ahead)

    def advance(self, limit: int | None = None) -> int:
        """Train some steps, up to the next evaluation or ``limit`` at most; how many.

        Does not wait for a GPU.

        Raises:
            Interrupted: in the middle of a step, which then has not begun; those before it are done.
        """
        begun = perf_counter()
        with torch.cuda.stream(self.stream):
            if not self.loader.left:
                self.loader.refill()
                if self.graphs is not None:
                    self.graphs.rewind()
            count = min(self.until_due(), self.loader.left, limit or self.loader.left)
            count = min(count, self._bearable())
            if self.graphs is not None:
                self.graphs.train(count, self._step_at, self._changing())
                self._stepped(count)
            else:
                self._train(count)
            if not self.loader.left:
                self.loader.ahead()
            if self.stream is not None:
                self._hold_back(count)
            if self.stream is None or self._timed < len(FIRST_BLOCKS):
                self._step_s = (perf_counter() - begun) / count
                self._timed += 1
        return count

    def _train(self, count: int) -> None:
        at = self.loader.cursor
        done = 0
        try:
            for tokens, targets in zip(
                self.loader.tokens[at : at + count], self.loader.targets[at : at + count], strict=True
            ):
                self.one(tokens, targets)
                done += 1
        finally:
            self._stepped(done)

    def _stepped(self, count: int) -> None:
        self.loader.cursor += count
        self.steps = [s + count for s in self.steps]

    def _step_at(self, place: Tensor) -> None:
        """One step on the batch at a place of the block, int64 [1], as a graph captures it."""
        self.one(
            self.loader.tokens.index_select(0, place)[0],
            self.loader.targets.index_select(0, place)[0],
        )

    def _changing(self) -> list[Tensor]:
        """All that a step changes."""
        held = [self.params, self.adam.mean, self.adam.square, self.adam.steps, self.loss]
        return held if self.dropout is None else [*held, self.dropout.step]

    def one(self, tokens: Tensor, targets: Tensor) -> None:
        """Do one optimiser step of all rows: forward, backward, Adam, loss book-keeping."""
        with self._precision:
            loss = self.shape.model.step(self.params, tokens, targets, self.adam.grad, self.dropout)
        self.adam.step()
        self.loss.add_(loss)
        if self.dropout is not None:
            self.dropout.step.add_(1)

    def due(self) -> list[int]:
        """Live rows that are to be evaluated now."""
        every, budget = self.shape.job.training.eval_every, self.shape.job.training.steps
        return [
            e
            for e, (step, mark, live) in enumerate(zip(self.steps, self.marks, self.live, strict=True))
            if live and step > mark and (step % every == 0 or step == budget)
        ]

    def evaluate(
        self, rows: Sequence[int], counts: Sequence[int], best: Sequence[float]
    ) -> tuple[list[float], list[float], list[bool], list[bool]]:
        """Evaluate some rows.

        Args:
            counts, best: evaluations and best exact loss of each of these rows so far.

        Returns:
            mean training loss since the last evaluation, validation loss, whether that is exact
            (it is where a parameter is not finite), whether every parameter is finite; one per row.

        Raises:
            Interrupted: the evaluation has not taken place.
        """
        budget = self.shape.job.training.steps
        done = [self.steps[e] - self.marks[e] for e in rows]
        with torch.cuda.stream(self.stream):
            self._draw(rows)
        if self.stream is not None:
            with torch.cuda.stream(self.stream):
                validation = self.graphs.evaluate(self.full) if self.graphs is not None else self.full()
                finite = torch.isfinite(self.params).all(1)
                table = torch.stack((validation, self.loss, finite.to(torch.float64))).tolist()
                losses, sums = [table[0][e] for e in rows], [table[1][e] for e in rows]
                sound, exact = [bool(table[2][e]) for e in rows], [True] * len(rows)
                self._clear(rows)
        else:
            everyone = len(rows) == len(self.slots)
            index = torch.tensor(rows)
            params = self.params if everyone else self.params.index_select(0, index)
            sets = self.sets if everyone else self.sets.index_select(0, index)
            losses, exact = self.validation.losses(
                self.shape.model,
                params,
                sets,
                eps=[self.members[e].eps for e in rows],
                wanted=[
                    self.members[e].generalisation or self.thorough.wanted(c, self.steps[e] == budget)
                    for e, c in zip(rows, counts, strict=True)
                ],
                best=best,
            )
            sums = self.loss.index_select(0, index).tolist()
            sound = torch.isfinite(params).all(1).tolist()
            for k, e in enumerate(rows):
                if not exact[k] and not sound[k]:
                    losses[k], exact[k] = self._exact(e), True
            self._clear(rows)
        for k, e in enumerate(rows):
            self.marks[e] = self.steps[e]
            if self.members[e].generalisation and losses[k] < best[k]:
                with torch.cuda.stream(self.stream):
                    self.best[e].copy_(self.params[e])
        return [s / d for s, d in zip(sums, done, strict=True)], losses, exact, sound

    def _draw(self, rows: Sequence[int]) -> None:
        """Sequences for the evaluation of these rows, where they are drawn anew; in place, for a graph knows
        the address.
        """
        if self.fresh is None:
            return
        for e in rows:
            tokens, targets = self.fresh.draw(self.members[e].seed, self.steps[e])
            self.validation.tokens[e].copy_(tokens)
            self.validation.targets[e].copy_(targets)

    def _exact(self, row: int) -> float:
        one = self.params[row : row + 1]
        return float(self.validation.full(self.shape.model, one, self.sets[row : row + 1]))

    def end(self, trials: Sequence[int]) -> None:
        """These trials, where they are in the fused batch, are over."""
        for e, slot in enumerate(self.slots):
            if slot in trials:
                self.live[e] = False

    def wait(self) -> None:
        """Wait until everything asked of a GPU is done."""
        if self.stream is not None:
            self.stream.synchronize()
            self.loader.wait()
            self._queued.clear()

    def release(self) -> None:
        """Free what the fused batch holds, once nothing is under way; it trains no more, and whoever names it
        holds nothing."""
        if self.stream is not None:
            self.loader.release()
            give_stream(self.shape.device, self.stream)
            self.shape.model.release()  # on a GPU the model is this batch's alone
        self.graphs = None
        del self.loader, self.adam, self.loss, self.best, self.validation

    def full(self) -> Tensor:
        """float64 [E]: exact validation loss of every row."""
        return self.validation.full(self.shape.model, self.params, self.sets)

    def _clear(self, rows: Sequence[int]) -> None:
        if len(rows) == len(self.slots):
            self.loss.zero_()
        else:
            self.loss.index_fill_(0, torch.tensor(rows, device=self.loss.device), 0.0)

    def _bearable(self) -> int:
        """Steps that keep the next block short; nothing is known of a fused batch before its first blocks,
        so they are short.
        """
        most = max(1, int(POLL_S / self._step_s)) if self._timed else 1
        if self._timed >= len(FIRST_BLOCKS):
            return most
        # What a GPU's first block took was mostly the capture.
        return FIRST_BLOCKS[self._timed] if self.shape.cuda else min(most, FIRST_BLOCKS[self._timed])

    def _hold_back(self, count: int) -> None:
        # Requests are heard on the host, so it may not run far ahead;
        # waiting for the block before the last one costs the device nothing.
        if self.stream is not None and self._timed < len(FIRST_BLOCKS):
            self.stream.synchronize()
            return
        event = new_event()
        event.record(self.stream)
        begun = perf_counter()
        if len(self._queued) >= 2:
            old, steps = self._queued.popleft()
            old.synchronize()
            self._step_s = max(self._step_s * 0.5, (perf_counter() - begun) / steps)
        self._queued.append((event, count))
