"""Figures for papers, drawn by matplotlib (extra ``figures``): one colour and one marker per model, as on the
screens, error bars from brackets or intervals, arrows where a search is censored.

Each returns a :class:`Picture`: the figure and the rows of what is drawn. Texts of a lab are drawn letter by
letter, never as mathematics or TeX.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from labtui.analysis.fits import Fit, Refusal
from labtui.analysis.kappa import ABOUT_ONE, Kappa
from labtui.analysis.points import Point, Series
from labtui.text import clean
from labtui.views import numbers
from labtui.views.bracket import NOTHING, Endings
from labtui.views.metric import metric, setting
from labtui.views.scaling import AXES, axis_name, axis_of, other_value, series_of
from labtui.views.signs import MODEL_SIGN, model_sign, model_style, rate_inks
from runners.verdict import brackets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labtui.analysis.scan import SuccessCurve
    from store.rows import Curve, JobRow, ProbeRow, TrialRow

NO_MATPLOTLIB = "figures need matplotlib, which is not installed; add it with: pip install 'labtui[figures]'"
COLUMN, PAGE = 3.25, 6.75
"""Widths of one column and of a page of a paper, in inches."""
FORMATS = ("pdf", "svg", "png")
Z90 = 1.6448536269514722
"""5 % of a standard normal lie above it."""
MARKERS = {"▲": "^", "■": "s", "●": "o", "◆": "D", "★": "*", "✚": "P", "⬟": "p"}
_LINES = {"outcome": "-", "acot": "--", "cot": ":", "icot": "-."}
_SETTINGS: dict[str, Any] = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "labtui",
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "axes.unicode_minus": False,
}


def missing() -> str:
    """Why nothing can be drawn here, as a sentence; empty where it can."""
    return "" if find_spec("matplotlib") is not None else NO_MATPLOTLIB


@dataclass
class Look:
    """How a figure looks: its width in inches, and dark or light."""

    width: float = COLUMN
    dark: bool = False

    @cached_property
    def _palette(self) -> Any:
        from labtui.tui.theme import DARK, LIGHT, Palette

        return Palette(DARK if self.dark else LIGHT)

    def colour(self, style: str) -> str:
        """The colour that a style has on the screens."""
        found = self._palette.style(style).color
        return str(found.get_truecolor().hex) if found is not None else self.ink

    def model(self, kind: str) -> str:
        """The one colour of a kind of model."""
        return self.colour(model_style(kind))

    @property
    def ink(self) -> str:
        return "#cfd6de" if self.dark else "#2b333b"

    @property
    def ground(self) -> str:
        return "#0f1216" if self.dark else "#ffffff"

    @property
    def faint(self) -> str:
        return "#3a444e" if self.dark else "#d5d9dc"


@dataclass
class Picture:
    """A figure, and what was drawn as rows of a table."""

    figure: Figure
    columns: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def save(self, file: str | BinaryIO, kind: str) -> None:
        """Write it as pdf (fonts embedded as Type 42), svg or png (300 dpi); the same bytes every time."""
        stamps: dict[str, dict[str, str | None]] = {
            "pdf": {"CreationDate": None},
            "svg": {"Date": None},
            "png": {"Software": None},
        }
        with _settings():
            self.figure.savefig(
                file, format=kind, dpi=300, metadata=stamps[kind], facecolor=self.figure.get_facecolor()
            )


def _readable(file: Path) -> bool:
    """Whether a file of the current folder, which matplotlib reads when it is loaded, is none or text."""
    if not os.path.lexists(file):
        return True
    try:
        if not file.is_file() or file.stat().st_size > 1 << 20:
            return False
        file.read_text("utf-8")
    except (OSError, ValueError):
        return False
    return True


def _load_elsewhere() -> None:
    """Load matplotlib in its own folder: of a pipe in the current one it would wait for an end."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.chdir(Path(spec.origin).parent)
        import_module("matplotlib")
    finally:
        os.fchdir(here)
        os.close(here)


@contextmanager
def _settings() -> Iterator[None]:
    """matplotlib with its own defaults and ours: no file of the current folder or of the user changes it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if "matplotlib" not in sys.modules and not _readable(Path("matplotlibrc")):
        _load_elsewhere()
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font has not, ranges of one value
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        yield


def _drawn(
    look: Look, height: float, columns: tuple[str, ...], draw: Callable[[Axes, list[dict[str, Any]]], None]
) -> Picture:
    with _settings():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(look.width, height), facecolor=look.ground, layout="constrained")
        axes = figure.add_subplot(facecolor=look.ground)
        picture = Picture(figure, columns)
        for spine in axes.spines.values():
            spine.set_color(look.ink)
        axes.tick_params(which="both", colors=look.ink, width=0.6)
        draw(axes, picture.rows)
        if not picture.rows:
            axes.text(0.5, 0.5, "nothing to draw yet", ha="center", color=look.ink, transform=axes.transAxes)
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_color(look.ink)
        legend = axes.get_legend()
        for text in legend.get_texts() if legend else ():
            text.set_color(look.ink)
        figure.draw_without_rendering()
    return picture


def _count_axis(axes: Axes, which: str) -> None:
    """A log axis of counts: 100, 1k, 10k."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    near = high / max(low, 1e-9) < 300
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: numbers.count(value)))
    axis.set_minor_formatter(NullFormatter())


# kappa


MOST_IN_LEGEND = 6
"""Models that a legend above a narrow figure names."""


def kappa_figure(kappas: Sequence[Kappa], look: Look) -> Picture:
    """kappa of every cell with its interval, bounds as arrows, around the band of "about 1"."""
    columns = ("model", "task", "format", "lengths", "status", "kappa", "low", "high", "interval")
    shown = sorted((k for k in kappas if _ends_of(k) is not None), key=_group)
    groups = list(dict.fromkeys(_group(k) for k in shown))
    kinds = {k.cell.model_label: k.cell.model for k in shown}
    # Variants of a kind share its colour and marker: where they meet, each row says whose it is.
    marks = {(_marker(kind), look.model(kind)) for kind in kinds.values()}
    named = len(kinds) > len(marks) or len(kinds) > MOST_IN_LEGEND

    def draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
        axes.axvspan(*ABOUT_ONE, color=look.faint, lw=0, alpha=0.6)
        axes.axvline(1, color=look.ink, lw=0.6)
        y, ticks, heads = 0.0, dict[float, str](), list[int]()
        for group in groups:
            inside = [k for k in shown if _group(k) == group]
            heads.append(len(ticks))
            ticks[y if named else y + (len(inside) - 1) / 4] = _word(group)
            y += 0.5 if named else 0.0
            for k in inside:
                _bar(axes, k, y, look)
                rows.append(_kappa_row(k))
                if named:
                    ticks[y] = _word(k.cell.model_label)
                y += 0.5
            y += 0.5
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(y - 0.5 + 0.2, -0.7)
        axes.set_xlabel("sharing factor kappa")
        _count_axis(axes, "x")
        axes.xaxis.set_major_formatter(lambda value, _: numbers.ratio(value))
        if named:
            axes.tick_params(axis="y", length=0)
            for place in heads:
                axes.get_yticklabels()[place].set_fontweight("bold")
        elif kinds:
            for label, kind in sorted(kinds.items()):
                axes.plot([], [], marker=_marker(kind), color=look.model(kind), ls="", label=_word(label))
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=min(3, len(kinds)))

    lines = len(shown) + len(groups) * (2 if named else 1)
    return _drawn(look, (0.6 if named else 0.9) + (0.15 if named else 0.12) * lines, columns, draw)


def _ends_of(k: Kappa) -> tuple[float, float, float] | None:
    """(where its marker stands, low, high) in kappa; None where nothing can be drawn."""
    at = k.value if k.value is not None else k.high if k.status == "upper_bound" else k.low
    if at is None or not 0 < at < math.inf:
        return None
    low = k.low if k.low is not None and 0 < k.low <= at else at
    high = k.high if k.high is not None and at <= k.high < math.inf else at
    return at, low, high


def _group(k: Kappa) -> str:
    c = k.cell
    return f"{c.task} {c.format} {numbers.lengths(c.distribution, c.L, c.min_length)}"


def _kappa_row(k: Kappa) -> dict[str, Any]:
    c = k.cell
    return {
        "model": c.model_label,
        "task": c.task,
        "format": c.format,
        "lengths": numbers.lengths(c.distribution, c.L, c.min_length),
        "status": k.status,
        "kappa": k.value,
        "low": k.low,
        "high": k.high,
        "interval": k.interval,
    }


def _bar(axes: Axes, k: Kappa, y: float, look: Look) -> None:
    found = _ends_of(k)
    assert found is not None, "what cannot be drawn was left out before"
    at, low, high = found
    bounded = k.status in ("upper_bound", "lower_bound")
    reach = at / 1.8 if k.status == "upper_bound" else at * 1.8
    colour = look.model(k.cell.model)
    if bounded:
        axes.annotate(
            "", (reach, y), (at, y), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.0, "shrinkA": 0}
        )
        axes.plot([reach], [y], alpha=0)
    axes.errorbar(
        [at],
        [y],
        xerr=[[at - low], [high - at]],
        fmt=_marker(k.cell.model),
        color=colour,
        mfc=look.ground if bounded else colour,
        capsize=1.5,
        elinewidth=0.9,
    )


def _marker(model: str) -> str:
    return MARKERS[model_sign(model)]


def _word(text: str) -> str:
    return clean(text, limit=60)


# N* against an axis


def scaling_figure(
    measured: Sequence[Point], fits: Sequence[Fit | Refusal], look: Look, x: str | None = None
) -> Picture:
    """N* against L, m or one length n on log axes, with each series' law and its 90 % band of single N*."""
    columns = ("series", "model", "kind", "x", "nstar", "low", "high")
    x = x or axis_of(list(measured))
    groups = series_of(list(measured), x)
    laws = {f.series: f for f in fits if isinstance(f, Fit)}

    def draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
        for (series, value), group in groups.items():
            kind = _kind(series)
            name = (series.label.removesuffix(" fixed") if x == "n" else series.label) + other_value(
                x, value, groups
            )
            style = {"color": look.model(kind), "label": _word(name)}
            _points(axes, rows, series, group, x, kind, style, look)
            law = laws.get(series)
            if law is not None:
                _law(axes, rows, law, group, x, value, look.model(kind))
        axis = axis_name(measured, x)
        axes.set_xlabel({"L": "length L", "m": "modulus m", "n": "length n"}.get(axis, clean(axis)))
        axes.set_ylabel("N*" if axis not in AXES else "N*, sequences")
        _count_axis(axes, "y")
        _count_axis(axes, "x")
        axes.xaxis.set_major_locator(_at(sorted({_x(p, x) for g in groups.values() for p in g})))
        if groups:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2 if look.width > 5 else 1)

    return _drawn(look, 2.1 + 0.13 * math.ceil(len(groups) / (2 if look.width > 5 else 1)), columns, draw)


def _at(values: Sequence[float]) -> Any:
    from matplotlib.ticker import FixedLocator

    step = max(1, math.ceil(len(values) / 8))
    return FixedLocator(list(values)[::step])


def _x(p: Point, x: str) -> float:
    return float((p.m if x == "m" else p.L) or 1)


def _kind(series: Series) -> str:
    """The kind of model that a series' label begins with."""
    word = series.model.split(" ")[0]
    return word if word in MODEL_SIGN else series.model


def _points(
    axes: Axes,
    rows: list[dict[str, Any]],
    series: Series,
    group: Sequence[Point],
    x: str,
    kind: str,
    style: dict[str, Any],
    look: Look,
) -> None:
    full = {"outcome": style["color"], "acot": look.ground}.get(series.format, look.faint)
    for p in sorted(group, key=lambda p: _x(p, x)):
        at = _x(p, x)
        if p.hi is None:
            axes.plot([at], [p.n_max], marker=_marker(kind), mfc=look.ground, **style)
            axes.annotate(
                "",
                (at, p.n_max * 1.9),
                (at, p.n_max),
                arrowprops={"arrowstyle": "->", "color": style["color"]},
            )
            axes.plot([at], [p.n_max * 2], alpha=0)
            found: tuple[float | None, float, float | None] = (None, p.n_max + 1, None)
        else:
            middle, low, high = p.estimate or (float(p.hi), float(p.lo + 1), float(p.hi))
            bar = [[max(0.0, middle - low)], [max(0.0, high - middle)]]
            axes.errorbar(
                [at], [middle], yerr=bar, fmt=_marker(kind), mfc=full, capsize=1.5, elinewidth=0.9, **style
            )
            found = (middle, low, high)
        style = style | {"label": "_"}
        row = {"series": series.label, "model": series.model, "kind": "point", "x": at}
        rows.append(row | dict(zip(("nstar", "low", "high"), found, strict=True)))


def _law(
    axes: Axes,
    rows: list[dict[str, Any]],
    law: Fit,
    group: Sequence[Point],
    x: str,
    value: float | None,
    colour: str,
) -> None:
    xs = sorted({_x(p, x) for p in group})
    if len(xs) < 2:
        return
    steps = [xs[0] * (xs[-1] / xs[0]) ** (i / 30) for i in range(31)]
    middle = [law.predict(value or 1, s) if x == "m" else law.predict(s, value) for s in steps]
    spread = math.exp(Z90 * min(law.spread.value, 5.0))
    low, high = [v / spread for v in middle], [v * spread for v in middle]
    axes.plot(steps, middle, color=colour, ls=_LINES.get(law.series.format, "-."), lw=0.9, label="_")
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
    for at, v, a, b in zip(steps, middle, low, high, strict=True):
        rows.append(
            {"series": law.series.label, "model": law.series.model, "kind": "law", "x": at, "nstar": v}
            | {"low": a, "high": b}
        )


# one search


def bracket_figure(
    job: JobRow, probes: Sequence[ProbeRow], look: Look, endings: Endings = NOTHING
) -> Picture:
    """How a bracket closed: every candidate N in the order of the search, and what was left open after it."""
    columns = ("turn", "n", "verdict", "lo", "hi", "best_loss")
    used = [p for p in probes if p.verdict is not None and not p.speculative and p.n > 0]

    def draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
        found = list(brackets((p.n, p.verdict) for p in used))
        turns = list(range(1, len(used) + 1))
        top = max((p.n for p in used), default=1)
        if used:
            axes.fill_between(
                [0.5, *(t + 0.5 for t in turns)],
                [max(1, b.lo) for b in (found[0], *found)],
                [b.hi or top for b in (found[0], *found)],
                step="pre",
                color=look.model(job.model),
                alpha=0.18,
                lw=0,
            )
        ends = ["diverged" if endings.astray(p) else "learned" if p.verdict else "not learned" for p in used]
        for sign, name in (("o", "learned"), ("x", "not learned"), ("1", "diverged")):
            chosen = [(t, p.n) for t, p, end in zip(turns, used, ends, strict=True) if end == name]
            if chosen:
                axes.plot(
                    *zip(*chosen, strict=True), ls="", marker=sign, color=look.model(job.model), label=name
                )
        for turn, p, b in zip(turns, used, found, strict=True):
            rows.append(
                {
                    "turn": turn,
                    "n": p.n,
                    "verdict": p.verdict,
                    "lo": b.lo,
                    "hi": b.hi,
                    "best_loss": None if p.best_loss is None else metric(job).value(p.best_loss),
                }
            )
        axes.set_xlabel("candidate")
        axes.set_ylabel("N, sequences")
        axes.set_xticks(turns[:: max(1, len(turns) // 10)])
        _count_axis(axes, "y")
        axes.set_title(f"{_word(numbers.label(job))}: N* {numbers.bracket(job)}", fontsize=7)
        if used:
            axes.legend(loc="best")

    return _drawn(look, 2.2, columns, draw)


# Long: one curve, one row and one legend entry for each trial, in one loop.
def curves_figure(job: JobRow, n: int, curves: Sequence[tuple[TrialRow, Curve]], look: Look) -> Picture:
    """The validation losses of all trials of one candidate N, a colour for each learning rate, and eps."""
    columns = ("trial", "lr", "seed", "outcome", "step", "train", "validation", "exact")
    inks = rate_inks(trial.lr for trial, _ in curves)
    shown_as = metric(job)

    def fits(value: float) -> bool:
        return math.isfinite(value) and (shown_as.program or value > 0)

    def draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
        told: set[float] = set()
        estimated = False
        for trial, curve in curves:
            colour = look.colour(inks[trial.lr].style)
            values = map(shown_as.value, curve.validation)
            good = [(s, v) for s, v in zip(curve.steps, values, strict=False) if fits(v)]
            if good:
                named = f"{'setting' if shown_as.program else 'learning rate'} {setting(job, trial.lr)}"
                label = "_" if trial.lr in told else named
                told.add(trial.lr)
                axes.plot(
                    *zip(*good, strict=True),
                    color=colour,
                    label=label,
                    ls="-" if trial.outcome == "success" else ":",
                )
            exact = curve.exact or (None,) * len(curve.steps)
            for step, train, loss, whole in zip(
                curve.steps, curve.train, curve.validation, exact, strict=False
            ):
                rows.append(
                    {"trial": trial.id, "lr": trial.lr, "seed": trial.seed, "outcome": trial.outcome}
                    | {"step": step, "train": train, "validation": shown_as.value(loss), "exact": whole}
                )
            parts = [(s, v) for s, v in curve.estimates() if 0 < v < math.inf]
            if parts:
                label = "_" if estimated else "of a part of the validation set"
                estimated = True
                axes.plot(
                    *zip(*parts, strict=True), color=colour, label=label, ls="", marker="o", ms=2, mfc="none"
                )
        if not shown_as.program:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: numbers.rate(value))
        if job.eps > 0:
            aim = shown_as.aim if shown_as.program else f"eps {numbers.rate(job.eps)}"
            axes.axhline(shown_as.level, color=look.ink, lw=0.6, ls="--", label=aim)
        axes.set_xlabel("step" if shown_as.program else "optimiser step")
        axes.set_ylabel(shown_as.name if shown_as.program else "validation loss, nats per position")
        axes.set_title(f"{_word(numbers.label(job))}: N = {numbers.exact(n)}", fontsize=7)
        axes.legend(loc="best")

    return _drawn(look, 2.3, columns, draw)


def scan_figure(job: JobRow, found: SuccessCurve, look: Look) -> Picture:
    """The measured success curve: share of seeds that succeed at each N, and the logistic through it."""
    columns = ("kind", "n", "share", "low", "high", "seeds", "successes")

    def draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
        colour = look.model(job.model)
        for p in found.points:
            bar = [[max(0.0, p.share - p.low)], [max(0.0, p.high - p.share)]]
            axes.errorbar(
                [p.n],
                [p.share],
                yerr=bar,
                fmt=_marker(job.model),
                color=colour,
                mfc=colour if p.in_fit else look.ground,
                capsize=1.5,
                elinewidth=0.9,
            )
            rows.append(
                {"kind": "point", "n": p.n, "share": p.share, "low": p.low, "high": p.high}
                | {"seeds": p.seeds, "successes": p.successes}
            )
        if found.fit is not None and found.points:
            first, last = found.points[0].n, found.points[-1].n
            steps = [first * (last / first) ** (i / 80) for i in range(81)]
            axes.plot(steps, [found.fit(s) for s in steps], color=colour)
            rows += [{"kind": "law", "n": s, "share": found.fit(s)} for s in steps]
        axes.set_ylim(-0.04, 1.04)
        axes.set_xlabel("N, sequences")
        axes.set_ylabel("share of seeds that succeed")
        _count_axis(axes, "x")
        axes.set_title(_word(numbers.label(job)), fontsize=7)

    return _drawn(look, 2.2, columns, draw)
