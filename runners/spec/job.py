"""A job: one search for N* of one model on one task, with every number that defines the answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from math import floor, prod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from runners.spec.base import Spec
from runners.spec.model import Model, Transformer
from runners.spec.program import OWN, Axes, Name, Program, Value, shown
from runners.spec.space import LengthShare, shares
from runners.spec.task import Automaton, Task
from runners.spec.version import SCIENCE_VERSION
from runners.strategies import STRATEGIES, StrategyName

Format = Literal["outcome", "cot", "acot", "icot"]
Distribution = Literal["fixed", "uniform", "short_to_long"]
MAX_LENGTH = 10_000
SCHEDULED = 1 << 24
"""Steps that a schedule can count: a trial's are kept as a float32."""
COARSE_TRAINING, COARSE_N_MAX = 20, 10
"""Below these a bracket of one sequence is no certainty: the result is flagged ``coarse``."""


TestedLengths = Annotated[tuple[Annotated[int, Field(ge=2, le=4096)], ...], Field(max_length=64)]


class Lengths(Spec):
    """Which input lengths there are: ``fixed`` is n = length alone, the others n in min_length..length."""

    distribution: Distribution
    """``fixed``: one length; ``uniform``: each length equally often; ``short_to_long``:
    the short ones first in the stream.
    """
    length: Annotated[int, Field(ge=2, le=MAX_LENGTH)]
    """L, in tokens of input."""
    min_length: Annotated[int, Field(ge=2, le=MAX_LENGTH)] = 2
    """The shortest input of a mixed distribution; set to ``length`` for ``fixed``."""

    @model_validator(mode="before")
    @classmethod
    def _fixed_has_one_length(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("distribution") == "fixed" and "length" in data:
            return {**data, "min_length": data["length"]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Lengths:
        if self.min_length > self.length:
            raise ValueError(f"min_length is {self.min_length}; expected at most length = {self.length}")
        return self

    @property
    def range(self) -> range:
        return range(self.min_length, self.length + 1)


def numbered(axes: Mapping[str, Sequence[Value]]) -> tuple[float, ...]:
    """The numbers of a program's settings: 1, 2, ... for every combination of its axes."""
    return tuple(map(float, range(1, prod(map(len, axes.values())) + 1)))


class Grid(Spec):
    """The trials of one candidate N: every learning rate with every seed."""

    LATER: ClassVar[tuple[str, ...]] = ("axes",)

    learning_rates: Annotated[
        tuple[Annotated[float, Field(gt=0, le=10)], ...], Field(min_length=1, max_length=64)
    ] = (
        1e-3,
        1e-4,
        1e-5,
    )
    """Learning rates of Adam."""
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=1024)
    ] = (
        10,
        20,
        30,
        40,
        50,
    )
    """Each keys five random streams: data, validation split, initial parameters, batch order, dropout."""
    axes: dict[Name, Annotated[tuple[Value, ...], Field(min_length=1, max_length=64)]] = {}
    """Of a program: every combination of these values is a setting, told by its number where others have a
    learning rate."""

    @model_validator(mode="after")
    def _check(self) -> Grid:
        filled = ((name, tuple(map(shown, values))) for name, values in self.axes.items())
        for what, values in (("learning_rates", self.learning_rates), ("seeds", self.seeds), *filled):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} has the same value twice; expected distinct values")
        if self.axes and self.learning_rates != numbered(self.axes):
            raise ValueError("learning_rates do not number the axes; expected 1, 2, ... for each combination")
        return self

    def setting(self, number: float) -> dict[str, Value]:
        """The values of a program's setting, by the number that its trials have as learning rate."""
        combinations = list(product(*self.axes.values()))
        chosen = combinations[int(number) - 1] if 1 <= number <= len(combinations) else ()
        return dict(zip(self.axes, chosen, strict=False))

    @property
    def members(self) -> tuple[tuple[float, int], ...]:
        """(learning rate, seed) of each trial, learning rate outermost."""
        return tuple((lr, seed) for lr in self.learning_rates for seed in self.seeds)


class Training(Spec):
    """One trial's budget and batches."""

    LATER: ClassVar[tuple[str, ...]] = (
        "threads", "weight_decay", "decay_embeddings", "clip", "schedule", "warmup", "final_rate",
    )  # fmt: skip

    batch_size: Annotated[int, Field(ge=1, le=1 << 20)] = 64
    """Sequences in a batch; min(batch_size, N) are used."""
    steps: Annotated[int, Field(ge=1, le=1 << 40)] = 250_000
    """The budget of optimiser steps, the same for every N."""
    eval_every: Annotated[int, Field(ge=1)] = 500
    """Steps between evaluations; the last step is always evaluated, step 0 never."""
    validation_size: Annotated[int, Field(ge=1, le=1 << 20)] = 2_000
    """Validation sequences in all, shared evenly among the lengths."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Anything but fp32 marks the result. ``bf16``: operands of products are rounded to bfloat16, sums are
    float32; on a CPU each product is rounded once more."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads of a trial on a CPU, on which last bits depend; None: those of the worker (``--threads``, else
    ``OMP_NUM_THREADS``, else 1)."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    """AdamW: before each update every parameter is shortened by the learning rate times this."""
    decay_embeddings: bool = True
    """Whether that holds for the tables of tokens and positions too."""
    clip: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """A trial's gradient is shortened to this norm where it is longer; None: never."""
    schedule: Literal["constant", "cosine"] = "constant"
    """``cosine``: the learning rate falls by half a cosine from the end of the warm-up to the last step."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps over which the learning rate rises from 0 in a straight line."""
    final_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """``cosine``: share of the learning rate that is left at the last step."""

    @model_validator(mode="after")
    def _check(self) -> Training:
        if (self.schedule != "constant" or self.warmup) and self.steps > SCHEDULED:
            raise ValueError(
                f"steps is {self.steps}; expected at most {SCHEDULED} with a schedule or warm-up"
            )
        if not self.decay_embeddings and not self.weight_decay:
            raise ValueError("decay_embeddings is false; expected weight_decay with it")
        if self.final_rate and self.schedule == "constant":
            raise ValueError("final_rate is set; expected schedule = 'cosine' with it")
        return self

    @property
    def plain_adam(self) -> bool:
        """Adam as the paper has it, with nothing added."""
        return not (self.weight_decay or self.clip or self.warmup or self.schedule != "constant")


class Search(Spec):
    """How N is searched (docs/science.md, N* and the search)."""

    LATER: ClassVar[tuple[str, ...]] = ("criterion", "accuracy", "fresh")

    strategy: StrategyName = "log"
    """``log``: halve, then bisect in log N; ``paper``: the paper's procedure; ``adaptive``:
    an interval from fresh seeds; ``scan``: every N of the ladder."""
    eps: Annotated[float, Field(gt=0)] = 1e-4
    """A trial succeeds at the first evaluation with a validation loss below this."""
    criterion: Literal["loss", "accuracy"] = "loss"
    """``accuracy``: a trial succeeds where this share of whole sequences is right; what is stored and shown
    as validation loss is then the share that is wrong."""
    accuracy: Annotated[float, Field(gt=0, le=1)] = 0.95
    """The share of whole sequences that have to be right, for the criterion ``accuracy``."""
    fresh: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    """With ``accuracy``: judge by so many random sequences, drawn anew at each evaluation; None: by the
    validation set."""
    n_max: Annotated[int, Field(ge=1, le=1 << 40)] | None = None
    """The largest candidate; None: batch_size * steps. Capped by the task's training space."""
    multiplier: Annotated[int, Field(ge=2)] = 1000
    """``paper``: the geometric multiplier of the walk down."""
    max_candidates: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """None: 20 for ``paper``, 60 for ``log``, 400 for ``adaptive`` and ``scan``."""
    rtol: Annotated[float, Field(ge=0, le=10)] = 0.10
    """``log``: stop when hi / lo <= 1 + rtol."""
    stop_rule: Literal["first_success", "full_grid"] = "first_success"
    """``first_success`` ends a probe at its first success;
    ``full_grid`` trains every trial to its own end.
    """
    relative_width: Annotated[float, Field(gt=0, le=100)] = 0.5
    """``adaptive``: stop when the 90 % interval's width over N* is at most this."""
    seed_budget: Annotated[int, Field(ge=2, le=100_000)] = 200
    """``adaptive``: the most fresh seeds that it may use."""
    ladder: Annotated[tuple[Annotated[int, Field(ge=1, le=1 << 40)], ...], Field(max_length=400)] = ()
    """``scan``: every N that is measured, each with fresh seeds, as many as the grid has; empty:
    N_max, N_max/2, ... 1.
    """

    @model_validator(mode="after")
    def _check(self) -> Search:
        if self.strategy == "paper" and self.max_candidates is not None and self.max_candidates > 20:
            raise ValueError(
                f"max_candidates is {self.max_candidates}; expected at most 20 for the strategy 'paper'"
            )
        if self.criterion == "accuracy" and self.eps != type(self).model_fields["eps"].default:
            raise ValueError("eps is of the criterion 'loss'; expected accuracy in its place")
        if self.criterion == "loss" and self.accuracy != type(self).model_fields["accuracy"].default:
            raise ValueError("accuracy is set; expected criterion = 'accuracy' with it")
        if self.criterion == "loss" and self.fresh is not None:
            raise ValueError("fresh is set; expected criterion = 'accuracy' with it")
        if len(set(self.ladder)) < len(self.ladder):
            raise ValueError("ladder has the same value twice; expected distinct values")
        return self

    @property
    def candidates(self) -> int:
        """The resolved ``max_candidates``."""
        return self.max_candidates or STRATEGIES[self.strategy].candidates


class Job(Spec):
    """One sample-size search. Equal content means equal hash, see :attr:`hash`, and equal numbers where
    rounding is the same: on one kind of processor, with the same threads, plan and versions. Training is
    chaotic, so elsewhere a verdict near eps may turn.
    """

    LATER: ClassVar[tuple[str, ...]] = ("generalisation_lengths",)

    task: Task
    """The task; ``m = 3`` in its place means addition modulo 3."""
    format: Format
    """What is supervised."""
    lengths: Lengths
    """Input lengths."""
    model: Model
    """The model, as a table or as the name of a ``[models.NAME]`` table."""
    grid: Grid = Grid()
    """The trials of one candidate N."""
    training: Training = Training()
    """The budget of one trial."""
    search: Search = Search()
    """How N is searched."""
    generalisation: bool = False
    """At N_max also test at twice the length (docs/science.md, Length generalisation)."""
    generalisation_lengths: TestedLengths = ()
    """With ``generalisation``: further lengths at which the trials at N_max are tested, with the accuracy at
    every position."""

    @model_validator(mode="after")
    def _check(self) -> Job:
        if (self.task.kind == "axes") != (self.model.kind == "program"):
            raise ValueError("model and task do not fit together; expected a program with axes, or neither")
        if self.program is not None and self.search.n_max is None:
            raise ValueError("n_max is missing; expected the most examples that the program can be given")
        if self.program is not None and self.generalisation:
            raise ValueError("generalisation is true; expected false with a program, which has no lengths")
        if isinstance(self.task, Axes) and self.program is not None and self.program.command:
            unfilled = set(self.program.placeholders) - {*OWN, *self.task.values, *self.grid.axes}
            if unfilled:
                raise ValueError(f"model wants {{{min(unfilled)}}} filled; expected an axis of that name")
        if self.generalisation_lengths:
            self._check_lengths(max(self.generalisation_lengths))
        if self.task.kind not in ("plugin", "axes"):
            _ = self.shares
        return self

    def _check_lengths(self, longest: int) -> None:
        if not self.generalisation:
            raise ValueError("generalisation_lengths is set; expected generalisation = true with it")
        table = isinstance(self.model, Transformer) and self.model.position == "learned"
        if table and longest > 2 * self.lengths.length:
            raise ValueError(
                f"generalisation_lengths has {longest}; expected at most {2 * self.lengths.length} = 2L with "
                f"learned positions, of which there are no more"
            )

    @property
    def program(self) -> Program | None:
        """The program that is its model, if it is one."""
        return self.model if isinstance(self.model, Program) else None

    @property
    def bound(self) -> float:
        """A trial succeeds at the first evaluation with a loss below this. With the criterion ``accuracy``
        the loss is the share of sequences that are wrong, and this lies half a sequence above the last
        share that will do.
        """
        if self.program is not None:
            return self.program.bound
        if self.search.criterion == "loss":
            return self.search.eps
        judged = self.search.fresh or sum(s.validation for s in self.shares)
        return (floor((1 - self.search.accuracy) * judged + 1e-9) + 0.5) / judged

    @property
    def budget(self) -> int:
        """Steps that a trial has; 0: a program that does not say."""
        return self.training.steps if self.program is None else self.program.steps or 0

    @cached_property
    def shares(self) -> tuple[LengthShare, ...]:
        """The validation split of every length; none of a program."""
        if self.program is not None:
            return ()
        return shares(self.task.n_tokens, self.lengths.range, self.training.validation_size)

    @property
    def training_space(self) -> int:
        """How many sequences may train: the largest N that the task allows."""
        if self.program is not None:
            return self.n_max_asked
        return sum(s.training for s in self.shares)

    @property
    def n_max(self) -> int:
        """The largest candidate N: what was asked for, capped by the training space."""
        return min(self.n_max_asked, self.training_space)

    @property
    def n_max_asked(self) -> int:
        if self.search.n_max is not None:
            return self.search.n_max
        return self.training.batch_size * self.training.steps

    @property
    def capped(self) -> bool:
        """The training space is smaller than the N_max asked for."""
        return self.training_space < self.n_max_asked

    @property
    def coarse(self) -> bool:
        """N* of one digit: one length with few sequences to train on, or a low N_max."""
        few = self.lengths.distribution == "fixed" and self.training_space < COARSE_TRAINING
        few = few and self.program is None
        return few or self.n_max < COARSE_N_MAX

    @property
    def longest_input(self) -> int:
        """Positions of the longest input: n; 2n with ``cot`` (tokens, separator, states but the last);
        2n - 1 with ``icot`` (tokens and states but the last, in turn).
        """
        n = self.lengths.length
        return {"cot": 2 * n, "icot": 2 * n - 1}.get(self.format, n)

    def canonical(self) -> str:
        """The JSON text that is hashed: every default resolved, keys sorted, no whitespace,
        science_version included.
        """
        data = self.without_later(self.model_dump(mode="json"))
        data["search"]["n_max"] = self.n_max
        data["search"]["max_candidates"] = self.search.candidates
        if isinstance(self.task, Automaton):
            kept = ("kind", "table", "start", "output", "shared")
            data["task"] = {key: data["task"][key] for key in kept if key in data["task"]}
        if self.program is not None:
            data["model"] = self.program.defining(data["model"])
            del data["format"], data["lengths"], data["training"], data["generalisation"]
            data.pop("generalisation_lengths", None)
            del data["search"]["eps"]
        elif self.search.criterion == "accuracy":
            del data["search"]["eps"]
        for key in STRATEGIES[self.search.strategy].unused:
            del data["search"][key]
        data["science_version"] = SCIENCE_VERSION
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @cached_property
    def hash(self) -> str:
        """Content hash, 32 hex digits of SHA-256 over :meth:`canonical`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:32]

    @property
    def label(self) -> str:
        """A short name for a table: ``Z3 acot L=2..7 dense_ssm 16``, or ``digits knn`` of a program."""
        if self.program is not None:
            return f"{self.model.label} {self.task.label}".rstrip()
        lengths = (
            f"n={self.lengths.length}"
            if self.lengths.distribution == "fixed"
            else f"L={self.lengths.min_length}..{self.lengths.length}"
        )
        tail = " s2l" if self.lengths.distribution == "short_to_long" else ""
        return f"{self.task.label} {self.format} {lengths}{tail} {self.model.label}"

    def to_json(self) -> str:
        """The stored form: everything, defaults resolved; :meth:`from_json` reads it back."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read a stored job.

        Raises:
            pydantic.ValidationError: the text is not a job.
        """
        return cls.model_validate_json(text)
