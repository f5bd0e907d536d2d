"""Two runs of one search side by side: where they agree, and by how much they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
RESULT = ("status", "lo", "hi")


@dataclass(frozen=True)
class Repeat:
    """What a second run of a job gave."""

    same: bool
    """Bracket, status and every verdict are equal."""
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
    provenance: tuple[str, ...]
    """What the two ran with that differs."""

    def lines(self) -> list[str]:
        """The comparison as text."""
        out = [
            "identical: bracket and every verdict" if self.same else "DIFFERENT",
            f"before  {_result(self.before)}",
            f"after   {_result(self.after)}",
            f"verdicts: {self.verdicts_equal} of {self.verdicts} equal",
            f"trials: {self.trials_equal} of {self.trials} equal to the bit",
        ]
        if self.largest_difference:
            out.append(f"largest relative difference of a best loss: {self.largest_difference:.2g}")
        return [*out, *(f"ran with another {line}" for line in self.provenance)]


def compare_records(old: Record, new: Record) -> Repeat:
    """Compare what ``labtui show JOB --json`` wrote of two runs.

    Not compared: speculative candidates, which are no evidence, and trials that ended when a sibling superseded them.
    """
    before, after = ({k: r.get("job", {}).get(k) for k in (*RESULT, "n_max")} for r in (old, new))
    first, second = _verdicts(old), _verdicts(new)
    equal = sum(second.get(n) == verdict for n, verdict in first.items())
    mine, others = _trials(old), _trials(new)
    both = [key for key in mine if key in others]
    same_trials = sum(mine[key] == others[key] for key in both)
    differences = [_difference(mine[key][2], others[key][2]) for key in both]
    same = all(before[k] == after[k] for k in RESULT) and first == second
    return Repeat(
        same=same,
        before=dict(before),
        after=dict(after),
        verdicts=len(first),
        verdicts_equal=equal,
        trials=len(both),
        trials_equal=same_trials,
        largest_difference=max(differences, default=None),
        provenance=tuple(_provenance(old.get("provenance") or {}, new.get("provenance") or {})),
    )


def _verdicts(record: Record) -> dict[int, bool]:
    probes = record.get("probes") or []
    return {p["n"]: p["verdict"] for p in probes if p.get("verdict") is not None and not p.get("speculative")}


def _trials(record: Record) -> dict[tuple[int, float, int], tuple[str, int, float | None]]:
    rows = record.get("trials") or []
    ended = ("success", "failure", "diverged")
    return {
        (t["n"], t["lr"], t["seed"]): (t["outcome"], t["steps"], t["best_loss"]) for t in rows if t.get("outcome") in ended
    }


def _difference(a: float | None, b: float | None) -> float:
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    top = max(abs(a), abs(b))
    return abs(a - b) / top if top else 0.0


def _provenance(old: Record, new: Record) -> list[str]:
    told = ("labtui", "version", "commit", "git_commit", "torch", "device", "device_name", "precision", "science_version")
    return [f"{k}: {old[k]}, now {new[k]}" for k in told if k in old and k in new and old[k] != new[k]]


def _result(job: Record) -> str:
    if job["status"] == "censored":
        return f"N* > {job['n_max']}"
    return f"N* = {job['hi']} in ({job['lo']}, {job['hi']}]"
