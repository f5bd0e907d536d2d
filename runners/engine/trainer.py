"""The trainer: many trials of one shape, fused, evaluated, stopped, checkpointed;
told as a stream of events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from runners.engine import data
from runners.engine.calibrate import calibrate
from runners.engine.checkpoint import Saved, Saver, Snapshot, identity, latest, snapshot
from runners.engine.cuda_graphs import CaptureRefusedError
from runners.engine.device import is_gpu, is_out_of_memory, kernels, release, set_up, total_bytes
from runners.engine.evaluate import accuracy_by_position, rescaled_accuracy
from runners.engine.fused_batch import FusedBatch
from runners.engine.schedule import Schedule
from runners.engine.trials import Point, Trial, Trials, evaluated
from runners.engine.types import (
    Control,
    EngineError,
    EngineEvent,
    Member,
    Note,
    Plan,
    Planned,
    Stopped,
)
from runners.interrupt import Interrupted, Listener
from runners.spec import Job
from runners.tasks.formats import Vocabulary
from runners.verdict import Outcome

EMPTIED_SHARE = 0.05
"""Data kept on a GPU is given up before members are, where it is at least this share of the memory."""
_TESTED = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.DIVERGED)


class Trainer:
    """Trains members of one shape.

    Args:
        job: the shape: task, format, lengths, model, training (``types.shape_key``).
        members: trials, possibly of several probes, in the order in which they may start where not all
            fit at once.
        device: ``cpu`` or ``cuda:0``.
        plan: what an earlier run of this shape on this device went by; None: a short calibration chooses.
        checkpoint_dir: a folder of this run alone; None: no checkpoints.
        resume: go on from the newest whole checkpoint there; where there is none, begin afresh and say so.
    """

    def __init__(
        self,
        job: Job,
        members: Sequence[Member],
        *,
        device: str,
        plan: Plan | None = None,
        checkpoint_dir: Path | None = None,
        resume: bool = False,
    ) -> None:
        if not members:
            raise ValueError("members is empty; expected at least one trial")
        self.job, self.members, self.device = job, tuple(members), device
        self.trials = Trials(self.members, job.training.steps, Vocabulary.of(job).n_outputs)
        self._plan = plan
        self._resume = resume
        self._identity = identity(job, self.members)
        self._saver = Saver(checkpoint_dir)
        self._schedule: Schedule | None = None
        self._listener = Listener(None)
        self._emptied = False
        self._begun_from: str | None = None
        """The checkpoint that holds all there is of this run as long as nothing of it has been put back."""

    @staticmethod
    def prepare(job: Job, members: Sequence[Member], device: str) -> None:
        """Have the data of the next probe ready while another trains; safe in another thread."""
        for seed, n in dict.fromkeys((m.seed, m.n) for m in members):
            data.prepare(job, n, (seed,), device)

    def run(self, control: Control) -> Iterator[EngineEvent]:
        """Train until every trial has ended or ``control`` says stop.

        After a :class:`Planned` in mid-run all trials that have not ended begin again at step 0. A resumed
        run first tells its plan, then again the curve points and the endings that the checkpoint holds.

        A stop is heard wherever the work looks up (``runners.interrupt``): in the middle of a step or of an
        evaluation, which then has not taken place; while data is made or a plan is sought, which begins again
        when the run goes on.

        Raises:
            EngineError: not even one member fits into the memory, or the device cannot be used.
        """
        self._listener = Listener(lambda: bool(control.stop))
        threads = torch.get_num_threads()
        try:
            yield from self._run(control)
        except Interrupted:
            yield Stopped(self._begun_from)
        finally:
            torch.set_num_threads(threads)  # a job may ask for others; the next one does not inherit them

    def _run(self, control: Control) -> Iterator[EngineEvent]:
        saved: Saved | None = None
        if self._resume:
            saved, notes = latest(self._saver.folder, self._identity, self.device, self.trials)
            yield from notes
        self._begun_from = saved.path if saved is not None else None
        plan = saved.plan if saved is not None else self._plan
        if plan is None or plan.open:
            graphs, why = (plan is None or plan.graph), (plan.note if plan is not None else "")
            try:
                with self._listener:
                    plan = calibrate(self.job, self.device, members=len(self.members), graphs=graphs)
                if why:
                    plan = replace(plan, note=plan.note or why, passing=True)
            except CaptureRefusedError as error:
                yield from self._refused(Plan(self.device, 0, precision=self.job.training.precision), error)
                return
        plan = replace(plan, device=self.device, kernels=kernels(self.device, plan.threads))
        set_up(self.device, plan.threads)
        yield Planned(plan)
        if saved is not None:
            yield from self.trials.history()
            unfinished = saved.unfinished(self.trials)
            yield from (
                self.trials.ended(i) for i, t in enumerate(self.trials) if not t.live and i not in unfinished
            )
        try:
            while True:
                try:
                    yield from self._train(control, plan, saved)
                    return
                except CaptureRefusedError as error:
                    yield from self._refused(plan, error)
                    return
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error, self.device):
                        raise
                    plan, why = self._smaller(plan, error)
                self._schedule = saved = self._begun_from = None
                self.trials.restart()
                release(self.device)
                yield Note(why, "warning")
                yield Planned(plan)
        finally:
            self._schedule = None
            self._saver.finish()

    def _refused(self, plan: Plan, error: CaptureRefusedError) -> Iterator[EngineEvent]:
        why = f"the GPU refused to capture the training step ({error}); it runs without a CUDA graph"
        yield Note(why, "warning")
        yield Planned(replace(plan, graph=False, note=why, passing=True))
        yield Stopped(None)

    def _smaller(self, plan: Plan, error: BaseException) -> tuple[Plan, str]:
        """A plan that takes less memory, and why. Data that is kept goes before members do."""
        freed = data.CACHE.forget(self.device)
        if not self._emptied and is_gpu(self.device) and freed >= EMPTIED_SHARE * total_bytes(self.device):
            self._emptied = True
            return plan, f"out of memory: {freed >> 20} MiB of data that were kept are given up"
        return self._halved(plan, error)

    def _halved(self, plan: Plan, error: BaseException) -> tuple[Plan, str]:
        if plan.streams > 1:
            fewer = replace(plan, streams=plan.streams // 2)
        elif plan.members_at_once > 1:
            live = max(1, len(self.trials.live))
            fewer = replace(plan, members_at_once=max(1, min(plan.members_at_once, live) // 2))
        else:
            raise EngineError(
                f"one {self.job.model.label} with {self.job.training.batch_size} sequences of "
                f"{self.job.longest_input} "
                f"positions does not fit into the memory of {self.device}"
            ) from error
        why = (
            f"out of memory: {fewer.members_at_once} members at once on {fewer.streams} streams from here on"
        )
        return replace(fewer, note=why, passing=True), why

    def _train(self, control: Control, plan: Plan, saved: Saved | None) -> Iterator[EngineEvent]:
        schedule = Schedule(self.job, self.device, plan, self.trials)
        self._schedule = schedule
        if saved is not None:
            with self._listener:
                schedule.restore(saved.batch, saved.batches)
        try:
            if saved is not None:
                yield from self._end(sorted(saved.unfinished(self.trials)), schedule)
            while True:
                yield from self._obey(control, schedule)
                if control.stop:
                    break
                with self._listener:
                    schedule.compose()
                if not schedule.batches:
                    yield from self._saver.finish()
                    return
                yield from self._round(schedule)
                yield from self._checkpoints(control, plan, schedule)
        except Interrupted:
            pass
        yield from self._stop(control, plan, schedule)

    def _round(self, schedule: Schedule) -> Iterator[EngineEvent]:
        """Each fused batch one block further, and evaluated where that is due. No name of a fused batch
        outlives this."""
        for fused in schedule.batches:
            if not fused.due():
                with self._listener:
                    fused.advance()
        for fused in schedule.batches:
            if rows := fused.due():
                yield from self._evaluate(fused, rows)

    def _obey(self, control: Control, schedule: Schedule) -> Iterator[EngineEvent]:
        if control.drop:
            yield from self._end(self.trials.drop(sorted(control.drop)), schedule)

    def _stop(self, control: Control, plan: Plan, schedule: Schedule) -> Iterator[EngineEvent]:
        path = None
        if control.stop == "checkpoint" and self._saver.folder is not None:
            schedule.synchronise()
            held = self._snapshot(plan, schedule, copy=False)
            step = schedule.step
            schedule.release()
            yield from self._saver.save(step, lambda: held)
            release(self.device)
            for event in self._saver.finish():
                yield event
                path = getattr(event, "path", path)
        yield Stopped(path)

    def _snapshot(self, plan: Plan, schedule: Schedule, *, copy: bool = True) -> Snapshot:
        return snapshot(
            self._identity,
            self.device,
            plan,
            self.trials,
            schedule.batch_size,
            schedule.rows(),
            copy=copy,
        )

    def _checkpoints(self, control: Control, plan: Plan, schedule: Schedule) -> Iterator[EngineEvent]:
        yield from self._saver.poll()
        if control.checkpoint_now or self._saver.due():
            control.checkpoint_now = False
            schedule.synchronise()
            yield from self._saver.save(schedule.step, lambda: self._snapshot(plan, schedule))

    def _evaluate(self, fused: FusedBatch, rows: list[int]) -> Iterator[EngineEvent]:
        trials = [self.trials[fused.slots[e]] for e in rows]
        with self._listener:
            train, losses, exact, sound = fused.evaluate(
                rows, [t.evaluations for t in trials], [t.best_loss for t in trials]
            )
        points: dict[int, list[tuple[int, Point]]] = {}
        for k, e in enumerate(rows):
            point = Point(fused.steps[e], train[k], losses[k], exact[k])
            trials[k].record(point)
            points.setdefault(point.step, []).append((fused.slots[e], point))
        for step in sorted(points):
            yield evaluated(step, points[step])
        over = self.trials.decide(
            (fused.slots[e] for e in rows), (fused.slots[e] for k, e in enumerate(rows) if not sound[k])
        )
        if over and self._schedule is not None:
            yield from self._end(over, self._schedule)

    def _test(self, fused: FusedBatch, row: int, trial: Trial) -> Iterator[EngineEvent]:
        """The test at twice the length, of the parameters of its best evaluation. Whatever memory there is,
        no trial that is decided loses its end by
        it."""
        fused.wait()
        try:
            with self._listener, torch.cuda.stream(fused.stream):
                asked = self.job, fused.shape.model, fused.best[row], trial.member.seed
                trial.generalisation = rescaled_accuracy(*asked)
                if self.job.generalisation_lengths:
                    trial.by_position = accuracy_by_position(*asked)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error, self.device):
                raise
            yield Note("out of memory: a trial was not tested at twice the length", "warning")

    def _end(self, over: Sequence[int], schedule: Schedule) -> Iterator[EngineEvent]:
        for i in over:
            trial = self.trials[i]
            where = schedule.find(i)
            if where is not None:
                fused, row = where
                trial.steps = fused.steps[row]
                if trial.member.generalisation and trial.outcome in _TESTED and trial.best_step:
                    yield from self._test(fused, row, trial)
        schedule.end(over)
        yield from (self.trials.ended(i) for i in over)
