"""What is allowed in a spec and worth knowing before it is queued."""

from __future__ import annotations

from collections.abc import Sequence

from runners.spec.job import COARSE_N_MAX, COARSE_TRAINING, Job
from runners.spec.load import NamedJob
from runners.spec.study import Study
from runners.spec.task import Automaton, Product

SHOWN = 8


def advice(spec: Study | NamedJob) -> tuple[str, ...]:
    """Sentences: states that nothing reaches, N* that cannot be told finely, an N_max above the training
    space.
    """
    jobs = spec.jobs() if isinstance(spec, Study) else (spec.job,)
    out: dict[str, None] = {}
    for job in jobs:
        if isinstance(job.task, Automaton | Product) and job.task.unreachable:
            names = _few(job.task.unreachable)
            out[f"warning: task {job.task.label}: no sequence reaches the states {names}"] = None
    out |= dict.fromkeys(_coarse(jobs))
    capped = [job for job in jobs if job.capped and job.search.n_max is not None]
    if capped:
        out[
            f"note: {len(capped)} jobs run with N_max capped by their training space "
            f"({capped[0].label}: {capped[0].n_max})"
        ] = None
    return tuple(out)


def _coarse(jobs: Sequence[Job]) -> list[str]:
    out = []
    for task in dict.fromkeys(job.task.label for job in jobs):
        found = [job for job in jobs if job.task.label == task and job.coarse]
        few = sorted(
            {s.length: s.training for j in found for s in j.shares if s.training < COARSE_TRAINING}.items()
        )
        if few:
            told = _few([f"{n} ({training})" for n, training in few])
            out.append(
                f"warning: task {task}: fewer than {COARSE_TRAINING} sequences can train at length {told}; "
                "N* is coarse there and its kappa is flagged; raise min_length or the number of tokens"
            )
        low = [job for job in found if job.n_max < COARSE_N_MAX and job.training_space >= COARSE_N_MAX]
        if low:
            out.append(
                f"warning: task {task}: N_max is {low[0].n_max} in {len(low)} jobs; expected at least "
                f"{COARSE_N_MAX}, or N* is coarse and its kappa is flagged"
            )
    return out


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
