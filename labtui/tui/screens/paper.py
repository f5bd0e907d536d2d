"""Paper: does it hold? Its statements beside the lab, and what is behind the one under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import ScreenPane, empty_state
from labtui.views.lines import Line, based, crop, inset, linked, rule
from labtui.views.paper import detail_lines, full_text, row_line, summary

if TYPE_CHECKING:
    from labtui.analysis.paper import Row
    from runners.spec import Job


@dataclass(frozen=True)
class PaperRequest:
    """Each statement beside all cells of the lab."""

    specs: dict[int, Job | None] = field(default_factory=dict, compare=False)
    """Those read before: the spec of a job never changes."""

    def __call__(self, lab: Any) -> tuple[Row, ...]:
        # pydantic: only where this screen is looked at
        from labtui.analysis.paper import compare_paper
        from labtui.analysis.stored import measured

        return compare_paper(*measured(lab, known=self.specs))


class PaperPane(ScreenPane):
    """The statements, and below them the comparisons of one."""

    key = "paper"

    def __init__(self) -> None:
        super().__init__()
        self.request = PaperRequest()
        self.rows: tuple[Row, ...] = ()
        self.at = 0
        self.top = 0
        """The first line of what is behind the statement."""
        self.list_top = 0
        self.rest = 0
        """Lines of it that do not fit."""

    def loader(self) -> Loader:
        return self.request

    def show(self, data: tuple[Row, ...]) -> None:
        self.rows = data

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        if not self.rows:
            return empty_state(["Does the paper hold?"], width, height) if not self.fresh else []
        if not any(row.comparisons for row in self.rows):
            name = self.lab_app.keymap.name
            said = [
                "Nothing here yet that the paper says anything of.",
                f"{name('show_new')}: the preset laptop",
            ]
            return empty_state([*said, f"{name('show_kappa')}: what this lab holds"], width, height)
        inner = width - 2
        told = summary(self.rows)
        head = "does the paper hold?   T transformer, R recurrent"
        head = head if len(head) + len(told) + 4 <= inner else "does the paper hold?"
        told = told if len(head) + len(told) + 4 <= inner else summary(self.rows, short=True)
        lines = [rule(head, inner, told), *self._list(inner)]
        row = self.rows[self.at]
        behind = [*full_text(row, inner), *detail_lines(row, inner)]
        room = max(1, height - len(lines) - 1)
        self.rest = max(0, len(behind) - room)
        self.top = min(self.top, self.rest)
        left = self.rest - self.top
        more = f"{left} more line{'s' * (left > 1)}" if left > 0 else ""
        lines.append(rule(row.statement.number, inner, more))
        return inset([*lines, *behind[self.top : self.top + room]])

    def _list(self, width: int) -> list[Line]:
        self.list_top = 1
        out = []
        for i, row in enumerate(self.rows):
            line = crop(row_line(row, width), width)
            here = based(line, "cursor") if i == self.at else line
            out.append(linked(here, f"statement:{i}"))
        return out

    # Hands

    def selection(self) -> list[int]:
        return list(self.rows[self.at].jobs) if self.rows else []

    def copy_text(self) -> str:
        from labtui.views.lines import plain

        if not self.rows:
            return ""
        row = self.rows[self.at]
        return "\n".join(map(plain, [row_line(row, 110), *detail_lines(row, 110)])) + "\n"

    def _move(self, to: int) -> None:
        self.at = max(0, min(len(self.rows) - 1, to))
        self.top = 0
        self.redraw()
        self.lab_app.refresh_frame()

    def _scroll(self, by: int) -> None:
        self.top = max(0, min(self.rest, self.top + by))
        self.redraw()

    def do_up(self) -> None:
        self._move(self.at - 1)

    def do_down(self) -> None:
        self._move(self.at + 1)

    def do_home(self) -> None:
        self._move(0)

    def do_end(self) -> None:
        self._move(len(self.rows) - 1)

    def do_page_down(self) -> None:
        self._scroll(5)

    def do_page_up(self) -> None:
        self._scroll(-5)

    def wheel(self, by: int) -> None:
        self._scroll(by)

    def click_statement(self, value: str) -> None:
        """A click on a statement shows what is behind it."""
        self._move(int(value))

    def do_open(self) -> None:
        """Open the first search behind the statement."""
        jobs = [c.jobs[0] for c in self.rows[self.at].comparisons] if self.rows else []
        if jobs:
            self.lab_app.open_job(jobs[0])

    def can_open(self) -> bool:
        return bool(self.rows and self.rows[self.at].comparisons)
