"""Scaling: how does it grow?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from labtui.poller import Loader
from labtui.screens.base import ScreenPane, empty_state
from labtui.text import clean, fit
from labtui.theme import model_sign, model_style
from labtui.widgets import figures
from labtui.widgets.lines import Line, Span, based, beside, crop, inset, rule, text_line
from labtui.widgets.plot import Axis, Series, plot, span

if TYPE_CHECKING:
    from labtui.analysis.fits import Fit, Refusal
    from labtui.analysis.points import Point

AXES = {"L": "longest length L, joint task", "m": "modulus m, joint task", "n": "one length n alone"}
DASHES = {"acot": (1, 0), "cot": (7, 4), "outcome": (2, 4)}
SAMPLES = {"acot": "━━", "cot": "╍╍", "outcome": "┄┄"}


@dataclass(frozen=True)
class Curve:
    """One line of the plot."""

    key: str
    label: str
    kind: str
    """The model's kind: its colour and sign."""
    format: str
    points: tuple[Point, ...]
    law: Fit | Refusal | None

    def x(self, point: Point, axis: str) -> float:
        return float(point.m or 0) if axis == "m" else float(point.L)


@dataclass(frozen=True)
class ScalingData:
    """Every line."""

    curves: tuple[Curve, ...]
    axes: tuple[str, ...]
    """The axes along which something varies."""
    request: ScalingRequest


@dataclass(frozen=True)
class ScalingRequest:
    """What to read."""

    study: int | None = None
    axis: str = ""
    """L, m or n; empty: the one that shows most."""

    def __call__(self, lab: Any) -> ScalingData:
        from labtui.analysis.points import points

        cells = lab.cells(self.study)
        kinds = {c.model_label: c.model for c in cells}
        joint = points(cells)
        alone = self._alone(lab, kinds)
        spread = {
            "L": len({p.L for p in joint}),
            "m": len({p.m for p in joint if p.m is not None}),
            "n": len({p.L for p in alone}),
        }
        axes = tuple(a for a, n in spread.items() if n > 1) or ("L",)
        axis = self.axis if self.axis in axes else max(axes, key=lambda a: (spread[a] if a != "n" else 0, a == "L"))
        return ScalingData(_curves(alone if axis == "n" else joint, axis, kinds), axes, replace(self, axis=axis))

    def _alone(self, lab: Any, kinds: dict[str, str]) -> tuple[Point, ...]:
        from labtui.analysis.points import points
        from store.filters import Condition

        where = (Condition("distribution", "=", "fixed"), Condition("state", "=", "done"))
        jobs = lab.jobs(lab.job_ids(where, "L", self.study))
        kinds.update({j.model_label: j.model for j in jobs})
        return points(jobs)


def _curves(found: Sequence[Point], axis: str, kinds: dict[str, str]) -> tuple[Curve, ...]:
    groups: dict[tuple[Any, int | None], list[Point]] = {}
    several = {"L": len({p.m for p in found}) > 1, "n": len({p.m for p in found}) > 1, "m": len({p.L for p in found}) > 1}
    for point in found:
        if axis == "m" and point.m is None:
            continue
        groups.setdefault((point.series, point.L if axis == "m" else point.m), []).append(point)
    out = []
    for (series, other), members in groups.items():
        members.sort(key=lambda p: (p.m or 0) if axis == "m" else p.L)
        tail = f" {'L' if axis == 'm' else 'm'}={other}" if several[axis] and other is not None else ""
        kind = kinds.get(series.model, series.model.split(" ")[0])
        law = _law(tuple(members)) if len(members) > 1 else None
        out.append(Curve(f"{series.label}{tail}", clean(f"{series.label}{tail}"), kind, series.format, tuple(members), law))
    order = {"transformer": 0, "lstm": 1, "dense_ssm": 2}
    return tuple(sorted(out, key=lambda c: (order.get(c.kind, 3), c.label)))


@lru_cache(maxsize=512)
def _law(points: tuple[Point, ...]) -> Fit | Refusal | None:
    """The same points are fitted once."""
    from labtui.analysis.fits import fit as fit_law

    return fit_law(points)


def exponent(curve: Curve, axis: str) -> str:
    """``L^1.9 [1.7, 2.1]``, or nothing where there is no law."""
    law = curve.law
    parameter = getattr(law, "b" if axis == "m" else "a", None)
    if parameter is None:
        return ""

    def end(x: float) -> str:
        return f"{x:.1f}" if math.isfinite(x) else ("∞" if x > 0 else "-∞")

    return f"{axis}^{parameter.value:.2f} [{end(parameter.low)}, {end(parameter.high)}]"


def _tail(curve: Curve, axis: str) -> str:
    """What the legend says of a line: its exponent, or why it has none."""
    censored = sum(p.hi is None for p in curve.points)
    return exponent(curve, axis) or (
        f"{censored} censored" if censored else f"{len(curve.points)} point{'s' if len(curve.points) != 1 else ''}"
    )


def middle(point: Point) -> float:
    """Where the sign stands: the geometric middle of the bracket, or the estimate."""
    if point.estimate is not None:
        return point.estimate[0]
    return math.sqrt((point.lo + 1) * (point.hi or 1)) if point.hi else float(point.n_max)


def series_of(curve: Curve, axis: str) -> Series:
    """A line as the plot takes it."""
    from labtui.analysis.fits import Fit

    good = [p for p in curve.points if p.hi is not None]
    bars = tuple(
        (curve.x(p, axis), *((p.estimate[1], p.estimate[2]) if p.estimate else (max(0.7, float(p.lo + 1)), float(p.hi or 1))))
        for p in good
    )
    band: tuple[tuple[float, float], ...] = ()
    if isinstance(curve.law, Fit) and len(good) > 1:
        xs = [curve.x(p, axis) for p in curve.points]
        low, high = min(xs) / 1.15, max(xs) * 1.15
        fixed = curve.points[0]
        band = tuple((x, curve.law.predict(x, fixed.m) if axis != "m" else curve.law.predict(fixed.L, x)) for x in (low, high))
    return Series(
        tuple((curve.x(p, axis), middle(p)) for p in good),
        model_style(curve.kind),
        model_sign(curve.kind),
        not band,
        bars,
        tuple((curve.x(p, axis), float(p.n_max)) for p in curve.points if p.hi is None),
        band,
        DASHES.get(curve.format, (1, 0)),
    )


class ScalingPane(ScreenPane):
    """N* over L, m or n, log against log."""

    key = "scaling"

    def __init__(self) -> None:
        super().__init__()
        self.request = ScalingRequest()
        self.data: ScalingData | None = None
        self.hidden: set[str] = set()
        self.at = 0
        self.point = 0
        self.zoom = 1.0

    # Reading

    def loader(self) -> Loader:
        return self.request

    def show(self, data: ScalingData) -> None:
        if data.request.study == self.request.study and self.request.axis in ("", data.request.axis):
            self.data = data
            self.at = min(self.at, max(0, len(data.curves) - 1))

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        data = self.data
        if data is None:
            return empty_state([clean(self.problem)], width, height) if self.problem else ()
        if not data.curves:
            name = self.lab_app.keymap.name
            return empty_state(
                ["No N* yet.", f"{name('show_new')} submits a study; points appear as searches end"], width, height
            )
        inner = width - 2
        keys = self.lab_app.keymap.name
        note = f"{keys('axes')} {' '.join(a for a in data.axes if a != data.request.axis)}" if len(data.axes) > 1 else ""
        head = rule(f"N* against {AXES[data.request.axis]}", inner, note)
        foot = self._reading(inner)
        if width >= 110:
            side = min(50, inner * 2 // 5)
            room = height - 2
            body = beside(
                (self._plot(inner - side - 3, room), inner - side - 3), (self._legend(side, room), side), height=room, gap=3
            )
        else:
            legend = min(len(data.curves) + 1, max(3, height // 3))
            body = [*self._plot(inner, height - legend - 2), *self._legend(inner, legend)]
        return inset([head, *body, foot])

    def _ranges(self) -> tuple[Axis, Axis]:
        assert self.data is not None
        axis = self.data.request.axis
        shown = [c for c in self.data.curves if c.key not in self.hidden]
        xs = [c.x(p, axis) for c in shown for p in c.points]
        ys: list[float] = []
        for curve in shown:
            for p in curve.points:
                ys += [float(p.n_max)] if p.hi is None else [max(0.7, float(p.lo + 1)), float(p.hi)]
        x, y = span(xs, log=True), span(ys, log=True)
        x = Axis(x.low, x.high, True, True)
        found = self._here()
        if self.zoom > 1 and found is not None:
            cx, cy = x.place(found[1].L if axis != "m" else found[1].m or 1), y.place(middle(found[1]))
            half = 0.5 / self.zoom
            x = Axis(x.value(cx - half), x.value(cx + half), True, True)
            y = Axis(y.value(cy - half), y.value(cy + half), True)
        return x, y

    def _plot(self, width: int, height: int) -> list[Line]:
        assert self.data is not None
        axis = self.data.request.axis
        x, y = self._ranges()
        # The chosen line is drawn last, so that nothing lies on it.
        order = [c for i, c in enumerate(self.data.curves) if c.key not in self.hidden and i != self.at]
        order += [c for i, c in enumerate(self.data.curves) if c.key not in self.hidden and i == self.at]
        found = self._here()
        cursor = None if found is None else (found[0].x(found[1], axis), middle(found[1]))
        return plot([series_of(c, axis) for c in order], width, height, x, y, x_label=axis, y_format="count", cursor=cursor)

    def _legend(self, width: int, height: int) -> list[Line]:
        assert self.data is not None
        axis = self.data.request.axis
        curves = self.data.curves
        top = min(max(0, self.at - height + 1), max(0, len(curves) - height))
        lines: list[Line] = []
        tails = [_tail(c, axis) for c in curves]
        law_room = max(map(len, tails), default=0) + 1 if width >= 40 else 0
        for i, curve in enumerate(curves[top : top + height], top):
            off = curve.key in self.hidden
            style = "faint" if off else model_style(curve.kind)
            label: list[Span] = [
                (f"{model_sign(curve.kind)} ", style),
                (f"{SAMPLES.get(curve.format, '━━')} ", style),
                (fit(curve.label, width - 7 - law_room), "faint" if off else ""),
            ]
            if law_room:
                label.append((fit(tails[i], law_room, ">"), "faint" if off else "dim"))
            line = crop((("▸ " if i == self.at else "  ", "accent"), *label), width)
            lines.append(based(line, "cursor") if i == self.at else line)
        return lines

    def _here(self) -> tuple[Curve, Point] | None:
        if self.data is None or not self.data.curves:
            return None
        curve = self.data.curves[self.at]
        if curve.key in self.hidden or not curve.points:
            return None
        return curve, curve.points[min(self.point, len(curve.points) - 1)]

    def _reading(self, width: int) -> Line:
        """What the cursor stands on."""
        found = self._here()
        if found is None:
            return text_line("hidden: " + self.lab_app.keymap.name("toggle_series") + " shows it", "dim")
        curve, p = found
        m = f" m={p.m}" if p.m is not None else ""
        known = f"N* in ({figures.exact(p.lo)}, {figures.exact(p.hi)}]"
        if p.hi is None:
            known = f"N* > {figures.exact(p.n_max)}"
        if p.estimate is not None:
            known = f"N* ≈ {figures.count(p.estimate[0])} [{figures.count(p.estimate[1])}, {figures.count(p.estimate[2])}]"
        spans: list[Span] = [
            (f"{model_sign(curve.kind)} ", model_style(curve.kind)), (f"{curve.label}  L={p.L}{m}  ", ""), (known, "strong"),
            (f"  job {p.job_id}", "dim"), (f"  {figures.flags(p.flags)}", "warn"),
        ]  # fmt: skip
        if curve.law is not None and width >= 100:
            spans.append((f"   {curve.law.text()}", "dim"))
        return tuple(spans)

    # Hands

    def selection(self) -> list[int]:
        found = self._here()
        return [] if found is None else [found[1].job_id]

    def copy_text(self) -> str:
        found = self._here()
        return "" if found is None else f"{found[0].label}: {found[0].law.text() if found[0].law else 'no law'}\n"

    def _move(self, curves: int, points: int) -> None:
        found = self.data.curves if self.data else ()
        if found:
            self.at = max(0, min(len(found) - 1, self.at + curves))
            self.point = max(0, min(len(found[self.at].points) - 1, self.point + points))
        self.redraw()

    def do_up(self) -> None:
        self._move(-1, 0)

    def do_down(self) -> None:
        self._move(1, 0)

    def do_left(self) -> None:
        self._move(0, -1)

    def do_right(self) -> None:
        self._move(0, 1)

    def wheel(self, by: int) -> None:
        self._move(1 if by > 0 else -1, 0)

    def do_open(self) -> None:
        found = self._here()
        if found is not None and found[1].job_id:
            self.lab_app.open_job(found[1].job_id)

    def do_toggle_series(self) -> None:
        if self.data and self.data.curves:
            self.hidden ^= {self.data.curves[self.at].key}
            self.redraw()

    def do_zoom_in(self) -> None:
        self.zoom = min(16.0, self.zoom * 2)
        self.redraw()

    def do_zoom_out(self) -> None:
        self.zoom = max(1.0, self.zoom / 2)
        self.redraw()

    def do_back(self) -> None:
        if self.zoom > 1:
            self.zoom = 1.0
            self.redraw()
        elif self.hidden:
            self.hidden.clear()
            self.redraw()
        elif self.request.study is not None:
            self._change(study=None)
        else:
            self.lab_app.do_back()

    def do_axes(self) -> None:
        if self.data is not None:
            axes = self.data.axes
            at = axes.index(self.data.request.axis) if self.data.request.axis in axes else 0
            self._change(axis=axes[(at + 1) % len(axes)])

    def can_axes(self) -> bool:
        return self.data is not None and len(self.data.axes) > 1

    def do_next_study(self) -> None:
        self._study(1)

    def do_prev_study(self) -> None:
        self._study(-1)

    def _study(self, by: int) -> None:
        ids: list[int | None] = [None, *(s.id for s in self.common.studies if not s.archived)] if self.common else [None]
        at = ids.index(self.request.study) if self.request.study in ids else 0
        self._change(study=ids[(at + by) % len(ids)], axis="")

    def _change(self, **changes: Any) -> None:
        self.request = replace(self.request, **changes)
        self.at = self.point = 0
        self.zoom = 1.0
        self.reload()
