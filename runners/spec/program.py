"""A program as the model of a search, and the values that tell its searches apart; standard library and
pydantic alone. What a person writes is made into these by ``program_sugar``.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from runners.spec.base import Spec

Value = str | int | float | bool
"""What fills a placeholder."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")]
Text = Annotated[str, Field(max_length=4_000)]
PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
OWN = ("n", "seed", "python")
"""Placeholders that labtui fills: the sample size, the seed, and the interpreter that labtui runs on."""
A_DAY = 86_400.0
LONGEST_LABEL = 60


def shown(value: Value) -> str:
    """A value as a command line has it: ``true``, ``0.001``, ``a``."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def placeholders(text: str) -> tuple[str, ...]:
    """The names in ``{name}``; ``{{`` stands for a brace."""
    return tuple(m.group(1) for m in PLACEHOLDER.finditer(text) if m.group(1))


def fill(text: str, values: dict[str, Value]) -> str:
    """``text`` with its placeholders filled, once: a value that has braces stays as it is."""

    def one(found: re.Match[str]) -> str:
        name = found.group(1)
        return shown(values[name]) if name else found.group()[0]

    return PLACEHOLDER.sub(one, text)


class Axes(Spec):
    """The values of a sweep's axes that one search of a program has."""

    kind: Literal["axes"] = "axes"
    values: dict[Name, Value] = {}
    """Name of a placeholder -> what fills it."""

    @property
    def n_tokens(self) -> int:
        raise ValueError("a program has no tokens")

    @property
    def n_states(self) -> int:
        return self.n_tokens

    @property
    def label(self) -> str:
        """``mnist features=16``: texts stand alone, numbers with their names."""
        words = (v if isinstance(v, str) else f"{k}={shown(v)}" for k, v in self.values.items())
        text = " ".join(words)
        return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 2] + ".."


class Program(Spec):
    """Any command, or a Python function, as a trial (docs/programs.md)."""

    NOT_DEFINING: ClassVar[tuple[str, ...]] = ("name", "cwd", "timeout", "resume", "grace", "slots", "steps")
    """What no number depends on: left out of the hash."""

    kind: Literal["program"] = "program"
    name: Annotated[str, Field(min_length=1, max_length=40)]
    """How it is listed."""
    command: Annotated[tuple[Text, ...], Field(max_length=400)] = ()
    """Its words, run without a shell; ``{name}`` is filled with a value, ``{n}`` with the sample size,
    ``{python}`` with the interpreter that labtui runs on."""
    function: Annotated[str, Field(max_length=200)] = ""
    """Instead: ``module:function`` in ``cwd``, called with the values by name; what it returns is its last
    report."""
    cwd: Text
    """The folder that it runs in; relative to the spec."""
    files: dict[Text, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = {}
    """Name below ``cwd`` -> SHA-256; a script or module that the command names is among them."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Text] = {}
    """Environment variables beside those of labtui; placeholders are filled."""
    metric: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,39}$")]
    """The key of its reports that counts."""
    goal: Literal["min", "max"]
    """Whether a small metric is good or a large one."""
    threshold: float
    """A trial succeeds where its metric reaches this."""
    read: Annotated[str, Field(max_length=500)] = ""
    """Empty: it reports. Else its output is read as it is: a regular expression with one group, or
    ``json:key``; the last match counts, when it has ended."""
    timeout: Annotated[float, Field(gt=0, le=1e9)] = A_DAY
    """Seconds until a trial is ended as an error."""
    resume: bool = False
    """It goes on from the folder LABTUI_CHECKPOINT after a pause; else its trial begins again."""
    grace: Annotated[float, Field(ge=0, le=3600)] = 3.0
    """Seconds between SIGTERM and SIGKILL."""
    slots: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Trials of it at once on one device; None: as many as the device has slots."""
    steps: Annotated[int, Field(ge=1, le=1 << 40)] | None = None
    """The last step that it reports, for the progress that is shown alone."""

    @model_validator(mode="after")
    def _check(self) -> Program:
        if bool(self.command) == bool(self.function):
            given = "neither command nor function" if not self.command else "both command and function"
            raise ValueError(f"program has {given}; expected one of them")
        if self.function and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.function):
            raise ValueError(f"function is {self.function!r}; expected module:function")
        if any("\0" in word for word in (*self.command, *self.env.values(), self.cwd)):
            raise ValueError("command holds a null character; expected none")
        if self.read and not self.read.startswith("json:"):
            try:
                groups = re.compile(self.read).groups
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"read is no regular expression ({error})") from None
            if groups != 1:
                raise ValueError(f"read has {groups} groups; expected one, as in 'accuracy ([0-9.]+)'")
        return self

    @property
    def label(self) -> str:
        return self.name

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Every name that its command and environment want filled."""
        texts = (*self.command, *self.env.values())
        return tuple(dict.fromkeys(name for text in texts for name in placeholders(text)))

    @property
    def bound(self) -> float:
        """What a trial's loss must be below: just beyond the threshold, which counts as reached."""
        return math.nextafter(self.loss(self.threshold), math.inf)

    def loss(self, metric: float) -> float:
        """The metric as a loss, where smaller is better: what is stored."""
        return metric if self.goal == "min" else -metric

    def defining(self, data: dict[str, Any]) -> dict[str, Any]:
        """``data``, its dump, without what no number depends on."""
        return {key: value for key, value in data.items() if key not in self.NOT_DEFINING}
