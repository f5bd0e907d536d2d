"""Two runs of one search side by side: where they agree, and by how much they do not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labtui.views.numbers import DIVERGED
from runners.strategies import FRESH_SEEDS

Record = Mapping[str, Any]
RESULT = ("status", "lo", "hi")
ESTIMATES = ("estimate", "n50")


@dataclass(frozen=True)
class Repeat:
    """What a second run of a job gave."""

    same: bool
    """Bracket, status, flags, every verdict and, where seeds are fresh, their counts and the estimates are
    equal.
    """
    before: dict[str, Any]
    after: dict[str, Any]
    verdicts: int
    """Candidates of the first run that count as evidence."""
    verdicts_equal: int
    trials: int
    """Trials of both runs with one (N, learning rate, seed), both trained to their own end."""
    trials_equal: int
    """Of these, those with the same outcome, number of steps and best loss, to the bit."""
    largest_difference: float | None
    """Largest relative difference of a best loss among them; None where there is none to compare."""
    flags: tuple[str, ...]
    """Flags that only one of the two has."""
    tested: int
    """Trials of both runs with an accuracy at twice the length."""
    tested_equal: int
    largest_accuracy_difference: float | None
    """Largest difference of such an accuracy; None where there is none to compare."""
    provenance: tuple[str, ...]
    """What the two ran with that differs."""

    @property
    def bits(self) -> bool:
        """Nothing that was compared differs."""
        return self.same and self.trials_equal == self.trials and self.tested_equal == self.tested

    @property
    def conclusion(self) -> str:
        """Equal bits, equal verdicts, or DIFFERENT."""
        if self.bits:
            return "equal bits: result, every verdict and every trial"
        if self.same:
            differ = ["other last bits in its trials"] if self.trials_equal < self.trials else []
            differ += ["another accuracy at 2L"] if self.tested_equal < self.tested else []
            return f"equal verdicts: the same result, {' and '.join(differ)}"
        if self.verdicts_equal == self.verdicts:
            return "DIFFERENT: every verdict is equal, the result or its flags are not"
        return "DIFFERENT verdicts"

    def lines(self) -> list[str]:
        """The comparison as text."""
        out = [
            *(f"ran with another {line}" for line in self.provenance),
            f"before  {result_text(self.before)}",
            f"after   {result_text(self.after)}",
            f"verdicts: {self.verdicts_equal} of {self.verdicts} equal",
            f"trials: {self.trials_equal} of {self.trials} equal to the bit",
        ]
        if self.largest_difference:
            out.append(f"largest relative difference of a best loss: {self.largest_difference:.2g}")
        if self.tested:
            out.append(f"accuracy at 2L: {self.tested_equal} of {self.tested} equal")
        if self.largest_accuracy_difference:
            out.append(f"largest difference of an accuracy at 2L: {self.largest_accuracy_difference:.2g}")
        if self.flags:
            out.append(f"flags of one run alone: {', '.join(self.flags)}")
        return [*out, self.conclusion]


def compare_records(old: Record, new: Record) -> Repeat:
    """Compare what ``labtui show JOB --json`` wrote of two runs.

    Not compared: speculative candidates, which are no evidence,
    and trials that ended when a sibling superseded them.
    """
    before, after = (
        {k: r.get("job", {}).get(k) for k in (*RESULT, *ESTIMATES, "n_max", "flags")} for r in (old, new)
    )
    first, second = _verdicts(old), _verdicts(new)
    equal = sum(second.get(key) == verdict for key, verdict in first.items())
    mine, others = _trials(old), _trials(new)
    both = [key for key in mine if key in others]
    same_trials = sum(mine[key] == others[key] for key in both)
    differences = [_difference(mine[key][2], others[key][2]) for key in both]
    same = all(before[k] == after[k] for k in RESULT) and all(_close(before[k], after[k]) for k in ESTIMATES)
    flags = set(old.get("job", {}).get("flags") or ()) ^ set(new.get("job", {}).get("flags") or ())
    same = same and first == second and not flags
    here, there = _accuracies(old), _accuracies(new)
    tested = [(here[key], there[key]) for key in here if key in there]
    return Repeat(
        same=same,
        before=dict(before),
        after=dict(after),
        verdicts=len(first),
        verdicts_equal=equal,
        trials=len(both),
        trials_equal=same_trials,
        largest_difference=max(differences, default=None),
        flags=tuple(sorted(flags)),
        tested=len(tested),
        tested_equal=sum(a == b for a, b in tested),
        largest_accuracy_difference=max((abs(a - b) for a, b in tested), default=None),
        provenance=tuple(_provenance(old.get("provenance") or {}, new.get("provenance") or {})),
    )


def _verdicts(record: Record) -> dict[tuple[int, int], tuple[Any, ...]]:
    """(N, how many probes at that N came before) -> verdict;
    with its counts of seeds where these are the evidence.
    """
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    times: dict[int, int] = {}
    counted = record.get("job", {}).get("strategy") in FRESH_SEEDS
    for p in record.get("probes") or []:
        if p.get("verdict") is None or p.get("speculative"):
            continue
        n = p["n"]
        times[n] = times.get(n, 0) + 1
        found[n, times[n]] = (
            (p["verdict"], p.get("seeds"), p.get("successes")) if counted else (p["verdict"],)
        )
    return found


def _close(a: Any, b: Any) -> bool:
    """Two estimates (value, low, high), equal but for the last digits of another machine's arithmetic."""
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and all(math.isclose(x, y, rel_tol=1e-6) for x, y in zip(a, b, strict=True))


def _trials(record: Record) -> dict[tuple[int, float, int], tuple[str, int, float | None]]:
    rows = record.get("trials") or []
    ended = ("success", "failure", "diverged")
    return {
        (t["n"], t["lr"], t["seed"]): (t["outcome"], t["steps"], t["best_loss"])
        for t in rows
        if t.get("outcome") in ended
    }


def _accuracies(record: Record) -> dict[tuple[int, float, int], float]:
    """Rescaled accuracy at twice the length of each trial that has one."""
    return {
        (t["n"], t["lr"], t["seed"]): t["generalisation"]
        for t in record.get("trials") or []
        if t.get("generalisation") is not None
    }


def _difference(a: float | None, b: float | None) -> float:
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    top = max(abs(a), abs(b))
    return abs(a - b) / top if top else 0.0


def _provenance(old: Record, new: Record) -> list[str]:
    told = (
        "labtui",
        "version",
        "commit",
        "git_commit",
        "torch",
        "python",
        "platform",
        "processor",
        "device",
        "device_name",
        "threads",
        "precision",
        "science_version",
    )
    found = [f"{k}: {old[k]}, now {new[k]}" for k in told if k in old and k in new and old[k] != new[k]]
    plans = _plan(old.get("plan")), _plan(new.get("plan"))
    was, now = plans
    keys = sorted(was.keys() & now.keys() - {"note", "passing", "device", "threads", "precision"})
    return found + [f"plan's {k}: {_told(was[k])}, now {_told(now[k])}" for k in keys if was[k] != now[k]]


def _told(value: object) -> object:
    """A value in words: a long signature is known by its beginning."""
    return value[:12] or "none" if isinstance(value, str) else value


def _plan(stored: object) -> dict[str, Any]:
    """A plan as it is in a provenance, JSON within JSON; empty where it is none."""
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except (ValueError, RecursionError):
            return {}
    # A plan that says nothing of kernels was made before there were any.
    return {"kernels": "", **stored} if isinstance(stored, dict) else {}


def result_text(job: Record) -> str:
    """``N* = 30 in (28, 30]``, with its interval where the search gives one."""
    if job["status"] == "censored":
        return DIVERGED if "diverged" in job.get("flags", ()) else f"N* > {job['n_max']}"
    if job.get("estimate"):
        value, low, high = job["estimate"]
        return f"N* = {value:.0f}, 90 % interval [{low:.0f}, {high:.0f}]"
    return f"N* = {job['hi']} in ({job['lo']}, {job['hi']}]"
