"""A bar on the terminal for what takes more than two seconds; before that, and elsewhere, nothing is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from labtui.cli.context import Context

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DELAY_S = 2.0


class Bar:
    """How far one thing is; it runs to and fro until it is told how far that is."""

    def __init__(self, text: str, err: TextIO) -> None:
        self._text, self._err = text, err
        self._shown: tuple[Progress, TaskID] | None = None
        self._state: tuple[float, float | None] = (0.0, None)
        self._lock = threading.Lock()
        self._over = False
        self._timer: threading.Timer | None = None
        if err.isatty():
            self._timer = threading.Timer(DELAY_S, self._show)
            self._timer.daemon = True
            self._timer.start()

    def at(self, done: float, total: float | None = None) -> None:
        """Tell that so much is done, of so much where that is known."""
        self._state = (done, total)
        if self._shown is not None:
            progress, task = self._shown
            progress.update(task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar away."""
        with self._lock:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            if self._shown is not None:
                self._shown[0].stop()

    def _show(self) -> None:
        from rich.console import Console  # 60 ms that only those pay who wait longer than two seconds
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._over:
                return
            console = Console(file=self._err, highlight=False, markup=False, emoji=False)
            progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(show_speed=False),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            done, total = self._state
            self._shown = progress, progress.add_task(self._text, completed=int(done), total=total)
            progress.start()


@contextmanager
def waiting(context: Context, text: str) -> Iterator[Bar]:
    """Show that the command is at something."""
    bar = Bar(text, context.err)
    try:
        yield bar
    finally:
        bar.close()
