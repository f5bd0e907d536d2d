"""A study: sweeps that expand into kappa cells, and those into jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from runners.spec.base import Spec
from runners.spec.job import Distribution, Format, Grid, Job, Lengths, Search, TestedLengths, Training
from runners.spec.model import Model
from runners.spec.program import Axes, Name, Value, shown
from runners.spec.task import Task

Length = Annotated[int, Field(ge=2, le=10_000)]


class Overrides(Spec):
    """What the joint job has otherwise than its parts."""

    training: Training | None = None
    """Replaces the sweep's ``training`` as a whole."""
    search: Search | None = None
    """Replaces the sweep's ``search`` as a whole."""
    grid: Grid | None = None
    """Replaces the sweep's ``grid`` as a whole."""


class Sharing(Spec):
    """Of a program: kappa over the values of one axis (docs/programs.md)."""

    over: Name
    """The axis."""
    parts: Annotated[tuple[Value, ...], Field(min_length=2, max_length=1000)]
    """Its values one by one: the N* of the sum."""
    joint: Value
    """Its value that stands for all of them together."""

    @model_validator(mode="after")
    def _check(self) -> Sharing:
        filled = [*map(shown, self.parts), shown(self.joint)]
        if len(set(filled)) < len(filled):
            raise ValueError("parts or joint has the same value twice; expected distinct values")
        return self


class Sweep(Spec):
    """Every combination of the listed axes is one cell."""

    task: Annotated[tuple[Task, ...], Field(min_length=1)]
    """One task or several; ``m = [2, 3]`` in its place means addition modulo 2 and 3."""
    model: Annotated[tuple[Model, ...], Field(min_length=1)]
    """One model or several, as tables or as names of ``[models.NAME]`` tables."""
    format: Annotated[tuple[Format, ...], Field(min_length=1)]
    """What is supervised: the final state, the states after a separator (cot), the state at each token
    (acot), or that with the states read in between (icot).
    """
    L: Annotated[tuple[Length, ...], Field(min_length=1)]
    """The longest input, in tokens."""
    distribution: Annotated[tuple[Distribution, ...], Field(min_length=1)] = ("uniform",)
    """Of the joint job's input lengths over min_length..L; the parts are always of one length each."""
    min_length: Length = 2
    """Left out of both the sum and the joint task: the lengths below this."""
    measure: Literal["kappa", "joint"] = "kappa"
    """``joint``: N* of the cell's own distribution alone; always so for ``fixed``, which has one length."""
    grid: Grid = Grid()
    """The trials of one candidate N."""
    training: Training = Training()
    """The budget of one trial."""
    search: Search = Search()
    """How N is searched."""
    joint: Overrides = Overrides()
    """Sections that replace the above for the joint job."""
    generalisation: bool = False
    """Test the joint job at 2L."""
    generalisation_lengths: TestedLengths = ()
    """With ``generalisation``: further lengths at which the joint job is tested, with the accuracy at every
    position."""
    sharing: Sharing | None = None
    """Of a program: what its cells' kappa is over; None: N* alone."""

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        for L in self.L:
            if self.min_length > L:
                raise ValueError(f"min_length is {self.min_length}; expected at most L = {L}")
        for axis in ("task", "model", "format", "L", "distribution"):
            values = getattr(self, axis)
            if any(v in values[:i] for i, v in enumerate(values)):
                raise ValueError(f"{axis} has the same value twice; expected distinct values")
        return self

    @property
    def n_jobs(self) -> int:
        """Jobs that the sweep expands to, before equal ones become one;
        cheap, to refuse what is too large.
        """
        each = len(self.task) * len(self.model) * len(self.format)
        if self.sharing is not None:
            return each * (len(self.sharing.parts) + 1)
        if self.measure == "joint":
            return each * len(self.distribution) * len(self.L)
        per_l = sum(L - self.min_length + 2 for L in self.L)
        return each * sum(len(self.L) if d == "fixed" else per_l for d in self.distribution)

    def cells(self) -> tuple[Cell, ...]:
        """Its cells; the axes vary task outermost, then model, format, distribution, L.

        Raises:
            ValueError:
            a combination has no valid job (for example a validation set smaller than its lengths).
        """
        return self.expanded

    @cached_property
    def expanded(self) -> tuple[Cell, ...]:
        """What :meth:`cells` returns; a large study's jobs are validated and hashed once for all who ask."""
        return tuple(_cells(self))


@dataclass(frozen=True)
class Part:
    """One job of a cell; ``n`` is its length for a term of the sum (of a program its place among the parts),
    None for the joint job."""

    job: Job
    n: int | None


@dataclass(frozen=True)
class Cell:
    """One kappa: a joint job and the N*_n jobs of min_length..L (none of these when only N* is asked for)."""

    task: Task
    model: Model
    format: Format
    L: int
    distribution: Distribution
    min_length: int
    joint: Part
    parts: tuple[Part, ...]

    @property
    def jobs(self) -> Iterator[Job]:
        yield from (p.job for p in self.parts)
        yield self.joint.job


class Study(Spec):
    """A named set of cells, queued together."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    """How the study is listed; no part of any job's hash."""
    notes: Annotated[str, Field(max_length=10_000)] = ""
    """Free text."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = ()
    """Words to filter by."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Higher runs first; within one priority the order of the file."""
    sweep: Annotated[tuple[Sweep, ...], Field(min_length=1)]
    """The cells: at least one ``[[sweep]]``."""

    def cells(self) -> tuple[Cell, ...]:
        """All cells in the file's order; the axes vary task outermost, then model, format, distribution, L.

        Raises:
            ValueError:
            a combination has no valid job (for example a validation set smaller than its lengths).
        """
        return tuple(cell for sweep in self.sweep for cell in sweep.cells())

    def jobs(self) -> tuple[Job, ...]:
        """All distinct jobs in the order in which they are queued: each cell's parts, then its joint job."""
        return self.distinct

    @cached_property
    def distinct(self) -> tuple[Job, ...]:
        """What :meth:`jobs` returns."""
        return tuple({job.hash: job for cell in self.cells() for job in cell.jobs}.values())


def searches_of_part(study: Study, number: int, of: int) -> frozenset[str]:
    """The hashes of the searches of one part of a study that is cut into ``of`` parts by whole cells.

    Cells that share searches stay together where there are enough of them that do not; the parts have about
    as many searches each, and the same spec is cut the same way everywhere.

    Args:
        number: from 1.

    Raises:
        ValueError: there is no such part, or there are fewer cells than parts.
    """
    if not 1 <= number <= of:
        expected = f"1 to {of}" if of > 0 else "at least one part, such as 1/1"
        raise ValueError(f"there is no part {number} of {of}; expected {expected}")
    cells = [frozenset(job.hash for job in cell.jobs) for cell in study.cells()]
    if len(cells) < of:
        raise ValueError(f"the study has {len(cells)} cells; expected at most as many parts, and not {of}")
    groups: list[set[str]] = []
    for cell in cells:
        shared = [g for g in groups if g & cell]
        groups = [g for g in groups if not g & cell] + [set(cell).union(*shared)]
    pieces: list[frozenset[str]] = [frozenset(g) for g in groups] if len(groups) >= of else cells
    parts: list[set[str]] = [set() for _ in range(of)]
    for piece in sorted(pieces, key=len, reverse=True):
        min(parts, key=len).update(piece)
    return frozenset(parts[number - 1])


def _cells(sweep: Sweep) -> Iterator[Cell]:
    if sweep.sharing is not None:
        yield from _sharing_cells(sweep, sweep.sharing)
        return
    # Cells of different L share the searches of one length; a model's params may not be hashable.
    made: dict[tuple[int, int, Format, int], Job] = {}
    for task, model, fmt, distribution, L in product(
        sweep.task, sweep.model, sweep.format, sweep.distribution, sweep.L
    ):
        common: dict[str, Any] = {"task": task, "model": model, "format": fmt}
        low = L if distribution == "fixed" else sweep.min_length
        joint = Job(
            **common,
            lengths=Lengths(distribution=distribution, length=L, min_length=low),
            grid=sweep.joint.grid or sweep.grid,
            training=sweep.joint.training or sweep.training,
            search=sweep.joint.search or sweep.search,
            generalisation=sweep.generalisation,
            generalisation_lengths=sweep.generalisation_lengths,
        )
        parts: tuple[Part, ...] = ()
        if sweep.measure == "kappa" and distribution != "fixed":
            for n in range(low, L + 1):
                if (id(task), id(model), fmt, n) not in made:
                    made[id(task), id(model), fmt, n] = Job(
                        **common,
                        lengths=Lengths(distribution="fixed", length=n),
                        grid=sweep.grid,
                        training=sweep.training,
                        search=sweep.search,
                    )
            parts = tuple(Part(made[id(task), id(model), fmt, n], n) for n in range(low, L + 1))
        yield Cell(task, model, fmt, L, distribution, low, Part(joint, None), parts)


def _sharing_cells(sweep: Sweep, sharing: Sharing) -> Iterator[Cell]:
    for task, model in product(sweep.task, sweep.model):
        if not isinstance(task, Axes):
            raise ValueError("sharing is of a program; expected axes")
        joint, *parts = (
            Job(
                task=Axes(values={**task.values, sharing.over: value}),
                model=model,
                format="outcome",
                lengths=Lengths(distribution="fixed", length=2),
                grid=sweep.grid,
                training=sweep.training,
                search=sweep.search,
            )
            for value in (sharing.joint, *sharing.parts)
        )
        terms = tuple(Part(job, n) for n, job in enumerate(parts, 1))
        yield Cell(joint.task, model, "outcome", len(parts), "fixed", 1, Part(joint, None), terms)
