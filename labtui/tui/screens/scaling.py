"""Scaling: how does it grow?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labtui.text import clean, fit, wrap
from labtui.tui.screens.screen_pane import empty_state
from labtui.tui.screens.study_pane import StudyPane
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, beside, crop, inset, linked, rule, size, text_line
from labtui.views.plot import Axis, plot, span
from labtui.views.scaling import (
    AXES,
    FLOOR,
    SAMPLES,
    Curve,
    curve_sign,
    curves_of,
    drawn_series,
    floor_series,
    known,
    law_text,
    stands_at,
    tags,
    tail,
    trend,
    with_laws,
)
from labtui.views.signs import model_style

if TYPE_CHECKING:
    from labtui.analysis.points import Point


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
    """L, m, n or an axis of programs; empty: the one that shows most."""
    laws: bool = False
    """Fit them too, and find the coverage floors: the points come first, since the first fit of a process
    loads scipy (1 s)."""

    def __call__(self, lab: Any) -> ScalingData:
        from labtui.analysis.points import numeric_axes, points, with_floors

        cells = lab.cells(self.study)
        kinds = {c.model_label: c.model for c in cells}
        joint = points(c for c in cells if not c.program)
        alone = self._alone(lab, kinds)
        if self.laws:
            joint, alone = with_floors(joint, lab), with_floors(alone, lab)
        curves = {axis: curves_of(alone if axis == "n" else joint, axis, kinds) for axis in AXES}
        for name in numeric_axes(cells):
            key = name if name not in AXES else f"{name} of programs"
            curves[key] = curves_of(points(cells, x=name), key, kinds)
        lines = {a: sum(len({c.x(p, a) for p in c.points}) > 1 for c in found) for a, found in curves.items()}
        axes = tuple(
            a for a, found in curves.items() if len({c.x(p, a) for c in found for p in c.points}) > 1
        ) or ("L",)
        # The joint task is what grows; single lengths are shown first only where nothing else makes a line.
        axis = (
            self.axis
            if self.axis in axes
            else max(axes, key=lambda a: (lines[a] > 0, a != "n", a in AXES and lines[a], a == "L"))
        )
        shown = with_laws(curves[axis]) if self.laws else curves[axis]
        return ScalingData(shown, axes, replace(self, axis=axis))

    def _alone(self, lab: Any, kinds: dict[str, str]) -> tuple[Point, ...]:
        from labtui.analysis.points import points
        from store.filters import Condition

        where = (Condition("distribution", "=", "fixed"), Condition("state", "=", "done"))
        jobs = lab.jobs(lab.job_ids(where, "L", self.study))
        kinds.update({j.model_label: j.model for j in jobs})
        return points(jobs)


class ScalingPane(StudyPane):
    """N* over L, m, n or an axis of programs, log against log."""

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

    def show(self, data: ScalingData) -> None:
        if data.request.study == self.request.study and self.request.axis in ("", data.request.axis):
            self.data = data
            if not self.request.laws:  # the points are there: now their laws
                self.request = replace(self.request, laws=True)
                self.reload()
            self.at = min(self.at, max(0, len(data.curves) - 1))

    def receive(self, data: Any, problem: str) -> None:
        super().receive(data, problem)
        self.fresh = self.data is None or not self.data.request.laws  # the second reading is still to come

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        data = self.data
        if data is None:
            return empty_state([clean(self.problem)], width, height) if self.problem else ()
        if not data.curves:
            name = self.lab_app.keymap.name
            return empty_state(
                [
                    "No N* along an axis yet.",
                    f"{name('show_new')} submits a study; points appear as searches end",
                ],
                width,
                height,
            )
        inner = width - 2
        keys = self.lab_app.keymap.name
        others = clean(", ".join(a for a in data.axes if a != data.request.axis))
        note = f"{keys('axes')}: against {others}" if others else ""
        if not data.request.laws:
            note = "fitting the laws…"  # a second, the first time in a process
        axis = data.request.axis
        head = rule(f"N* against {clean(AXES.get(axis, axis))}", inner, note)
        foot = self._reading(inner)
        if width >= 110:
            wants = max(len(c.label) for c in data.curves) + 9
            wants += max(len(tail(c, data.request.axis)) for c in data.curves)
            side = min(max(min(50, inner * 2 // 5), wants), inner // 2)
            room = height - 2
            legend = [*self._legend(side, min(len(data.curves), max(6, room - 8))), *self._floor(side)]
            right = [*legend, (), *self._points(side, room - len(legend) - 1)]
            body = beside(
                (self._plot(inner - side - 3, room), inner - side - 3), (right, side), height=room, gap=3
            )
        else:
            rows = min(len(data.curves), max(3, height // 3))
            floor = self._floor(inner)
            body = [*self._plot(inner, height - rows - 2 - len(floor)), *self._legend(inner, rows), *floor]
        return inset([head, *body, foot])

    def _ranges(self) -> tuple[Axis, Axis]:
        assert self.data is not None
        axis = self.data.request.axis
        shown = self.data.curves  # hidden ones too: the axes stay where they are
        xs = [c.x(p, axis) for c in shown for p in c.points]
        ys: list[float] = []
        for curve in shown:
            for p in curve.points:
                told = figures.drawn(p) if p.hi is not None else None
                ys += [float(p.n_max)] if told is None else told[1:]
                ys += [p.floor] if p.floor is not None else []
        x, y = span(xs, log=True), span(ys, log=True)
        x = Axis(x.low, x.high, True, True)
        found = self._here()
        if self.zoom > 1 and found is not None:
            cx, cy = x.place(found[1].L if axis != "m" else found[1].m or 1), y.place(stands_at(found[1]))
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
        cursor = None if found is None else (found[0].x(found[1], axis), stands_at(found[1]))
        letters = tags(self.data.curves)
        drawn = [
            replace(
                drawn_series(c, axis), link=f"known:{self.data.curves.index(c)},", tag=letters.get(c.key, "")
            )
            for c in order
        ]
        return plot(
            [*floor_series(order, axis), *drawn],
            width,
            height,
            x,
            y,
            x_label=clean(next((c.axis_name(axis) for c in self.data.curves if c.points), axis)),
            y_format="count",
            cursor=cursor,
        )

    def _legend(self, width: int, height: int) -> list[Line]:
        assert self.data is not None
        axis = self.data.request.axis
        curves = self.data.curves
        hidden = max(0, len(curves) - height)
        if hidden:
            height, hidden = height - 1, hidden + 1
        top = min(max(0, self.at - height + 1), max(0, len(curves) - height))
        lines: list[Line] = []
        letters = tags(curves)
        tails = [tail(c, axis) for c in curves]
        law_room = max(map(len, tails), default=0) + 1 if width >= 40 else 0
        for i, curve in enumerate(curves[top : top + height], top):
            off = curve.key in self.hidden
            style = "quiet" if off else model_style(curve.kind)
            name = f"({curve.label})" if off else curve.label
            label: list[Span] = [
                ("○" if off else curve_sign(curve), style),
                (f"{letters.get(curve.key, '')} "[:2].ljust(2), style),
                (f"{SAMPLES.get(curve.format, '━━')} " if trend(curve, axis) and not off else "   ", style),
                (fit(name, width - 8 - law_room), "quiet" if off else ""),
            ]
            if law_room:
                label.append((fit("hidden" if off else tails[i], law_room, ">"), "quiet" if off else "dim"))
            line = crop((("▸ " if i == self.at else "  ", "accent"), *label), width)
            lines.append(linked(line, f"curve:{i}", "cursor" if i == self.at else ""))
        if hidden:
            lines.append(text_line(f"  {hidden} more", "warn"))
        return lines

    def _floor(self, width: int) -> list[Line]:
        """What the dashed line is, where there is one."""
        assert self.data is not None
        shown = [c for c in self.data.curves if c.key not in self.hidden]
        if not floor_series(shown, self.data.request.axis):
            return []
        return [crop(text_line(f"  ╌╌╌  {FLOOR}", "dim"), width)]

    def _points(self, width: int, height: int) -> list[Line]:
        """The points of the chosen line as numbers, and its law in words."""
        found = self._here()
        if found is None or height < 4 or self.data is None:
            return []
        curve, here = found
        axis = self.data.request.axis
        law = wrap(law_text(curve, axis), width) if curve.law is not None else []
        room = height - 2 - len(law) - bool(law)
        at = curve.points.index(here)
        top = max(0, min(at - room + 1, len(curve.points) - room))
        lines: list[Line] = [rule(curve.label, width, f"{at + 1} of {len(curve.points)}")]
        left = "90 %" if any(p.estimate for p in curve.points) else "bracket"
        name = fit(clean(curve.axis_name(axis)), 5)
        lines.append(text_line(f"  {name:<6}{'N*':>8}{left:>20}{'job':>8}", "dim"))
        for i, point in enumerate(curve.points[top : top + max(0, room)], top):
            value, rest = known(point)
            line: Line = (
                ("▸ " if point is here else "  ", "accent"),
                (f"{curve.x(point, axis):<6g}", ""),
                (fit(value, 8, ">"), "warn" if point.hi is None else "strong"),
                (fit(rest, 20, ">"), "dim"),
                (f"{point.job_id:>8}", "dim"),
            )
            link = f"point:{self.at},{i}"
            lines.append(linked(crop(line, width), link, "cursor" if point is here else ""))
        return [*lines, *([()] if law else []), *(text_line(part, "dim") for part in law)]

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
        axis = self.data.request.axis if self.data is not None else "L"
        m = f" {p.series.z}={p.m:g}" if p.m is not None else ""
        where = f"n={p.L:g}" if axis == "n" else f"{p.series.x}={p.L:g}"
        told = f"N* in ({figures.exact(p.lo)}, {figures.exact(p.hi)}], {figures.SCATTER}"
        if p.hi is None:
            told = f"N* > {figures.exact(p.n_max)}"
        elif p.estimate is not None:
            told = f"N* ≈ {figures.count_interval(p.estimate)} 90 %"
        half: Span = (f"  N_50 {figures.count_interval(p.n50)}" if p.n50 is not None else "", "")
        spans: list[Span] = [
            (f"{curve_sign(curve)} ", model_style(curve.kind)),
            (f"{curve.label}  {where}{m}  ", ""),
            (told, "strong"),
            half,
            (f"  job {p.job_id}", "dim"),
            (f"  {figures.flags(p.flags)}", "warn"),
        ]
        while size(tuple(spans)) > width and len(spans) > 3:
            spans.pop()  # whole facts go from the end
        if self.zoom > 1:
            spans.append((f"   zoom {self.zoom:g}×", "accent"))
        return tuple(spans)

    # Hands

    def label(self, action_id: str) -> str:
        off = self.data is not None and self.data.curves and self.data.curves[self.at].key in self.hidden
        return "show" if action_id == "toggle_series" and off else ""

    def selection(self) -> list[int]:
        found = self._here()
        return [] if found is None else [found[1].job_id]

    def copy_text(self) -> str:
        found = self._here()
        return (
            ""
            if found is None
            else f"{found[0].label}: {found[0].law.text() if found[0].law else 'no law'}\n"
        )

    def go(self, curves: int, points: int) -> None:
        found = self.data.curves if self.data else ()
        if found:
            self.at = max(0, min(len(found) - 1, self.at + curves))
            self.point = max(0, min(len(found[self.at].points) - 1, self.point + points))
        self.redraw()

    def click_curve(self, value: str) -> None:
        self.go(int(value) - self.at, 0)

    def click_point(self, value: str) -> None:
        """A click on a point chooses it; a second one opens its job."""
        curve, point = map(int, value.split(","))
        if (curve, point) == (self.at, self.point):
            self.do_open()
        else:
            self.go(curve - self.at, 0)
            self.go(0, point - self.point)

    def click_known(self, value: str) -> None:
        """Take a click on a sign in the plot: of those points whose N* is known."""
        curve, at = map(int, value.split(","))
        if self.data is not None and curve < len(self.data.curves):
            known = [i for i, p in enumerate(self.data.curves[curve].points) if p.hi is not None]
            if at < len(known):
                self.click_point(f"{curve},{known[at]}")

    def do_open(self) -> None:
        found = self._here()
        if found is not None and found[1].job_id:
            self.lab_app.open_job(found[1].job_id)

    def can_open(self) -> bool:
        return bool(self.data and self.data.curves)

    can_toggle_series = can_zoom_in = can_zoom_out = can_next_panel = can_prev_panel = can_open

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
            self.change(study=None)
        else:
            self.lab_app.do_back()

    def do_axes(self) -> None:
        if self.data is not None:
            axes = self.data.axes
            at = axes.index(self.data.request.axis) if self.data.request.axis in axes else 0
            self.change(axis=axes[(at + 1) % len(axes)])

    def can_axes(self) -> bool:
        return self.data is not None and len(self.data.axes) > 1

    def do_next_panel(self) -> None:
        self.do_down()

    def do_prev_panel(self) -> None:
        self.do_up()

    def change(self, **changes: Any) -> None:
        if "study" in changes:
            changes["axis"] = ""  # what shows most of it
        self.request = replace(self.request, **changes)
        self.at = self.point = 0
        self.zoom = 1.0
        self.reload()
