"""The panel at the side of a wide Queue: the chosen job's candidates and losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labtui.analysis.closing import intervals
from labtui.views import numbers as figures
from labtui.views.bracket import NOTHING, Endings, bracket_chart
from labtui.views.job import loss_plot, telling, without_curves
from labtui.views.lines import Line, rule, text_line
from labtui.views.signs import model_style

if TYPE_CHECKING:
    from store.rows import Curve, JobRow, ProbeRow, TrialRow


@dataclass(frozen=True)
class SideData:
    """What the panel at the side shows of one job."""

    job_id: int
    probes: tuple[ProbeRow, ...]
    probe: int | None
    trials: tuple[TrialRow, ...]
    curves: dict[int, Curve]
    endings: Endings = NOTHING
    intervals: tuple[tuple[float, float, float] | None, ...] = ()

    @classmethod
    def read(cls, lab: Any, job_id: int) -> SideData:
        """Read the job's candidates, and the trials and losses of the one that tells most."""
        probes = tuple(lab.probes(job_id))
        job = lab.job(job_id)
        probe = telling(job, probes)
        if probe is None:
            return cls(job_id, probes, None, (), {})
        every = lab.trials(job_id)
        trials = tuple(t for t in every if t.probe_id == probe.id)
        known = intervals(job, probes, lab.job_spec(job_id))
        return cls(job_id, probes, probe.id, trials, lab.curves(probe.id), Endings.of(every), known)


def side_lines(job: JobRow, data: SideData | None, width: int, height: int, supervised: bool) -> list[Line]:
    """The chosen job's candidates and losses, where they are read."""
    head = rule(f"{job.id} {figures.label(job)}", width, "")
    if data is None or data.job_id != job.id:
        return [head]
    if not data.probes:
        return [head, (), text_line("no candidate yet", "dim")]
    top = min(len(data.probes) + 3, max(6, (height - 2) // 2))
    style = model_style(job.model)
    chart = bracket_chart(
        job,
        data.probes,
        width,
        top,
        chosen=data.probe,
        follows=True,
        style=style,
        endings=data.endings,
        intervals=data.intervals,
        supervised=supervised,
    )
    probe = next((p for p in data.probes if p.id == data.probe), None)
    name = f"loss of N = {figures.exact(probe.n)}" if probe is not None else "loss"
    body = loss_plot(job, data.trials, data.curves, width, min(24, height - top - 3))
    body = body or [text_line(without_curves(data.trials), "dim")]
    return [head, *chart, (), rule(name, width, ""), *body]
