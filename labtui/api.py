"""The Python API: a lab in the words of the command line.

```python
from labtui import Lab

lab = Lab("lab.db", read_only=False)
lab.submit("quick")  # a preset, a TOML file, or a dict
lab.run()  # train until the queue is empty
table = lab.kappa()  # a frame, or a list of frozen rows
lab.figure("kappa", "kappa.pdf")
```

Tables come as pandas frames where pandas is installed, as polars frames where only polars is, else as lists
of frozen dataclasses; ``Lab(..., frames="rows")`` always gives the lists. In a frame, lists (seeds, learning
rates, flags) are JSON texts. Times are ISO 8601 in UTC, losses nats per position.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from html import escape
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from labtui.cli.context import Context
    from labtui.cli.writing import Submitted
    from labtui.export.records import Record
    from store.read import Lab as StoredLab


def program(function: Callable[..., Any], folder: str | os.PathLike[str] = ".") -> dict[str, str]:
    """The keys of ``[program]`` for a function that stands in a notebook: its source goes into a file of its
    own in ``folder``, under a name that its digest is part of. It has to import what it needs inside itself.

    Raises:
        ValueError: its source cannot be had, or is no plain ``def`` of the top level.
    """
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise ValueError(f"the source of {function!r} cannot be had ({error}); expected a def") from None
    if not source.startswith("def "):
        raise ValueError(f"{function!r} does not begin with def; expected a plain function of the top level")
    name = f"{function.__name__}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    where = Path(os.path.abspath(os.fspath(folder)))  # noqa: PTH100 - links stay as they are
    where.mkdir(parents=True, exist_ok=True)
    (where / f"{name}.py").write_text(source, "utf-8")
    return {"function": f"{name}:{function.__name__}", "cwd": str(where)}


Frames = Literal["auto", "pandas", "polars", "rows"]
"""What tables come as."""


class Lab:
    """One lab file.

    Args:
        path: the file; with ``read_only=False`` it is made by the first ``submit``.
        read_only: write not a byte beside the file; ``submit`` and ``run`` are refused.
        frames: ``auto``, ``pandas``, ``polars``, or ``rows`` for lists of frozen dataclasses.

    Raises:
        ValueError: ``frames`` is none of these.
        ModuleNotFoundError: that package is not installed.
    """

    def __init__(
        self, path: str | os.PathLike[str] = "lab.db", *, read_only: bool = True, frames: Frames = "auto"
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))  # noqa: PTH100 - a text, as every message has it
        self.read_only = read_only
        self._frames = _package(frames)
        self._opened: StoredLab | None = None
        if read_only:
            self._lab()  # what is no lab is told at once

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lab({self.path!r}, read_only={self.read_only})"

    def close(self) -> None:
        """Close the file; it opens again when it is asked for."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    # work

    def submit(self, spec: str | os.PathLike[str] | Mapping[str, Any], *, allow: bool = False) -> Submitted:
        """Queue a study or a job: a preset's name, a TOML file, or a dict of what such a file holds.

        An equal search that the lab has is reused.

        Args:
            allow: what the spec's program runs may run on this machine, as you (docs/programs.md).

        Returns:
            ``study_id``, ``jobs`` (ids), and how many are ``new``, ``reused`` or ``requeued``.

        Raises:
            SpecError: (a ValueError) what is wrong with the spec, in one sentence.
            LabError: the lab cannot be written.
        """
        from labtui.cli import writing
        from runners.programs import consent
        from runners.spec import NamedJob, load, parse_data

        self._refuse_read_only("submit")
        found = parse_data(spec, source="dict") if isinstance(spec, Mapping) else load(os.fspath(spec))
        if allow:
            jobs = (found.job,) if isinstance(found, NamedJob) else found.jobs()
            consent.allow(job for job in jobs if job.program is not None)
        context = self._context("queue")
        self.close()
        return writing.submit(context.lab_path, found)

    def run(
        self,
        *,
        devices: str | None = None,
        slots: int | None = None,
        threads: int | None = None,
        engine: str | None = None,
        address: str | None = None,
    ) -> None:
        """Train until the queue is empty, as ``labtui run`` does; progress goes to stderr.

        An interrupt checkpoints and ends. Call it from the main thread.

        Args:
            devices: ``cpu`` or ``cuda:0,cuda:1``; else every CUDA device, or the CPU.
            slots: workers on the CPU; else one for each core.
            threads: threads of each worker.
            engine: ``local``, or ``ray``: the nodes of a Ray cluster.
            address: of that cluster: ``auto``, ``local`` or ``HOST:PORT``.

        Raises:
            RuntimeError: a search failed, or the supervisor could not start.
        """
        self._refuse_read_only("run")
        options = {
            "--devices": devices,
            "--slots": slots,
            "--threads": threads,
            "--engine": engine,
            "--address": address,
        }
        self._command("run", *(w for name, v in options.items() if v is not None for w in (name, str(v))))

    def wait(self, job: int | str | None = None) -> None:
        """Follow a job, or the whole queue, to its end, as ``labtui watch`` does.

        Raises:
            RuntimeError: it failed or was cancelled, or no supervisor runs.
        """
        self._command("watch", *(() if job is None else (str(job),)))

    # tables

    def jobs(self, study: int | str | None = None) -> Any:
        """All searches: axes, sizes, rates, seeds, N* with both ends, bracket, flags, times."""
        return self._table("jobs", study)

    def probes(self, study: int | str | None = None) -> Any:
        """All candidates N with their verdicts."""
        return self._table("probes", study)

    def trials(self, study: int | str | None = None) -> Any:
        """All training runs."""
        return self._table("trials", study)

    def curves(self, study: int | str | None = None) -> Any:
        """The losses of all trials at their evaluations, one row for each."""
        return self._table("curves", study)

    def kappa(self, study: int | str | None = None) -> Any:
        """kappa of every cell with its interval or bound, and the joint N* that it divides by."""
        return self._table("kappa", study)

    def cells(self, study: int | str | None = None) -> Any:
        """Every N* that a kappa is made of: the joint one (``n`` missing) and N*_n."""
        return self._table("cells", study)

    def fits(self, study: int | str | None = None) -> Any:
        """Scaling laws N* ~ c L^a m^b with 90 % intervals, or the reason why there is none."""
        return self._table("fits", study)

    def events(self) -> Any:
        """What happened, the oldest first."""
        return self._table("events", None)

    # files

    def figure(self, what: str, out: str | os.PathLike[str], **options: str | float | bool) -> None:
        """Draw a figure into a new .pdf, .svg or .png file, as ``labtui figure`` does.

        Args:
            what: ``kappa``, ``scaling``, ``bracket``, ``curves`` or ``scan``.
            options: the command's: ``study``, ``job``, ``x``, ``n``, ``width``, ``dark=True``, ``data``.

        Raises:
            ValueError: what cannot be drawn, or a file that is there already.
            RuntimeError: matplotlib is not installed.
        """
        words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]
        self._command("figure", *words, "--", what, os.fspath(out))

    # inside

    def _repr_html_(self) -> str:
        """What a notebook shows: the file, its jobs by state, and kappa."""
        from labtui.export.records import kappas

        try:
            lab = self._lab()
            counts = ", ".join(f"{n} {state}" for state, n in sorted(lab.counts().items()))
            cells = list(kappas(lab))
        except Exception as error:
            if not _is_lab_error(error):
                raise
            return f"<p>{escape(repr(self))}: {escape(str(error))}</p>"
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{escape(str(value))}</td>"
                for value in (c.model_label, c.task, c.format, f"{c.min_length}..{c.L}", c.kappa_text)
            )
            + "</tr>"
            for c in cells
        )
        head = "".join(f"<th>{name}</th>" for name in ("model", "task", "format", "lengths", "kappa"))
        return (
            f"<p>{escape(repr(self))}: {escape(counts) or 'no jobs'}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _lab(self) -> StoredLab:
        from runners.programs import consent
        from store.read import open_lab

        if self._opened is None:
            self._opened = open_lab(self.path, read_only=self.read_only, consent=consent)
        return self._opened

    def _table(self, name: str, study: int | str | None) -> Any:
        from labtui.export.records import RECORDS, TABLES

        return _frame(TABLES[name](self._lab(), self._study(study)), RECORDS[name], self._frames)

    def _study(self, study: int | str | None) -> int | None:
        from labtui.cli.errors import BadInput
        from labtui.cli.selection import study_id

        if study is None:
            return None
        context = self._context("studies")
        try:
            return study_id(context, str(study))
        except BadInput as error:
            raise ValueError(str(error)) from None
        finally:
            context.close()

    def _refuse_read_only(self, verb: str) -> None:
        if self.read_only:
            raise ValueError(f"{verb} writes and the lab is read-only; expected Lab(path, read_only=False)")

    def _context(self, *words: str) -> Context:
        import sys

        from labtui.cli.context import Context
        from labtui.cli.parse import parse

        only = ("--read-only",) if self.read_only else ()
        try:
            args = parse(["--lab", self.path, *only, *words])
        except SystemExit:  # argparse, which has told what is wrong on stderr
            raise ValueError(f"{' '.join(words)} cannot be read; see the line above") from None
        return Context(args, out=sys.stderr)

    def _command(self, *words: str) -> None:
        from labtui.cli.errors import BadInput, WorkFailed

        context = self._context(*words)
        try:
            code = context.run()
        except BadInput as error:
            raise ValueError(str(error)) from None
        except WorkFailed as error:
            raise RuntimeError(str(error)) from None
        finally:
            context.close()
        if code:
            raise RuntimeError(f"labtui {words[0]} ended with code {code}; see jobs() for what failed")


def _is_lab_error(error: Exception) -> bool:
    from store.errors import LabError

    return isinstance(error, LabError)


def _package(frames: Frames) -> str:
    """The package whose frames are made; empty: none."""
    if frames not in ("auto", "pandas", "polars", "rows"):
        raise ValueError(f"frames is {frames!r}; expected auto, pandas, polars or rows")
    if frames == "auto":
        return next((name for name in ("pandas", "polars") if find_spec(name) is not None), "")
    if frames != "rows" and find_spec(frames) is None:
        raise ModuleNotFoundError(
            f"{frames} is not installed; add it with: pip install {frames}", name=frames
        )
    return "" if frames == "rows" else frames


def _frame(rows: Iterable[Record], record: type[Record], package: str) -> Any:
    found = list(rows)
    if not package:
        return found
    from labtui.export.records import columns_of

    return import_module(package).DataFrame(columns_of(found, record))
