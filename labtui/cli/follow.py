"""Following work to its end: lines as searches end, and where it stands in between;
a bar where stderr is a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from labtui.analysis.eta import read_outlook
from labtui.cli import supervise
from labtui.cli.context import Context
from labtui.cli.errors import FAILED, WorkFailed
from labtui.cli.notebook import NotebookBar, in_notebook
from labtui.text import to_ascii
from labtui.views.numbers import clock
from labtui.views.progress import ended_line, fraction, left, state_line
from store.rows import JobRow
from store.states import ENDED_STATES, MOVING_STATES

LINE_EVERY_S = 5.0
SPECS = 200
"""Searches whose specs are read for the time that is left."""
LOST_S = 10.0
"""How long live jobs may be without a supervisor before following gives up."""
Alive = Callable[[], bool]


class Follower:
    """Watches some jobs of a lab, or (ids None) whatever is in its queue."""

    def __init__(
        self, context: Context, ids: Sequence[int] | None, alive: Alive, *, lost_s: float = LOST_S
    ) -> None:
        self._context, self._alive, self._lost_s = context, alive, lost_s
        self._lab = context.lab
        self._ids = None if ids is None else list(ids)
        self._told = {job.id for job in self._jobs() if job.state in ENDED_STATES}
        self._console, self._bar, self._task = self._output()
        self._notebook = NotebookBar() if in_notebook() else None

    def _output(self) -> tuple[Console, Progress | None, TaskID | None]:
        console = Console(file=self._context.err, highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            return console, None, None
        bar = Progress(
            TextColumn("{task.percentage:>3.0f} %"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        return console, bar, bar.add_task("", total=1.0)

    def _jobs(self) -> list[JobRow]:
        """Those that are watched: of the whole queue also what was submitted since."""
        return self._lab.jobs(list(self._lab.job_ids()) if self._ids is None else self._ids)

    def run(self) -> int:
        """Follow until nothing that is watched can go on; the exit code.

        Raises:
            WorkFailed: the supervisor is gone and work is left.
        """
        if self._bar is None:
            return self._loop()
        with self._bar:
            return self._loop()

    def _loop(self) -> int:
        version, last_line, last_alive = -1, 0.0, time.monotonic()
        while True:
            now = time.monotonic()
            current = self._lab.data_version()
            if current != version or now - last_line >= LINE_EVERY_S:
                version = current
                jobs = self._jobs()
                self._tell_ended(jobs)
                live = [job for job in jobs if job.state in MOVING_STATES]
                if not live:
                    if self._notebook is not None:
                        self._notebook.update(1.0, f"{len(jobs)} search{'es' * (len(jobs) != 1)}")
                    return self._finish(jobs)
                if now - last_line >= LINE_EVERY_S or self._bar is not None or self._notebook is not None:
                    last_line = self._tell_state(jobs, now, last_line)
            if self._alive():
                last_alive = now
            elif asked := [str(job.id) for job in live if job.needs_word]:
                raise WorkFailed(
                    f"{len(asked)} searches run a program and wait for your word: labtui allow "
                    + " ".join(asked[:5])
                )
            elif now - last_alive > self._lost_s:
                raise WorkFailed(
                    "the supervisor has ended and work is left; see labtui logs, then labtui daemon start"
                )
            time.sleep(0.1)

    def _tell_ended(self, jobs: Sequence[JobRow]) -> None:
        for job in sorted(jobs, key=lambda j: j.finished_at or 0.0):
            if job.state in ENDED_STATES and job.id not in self._told:
                self._told.add(job.id)
                self._say(ended_line(job))

    def _tell_state(self, jobs: Sequence[JobRow], now: float, last_line: float) -> float:
        going = [job.id for job in jobs if job.state not in ENDED_STATES]
        found = read_outlook(self._lab, going[:SPECS])
        words = state_line(jobs, found.eta if self._ids is None else left(jobs, found.outlook))
        if self._notebook is not None:
            self._notebook.update(fraction(jobs, found.outlook), words)
            return now
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=fraction(jobs, found.outlook), description=words)
            return now
        self._say(words)
        return now

    def _finish(self, jobs: Sequence[JobRow]) -> int:
        paused = [job for job in jobs if job.state == "paused"]
        if paused:
            self._say(
                f"{len(paused)} paused; go on with: labtui resume "
                f"{' '.join(str(job.id) for job in paused[:5])}"
            )
        failed = [job for job in jobs if job.state in ("failed", "cancelled")]
        return FAILED if failed else 0

    def _say(self, text: str) -> None:
        shown = f"{clock(time.time())}  {text}"
        if self._context.ascii:
            shown = to_ascii(shown)
        self._console.print(shown, soft_wrap=True)


def supervise_and_follow(context: Context) -> int:
    """Run a supervisor here until its queue is empty; the exit code.

    Raises:
        WorkFailed: it ended before that.
    """
    child = supervise.Foreground(context, "--until-empty")
    try:
        return Follower(context, None, child.running, lost_s=1.0).run()
    except WorkFailed as error:
        supervise.refuse_second(context)  # another one took the lab as this one came up
        raise WorkFailed(child.problem() or str(error)) from None
    finally:
        child.end()
