"""A screen of the results of one study, or of all: a cursor that moves both ways, keys that turn to the next
study.
"""

from __future__ import annotations

from typing import Any

from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import ScreenPane


class StudyPane(ScreenPane):
    """Subclasses hold ``request.study`` and say what moving the cursor and asking for something else mean."""

    request: Any

    def loader(self) -> Loader:
        asked: Loader = self.request
        return asked

    def go(self, rows: int, columns: int) -> None:
        """Move the cursor."""
        raise NotImplementedError(type(self).__name__)

    def change(self, **changes: Any) -> None:
        """Ask for something else: another study, other axes."""
        raise NotImplementedError(type(self).__name__)

    def do_up(self) -> None:
        self.go(-1, 0)

    def do_down(self) -> None:
        self.go(1, 0)

    def do_left(self) -> None:
        self.go(0, -1)

    def do_right(self) -> None:
        self.go(0, 1)

    def wheel(self, by: int) -> None:
        self.go(1 if by > 0 else -1, 0)

    def can_next_study(self) -> bool:
        return self.common is not None and bool(self.common.studies)

    can_prev_study = can_next_study

    def do_next_study(self) -> None:
        self.change(study=self.study_after(self.request.study, 1))

    def do_prev_study(self) -> None:
        self.change(study=self.study_after(self.request.study, -1))
