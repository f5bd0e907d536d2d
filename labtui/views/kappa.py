"""kappa: the table over any axes, one kappa and what it is made of; on the screen and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from labtui.filters import holds
from labtui.text import clean, fit
from labtui.views import numbers
from labtui.views.grid import grid
from labtui.views.lines import Line, crop, plain, thin_bar
from labtui.views.plot import Axis, Level, Series, plot, span
from labtui.views.signs import arrows, model_sign, model_style
from runners.verdict import beyond
from store.rows import CellRow, NStar

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa, Term
    from labtui.analysis.table import KappaTable, Key

Axes: TypeAlias = "tuple[str, ...]"

LIKED: tuple[tuple[Axes, Axes], ...] = (
    (("model_label", "format"), ("L",)),
    (("model_label",), ("format",)),
    (("format",), ("model_label",)),
    (("model_label", "format"), ("m",)),
    (("m",), ("L",)),
    (("model_label", "format"), ("distribution",)),
    (("model_label", "format"), ("task",)),
)
"""The pairs that answer most, in the order in which one key goes through them."""
FULL = 0.6
"""A table with a smaller share of its places filled is not the first to be shown."""
NOT_OF_PROGRAMS = ("task", "distribution", "L", "min_length")
"""Axes that say nothing of a program: its own axes do."""
NAMES = {"model_label": "model", "min_length": "shortest"}


def named(axes: Axes) -> str:
    """Axes as a person calls them: ``model · format``."""
    return " · ".join(NAMES.get(a, a) for a in axes)


@dataclass(frozen=True)
class Layout:
    """A choice of axes, and how the cells lie in it."""

    rows: Axes
    columns: Axes
    pages: int
    filled: int
    places: int
    """Of all pages together."""

    @property
    def axes(self) -> tuple[Axes, Axes]:
        return self.rows, self.columns

    def words(self) -> str:
        """``12 of 18 places, 2 pages``."""
        pages = f", {self.pages} pages" if self.pages > 1 else ""
        return f"{self.filled} of {self.places} places{pages}"


@lru_cache(maxsize=4096)
def sharing(cell: CellRow) -> Kappa:
    """kappa of a cell; the same row is never computed twice."""
    from labtui.analysis.kappa import kappa

    return kappa(cell)


def meets(kappa: Kappa, conditions: tuple[tuple[str, float], ...]) -> bool:
    """Whether a kappa surely meets the conditions: a point by its value,
    a bound where it settles the question.
    """
    for op, bound in conditions:
        value = kappa.value
        if kappa.status == "upper_bound" and op.startswith("<"):
            value = kappa.high
        elif kappa.status == "lower_bound" and op.startswith(">"):
            value = kappa.low
        if not holds(value, ((op, bound),)):
            return False
    return True


def best(found: Sequence[Layout]) -> Layout:
    """The first that is full enough, else the fullest."""
    return next(
        (one for one in found if one.filled >= FULL * one.places),
        max(found, key=lambda one: one.filled / one.places),
    )


@lru_cache(maxsize=16)
def layouts(axes: Axes, cells: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Layout, ...], int]:
    """Every layout of cells, each given by its values of ``axes``, and how many of them are liked."""
    from labtui.analysis.table import AXES

    columns = {axis: tuple(c[i] for c in cells) for i, axis in enumerate(axes)}
    differ = [axis for axis in axes if len(set(columns[axis])) > 1]
    own = [axis for axis in differ if axis not in AXES]
    if own and "task" in differ:
        differ.remove("task")  # a program's axes tell it
    told = [a for a in differ if a != "model"]  # the label tells the model
    if "m" in told and "task" in told:  # the modulus tells the task, where each has one
        modular = None not in columns["m"] and len(set(columns["m"])) == len(set(columns["task"]))
        told.remove("task" if modular else "m")
    usable = {*told, "model_label"}
    liked = [pair for pair in LIKED if set(pair[1]) <= usable and set(pair[0]) <= usable | {"format"}]
    if own:
        pairs: list[tuple[Axes, Axes]] = [((a,), (b,)) for a, b in permutations(own, 2)]
        pairs = pairs or [((own[0],), ("format",))]
        liked = pairs if "model_label" not in differ else [((own[0],), ("model_label",)), *pairs]
    liked = liked or [(("model_label",), ("format",))]
    free = ["model_label", *(a for a in told if a != "model_label")]
    others: list[tuple[Axes, Axes]] = [((a,), (b,)) for a, b in permutations(free, 2)]
    others += [((a, b), (c,)) for a, b, c in permutations(free, 3)]
    ordered = [*liked, *(pair for pair in others if pair not in liked)]
    return tuple(_layout(columns, differ, *pair) for pair in ordered), len(liked)


def _layout(columns: dict[str, tuple[Any, ...]], differ: Sequence[str], rows: Axes, others: Axes) -> Layout:
    """Pages are the combinations of what the axes leave untold."""

    def keys(axes: Sequence[str]) -> list[tuple[Any, ...]]:
        return list(zip(*(columns[a] for a in axes), strict=True)) if axes else [()] * len(columns["L"])

    places = keys((*rows, *others))
    rest = [a for a in differ if len(set(zip(places, columns[a], strict=True))) > len(set(places))]
    down, across = keys(rows), keys(others)
    pages: dict[tuple[Any, ...], tuple[set[Any], set[Any], set[Any]]] = {}
    for page, row, column in zip(keys(rest), down, across, strict=True):
        seen = pages.setdefault(page, (set(), set(), set()))
        for kept, key in zip(seen, (row, column, (row, column)), strict=True):
            kept.add(key)
    filled = sum(len(found) for _, _, found in pages.values())
    return Layout(
        rows, others, len(pages), filled, max(1, sum(len(r) * len(c) for r, c, _ in pages.values()))
    )


def level(kappa: Kappa) -> int | None:
    """-3 (interference) .. 0 (separate) .. 3 (shared) for the colour; None where nothing can be said."""
    value = {"complete": kappa.value, "upper_bound": kappa.high, "lower_bound": kappa.low}.get(kappa.status)
    if value is None or value <= 0 or (kappa.status != "complete" and kappa.regime is None):
        return None
    steps = math.log2(float(f"{value:.2g}"))  # as it is written: 1.98 stands as 2.0
    size = abs(steps)
    return 0 if size < 0.32 else int(math.copysign(1 if size < 1 else 2 if size < 2 else 3, steps))


def cell_spans(kappas: Sequence[Kappa], width: int) -> Line:
    """One place of the table in ``width`` cells: the number right-aligned in six,
    then how far from 1 it is and what it leaves open.
    """
    if not kappas:
        return ((fit("     ·", width), "faint"),)
    kappa = kappas[0]
    more = f" +{len(kappas) - 1}" if len(kappas) > 1 else ""
    mark = "!" if "fails_above" in kappa.flags else ""
    if kappa.status == "pending":
        room = max(0, min(6, width - 8))
        done, of = kappa.have + kappa.joint_in, kappa.want + 1
        return crop((("  ", ""), *thin_bar(done / of, room), (f" {done}/{of}{more}", "dim")), width)
    found = level(kappa)
    ground = f"kappa.{found:+d}" if found is not None else "track"
    if kappa.status in ("incomplete", "unknown"):
        sign, style = ("✗", "bad") if kappa.status == "incomplete" else ("?", "dim")
        word = f" {kappa.status}" if width >= 18 else ""
        return ((fit(sign, 6, ">"), style), (fit(word + more, width - 6), "dim"))
    value, _, rest = kappa.text().partition(" [")
    far, room = arrows(found), width - 6
    interval = f" [{rest}" if rest else ""
    if len(mark + far + interval + more) > room:
        interval = ""
    left = room - len(interval + more)  # intervals stand under each other where there is room
    tail = f"{mark or ' '}{far}".ljust(min(left, 4)) if left > len(far) else (mark + far)[: max(0, left)]
    ink = "strong" if found is None else "bold"  # without a side there is no ground that has its own ink
    return ((fit(value, 6, ">"), f"{ground} {ink}"), (fit(tail + interval + more, room), ground))


def terms_plot(kappa: Kappa, width: int, height: int, chosen: int | None = None) -> list[Line]:
    """N*_n over n with its brackets, censored ones as arrows, and N*_joint as a level;
    ``chosen`` is the n of the cursor.
    """
    style = model_style(kappa.cell.model)
    good = [t for t in kappa.terms if t.status == "bracket" and t.hi is not None]
    drawn = [(float(t.n), *found) for t in good if (found := numbers.drawn(t)) is not None]
    points = tuple((n, value) for n, value, _, _ in drawn)
    bars = tuple((n, low, high) for n, _, low, high in drawn)
    arrows = tuple((float(t.n), float(t.n_max)) for t in kappa.terms if beyond(t))
    waits = tuple(
        (
            float(t.n),
            *(t.estimate[1:] if t.estimate is not None else (float(t.lo + 1), float(t.hi or t.n_max))),
        )
        for t in kappa.terms
        if t.status == "open" and (t.hi is not None or t.lo or t.estimate is not None)
    )
    values = [b for _, _, b in (*bars, *waits)] + [a for _, a, _ in (*bars, *waits)] + [y for _, y in arrows]
    joint = kappa.cell.joint
    levels = []
    known = numbers.drawn(joint) if joint.status == "bracket" else None
    if known is not None:
        values.append(known[0])
        levels = [Level(known[0], "joint", "mark")]
    if not values:
        return []
    pending = [Series((), "dim", "", False, waits)] if waits else []
    series = Series(points, style, model_sign(kappa.cell.model), True, bars, arrows)
    ns = [t.n for t in kappa.terms]
    x = Axis(min(ns) - 0.5, max(ns) + 0.5, False, True)
    places = {*points, *arrows}
    cursor = next(((n, y) for n, y in places if n == chosen), None)
    y = span(values, log=True)
    return plot(
        [*pending, series],
        width,
        height,
        x,
        y,
        levels=levels,
        x_label=clean(kappa.cell.over) or "n",
        y_format="count",
        cursor=cursor,
    )


LEGEND = (
    "→ shares (kappa > 1), ← interferes (kappa < 1); →→ by 2 or more, →→→ by 4 or more; "
    "none: about 1, or a bound that leaves it open"
)
"""Text has no ground to colour as the screen's cells have."""
INTERVALS = {
    "resolution": f"what one bisection each leaves open, {numbers.SCATTER}",
    "credible": "90 %",
    "mixed": f"90 %, but for parts from one bisection, {numbers.SCATTER}",
}
"""What a kappa's interval is."""


def legend(kappas: Sequence[Kappa]) -> str:
    """What the arrows and the intervals of these kappas mean."""
    kinds = [kind for kind in INTERVALS if any(k.interval == kind for k in kappas)]
    told = [LEGEND] if any(level(k) is not None for k in kappas) else []
    told += [f"[ , ]: {'; or '.join(INTERVALS[kind] for kind in kinds)}"] if kinds else []
    return "   ".join([*told, "* see the notes"])


def laid_out(cells: Sequence[CellRow]) -> tuple[tuple[Layout, ...], int]:
    """Every layout of cells, and how many of them are liked."""
    from labtui.analysis.table import axes_of, value_of

    axes = axes_of(cells)
    return layouts(axes, tuple(tuple(value_of(c, axis) for axis in axes) for c in cells))


def choose_axes(
    cells: Sequence[CellRow], rows: str | None, columns: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose (row axes, column axes): those asked for, else those that the screen begins with.

    Raises:
        ValueError: an axis that does not exist.
    """
    from labtui.analysis.table import axes_of, varying

    known = axes_of(cells)
    if not rows and not columns:
        found, liked = laid_out(cells)
        return best(found[:liked] or found).axes
    chosen_rows = tuple(w.strip() for w in rows.split(",") if w.strip()) if rows else ()
    chosen_columns = tuple(w.strip() for w in columns.split(",") if w.strip()) if columns else ()
    for axis in chosen_rows + chosen_columns:
        if axis not in known:
            raise ValueError(f"the axis {axis!r} does not exist; expected one of {', '.join(known)}")
    free = [a for a in varying([c for c in cells if c.parts]) if a not in chosen_rows + chosen_columns]
    model = "model_label" if "model_label" in free else "model"
    if not chosen_rows:
        own = [a for a in free if a in known[8:]]
        first = [*own, *(a for a in (model, "m", "task", "L") if a in free)] or [
            a for a in ("model_label",) if a not in chosen_columns
        ]
        chosen_rows = (first[0],) if first else ("task",)
    free = [
        a
        for a in free
        if a not in chosen_rows and not (a in ("model", "model_label") and "model" in chosen_rows[0])
    ]
    if not chosen_columns:
        second: list[str] = [
            a for a in ("format", "L", "m", "task", "distribution", "min_length") if a in free
        ]
        second = second or list(free)
        second = second or [a for a in ("format", "L") if a not in chosen_rows]
        chosen_columns = (second[0],)
    return chosen_rows, chosen_columns


def kappa_lines(
    cells: Sequence[CellRow],
    rows: str | None = None,
    columns: str | None = None,
    *,
    details: bool = False,
    floors: Mapping[int, float] = MappingProxyType({}),
) -> list[str]:
    """The tables, a legend, the notes that qualify a cell, and with ``details`` every N*_n.

    Args:
        floors: the coverage floor of each search that has one, in sequences.
    """
    from labtui.analysis.table import tables

    with_sum = [c for c in cells if c.parts]
    if not with_sum:
        return ["no kappa here: the study has no cell with a sum over lengths"]
    row_axes, column_axes = choose_axes(with_sum, rows, columns)
    lines: list[str] = []
    for page in tables(with_sum, row_axes, column_axes):
        lines += [*_heading(with_sum, page), *page_lines(page), ""]
    lines.append(legend([sharing(c) for c in with_sum]))
    lines += _notes([sharing(c) for c in with_sum])
    if details:
        for cell in with_sum:
            lines += ["", *cell_lines(sharing(cell), floors)]
    return lines


def _heading(cells: Sequence[CellRow], page: KappaTable) -> list[str]:
    """What all cells of a page have in common."""
    from labtui.analysis.table import axes_of, value_of

    told = {*page.row_axes, *page.column_axes, *page.fixed}
    common = [
        f"{NAMES.get(axis, axis)} {value_of(cells[0], axis)}"
        for axis in axes_of(cells)
        if axis not in told and axis not in ("m", "model") and _same(cells, axis)
        and not (cells[0].program and axis in NOT_OF_PROGRAMS)
    ]  # fmt: skip
    overs = dict.fromkeys(c.over for c in cells if c.over)
    common += [f"over {', '.join(overs)}"] if overs else []
    words = [
        f"{NAMES.get(axis, axis)} {'-' if value is None else value}" for axis, value in page.fixed.items()
    ]
    return [clean("kappa, " + ", ".join([*words, *common]))]


def _same(cells: Sequence[CellRow], axis: str) -> bool:
    from labtui.analysis.table import value_of

    return len({value_of(c, axis) for c in cells}) == 1


def column_head(axes: Axes, key: Key) -> str:
    """``L 8``, ``acot``: the value of a column; a length or modulus alone would not say of what it is."""
    before = f"{axes[0]} " if axes in (("L",), ("m",)) else ""
    return before + numbers.values(key)


def page_lines(page: KappaTable) -> list[str]:
    """One table."""
    heads = [
        " / ".join(NAMES.get(axis, axis) for axis in page.row_axes),
        *(column_head(page.column_axes, key) for key in page.columns),
    ]
    body = [
        [numbers.values(row), *(entry(page.at(row, column)) for column in page.columns)] for row in page.rows
    ]
    return grid([clean(h) for h in heads], body)


def entry(kappas: Sequence[Kappa]) -> str:
    """One place of the table: kappa, interval, ``*`` where a note belongs to it, and how far from 1 it is."""
    return " / ".join(f"{k.text()}{'*' if k.notes else ''} {arrows(level(k))}".strip() for k in kappas)


def _notes(kappas: Sequence[Kappa]) -> list[str]:
    """Each note once, with the cells it qualifies."""
    found: dict[str, list[str]] = {}
    for k in kappas:
        for note in k.notes:
            found.setdefault(note, []).append(name(k.cell))
    return [
        clean(f"* {note}: {'; '.join(cells[:6])}{' ...' if len(cells) > 6 else ''}", limit=400)
        for note, cells in found.items()
    ]


def name(cell: CellRow) -> str:
    """``dense_ssm 16 Z3 acot 2..7``: a search's order of words."""
    lengths = numbers.lengths(cell.distribution, cell.L, cell.min_length)
    return clean(f"{cell.model_label} {cell.task} {cell.format} {lengths}")


def proof(k: Kappa) -> tuple[str, str]:
    """(the sum, kappa as a fraction): ``Σ 1,456`` and ``κ = 1,456 / 1,118 = 1.3``; empty where nothing
    can be said.
    """
    joint = k.cell.joint
    if k.status == "complete":
        parts = [t.estimate[0] if t.estimate is not None else t.hi or 0 for t in k.terms]
        below = joint.estimate[0] if joint.estimate is not None else joint.hi or 1
        sign, value = "=", numbers.ratio(k.value)
        rounded = sum(map(round, parts))  # as they stand above; their own sum where that gives another kappa
        if numbers.ratio(rounded / max(1, round(below))) != value:
            total = f"{sum(parts):,.1f}"
            return f"Σ {total}", f"κ = {total} / {below:,.1f} = {value}"
        parts = [rounded]
    elif k.status == "upper_bound":
        parts = [t.estimate[2] if t.estimate is not None else t.hi or 0 for t in k.terms]
        below, (sign, _, value) = joint.n_max + 1, numbers.bound("<=", k.high or 0.0).partition(" ")
    elif k.status == "lower_bound":
        parts = [
            t.n_max + 1 if t.status == "censored" else t.estimate[1] if t.estimate is not None else t.lo + 1
            for t in k.terms
        ]
        below = joint.estimate[2] if joint.estimate is not None else joint.hi or 1
        sign, _, value = numbers.bound(">=", k.low or 0.0).partition(" ")
    else:
        return "", ""
    total = numbers.exact(sum(parts))
    return f"Σ {total}", f"κ {sign} {total} / {numbers.exact(below)} {'=' if sign == '=' else sign} {value}"


def cell_lines(k: Kappa, floors: Mapping[int, float] = MappingProxyType({})) -> list[str]:
    """The drill-down: every N*_n, their sum, N*_joint; with ``floors`` the coverage floor beside each."""
    heads = [
        k.cell.over or "n",
        "N*_n" if not k.cell.over else "N*",
        "known",
        "N_max",
        "state",
        "job",
        "flags",
    ]
    rows: list[list[object]] = [[clean(t.label), *_row(t)] for t in k.terms]
    rows.append(["joint", *_row(k.cell.joint)])
    parts: list[NStar | Term] = [*k.terms, k.cell.joint]
    if any(part.n50 is not None for part in parts):
        heads.insert(3, "N_50")
        for row, part in zip(rows, parts, strict=True):
            row.insert(3, numbers.count_interval(part.n50))
    if any(part.job_id in floors for part in parts):
        heads.insert(3, "floor")
        for row, part in zip(rows, parts, strict=True):
            floor = floors.get(part.job_id)
            row.insert(3, numbers.count(floor) if floor is not None else numbers.NONE)
    head = f"cell {k.cell.id}: {name(k.cell)}, kappa {k.text()}"
    if k.cell.joint.generalisation is not None:
        head += f", accuracy at 2L {numbers.share(k.cell.joint.generalisation)}"
    lines = [clean(head), *grid(heads, rows, right="N*_n N* floor N_max job")]
    return [*lines, *filter(None, proof(k))]


def _row(part: NStar | Term) -> list[object]:
    return [
        numbers.nstar(part),
        numbers.known(part),
        numbers.exact(part.n_max),
        part.state,
        part.job_id,
        " ".join(part.flags),
    ]


def terms_lines(k: Kappa, width: int, height: int) -> list[str]:
    """The screen's own drawing of N*_n over n as text, below it every part as numbers."""
    head, *rest = cell_lines(k)
    drawn = [plain(line) for line in terms_plot(k, width, height)]
    return [head, "", *(drawn or ["nothing to draw yet: nothing is known of any N*"]), "", *rest]
