"""What a study would queue and cost, before it is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labtui.views import numbers
from labtui.views.grid import pairs

if TYPE_CHECKING:
    from runners.spec import NamedJob, Study
    from store.read import Lab

GPU_FLOPS = 5e12
CPU_FLOPS = 5e9
"""Sustained operations per second that are assumed of a GPU and of a CPU core where nothing was measured."""


def describe(spec: Study | NamedJob, lab: Lab | None) -> dict[str, Any]:
    """Cells, searches (known already, new), trials, member-steps and device-hours,
    with what the estimate rests on.
    """
    from runners.spec import Study
    from runners.spec.cost import estimate

    jobs = spec.jobs() if isinstance(spec, Study) else (spec.job,)
    known = set()
    if lab is not None:
        known = {row.hash for row in lab.jobs() if row.state in ("done", "queued", "running", "paused")}
    new = [job for job in jobs if job.hash not in known]
    speed = lab.speed() if lab is not None else {}
    gpu, cpu = estimate(new, speed, flops=GPU_FLOPS), estimate(new, speed, flops=CPU_FLOPS)
    return {
        "name": spec.name,
        "cells": len(spec.cells()) if isinstance(spec, Study) else 0,
        "searches": len(jobs),
        "known": len(jobs) - len(new),
        "new": len(new),
        "candidates": gpu.candidates,
        "trials": gpu.trials,
        "trials_most": gpu.trials_most,
        "member_steps": gpu.member_steps,
        "gpu_hours": gpu.device_hours,
        "core_hours": cpu.device_hours,
        "measured": gpu.measured,
    }


def cost_lines(facts: dict[str, Any]) -> list[str]:
    """The same as text."""
    basis = f"{facts['measured']} searches by speeds measured in this lab, " if facts["measured"] else ""
    basis += "for the others " if facts["measured"] else ""
    basis += f"{GPU_FLOPS / 1e12:g} TFLOP/s on a GPU, {CPU_FLOPS / 1e9:g} GFLOP/s on a core are assumed"
    return pairs(
        [
            ("name", facts["name"]),
            ("cells", f"{facts['cells']:,}" if facts["cells"] else ""),
            ("searches", f"{facts['searches']:,} ({facts['known']:,} known already, {facts['new']:,} new)"),
            ("candidates", f"about {facts['candidates']:,}"),
            ("trials", f"about {facts['trials']:,}, at most {facts['trials_most']:,}"),
            ("steps", f"about {numbers.count(facts['member_steps'])} optimiser steps over all trials"),
            (
                "device-hours",
                f"about {_hours(facts['gpu_hours'])} on a GPU, {_hours(facts['core_hours'])} on a CPU core",
            ),
            ("basis", f"{basis}; N* is taken to lie at the geometric middle of 1..N_max"),
        ]
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
