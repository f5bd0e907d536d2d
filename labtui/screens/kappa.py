"""Kappa: who shares, who doesn't?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labtui.poller import Loader
from labtui.screens.base import ScreenPane, empty_state
from labtui.text import clean, fit
from labtui.theme import STATE_SIGN, model_sign, model_style, state_style
from labtui.widgets import figures
from labtui.widgets.kappacells import cell_spans, terms_plot
from labtui.widgets.lines import Line, Span, beside, crop, inset, rule, text_line
from store.rows import CellRow

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa, Term
    from labtui.analysis.table import KappaTable, Key

PAIRS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("model_label", "format"), ("L",)),
    (("model_label",), ("format",)),
    (("format",), ("model_label",)),
    (("model_label", "format"), ("m",)),
    (("m",), ("L",)),
    (("model_label", "format"), ("distribution",)),
    (("model_label", "format"), ("task",)),
)
NAMES = {"model_label": "model", "L": "L", "m": "m"}
NAMED = {"complete": "", "pending": "pending", "unknown": "unknown", "incomplete": "incomplete"}


@dataclass(frozen=True)
class KappaData:
    """The tables of one study."""

    tables: tuple[KappaTable, ...]
    pairs: tuple[int, ...]
    """The pairs of axes that make sense here."""
    request: KappaRequest


@dataclass(frozen=True)
class KappaRequest:
    """What to read."""

    study: int | None = None
    pair: int = -1
    """Index into PAIRS; -1: the first that shows most."""

    def __call__(self, lab: Any) -> KappaData:
        from labtui.analysis.table import tables, varying

        cells: list[CellRow] = [c for c in lab.cells(self.study) if c.parts]
        differ = set(varying(cells)) | {"model_label"}
        if "model" in differ:
            differ.add("model_label")
        if "task" in differ:
            differ.add("m")
        fits = tuple(i for i, (rows, columns) in enumerate(PAIRS) if all(c in differ for c in columns)) or (1,)
        pair = self.pair if self.pair in fits else fits[0]
        rows, columns = PAIRS[pair]
        return KappaData(tables(cells, rows, columns) if cells else (), fits, replace(self, pair=pair))


class KappaPane(ScreenPane):
    """The table and, below or beside it, what one kappa is made of."""

    key = "kappa"

    def __init__(self) -> None:
        super().__init__()
        self.request = KappaRequest()
        self.data: KappaData | None = None
        self.page = 0
        self.row = 0
        self.column = 0
        self.left = 0
        self.deep = False
        """The drill-down has the cursor."""
        self.term = 0

    # Reading

    def loader(self) -> Loader:
        return self.request

    def show(self, data: KappaData) -> None:
        if data.request.study != self.request.study or self.request.pair not in (-1, data.request.pair):
            return
        first = self.data is None or self.data.request != data.request
        self.data = data
        self._clamp()
        table = self._table()
        if first and table is not None and self.chosen() is None:
            filled = ((i, j) for i, r in enumerate(table.rows) for j, c in enumerate(table.columns) if table.at(r, c))
            self.row, self.column = next(filled, (0, 0))

    def _table(self) -> KappaTable | None:
        if self.data is None or not self.data.tables:
            return None
        return self.data.tables[self.page % len(self.data.tables)]

    def _clamp(self) -> None:
        table = self._table()
        if table is not None:
            self.row = min(self.row, len(table.rows) - 1)
            self.column = min(self.column, len(table.columns) - 1)

    def chosen(self) -> Kappa | None:
        """The kappa under the cursor."""
        table = self._table()
        found = table.at(table.rows[self.row], table.columns[self.column]) if table else ()
        return found[0] if found else None

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        if self.problem and self.data is None:
            return empty_state([clean(self.problem)], width, height)
        if self.data is None:
            return ()
        table = self._table()
        if table is None:
            name = self.lab_app.keymap.name
            return empty_state(["No kappa yet.", f"{name('show_new')} submits a study that measures one"], width, height)
        inner = width - 2
        if width >= 180:
            left = min(inner * 55 // 100, inner - 70)
            right = inner - left - 4
            lines = beside(
                (self._matrix(table, left, height), left), (self._detail(right, height), right), height=height, gap=4
            )
        else:
            top = min(len(table.rows) + 4, max(7, height - 11))
            matrix = self._matrix(table, inner, top)
            lines = [*matrix, (), *self._detail(inner, height - len(matrix) - 1)]
        return inset(lines)

    def _matrix(self, table: KappaTable, width: int, height: int) -> list[Line]:
        labels = [_labels(table.row_axes, key) for key in table.rows]
        wide = [max(len(part) for part in column) for column in zip(*labels, strict=True)]
        gutter = sum(wide) + 2 * len(wide)
        each = min(20, max(7, (width - gutter) // max(1, len(table.columns)) - 1))
        shown = max(1, (width - gutter) // (each + 1))
        self.left = min(max(self.left, self.column - shown + 1), self.column)
        columns = table.columns[self.left : self.left + shown]
        room = height - 4
        top = min(max(0, self.row - room + 1), max(0, len(table.rows) - room))
        note = self._page_note(table)
        lines: list[Line] = [rule("κ = Σ N*(n) / N*(joint)", width, note)]
        names = " · ".join(NAMES.get(a, a) for a in table.row_axes)
        head: list[Span] = [(fit(names, gutter), "dim")]
        axis = ", ".join(NAMES.get(a, a) for a in table.column_axes)
        for key in columns:
            head.append((fit(f"  {axis} {_name(key)}" if axis in ("L", "m") else f"  {_name(key)}", each) + " ", "dim"))
        if self.left + shown < len(table.columns):
            head[-1] = (head[-1][0].rstrip() + " ›", "dim")
        lines.append(tuple(head))
        for i in range(top, min(len(table.rows), top + room)):
            lines.append(self._matrix_row(table, i, labels[i], wide, columns, each))
        lines.append(())
        lines.append(self._legend(width))
        return lines

    def _matrix_row(
        self, table: KappaTable, i: int, label: list[str], wide: list[int], columns: Sequence[Key], each: int
    ) -> Line:
        key = table.rows[i]
        kappas = [k for c in table.columns for k in table.at(key, c)]
        spans: list[Span] = []
        for axis, part, room in zip(table.row_axes, label, wide, strict=True):
            same = i > 0 and axis == table.row_axes[0] and len(table.row_axes) > 1 and table.rows[i - 1][0] == key[0]
            style = ""
            if axis == "model_label" and kappas:
                style = model_style(kappas[0].cell.model)
                part = f"{model_sign(kappas[0].cell.model)} {part[2:]}"
            spans.append((fit("" if same else part, room) + "  ", style))
        for j, column in enumerate(columns, self.left):
            cursor = i == self.row and j == self.column
            place = cell_spans(table.at(key, column), each)
            spans.extend(((t, f"{k} caret") for t, k in place) if cursor and not self.deep else place)
            spans.append(("◂" if cursor else " ", "accent"))
        return tuple(spans)

    def _legend(self, width: int) -> Line:
        swatches = [(f" {text} ", f"kappa.{k:+d}") for k, text in ((-3, "¼"), (-2, "½"), (0, "1"), (2, "2"), (3, "4"))]
        left: list[Span] = [("interferes ", "dim"), *swatches, (" shares", "dim")]
        more = "   ≤ ≥ bounds   n/n pending   ! fails above" if width >= 90 else ""
        return (*left, (more, "dim"))

    def _page_note(self, table: KappaTable) -> str:
        assert self.data is not None
        parts = []
        if self.common is not None and self.request.study is not None:
            parts += [clean(s.name) for s in self.common.studies if s.id == self.request.study]
        if table.title:
            parts.append(f"{table.title}  ({self.page % len(self.data.tables) + 1}/{len(self.data.tables)})")
        keys = self.lab_app.keymap.name
        if len(self.data.pairs) > 1:
            parts.append(f"{keys('axes')} other axes")
        return "   ".join(parts)

    def _detail(self, width: int, height: int) -> list[Line]:
        kappa = self.chosen()
        if kappa is None or height < 3:
            return []
        cell = kappa.cell
        title = f"{clean(cell.model_label)} {clean(cell.task)} {cell.format} L={cell.min_length}..{cell.L}"
        head = rule(title, width, f"κ {kappa.text()}", hot=self.deep)
        notes: list[Line] = [text_line(note, "warn") for note in kappa.notes[:2]]
        room = height - 1 - len(notes)
        if width >= 100 or (width >= 74 and room >= 8):
            left = 38
            lines = beside(
                (self._terms(kappa, left, room), left), (terms_plot(kappa, width - left - 3, room), width - left - 3),
                height=room, gap=3,
            )  # fmt: skip
        else:
            terms = self._terms(kappa, width, room)
            chart = terms_plot(kappa, width, room - len(terms) - 1) if room - len(terms) >= 9 and not self.deep else []
            lines = [*terms, (), *chart]
        return [head, *notes, *lines]

    def _terms(self, kappa: Kappa, width: int, height: int) -> list[Line]:
        """N*_n per length and the joint one, each a job that enter opens."""
        entries: list[Term | None] = [*kappa.terms, None]
        top = min(max(0, self.term - height + 2), max(0, len(entries) - height + 1)) if self.deep else 0
        lines: list[Line] = [((fit("  n", 8), "dim"), (fit("N*", 11, ">"), "dim"), ("  state", "dim"))]
        for i, term in enumerate(entries[top : top + max(1, height - 1)], top):
            part = term or kappa.cell.joint
            here = self.deep and i == self.term
            value = figures.bracket(part.lo, part.hi, part.n_max, part.status)
            style = {"bracket": "strong", "censored": "warn"}.get(part.status, "dim")
            spans: Line = (
                ("▸ " if here else "  ", "accent"),
                (fit(f"n={term.n}" if term else "joint", 6), "" if term else "mark"),
                (fit(value, 11, ">"), style),
                (f"  {STATE_SIGN[part.state]} {part.state}", state_style(part.state)),
                (f"  {figures.flags(part.flags)}", "warn"),
            )
            lines.append(tuple((t, f"cursor {k}") for t, k in crop(spans, width)) if here else crop(spans, width))
        if kappa.cell.joint.generalisation is not None and len(lines) < height:
            lines.append(text_line(f"  at 2L: accuracy {kappa.cell.joint.generalisation:.2f}", "dim"))
        return lines

    # Hands

    def selection(self) -> list[int]:
        kappa = self.chosen()
        return [] if kappa is None else [*(t.job_id for t in kappa.terms), kappa.cell.joint.job_id]

    def copy_text(self) -> str:
        kappa = self.chosen()
        return "" if kappa is None else f"{kappa.cell.model_label} {kappa.cell.format} L={kappa.cell.L}: {kappa.text()}\n"

    def _go(self, rows: int, columns: int) -> None:
        table = self._table()
        kappa = self.chosen()
        if self.deep and kappa is not None:
            self.term = max(0, min(len(kappa.terms), self.term + rows))
        elif table is not None:
            self.row = max(0, min(len(table.rows) - 1, self.row + rows))
            self.column = max(0, min(len(table.columns) - 1, self.column + columns))
        self.redraw()

    def do_up(self) -> None:
        self._go(-1, 0)

    def do_down(self) -> None:
        self._go(1, 0)

    def do_left(self) -> None:
        self._go(0, -1)

    def do_right(self) -> None:
        self._go(0, 1)

    def do_home(self) -> None:
        self._go(-(10**6), -(10**6))

    def do_end(self) -> None:
        self._go(10**6, 10**6)

    def wheel(self, by: int) -> None:
        self._go(1 if by > 0 else -1, 0)

    def do_open(self) -> None:
        """Into the lengths of this kappa; then into the job of one."""
        kappa = self.chosen()
        if kappa is None:
            return
        if not self.deep:
            self.deep, self.term = True, 0
            self.redraw()
            return
        terms = kappa.terms
        self.lab_app.open_job(terms[self.term].job_id if self.term < len(terms) else kappa.cell.joint.job_id)

    def do_back(self) -> None:
        if self.deep:
            self.deep = False
            self.redraw()
        elif self.request.study is not None:
            self._change(study=None)
        else:
            self.lab_app.do_back()

    def do_axes(self) -> None:
        if self.data is not None and len(self.data.pairs) > 1:
            pairs = self.data.pairs
            at = pairs.index(self.data.request.pair) if self.data.request.pair in pairs else 0
            self._change(pair=pairs[(at + 1) % len(pairs)])

    def can_axes(self) -> bool:
        return self.data is not None and len(self.data.pairs) > 1

    def do_next_panel(self) -> None:
        """The next page, where axes are left over."""
        self._page(1)

    def do_prev_panel(self) -> None:
        self._page(-1)

    def _page(self, by: int) -> None:
        if self.data is not None and self.data.tables:
            self.page = (self.page + by) % len(self.data.tables)
            self.deep = False
            self._clamp()
            self.redraw()

    def do_next_study(self) -> None:
        self._study(1)

    def do_prev_study(self) -> None:
        self._study(-1)

    def _study(self, by: int) -> None:
        ids: list[int | None] = [None, *(s.id for s in self.common.studies if not s.archived)] if self.common else [None]
        at = ids.index(self.request.study) if self.request.study in ids else 0
        self._change(study=ids[(at + by) % len(ids)])

    def _change(self, **changes: Any) -> None:
        self.request = replace(self.request, **changes)
        self.page = self.row = self.column = self.left = 0
        self.deep = False
        self.reload()


def _name(key: Key) -> str:
    return " ".join("–" if v is None else clean(str(v)) for v in key)


def _labels(axes: Sequence[str], key: Key) -> list[str]:
    out = []
    for axis, value in zip(axes, key, strict=True):
        text = "–" if value is None else clean(str(value))
        out.append(f"  {text}" if axis == "model_label" else f"{axis} {text}" if axis in ("L", "m") else text)
    return out
