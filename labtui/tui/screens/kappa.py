"""Kappa: who shares, who doesn't?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from labtui.text import clean, fit
from labtui.tui.choice import Choice
from labtui.tui.screens.screen_pane import empty_state
from labtui.tui.screens.study_pane import StudyPane
from labtui.views import numbers as figures
from labtui.views.forest import forest
from labtui.views.kappa import (
    Axes,
    Layout,
    best,
    cell_spans,
    column_head,
    laid_out,
    name,
    named,
    proof,
    terms_plot,
)
from labtui.views.lines import Line, Span, beside, crop, ends, inset, linked, rule, size, text_line
from labtui.views.signs import STATE_SIGN, arrows, model_sign, model_style, state_style

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa, Term
    from labtui.analysis.table import KappaTable, Key
    from store.rows import NStar

DETAIL = 14
"""Lines that the drill-down keeps before anything else is drawn above it."""
LEAST = 10
"""The same where the forest has more rows than there is room for."""


@dataclass(frozen=True)
class KappaData:
    """The tables of one study."""

    tables: tuple[KappaTable, ...]
    layouts: tuple[Layout, ...]
    """Every pair of axes that differ, the liked ones first."""
    liked: int
    """How many of them are liked."""
    request: KappaRequest


@dataclass(frozen=True)
class KappaRequest:
    """What to read."""

    study: int | None = None
    axes: tuple[Axes, Axes] | None = None
    """Rows and columns; None: the pair that shows most."""

    def __call__(self, lab: Any) -> KappaData:
        from labtui.analysis.table import tables

        cells = [c for c in lab.cells(self.study) if c.parts]
        found, liked = laid_out(cells)
        chosen = next((one for one in found if one.axes == self.axes), None) or best(found[:liked] or found)
        return KappaData(
            tables(cells, *chosen.axes) if cells else (), found, liked, replace(self, axes=chosen.axes)
        )


class KappaPane(StudyPane):
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
        self.keep: int | None = None
        """The cell that the cursor stays on while the axes change."""

    # Reading

    def show(self, data: KappaData) -> None:
        if data.request.study != self.request.study or self.request.axes not in (None, data.request.axes):
            return
        first = self.data is None or self.data.request != data.request
        self.data = data
        self._clamp()
        self._find_kept()
        table = self._table()
        if first and table is not None and self.chosen() is None:
            filled = (
                (i, j)
                for i, r in enumerate(table.rows)
                for j, c in enumerate(table.columns)
                if table.at(r, c)
            )
            self.row, self.column = next(filled, (0, 0))

    def _find_kept(self) -> None:
        """Put the cursor on the cell that it stood on before the axes changed."""
        if self.keep is None or self.data is None:
            return
        for page, table in enumerate(self.data.tables):
            for i, row in enumerate(table.rows):
                for j, column in enumerate(table.columns):
                    if any(k.cell.id == self.keep for k in table.at(row, column)):
                        self.page, self.row, self.column = page, i, j
                        self.keep = None
                        return

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
            return empty_state(
                ["No kappa yet.", f"{name('show_new')} submits a study that measures one"], width, height
            )
        inner = width - 2
        if width >= 180:
            left = min(inner * 55 // 100, inner - 70)
            right = inner - left - 4
            matrix = self._matrix(table, left, min(height, len(table.rows) + 4))
            below = self._forest(table, left, height - len(matrix) - 1)
            lines = beside(
                ([*matrix, (), *below], left), (self._detail(right, height), right), height=height, gap=4
            )
        else:
            top = min(len(table.rows) + 4, max(7, height - 10))
            matrix = self._matrix(table, inner, top)
            free = height - len(matrix) - 2
            kappas = sum(len(table.at(r, c)) for r in table.rows for c in table.columns)
            detail = max(LEAST, min(DETAIL, free - kappas - 2))
            below = self._forest(table, inner, free - detail)
            if len(below) >= 5:
                matrix = [*matrix, (), *below]
            lines = [*matrix, (), *self._detail(inner, height - len(matrix) - 1)]
        return inset(lines)

    def _matrix(self, table: KappaTable, width: int, height: int) -> list[Line]:
        labels = [_labels(table.row_axes, key) for key in table.rows]
        wide = [max(len(part) for part in column) for column in zip(*labels, strict=True)]
        gutter = max(sum(wide) + 2 * len(wide) - 1, min(len(named(table.row_axes)) + 1, width // 3))
        wide[-1] += gutter - (sum(wide) + 2 * len(wide) - 1)
        each = min(32, max(7, (width - gutter - 1) // max(1, len(table.columns)) - 1))
        shown = max(1, (width - gutter - 1) // (each + 1))
        self.left = min(max(self.left, self.column - shown + 1), self.column)
        columns = table.columns[self.left : self.left + shown]
        room = height - (4 if len(table.rows) + 4 <= height else 3)
        top = min(max(0, self.row - room + 1), max(0, len(table.rows) - room))
        formula = "κ = Σ N*_n / N*_joint"
        lines: list[Line] = [rule(formula, width, self._page_note(table, width - len(formula) - 4))]
        head: list[Span] = [(fit(named(table.row_axes), gutter), "dim"), ("‹" if self.left else " ", "dim")]
        for key in columns:
            found = next((k for row in table.rows for k in table.at(row, key)), None)
            if table.column_axes[0] == "model_label" and found is not None:
                kind = found.cell.model
                head.append((f"  {model_sign(kind)} ", model_style(kind)))
                head.append((fit(figures.values(key), each - 4) + " ", ""))
            else:
                head.append((fit(f"  {column_head(table.column_axes, key)}", each) + " ", "dim"))
        if self.left + shown < len(table.columns):
            head[-1] = (head[-1][0][:-1] + "›", "dim")
        lines.append(tuple(head))
        shown_rows = range(top, min(len(table.rows), top + room))
        lines += [self._matrix_row(table, i, labels[i], wide, columns, each) for i in shown_rows]
        hidden = len(table.rows) - min(len(table.rows), room)
        if hidden or room == height - 4:
            lines += [()] * (height - 1 - len(lines))
        lines.append(
            ends(
                self._legend(width),
                ((f"{hidden} more row{'s' * (hidden > 1)}" if hidden else "", "warn"),),
                width,
            )
        )
        return lines

    def _forest(self, table: KappaTable, width: int, height: int) -> list[Line]:
        here = self.chosen()
        every = [k for row in table.rows for column in table.columns for k in table.at(row, column)]
        return forest(every, width, height, here.cell.id if here else None)

    def _matrix_row(
        self, table: KappaTable, i: int, label: list[str], wide: list[int], columns: Sequence[Key], each: int
    ) -> Line:
        key = table.rows[i]
        kappas = [k for c in table.columns for k in table.at(key, c)]
        spans: list[Span] = []
        for axis, part, room in zip(table.row_axes, label, wide, strict=True):
            same = (
                i > 0
                and axis == table.row_axes[0]
                and len(table.row_axes) > 1
                and table.rows[i - 1][0] == key[0]
            )
            style = ""
            if axis == "model_label" and kappas:
                style = model_style(kappas[0].cell.model)
                part = f"{model_sign(kappas[0].cell.model)} {part[2:]}"
            spans.append((fit("" if same else part, room) + "  ", style))
        spans[-1] = (spans[-1][0][:-1], spans[-1][1])
        frame = "dim" if self.deep else "mark"
        for j, column in enumerate(columns, self.left):
            here = i == self.row and j == self.column
            after = i == self.row and j == self.column + 1 and j > self.left
            spans.append(("┃", frame) if here or after else (" ", ""))
            spans.extend(linked(tuple(cell_spans(table.at(key, column), each)), f"cell:{i},{j}"))
        last = i == self.row and self.column == self.left + len(columns) - 1
        spans.append(("┃", frame) if last else (" ", ""))
        return tuple(spans)

    def _legend(self, width: int) -> Line:
        swatches = [
            (f" {text} {arrows(k)} " if k else f" {text} ", f"kappa.{k:+d}")
            for k, text in ((-3, "1/4"), (-2, "1/2"), (0, "1"), (2, "2"), (3, "4"))
        ]
        left: Line = (("interferes ", "dim"), *swatches, (" shares", "dim"))
        table = self._table()
        here = [k for row in table.rows for c in table.columns for k in table.at(row, c)] if table else []
        words = {
            "   ≤  ≥  bounds": any(k.status.endswith("_bound") for k in here),
            "   ! fails above": any("fails_above" in k.flags for k in here),
            "   n/n pending": any(k.status == "pending" for k in here),
        }
        room = width - size(left)
        for wanted in sorted(words, key=lambda word: not words[word]):  # those of signs that stand there
            if len(wanted) <= room:
                room -= len(wanted)
            else:
                del words[wanted]
        return (*left, ("".join(words), "dim"))

    def _page_note(self, table: KappaTable, room: int) -> str:
        """Which study and which page, and the keys of others: what goes first where there is no room."""
        assert self.data is not None
        keys = self.lab_app.keymap.name
        study = page = other = ""
        if self.common is not None and self.request.study is not None:
            study = next((clean(s.name) for s in self.common.studies if s.id == self.request.study), "")
        if table.title:
            at, pages = self.page % len(self.data.tables) + 1, len(self.data.tables)
            turn = f", {keys('next_panel')}: page" if pages > 1 else ""
            page = f"{table.title}  ({at}/{pages}{turn})"
        if len(self.data.layouts) > 1:
            other = f"{keys('axes')}, {keys('choose_axes')}: other axes"
        told = ""
        for parts in ((study, page, other), (study, page), (page or study,)):
            told = "   ".join(filter(None, parts))
            if cell_len(told) <= room:
                break
        return told

    def _detail(self, width: int, height: int) -> list[Line]:
        kappa = self.chosen()
        if height < 3:
            return []
        if kappa is None:
            return [(), text_line("no search of this lab measures this place of the table", "dim")]
        cell = kappa.cell
        title = name(cell)
        kind = {"resolution": f", {figures.SCATTER}", "credible": " 90 %", "mixed": " 90 % in part"}
        head = rule(title, width, f"κ {kappa.text()}{kind.get(kappa.interval, '')}", hot=self.deep)
        notes: list[Line] = [text_line(note, "warn") for note in kappa.notes[:2]]
        room = height - 1 - len(notes)
        tall = width < 116 and room >= 24 and _estimated(kappa)  # room for all columns above the plot
        if (width >= 100 or (width >= 74 and room >= 8)) and not tall:
            left = 60 if width >= 116 and _estimated(kappa) else 38
            lines = beside(
                (self._terms(kappa, left, room), left),
                (self._chart(kappa, width - left - 3, room), width - left - 3), height=room, gap=3,
            )  # fmt: skip
        else:
            terms = self._terms(kappa, width, room)
            space = min(room - len(terms) - 1, max(24, width // 3))
            chart = self._chart(kappa, width, space) if space >= 8 and (not self.deep or width >= 60) else []
            lines = [*terms, (), *chart]
        return [head, *notes, *lines]

    def _chart(self, kappa: Kappa, width: int, height: int) -> list[Line]:
        chosen = kappa.terms[self.term].n if self.deep and self.term < len(kappa.terms) else None
        return terms_plot(kappa, width, height, chosen)

    def _terms(self, kappa: Kappa, width: int, height: int) -> list[Line]:
        """N*_n per length and the joint one, each a job that enter opens."""
        entries: list[Term | None] = [*kappa.terms, None]
        top = min(max(0, self.term - height + 2), max(0, len(entries) - height + 1)) if self.deep else 0
        estimated = _estimated(kappa)
        wide = estimated and width >= 56
        room = 10 if estimated else 13
        heads: list[Span] = [(fit("  n", 8), "dim"), (fit("N*", room, ">"), "dim")]
        heads += [(fit("90 %", 16, ">"), "dim")] if wide else []
        heads += [(fit("N_50", 10, ">"), "dim")] if estimated else []
        lines: list[Line] = [(*heads, ("  state", "dim"))]
        for i, term in enumerate(entries[top : top + max(1, height - 1)], top):
            part = term or kappa.cell.joint
            here = self.deep and i == self.term
            value = figures.nstar(part) if part.status == "open" else figures.nstar_exact(part)
            style = {"bracket": "strong", "censored": "warn"}.get(part.status, "dim")
            named = fit(_called(term) if term else "joint", 6).rstrip()
            spans: Line = (
                ("▸ " if here else "  ", "accent"),
                (named, "" if term else "mark"),
                (" " * (6 - cell_len(named)), ""),
                (fit(value, room, ">"), style),
                *([(fit(_ends(part.estimate), 16, ">"), "")] if wide else ()),
                *([(fit(_half(part.n50), 10, ">"), "dim")] if estimated else ()),
                self._state(part.state),
            )
            told = figures.flags(part.flags)  # the notes above say it in full
            told = f"  {told}" if size(spans) + len(told) + 2 <= width else " !"
            spans = (*spans, (told if part.flags else "", "warn"))
            lines.append(linked(crop(spans, width), f"term:{i}", "cursor" if here else ""))
        total, formula = proof(kappa)
        if formula and len(lines) + 2 <= height and not self.deep:
            lines.insert(len(lines) - 1, (("  Σ     ", "dim"), (fit(total[2:], room, ">"), "strong")))
            lines.append(text_line(f"  {formula}", "strong"))
        if kappa.cell.joint.generalisation is not None and len(lines) < height:
            lines.append(
                text_line(
                    f"  at 2L: accuracy {figures.share(kappa.cell.joint.generalisation)}, 0 is chance", "dim"
                )
            )
        return lines

    def _state(self, state: str) -> Span:
        if state == "running" and not self.supervised:
            return "  ‖ stopped", "state.paused"
        return f"  {STATE_SIGN[state]} {state}", state_style(state)

    # Hands

    def selection(self) -> list[int]:
        kappa = self.chosen()
        return [] if kappa is None else [*(t.job_id for t in kappa.terms), kappa.cell.joint.job_id]

    def copy_text(self) -> str:
        kappa = self.chosen()
        return "" if kappa is None else f"{name(kappa.cell)}: {kappa.text()}\n"

    def go(self, rows: int, columns: int) -> None:
        table = self._table()
        kappa = self.chosen()
        if self.deep and kappa is not None:
            self.term = max(0, min(len(kappa.terms), self.term + rows))
        elif table is not None:
            self.row = max(0, min(len(table.rows) - 1, self.row + rows))
            self.column = max(0, min(len(table.columns) - 1, self.column + columns))
        self.redraw()

    def do_home(self) -> None:
        self.go(-(10**6), -(10**6))

    def do_end(self) -> None:
        self.go(10**6, 10**6)

    def click_cell(self, value: str) -> None:
        """A click on a kappa chooses it; a second one goes into its lengths."""
        place = (int(value.split(",")[0]), int(value.split(",")[1]))
        if place == (self.row, self.column):
            self.deep = False
            self.do_open()
            return
        self.deep = False
        self.row, self.column = place
        self._clamp()
        self.redraw()

    def click_term(self, value: str) -> None:
        """A click on a length chooses it; a second one opens its job."""
        if self.deep and self.term == int(value):
            self.do_open()
        elif self.chosen() is not None:
            self.deep, self.term = True, int(value)
            self.redraw()

    def click_kappa(self, value: str) -> None:
        """Choose the kappa of a row of the forest."""
        self.keep = int(value)
        self.deep = False
        self._find_kept()
        self.redraw()

    def do_open(self) -> None:
        """Go into the lengths of this kappa; then into the job of one."""
        kappa = self.chosen()
        if kappa is None:
            return
        if not self.deep:
            self._turn(True)
            return
        terms = kappa.terms
        self.lab_app.open_job(terms[self.term].job_id if self.term < len(terms) else kappa.cell.joint.job_id)

    def _turn(self, deep: bool) -> None:
        """Into the lengths or out of them: the footer has another word for enter."""
        self.deep, self.term = deep, 0
        self.redraw()
        self.lab_app.refresh_frame()

    def do_back(self) -> None:
        if self.deep:
            self._turn(False)
        elif self.request.study is not None:
            self.change(study=None)
        else:
            self.lab_app.do_back()

    def do_axes(self) -> None:
        """Show the next of the pairs that are liked."""
        if self.data is not None and self.data.liked > 1:
            pairs = [one.axes for one in self.data.layouts[: self.data.liked]]
            at = pairs.index(self.data.request.axes) if self.data.request.axes in pairs else -1
            self.change(axes=pairs[(at + 1) % len(pairs)])

    def can_axes(self) -> bool:
        return self.data is not None and self.data.liked > 1

    def do_choose_axes(self) -> None:
        """Offer any axes that differ, one as rows or two, another as columns."""
        if self.data is None:
            return

        def take(axes: tuple[Axes, Axes]) -> None:
            self.change(axes=axes)

        now = self.data.request.axes
        choices = [
            Choice(
                f"{'✓' if one.axes == now else ' '} {named(one.rows)} × {named(one.columns)}",
                partial(take, one.axes),
                one.words(),
            )
            for one in self.data.layouts
        ]
        pairs = [one.axes for one in self.data.layouts]
        at = pairs.index(now) if now in pairs else 0
        self.lab_app.choose("Rows × columns", choices, empty="no such pair of axes", at=at)

    def can_choose_axes(self) -> bool:
        return self.data is not None and len(self.data.layouts) > 1

    def do_next_panel(self) -> None:
        """Turn to the next page, where axes are left over."""
        self._page(1)

    def do_prev_panel(self) -> None:
        self._page(-1)

    def _page(self, by: int) -> None:
        if self.data is not None and self.data.tables:
            self.page = (self.page + by) % len(self.data.tables)
            self.deep = False
            self._clamp()
            self.redraw()

    def can_open(self) -> bool:
        return self.chosen() is not None

    def label(self, action_id: str) -> str:
        return "job" if action_id == "open" and self.deep else ""

    def can_next_panel(self) -> bool:
        return self.data is not None and len(self.data.tables) > 1

    can_prev_panel = can_next_panel

    def change(self, **changes: Any) -> None:
        kappa = self.chosen()
        self.keep = kappa.cell.id if kappa is not None and "axes" in changes else None
        self.request = replace(self.request, **changes)
        self.page = self.row = self.column = self.left = 0
        self.deep = False
        self.reload()


def _labels(axes: Sequence[str], key: Key) -> list[str]:
    out = []
    for axis, value in zip(axes, key, strict=True):
        text = "–" if value is None else clean(str(value))
        out.append(f"  {text}" if axis == "model_label" else f"{axis} {text}" if axis in ("L", "m") else text)
    return out


def _estimated(kappa: Kappa) -> bool:
    """Whether any of its searches has fresh seeds, and so an estimate of N* and of N_50."""
    parts: tuple[Term | NStar, ...] = (*kappa.terms, kappa.cell.joint)
    return any(part.estimate is not None for part in parts)


def _ends(estimate: tuple[float, float, float] | None) -> str:
    return "" if estimate is None else figures.count_ends(estimate)


def _half(n50: tuple[float, float, float] | None) -> str:
    return "" if n50 is None else figures.count_interval(n50).partition(" ")[0]


def _called(term: Term) -> str:
    """``n=5``, or the name of a program's part."""
    return clean(term.name) or f"n={term.n}"
