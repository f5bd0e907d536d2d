"""What needs a second look at a search's result, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labtui.views import numbers as figures
from labtui.views.metric import metric
from runners.verdict import diverged

if TYPE_CHECKING:
    from store.rows import JobRow


def remarks(job: JobRow) -> str:
    """What needs a second look at a result, as sentences; each flag that has none by its name."""
    told = []
    for flag in job.flags:
        if flag == "capped" or (flag == "diverged" and diverged(job)):
            continue
        if flag == "fails_above" and job.hi is not None:
            top = figures.exact(job.n_max)
            told.append(f"learned with {figures.exact(job.hi)}, failed again with more, up to N_max {top}")
        else:
            told.append(_REMARKS.get(flag, flag.replace("_", " ")))
    if diverged(job):
        told.insert(0, f"{figures.DIVERGED}, up to N_max {figures.exact(job.n_max)}: nothing of N* is known")
    elif job.status == "censored":
        loss = f": {best(job)}" if job.best_loss is not None else ""
        told.insert(0, f"N* lies beyond N_max {figures.exact(job.n_max)}{loss}")
    return "; ".join(told)


_REMARKS = {
    "diverged": "every trial diverged at the largest N that fails: that says nothing of N",
    "contradicted": "a failing N lies between two that succeed",
    "max_candidates": "its candidates were used up before the bracket was narrow",
    "seed_budget": "its seeds were used up before the interval was narrow",
    "beyond_n_max": "the interval of N* reaches beyond N_max",
    "tf32": "trained in tf32",
    "accuracy": "judged by the accuracy of whole sequences: losses are the share that is wrong",
    "bf16": "trained in bf16",
}


def best(job: JobRow) -> str:
    """The best loss of a search, by its name."""
    return f"best {metric(job).name} {metric(job).text(job.best_loss)}"
