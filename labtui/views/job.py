"""One job: what is known of its N*, its candidates, trials, spec, log; on the screen and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labtui.analysis.closing import intervals
from labtui.analysis.eta import Outlook, candidates_left, job_eta
from labtui.text import clean, wrap
from labtui.views import numbers as figures
from labtui.views.bracket import Endings, bracket_chart
from labtui.views.grid import grid, pairs
from labtui.views.lines import Line, Span, plain, size, text_line
from labtui.views.metric import metric, setting
from labtui.views.plot import Level, Series, plot, span, steps_axis
from labtui.views.remarks import best, remarks
from labtui.views.signs import model_sign, model_style, rate_inks, state_of
from labtui.views.spec import literal
from runners.strategies import FRESH_SEEDS
from runners.verdict import diverged
from store.json import mapping
from store.rows import Curve, JobRow, ProbeRow, TrialRow
from store.states import ENDED_STATES

if TYPE_CHECKING:
    from labtui.analysis.alike import Differing

VERDICTS = {True: "succeeds", False: "fails", None: ""}
STEP = "less sure where success is a step in N"
"""Of an interval of ``adaptive`` or ``scan``: a step is held 75 to 80 % of the time."""


def _best_and_aim(job: JobRow) -> str:
    aim = metric(job).aim if job.program else f"eps {figures.rate(job.eps)}"
    return f"{metric(job).text(job.best_loss)} ({aim})"


def facts(job: JobRow, width: int, supervised: bool = True, outlook: Outlook | None = None) -> list[Line]:
    """Which job this is, what is known of N* and when more will be (by ``outlook``); why it failed, over as
    many lines as two.
    """
    sign, word, style = state_of(job, supervised)
    first: list[Span] = [
        (f"{job.id} ", "title"),
        (f" {model_sign(job.model)} ", model_style(job.model)),
        (f"{figures.label(job)}   ", "strong"),
        (f"{sign} {word}", style),
    ]
    if job.device and job.state == "running" and supervised:
        first.append((f" on {clean(job.device)}", "dim"))
    if figures.own_name(job):
        first.append((f"   {figures.own_name(job)}", "dim"))
    lines: list[Line] = [tuple(first), answer(job, width, supervised, outlook)]
    if job.reason and job.state not in ("done", "running"):
        bad = "bad" if job.state == "failed" else "warn"
        lines += [text_line(part, bad) for part in wrap(figures.why(job), max(10, width))[:2]]
    if remarks(job) and job.status != "censored":
        lines.append(text_line(remarks(job), "warn"))
    if job.estimate is not None:
        lines.append(text_line(f"90 % interval, {STEP}", "dim"))
    return lines


def answer(job: JobRow, width: int, supervised: bool = True, outlook: Outlook | None = None) -> Line:
    """What is known of N*, and when more will be; whole facts go from the end where there is no room."""
    spans: list[Span] = [("N* ", "dim")]
    if job.status == "censored":
        known = figures.DIVERGED if diverged(job) else f"> {figures.exact(job.n_max)}"
        spans.append((known, "warn bold"))
        if job.best_loss is not None:
            spans.append((f"  {best(job)}", "dim"))
    elif job.hi is not None or job.estimate is not None:
        spans += [(figures.nstar_exact(job), "strong"), (f"  {figures.left_open(job)}", "")]
        if job.n50 is not None:
            spans.append((f"   N_50 {figures.count_interval(job.n50)}", ""))
    elif job.lo:
        spans.append((f"{figures.bracket(job)} so far", "dim"))
    else:
        spans.append(("not known yet", "dim"))
    spans.append((f"   {job.candidates} tried", "dim"))
    left = candidates_left(job)
    if left and job.status == "open":
        spans.append((f", ~{left} left", "dim"))
    guess = job_eta(job, outlook)
    if guess.seconds is not None and (supervised or job.state != "running"):
        time = guess.text
        spans.append((f"   ETA {time}" if job.state == "running" else f"   {time} of training left", ""))
        spans.append((f" ({guess.basis})", "dim"))
    elif job.wall_s:
        spans.append((f"   took {figures.duration(job.wall_s)}", "dim"))
    if job.status != "censored":
        every = ", every sequence" if "capped" in job.flags else ""
        spans.append((f"   N_max {figures.exact(job.n_max)}{every}", "dim"))
    if size(tuple(spans)) > width:  # what the ETA rests on is the first to go
        spans = [s for s in spans if not s[0].startswith(" (")]
    while size(tuple(spans)) > width and len(spans) > 3:
        spans.pop()
    return tuple(spans)


def summary_lines(
    job: JobRow, supervised: bool = True, probes: Sequence[ProbeRow] = (), outlook: Outlook | None = None
) -> list[str]:
    """The same in two columns."""
    return pairs(summary(job, supervised, probes, outlook))


def summary(
    job: JobRow, supervised: bool = True, probes: Sequence[ProbeRow] = (), outlook: Outlook | None = None
) -> list[tuple[str, object]]:
    """What is known of a job, as names and values; ``probes``: its own, for the time of the open ones;
    ``outlook``: the lab's, for the time that is left.
    """
    eta = job_eta(job, outlook)
    wanted = f", asked to be {job.wanted}" if job.wanted else ""
    left = f"about {figures.duration(eta.seconds)} ({eta.basis})"
    return [
        ("job", f"{job.id}  {figures.name(job)}"),
        ("searches", figures.label(job)),
        ("hash", job.hash),
        ("state", figures.why(job) if job.needs_word else state_of(job, supervised)[1] + wanted),
        (
            "result",
            f"N* {figures.result(job)}" if job.status != "open" else None,
        ),
        ("bracket", _bracket(job)),
        (
            "estimate",
            f"{figures.count_interval(job.estimate)} (90 %; {STEP}, see docs/science.md)"
            if job.estimate
            else None,
        ),
        ("N_50", f"{figures.count_interval(job.n50)} (90 %)" if job.n50 else None),
        ("flags", " ".join(job.flags)),
        ("meaning", remarks(job)),
        (
            f"best {metric(job).name}",
            _best_and_aim(job) if job.best_loss is not None else None,
        ),
        ("strategy", _strategy(job)),
        ("candidates", job.candidates),
        ("training", figures.training(job) if supervised else None),
        ("eta", left if eta.seconds is not None and (supervised or job.state != "running") else None),
        ("device", job.device),
        (
            "time",
            f"{figures.duration(job.wall_s)} wall, {figures.duration(job.device_s)} device, "
            f"{figures.exact(job.member_steps)} member-steps{_open_time(job, probes)}",
        ),
        ("began, ended", f"{figures.when(job.started_at)}, {figures.when(job.finished_at)}"),
        ("attempt", job.attempt if job.attempt > 1 else None),
        ("failure", None if job.needs_word else job.failure),
        ("reason", None if job.needs_word else job.reason),
        ("notes", job.notes),
        ("tags", " ".join(job.tags)),
    ]


def _bracket(job: JobRow) -> str | None:
    """The bracket where it is the answer: beside an estimate, what the last candidates say would contradict
    it.
    """
    known = job.hi is not None or job.status == "open"
    return figures.bracket(job) if known and job.estimate is None else None


def _strategy(job: JobRow) -> str:
    """``log, N_max 1,000, 15 trials of 2,000 steps for each N``."""
    trials = "trial" if job.trials_per_probe == 1 else "trials"
    steps = f" of {figures.exact(job.steps)} steps" if job.steps else ""
    each = "seed, fresh ones at every N" if job.strategy in FRESH_SEEDS else "N"
    return (
        f"{job.strategy}, N_max {figures.exact(job.n_max)}, {figures.exact(job.trials_per_probe)} {trials}"
        f"{steps} for each {each}"
    )


def _open_time(job: JobRow, probes: Sequence[ProbeRow]) -> str:
    """What was trained of candidates that are not over, over all its stretches."""
    going = [p for p in probes if p.state in ("running", "interrupted") and p.wall_s > 0]
    if job.state in ENDED_STATES or not going:
        return ""
    wall = figures.duration(sum(p.wall_s for p in going))
    steps = figures.exact(sum(p.member_steps for p in going))
    return f"; and {wall}, {steps} in N = {', '.join(figures.exact(p.n) for p in going)}, not over"


def bracket_lines(
    job: JobRow, probes: Sequence[ProbeRow], trials: Sequence[TrialRow], width: int = 96, *, spec: str
) -> list[str]:
    """How the bracket, or the interval of an estimate, closed, as text: the screen's own chart, ``─`` where
    N* could still lie.
    """
    if not probes:
        return ["no candidate was trained yet"]
    chart = bracket_chart(
        job, probes, max(40, width), len(probes) + 2, drawn=True,
        endings=Endings.of(trials), intervals=intervals(job, probes, spec),
    )  # fmt: skip
    return [plain(line) for line in chart]


def differing_lines(found: Differing) -> list[str]:
    """In what a job differs from another: key, value here, value there."""
    if not found.settings:
        return ["nothing differs that this labtui can read"]
    return grid(["setting", "here", f"job {found.other}"], [list(map(clean, s)) for s in found.settings])


def probe_lines(
    probes: Sequence[ProbeRow], trials: Sequence[TrialRow], job: JobRow | None = None
) -> list[str]:
    """The candidates in the order in which they were begun; ``job``: theirs, for its metric."""
    best = "best loss" if job is None else f"best {metric(job).name}"
    endings = Endings.of(trials)
    rows = [
        [
            p.ordinal,
            figures.exact(p.n),
            _verdict(p, endings) + (" (speculative)" if p.speculative else ""),
            f"{p.trials_ended - endings.early.get(p.id, 0)}/{p.trials}",
            f"{p.successes}/{p.seeds}" if p.seeds else "",
            _told(job, p.best_loss),
            figures.exact(p.step),
            figures.duration(p.wall_s),
            p.device,
        ]
        for p in probes
    ]
    return grid(
        ["#", "N", "verdict", "trials", "seeds", best, "step", "time", "device"],
        rows,
        right="# N trials seeds step",
    )


def _verdict(probe: ProbeRow, endings: Endings) -> str:
    """``succeeds``, ``fails``, ``diverged``; how it stands where it is not judged."""
    return "diverged" if endings.astray(probe) else VERDICTS[probe.verdict] or probe.state


def _told(job: JobRow | None, loss: float | None) -> str:
    if loss is None:
        return ""
    return figures.loss(loss) if job is None else metric(job).text(loss)


def telling(job: JobRow, probes: Sequence[ProbeRow]) -> ProbeRow | None:
    """The candidate to show where none is chosen: the one in training, else the one that N* rests on
    (an estimate rests on none alone), else the last judged.
    """
    running = [p for p in probes if p.state == "running"]
    judged = [p for p in probes if p.state == "done" and not p.speculative]
    if running:
        return min(reversed(running), key=lambda p: p.speculative)
    if job.status == "censored" and judged:
        return max(judged, key=lambda p: p.n)
    rests = job.strategy not in FRESH_SEEDS  # an estimate rests on all of them
    found = next((p for p in judged if rests and p.verdict and p.n == job.hi), None)
    return found or (judged[-1] if judged else probes[-1] if probes else None)


def loss_plot(
    job: JobRow,
    trials: Sequence[TrialRow],
    curves: dict[int, Curve],
    width: int,
    height: int,
    names: Mapping[float, str] | None = None,
) -> list[Line]:
    """Validation losses over steps, one colour per learning rate, eps marked;
    only what is finite is drawn. Of a program its metric, a colour for each setting, and its threshold.
    """
    shown_as = metric(job)
    inks = rate_inks(t.lr for t in trials)
    series: list[Series] = []
    estimates = 0
    lows: list[float] = [shown_as.level]
    last = 1.0
    for trial in trials:
        curve = curves.get(trial.id)
        if curve is None or not curve.steps:
            continue
        values = tuple(map(shown_as.value, curve.validation))
        points = tuple(zip(map(float, curve.steps), values, strict=False))
        lows += [v for v in values if v > 0 or shown_as.program]
        estimates += len(curve.estimates())
        last = max(last, float(curve.steps[-1]))
        series.append(Series(points, inks[trial.lr].style, dash=inks[trial.lr].dash))
    if not series:
        return []
    marks: list[Span] = []
    for lr, ink in inks.items():
        if told := setting(job, lr, names):  # a program may have no setting but its seed
            marks += [(f"{ink.sample} ", ink.style), (f"{told}  ", "dim")]
    if estimates:
        marks.append((f"{estimates} evaluation{'s' * (estimates > 1)} of a part of the set", "quiet"))
    legend: Line = (*((("lr  ", "dim"),) if not job.program else ()), *marks)
    body = plot(
        series,
        width,
        height - 1,
        steps_axis(last, job.steps),
        span(lows, log=not shown_as.program),
        levels=[Level(shown_as.level, shown_as.aim)],
        x_label="step",
    )
    return [legend, *body] if body else []


def without_curves(trials: Sequence[TrialRow]) -> str:
    """Why :func:`loss_plot` has nothing to draw: nothing was evaluated yet, or what was is not kept."""
    if any(trial.best_loss is not None for trial in trials):
        return "their curves are not in this lab"
    return "no evaluation yet"


def spec_panel(spec: str, job: JobRow, provenance: Sequence[tuple[str, str]] = ()) -> list[Line]:
    """The stored spec, one key per line, in the order of the file."""
    data = mapping(spec)
    lines: list[Line] = []
    plain = {k: v for k, v in data.items() if not isinstance(v, dict) and v not in (None, [])}
    for key, value in plain.items():
        lines.append(_pair(key, value))
    for section, values in data.items():
        if isinstance(values, dict):
            lines.append(text_line(f" {clean(section)}", "heading"))
            lines += [_pair(key, value, "   ") for key, value in values.items() if value not in (None, [])]
    lines.append(text_line(" job", "heading"))
    for key, value in (
        ("hash", job.hash[:16]),
        ("n_max", figures.exact(job.n_max)),
        ("attempt", f"{job.attempt}"),
        ("created", figures.date(job.created_at)),
        ("device_s", f"{job.device_s:.1f}"),
        ("member_steps", figures.exact(job.member_steps)),
        ("notes", job.notes),
        ("tags", " ".join(job.tags)),
    ):
        if value:
            lines.append(_pair(key, value, "   "))
    if provenance:
        lines.append(text_line(" made with", "heading"))
        lines += [_pair(key, value[:12] if key == "commit" else value, "   ") for key, value in provenance]
    return lines


def _pair(key: str, value: Any, indent: str = " ") -> Line:
    return ((f"{indent + clean(str(key)):<19} ", "dim"), (clean(literal(value)), ""))


def log_lines(lines: Sequence[str]) -> list[Line]:
    """A log as it stands in its file, made harmless."""
    if not lines:
        return [text_line(" no log yet", "dim")]
    return [text_line(f" {line}", "dim" if not _loud(line) else "bad") for line in lines]


def _loud(line: str) -> bool:
    return line.startswith(("Traceback", "Error", "ERROR")) or "Error:" in line
