"""How many members train at once: a short timing of the real thing,
and on a CPU a check that company changes no bit.

One, without a timing, of a model whose members run one after another anyway:
then the first success spares the others whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor

from runners.engine.cuda_graphs import CaptureRefusedError
from runners.engine.device import free_bytes, free_share, is_gpu, is_out_of_memory, release, set_up
from runners.engine.fused_batch import FusedBatch, fresh
from runners.engine.schedule import Schedule, new_model
from runners.engine.trials import Trials
from runners.engine.types import EngineError, Member, Plan
from runners.interrupt import check_interrupt
from runners.spec import Job

LADDER = {"cpu": (1, 2, 4, 8, 16), "cuda": (1, 4, 16)}
SLOW_S = 0.5
"""A model whose single step takes this long on a CPU gains nothing from company,
and its calibration would take minutes.
"""
ROUND_S = 0.02
"""A timing lasts about so long."""
SHARE = 0.02
LEAST_S, MOST_S = 0.1, 1.5
"""A calibration may cost this share of the longest time that a probe of the grid can take,
within these limits.
"""
GAIN = 1.03
"""More members at once have to be this much faster for their memory and their shared fate."""
MEMORY_SHARE = 0.6
ROOM = 0.25
"""Of a GPU's memory so much stays free while members are tried: for data that is kept, for hints, and for the
validation sets of other seeds."""
_RATE = 1e-3
_TIMED: dict[str, int] = {}
"""Members at once found by timing in this process: a search over many lengths need not time each of them."""


def calibrate(job: Job, device: str, members: int = 1, *, graphs: bool = True) -> Plan:
    """Find the plan for a shape on a device.

    Args:
        members: how many there are to train; on a GPU so many are tried at once too.
        graphs: capture the step on a GPU.

    Raises:
        CaptureRefusedError: the step cannot be captured; this process should not go on.
        EngineError: not even one member fits into the memory.
        Interrupted: nothing was found out.
    """
    threads = job.training.threads or torch.get_num_threads()
    set_up(device, threads)
    cuda = is_gpu(device)
    plan = Plan(
        device,
        1,
        threads=threads,
        graph=cuda and graphs,
        precision=job.training.precision if cuda else "fp32",
    )
    if cuda:
        return _on_cuda(job, plan, members)
    try:
        return _on_cpu(job, plan, members)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return replace(plan, note="one member at a time: memory ran out while calibrating", passing=True)


def _on_cpu(job: Job, plan: Plan, members: int) -> Plan:
    count = _TIMED.get(_neighbourhood(job, plan))
    if count is None:
        if getattr(new_model(job, plan.device), "sequential_on_cpu", False):
            return plan
        batches = {1: _fused(job, plan, 1)}
        first = _time(batches[1], 1)
        if first > SLOW_S:
            return replace(plan, note=f"one member at a time: a step takes {first:.1f} s")
        for more in LADDER["cpu"][1:]:
            if more * _member_bytes(job, batches[1]) > MEMORY_SHARE * free_bytes("cpu"):
                break
            batches[more] = _fused(job, plan, more)
            if _time(batches[more], 1) > SLOW_S:
                break
        budget = min(MOST_S, max(LEAST_S, SHARE * first * job.training.steps * members))
        count = _fastest(batches, budget)
        if len(_TIMED) > 1000:
            _TIMED.clear()
        _TIMED[_neighbourhood(job, plan)] = count
    if count > 1 and not fusing_changes_no_bit(job, plan, count):
        return replace(plan, note="one member at a time: a kernel of this shape sums otherwise in company")
    return replace(plan, members_at_once=count)


def _on_cuda(job: Job, plan: Plan, members: int) -> Plan:
    tried: dict[tuple[int, int], float] = {}
    most = max(members, 2)
    wanted = [(e, 1) for e in sorted({*(e for e in LADDER["cuda"] if e <= most), most})]
    wanted += [(-(-most // s), s) for s in (2, 4) if most >= 2 * s]
    for count, streams in wanted:
        check_interrupt()
        try:
            release(plan.device)
            tried[count, streams] = _side_by_side(job, plan, count, streams)
        except CaptureRefusedError:
            raise
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error, plan.device):
                raise
            if count * streams == 1:
                raise EngineError(
                    f"not even one {job.model.label} fits into the memory of {plan.device}"
                ) from error
    release(plan.device)
    best = _choose(tried)
    return replace(plan, members_at_once=best[0], streams=best[1])


def _side_by_side(job: Job, plan: Plan, count: int, streams: int) -> float:
    """Seconds for a member-step on a GPU. Evaluates too, for a plan must leave room for that.

    Raises:
        torch.OutOfMemoryError: also where several members leave less than ``ROOM``.
    """
    batches = [_fused(job, plan, count) for _ in range(streams)]
    spent = _time_all(batches, 10) / (count * streams)
    for fused in batches:
        fused.evaluate(range(count), [0] * count, [0.0] * count)
    if count * streams > 1 and free_share(plan.device) < ROOM:
        raise torch.OutOfMemoryError("out of memory: too little room is left")
    for fused in batches:
        fused.wait()
        fused.release()
    return spent


def fusing_changes_no_bit(job: Job, plan: Plan, count: int, steps: int = 3) -> bool:
    """Whether each row of a fused batch comes out to the bit as it does alone (CPU), training and evaluation.

    Of the evaluation, whose parts but the first and the last are all of one size, three parts tell.
    """
    together = _fused(job, plan, count)
    subsets = {(0,), (count - 1,), (0, count - 1), tuple(range(min(3, count))), tuple(range(count // 2))} - {
        ()
    }
    others = {rows: _fused(job, plan, count, rows) for rows in subsets}
    for fused in (together, *others.values()):
        done = 0
        while done < steps:
            done += fused.advance(steps - done)
    evaluated = sorted({0, min(1, len(together.validation.parts) - 1), len(together.validation.parts) - 1})
    whole = [_sums(together, part) for part in evaluated]
    for rows, fused in others.items():
        pairs = zip(together.rows.select(rows).tensors, fused.rows.tensors, strict=True)
        if not all(torch.equal(a, b) for a, b in pairs):
            return False
        if not all(
            torch.equal(sums[list(rows)], _sums(fused, part))
            for part, sums in zip(evaluated, whole, strict=True)
        ):
            return False
    return True


def _sums(fused: FusedBatch, part: int) -> Tensor:
    return fused.validation.sums(fused.shape.model, fused.params, fused.sets, part)


def _fused(job: Job, plan: Plan, count: int, only: Sequence[int] | None = None) -> FusedBatch:
    n = job.n_max
    batch = min(job.training.batch_size, n)
    endless = job.training.model_copy(update={"steps": 1 << 40, "eval_every": 1 << 40})
    job = job.model_copy(update={"training": endless})
    rows = range(count) if only is None else only
    members = [Member("calibration", min(n, 4 * batch), _RATE, 1 + row % 4, 0.0) for row in rows]
    shape = Schedule(job, plan.device, plan, Trials(members, job.training.steps)).shape()
    return FusedBatch(shape, fresh(shape, range(len(members)), members), members, batch)


def _member_bytes(job: Job, fused: FusedBatch) -> int:
    # Four buffers of parameters, and activations for backward: in all models a few dozen values per position
    # and unit of width, and the width is at most the square root of the parameters.
    parameters = fused.params.shape[1]
    positions = fused.batch * job.longest_input
    layers = getattr(job.model, "layers", 1)
    return 4 * (4 * parameters + 32 * layers * positions * int(parameters**0.5))


def _time(fused: FusedBatch, steps: int) -> float:
    return _time_all([fused], steps)


def _time_all(batches: Sequence[FusedBatch], steps: int) -> float:
    """Seconds for one step of all batches side by side."""
    for fused in batches:
        fused.advance(1)
        fused.advance(1)
    for fused in batches:
        fused.wait()
    begun = perf_counter()
    done = [0] * len(batches)
    while min(done) < steps:
        for i, fused in enumerate(batches):
            done[i] += fused.advance(steps - done[i]) if done[i] < steps else 0
    for fused in batches:
        fused.wait()
    return (perf_counter() - begun) / steps


def _fastest(batches: dict[int, FusedBatch], budget_s: float) -> int:
    """The number of members with the least time per member-step;
    the candidates take turns and the best round counts.
    """
    times: dict[int, float] = {}
    begun = perf_counter()
    rounds = 0
    while rounds < 2 or perf_counter() - begun < budget_s:
        for count, fused in batches.items():
            steps = max(1, min(64, int(ROUND_S / (times[count] * count)))) if count in times else 1
            spent = _time(fused, steps) / count
            times[count] = min(spent, times.get(count, spent))
        rounds += 1
    return _choose({(count, 1): spent for count, spent in times.items()})[0]


def _neighbourhood(job: Job, plan: Plan) -> str:
    # Positions to the power of two: the speed changes little within,
    # and the bits are checked for the very shape.
    wide = 1 << (job.longest_input - 1).bit_length()
    batch = min(job.training.batch_size, job.n_max)
    return f"{job.model.model_dump_json()} {job.format} {job.task.n_tokens} {batch} {wide} {plan.threads}"


def _choose(times: dict[tuple[int, int], float]) -> tuple[int, int]:
    """The fastest, but fewer members where more gain next to nothing. Times are seconds per member-step."""
    best = min(times, key=lambda c: (c[0] * c[1], c[1]))
    for choice in sorted(times, key=lambda c: (c[0] * c[1], c[1])):
        if times[choice] * GAIN < times[best]:
            best = choice
    return best
