"""What a set of jobs will cost before it is submitted: searches, trials, device-hours.

An estimate, and it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, log, log2

from runners.spec.job import Job
from runners.spec.model import GRU, LSTM, PDSSM, RNN, SLSTM, DeltaNet, DenseSSM, Diagonal, Mamba, Transformer

SUCCESS_SHARE = 0.3
"""Part of its budget that a candidate trains before its first success, in the estimate."""
SECONDS_PER_STEP = 3e-5
"""No member's step is taken to be faster than this where nothing was measured."""


@dataclass(frozen=True)
class Cost:
    """Totals over distinct jobs."""

    searches: int
    candidates: int
    """Expected probes."""
    trials: int
    """Expected trials: members of those probes."""
    trials_most: int
    """Trials if every search used all its candidates."""
    member_steps: float
    """Expected optimiser steps, summed over trials."""
    device_seconds: float
    """Expected, on one device."""
    measured: int
    """Searches whose speed was measured in this lab; the others are reckoned from their arithmetic."""

    @property
    def device_hours(self) -> float:
        return self.device_seconds / 3600


def estimate(
    jobs: Iterable[Job], speed: Mapping[tuple[str, int], float] | None = None, *, flops: float = 5e12
) -> Cost:
    """Expected cost of the jobs, equal ones counted once.

    Args:
        jobs: what would be queued.
        speed: measured member-steps per second by (model label, longest input), as ``Lab.speed()`` gives it.
        flops: sustained floating-point operations per second of one device, for what was not measured.
    """
    distinct = {job.hash: job for job in jobs}
    searches = candidates = trials = most = measured = 0
    steps = seconds = 0.0
    for job in distinct.values():
        failing, succeeding = expected_candidates(job)
        members = len(job.grid.members)
        done = members * job.training.steps * (failing + SUCCESS_SHARE * succeeding)
        known = (speed or {}).get((job.model.label, job.longest_input))
        searches += 1
        candidates += failing + succeeding
        trials += members * (failing + succeeding)
        most += members * _most(job)
        measured += known is not None
        steps += done
        seconds += done / known if known else done * max(step_flops(job) / flops, SECONDS_PER_STEP)
    return Cost(searches, candidates, trials, most, steps, seconds, measured)


def _most(job: Job) -> int:
    return _rungs(job) if job.search.strategy == "scan" else min(job.search.candidates, job.n_max)


def _rungs(job: Job) -> int:
    """N of a scan: its ladder, or N_max halved down to 1."""
    return min(len(job.search.ladder) or job.n_max.bit_length(), job.search.candidates)


def expected_candidates(job: Job) -> tuple[int, int]:
    """(failing, succeeding) probes of one search, if N* lies at the geometric middle of 1..n_max."""
    search, n_max = job.search, job.n_max
    if search.strategy == "scan":
        return _rungs(job) // 2, _rungs(job) - _rungs(job) // 2
    if search.strategy == "adaptive":
        probes = ceil(search.seed_budget / len(job.grid.seeds) / 2)
        return probes // 2, probes - probes // 2
    middle = max(1.0, n_max**0.5)
    if search.strategy == "paper":
        down = ceil(log(max(2.0, n_max / middle)) / log(search.multiplier))
        halvings = min(
            search.candidates - down - 1,
            ceil(log2(max(2.0, n_max / max(1, search.multiplier) ** (down - 1)))),
        )
    else:
        down = ceil(log2(max(2.0, n_max / middle)))
        halvings = ceil(log2(log(2) / log(1 + search.rtol))) if search.rtol > 0 else ceil(log2(middle + 1))
        halvings = min(halvings, ceil(log2(middle + 1)), search.candidates - down)
    halvings = max(0, halvings)
    return 1 + halvings // 2, down + halvings - halvings // 2


def step_flops(job: Job) -> float:
    """Floating-point operations of one member's optimiser step: three times the forward pass over a batch."""
    T, B, model = job.longest_input, min(job.training.batch_size, job.n_max), job.model
    tokens = T * B
    if isinstance(model, Transformer):
        forward = tokens * model.layers * (24 * model.d**2 + 4 * T * model.d)
    elif isinstance(model, LSTM):
        forward = tokens * 16 * model.hidden**2
    elif isinstance(model, DenseSSM | Diagonal | PDSSM):
        h, d, per_token = model.hidden, getattr(model, "embedding", 0), _transition(model)
        forward = tokens * 2 * per_token + 2 * job.task.n_tokens * d * (per_token + h)
    elif isinstance(model, RNN | GRU | SLSTM):
        gates = {"rnn": 1, "gru": 3, "slstm": 4}[model.kind]
        forward = tokens * 2 * gates * model.hidden**2
    elif isinstance(model, DeltaNet):
        forward = tokens * model.layers * 2 * model.d**2 * (10 + 4 * model.householders)
    elif isinstance(model, Mamba):
        inner = model.expand * model.d
        forward = tokens * model.layers * inner * (6 * model.d + 10 * model.states)
    else:
        forward = tokens * 2 * 1_000_000
    return 3.0 * forward


def _transition(model: DenseSSM | Diagonal | PDSSM) -> int:
    """Multiplications of one state by its transition."""
    h = model.hidden
    if isinstance(model, Diagonal):
        return 4 * h
    if isinstance(model, DenseSSM):
        return {"block": h * model.block, "rotation": 2 * h, "diagonal": h}.get(model.structure, h * h)
    return h * h
