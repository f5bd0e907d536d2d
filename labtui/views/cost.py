"""What a study would queue and cost, before it is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labtui.analysis.cost import cost
from labtui.analysis.eta import Outlook, read_outlook
from labtui.views import numbers
from labtui.views.grid import pairs
from store.states import LIVE_STATES

if TYPE_CHECKING:
    from runners.spec import NamedJob, Study
    from store.read import Lab


def describe(spec: Study | NamedJob, lab: Lab | None) -> dict[str, Any]:
    """Cells, searches (known already, new), trials, steps and device time, with what the estimate rests
    on.
    """
    from runners.spec import Study

    jobs = spec.jobs() if isinstance(spec, Study) else (spec.job,)
    known = set()
    if lab is not None:
        known = {row.hash for row in lab.jobs() if row.state in ("done", *LIVE_STATES)}
    new = [job for job in jobs if job.hash not in known]
    outlook = read_outlook(lab).outlook if lab is not None else Outlook()
    found = cost(new, outlook)
    return {
        "name": spec.name,
        "cells": len(spec.cells()) if isinstance(spec, Study) else 0,
        "searches": len(jobs),
        "known": len(jobs) - len(new),
        "new": len(new),
        "candidates": round(found.candidates),
        "trials": found.trials,
        "trials_most": found.trials_most,
        "member_steps": found.member_steps,
        "device_s": found.device.seconds,
        "device_s_low": found.device.low,
        "device_s_high": found.device.high,
        "device": device(outlook),
        "basis": found.device.basis,
    }


def device(outlook: Outlook) -> str:
    """What the seconds are of: no GPU is named where none was ever measured."""
    kinds = outlook.devices
    if not kinds or kinds == {"cpu"}:
        return "CPU slot"
    return "GPU slot" if "cpu" not in kinds else "device"


def cost_lines(facts: dict[str, Any]) -> list[str]:
    """The same as text."""
    time = numbers.about(facts["device_s"], facts["device_s_low"], facts["device_s_high"])
    return pairs(
        [
            ("name", facts["name"]),
            ("cells", f"{facts['cells']:,}" if facts["cells"] else ""),
            ("searches", f"{facts['searches']:,} ({facts['known']:,} known already, {facts['new']:,} new)"),
            ("candidates", f"about {facts['candidates']:,}"),
            ("trials", f"about {facts['trials']:,}, at most {facts['trials_most']:,}"),
            ("steps", f"at most about {numbers.count(facts['member_steps'])} over all trials"),
            ("time", "unknown" if facts["device_s"] is None else f"{time} of one {facts['device']}"),
            ("basis", f"{facts['basis']}; N* is taken to lie at the geometric middle of 1..N_max"),
        ]
    )
