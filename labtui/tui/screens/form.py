"""The form for a study or a search: plain data, keys in, TOML out.

Nothing here draws and nothing reads the lab.
"""

from __future__ import annotations

import copy
import json
import math
import tomllib
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from labtui.tui.lineedit import LineEdit
from runners.strategies import STRATEGIES

Path: TypeAlias = "tuple[str, ...]"


@dataclass(frozen=True)
class Field:
    """One line of the form."""

    path: Path
    """Where its value stands: from the top, or from the sweep (``sweep``) that is shown."""
    label: str
    help: str
    choices: tuple[str, ...] = ()
    many: bool = False
    """Several values: a, b, c."""
    words: bool = False
    """A text as it is typed, line ends and all: never a number, never a list."""

    @property
    def default(self) -> str:
        """What the spec takes where nothing is typed."""
        return DEFAULTS.get(self.path[1:] if self.path[0] in ("sweep", "job") else self.path, "")


DEFAULTS: dict[Path, str] = {
    ("priority",): "0",
    ("distribution",): "uniform",
    ("min_length",): "2",
    ("lengths", "min_length"): "2",
    ("measure",): "kappa",
    ("generalisation",): "false",
    ("grid", "learning_rates"): "0.001, 0.0001, 1e-05",
    ("grid", "seeds"): "10, 20, 30, 40, 50",
    ("training", "steps"): "250000",
    ("training", "eval_every"): "500",
    ("training", "batch_size"): "64",
    ("training", "validation_size"): "2000",
    ("training", "precision"): "fp32",
    ("training", "weight_decay"): "0.0",
    ("training", "schedule"): "constant",
    ("training", "warmup"): "0.0",
    ("training", "final_rate"): "0.0",
    ("search", "strategy"): "log",
    ("search", "criterion"): "loss",
    ("search", "accuracy"): "0.95",
    ("search", "eps"): "0.0001",
    ("search", "n_max"): "batch x steps",
    ("search", "rtol"): "0.1",
}
"""The spec's defaults, as one types them; a test compares them with the spec."""
TABLES = ("program", "grid", "search", "sharing")
"""Of a file that tells of a program."""
_FORMATS = ("outcome", "cot", "acot", "icot")
_DISTRIBUTIONS = ("fixed", "uniform", "short_to_long")
_HEAD = (
    Field(("name",), "name", "the study's name, as the Queue shows it", words=True),
    Field(("notes",), "notes", "for yourself", words=True),
    Field(("tags",), "tags", "words to filter by: tag:night", many=True),
    Field(("priority",), "priority", "higher runs first, -1000 to 1000"),
)
_SWEEP = (
    Field(("sweep", "m"), "m", "the modulus of modular addition, 2 or more; several: 2, 3, 5", many=True),
    Field(("sweep", "task"), "task", "instead of m: S5, A5, flip-flop (all: labtui tasks), or a table"),
    Field(("sweep", "model"), "model", "names of [models.…] below; several: lstm, transformer", many=True),
    Field(("sweep", "format"), "format", "what is supervised; several are allowed", _FORMATS, True),
    Field(("sweep", "L"), "L", "the longest input; several: 5, 10, 20", many=True),
    Field(
        ("sweep", "distribution"), "lengths", "how lengths are drawn in the joint task", _DISTRIBUTIONS, True
    ),
    Field(
        ("sweep", "min_length"), "min length", "shorter inputs are left out of the sum and of the joint task"
    ),
    Field(
        ("sweep", "measure"),
        "measure",
        "kappa: the sum and the joint task; joint: the latter alone",
        ("kappa", "joint"),
    ),
    Field(
        ("sweep", "generalisation"),
        "test at 2L",
        "also test the joint task at twice the length",
        ("true", "false"),
    ),
    Field(("sweep", "generalisation_lengths"), "test at", "further lengths of that test: 40, 256", many=True),
)
_JOB = (
    Field(
        ("job", "task"),
        "task",
        '{ kind = "modular_addition", m = 3 } or { kind = "permutation_composition", k = 5 }',
    ),
    Field(("job", "model"), "model", "the name of [models.…] below, or an inline table"),
    Field(("job", "format"), "format", "what is supervised", _FORMATS),
    Field(
        ("job", "lengths", "distribution"),
        "lengths",
        "fixed: n = L; else n in min length .. L",
        _DISTRIBUTIONS,
    ),
    Field(("job", "lengths", "length"), "L", "the longest input"),
    Field(("job", "lengths", "min_length"), "min length", "the shortest input of a mixed distribution"),
    Field(("job", "generalisation"), "test at 2L", "also test at twice the length", ("true", "false")),
    Field(("job", "generalisation_lengths"), "test at", "further lengths of that test: 40, 256", many=True),
)


def _common(root: str) -> tuple[Field, ...]:
    return (
        Field((root, "grid", "learning_rates"), "rates", "learning rates of the grid: 1e-3, 1e-4", many=True),
        Field((root, "grid", "seeds"), "seeds", "seeds of the grid: 10, 20, 30", many=True),
        Field(
            (root, "training", "steps"), "steps", "the budget of one trial in optimiser steps, whatever N is"
        ),
        Field((root, "training", "eval_every"), "eval every", "steps between evaluations"),
        Field((root, "training", "batch_size"), "batch", "sequences in a batch"),
        Field((root, "training", "validation_size"), "validation", "validation sequences in all"),
        Field(
            (root, "training", "precision"),
            "precision",
            "anything but fp32 marks the result",
            ("fp32", "tf32", "bf16"),
        ),
        Field(
            (root, "training", "weight_decay"), "decay", "AdamW's weight decay, 0.01 to 1 where it is used"
        ),
        Field((root, "training", "clip"), "clip", "the longest gradient norm; empty: any"),
        Field(
            (root, "training", "schedule"),
            "schedule",
            "of the learning rate; cosine: down to the final rate",
            ("constant", "cosine"),
        ),
        Field((root, "training", "warmup"), "warm-up", "share of the steps in which the rate rises from 0"),
        Field((root, "training", "final_rate"), "final rate", "cosine: share of the rate at the last step"),
        Field(
            (root, "search", "strategy"),
            "strategy",
            "how N is searched",
            tuple(STRATEGIES),
        ),
        Field((root, "search", "ladder"), "ladder", "scan: every N that is measured: 60, 92, 141", many=True),
        Field(
            (root, "search", "criterion"),
            "criterion",
            "loss: below eps; accuracy: that share of whole sequences is right",
            ("loss", "accuracy"),
        ),
        Field((root, "search", "accuracy"), "accuracy", "the share that has to be right: 0.95"),
        Field((root, "search", "fresh"), "fresh", "judge by so many new sequences; empty: by validation"),
        Field((root, "search", "eps"), "eps", "a trial succeeds with a validation loss below this"),
        Field((root, "search", "n_max"), "N max", "the largest candidate; empty: batch x steps"),
        Field((root, "search", "rtol"), "rtol", "log: stop when hi / lo is within this, 0.1 = 10 %"),
    )


def _program(doc: dict[str, Any]) -> tuple[Field, ...]:
    """The lines for a program: what it runs, when it succeeds, its axes and grid as far as there are any."""
    program, grid = doc["program"], doc.get("grid") or {}
    axes: dict[str, Any] = next(iter(doc.get("sweep") or []), {})
    runs = "function" if "function" in program else "command"
    return (
        *_HEAD,
        Field(("program", runs), runs, "what is run, its words in quotes; {n} is the sample size"),
        Field(("program", "read"), "read", "how its output is read: a pattern with one group, or json:KEY"),
        Field(("program", "metric"), "metric", "the key of its reports that counts", words=True),
        Field(("program", "goal"), "goal", "whether a large metric is good or a small one", ("max", "min")),
        Field(("program", "threshold"), "threshold", "a trial succeeds where the metric reaches this"),
        *(
            Field(("sweep", name), name, "an axis: every combination is a search", many=True)
            for name, value in axes.items()
            if not isinstance(value, dict)
        ),
        *(
            Field(("grid", name), name, "of the grid: a success of one trial is enough", many=True)
            for name in grid
        ),
        Field(("search", "strategy"), "strategy", "how N is searched", tuple(STRATEGIES)),
        Field(("search", "n_max"), "N max", "the most examples that the program can be given"),
        Field(("search", "rtol"), "rtol", "log: stop when hi / lo is within this, 0.1 = 10 %"),
    )


STUDY = (*_HEAD, *_SWEEP, *_common("sweep"))
SEARCH = (*_HEAD, *_JOB, *_common("job"))
SEARCH_TOML = """name = "one search"

[models.dense_ssm]
kind = "dense_ssm"
hidden = 16

[job]
task = { kind = "modular_addition", m = 3 }
model = "dense_ssm"
format = "acot"

[job.lengths]
distribution = "uniform"
length = 7

[job.grid]
learning_rates = [1e-2, 3e-3]
seeds = [10, 20]

[job.training]
steps = 500
eval_every = 25
validation_size = 256

[job.search]
eps = 1e-3
"""


def dump_value(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return (
            repr(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf" if value < 0 else "nan")
        )
    if isinstance(value, list):
        return "[" + ", ".join(dump_value(v) for v in value) + "]"
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{_key(k)} = {dump_value(v)}" for k, v in value.items()) + " }"
            if value
            else "{}"
        )
    return str(value)


def _key(key: str) -> str:
    return (
        key
        if key.replace("_", "").replace("-", "").isalnum() and key.isascii()
        else json.dumps(key, ensure_ascii=False)
    )


def dump(doc: dict[str, Any]) -> str:
    """A spec as TOML: top-level values, models, a program's tables, then sweeps or the job with their
    sections.
    """
    lines = [
        f"{_key(k)} = {dump_value(v)}" for k, v in doc.items() if not isinstance(v, dict) and k != "sweep"
    ]
    for name, model in (doc.get("models") or {}).items():
        lines += ["", f"[models.{_key(name)}]", *(f"{_key(k)} = {dump_value(v)}" for k, v in model.items())]
    for name in TABLES:
        if isinstance(table := doc.get(name), dict):
            lines += ["", f"[{name}]", *(f"{_key(k)} = {dump_value(v)}" for k, v in table.items())]
    blocks = [("[[sweep]]", "sweep", sweep) for sweep in doc.get("sweep") or []]
    if isinstance(doc.get("job"), dict):
        blocks.append(("[job]", "job", doc["job"]))
    for head, root, block in blocks:
        sections = {k: v for k, v in block.items() if isinstance(v, dict) and k not in ("task", "model")}
        lines += ["", head, *(f"{_key(k)} = {dump_value(v)}" for k, v in block.items() if k not in sections)]
        for name, section in sections.items():
            if any(isinstance(v, dict) for v in section.values()):
                for inner, values in section.items():
                    pairs = values.items() if isinstance(values, dict) else ((inner, values),)
                    lines += [
                        "",
                        f"[{root}.{name}.{_key(inner)}]",
                        *(f"{_key(k)} = {dump_value(v)}" for k, v in pairs),
                    ]
            else:
                lines += [
                    "",
                    f"[{root}.{name}]",
                    *(f"{_key(k)} = {dump_value(v)}" for k, v in section.items()),
                ]
    return "\n".join(lines).strip() + "\n"


def read_value(text: str, field: Field) -> Any:
    """Read what was typed: TOML where it is TOML, else words; None where nothing was typed."""
    if field.words:
        return text if text.strip() else None
    text = text.strip()
    if not text:
        return None
    words = _toml(f"x = [{text}]") if field.many and not text.startswith("[") else _toml(f"x = {text}")
    if words is not None:
        return (
            words[0]
            if isinstance(words, list) and len(words) == 1 and field.many and field.label != "tags"
            else words
        )
    if field.many:
        parts = [_word(w) for w in text.strip("[]").split(",") if w.strip()]
        return parts[0] if len(parts) == 1 and field.label != "tags" else parts
    return _word(text)


def _toml(text: str) -> Any:
    try:
        value = tomllib.loads(text)["x"]
        dump_value(value)
    except (ValueError, KeyError, RecursionError):  # a number of thousands of digits is a ValueError
        return None
    return value


def _word(text: str) -> Any:
    found = _toml(f"x = {text.strip()}")
    return text.strip() if found is None else found


def show_value(value: Any, field: Field) -> str:
    """A value as one types it."""
    if value is None:
        return ""
    if field.many and isinstance(value, list):
        return ", ".join(v if isinstance(v, str) and "," not in v else dump_value(v) for v in value)
    return value if isinstance(value, str) else dump_value(value)


@dataclass
class Form:
    """The document, the fields over it, and the one being edited."""

    doc: dict[str, Any]
    which: int = 0
    """The sweep that is shown."""
    cursor: int = 0
    edit: LineEdit = field(default_factory=LineEdit)
    places: dict[tuple[int, Path], int] = field(default_factory=dict)
    """Where a value that was emptied stood among its neighbours: it comes back to its line."""

    def __post_init__(self) -> None:
        self._load()

    @classmethod
    def of(cls, toml: str) -> Form:
        """
        Raises:
            ValueError: the text is no TOML, or no form can show what it holds.
            RecursionError: it is nested too deeply.
        """
        try:
            doc = tomllib.loads(toml.removeprefix("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"not valid TOML: {error}") from None
        for name in TABLES:
            if not isinstance(doc.get(name, {}), dict):
                raise ValueError(f"{name} is no table; expected [{name}]")
        if isinstance(doc.get("sweep"), dict):
            doc["sweep"] = [doc["sweep"]]
        sweeps, models = doc.get("sweep", []), doc.get("models", {})
        if not isinstance(sweeps, list) or not all(isinstance(sweep, dict) for sweep in sweeps):
            raise ValueError("sweep is no table; expected [[sweep]]")
        if not isinstance(models, dict) or not all(isinstance(model, dict) for model in models.values()):
            raise ValueError("models holds what is no table; expected [models.NAME]")
        if not isinstance(doc.get("job", {}), dict):
            raise ValueError("job is no table; expected [job]")
        dump(doc)
        return cls(doc)

    @property
    def sweeps(self) -> int:
        return len(self.doc.get("sweep") or [])

    @property
    def fields(self) -> tuple[Field, ...]:
        """The lines of the form: fixed ones, and one for each model."""
        base = SEARCH if "job" in self.doc else _program(self.doc) if "program" in self.doc else STUDY
        models = tuple(
            Field(
                ("models", name),
                name,
                'a model: { kind = "lstm", hidden = 32 }; all kinds: labtui models',
            )
            for name in (self.doc.get("models") or {})
        )
        return (*base, *models)

    @property
    def field(self) -> Field:
        return self.fields[min(self.cursor, len(self.fields) - 1)]

    def _root(self, path: Path) -> tuple[dict[str, Any], Path]:
        if path[0] == "sweep":
            sweeps = self.doc.setdefault("sweep", [{}])
            return sweeps[min(self.which, len(sweeps) - 1)], path[1:]
        return self.doc, path

    def get(self, f: Field) -> Any:
        """The value of a field; None where the document leaves it to the default."""
        at, path = self._root(f.path)
        for key in path:
            if not isinstance(at, dict) or key not in at:
                return None
            at = at[key]
        return at

    def text(self, f: Field) -> str:
        return show_value(self.get(f), f)

    def _set(self, f: Field, value: Any) -> None:
        at, path = self._root(f.path)
        for key in path[:-1]:
            inner = at.get(key)
            if not isinstance(inner, dict):
                if value is None:
                    return
                inner = at[key] = {}
            at = inner
        key, where = path[-1], (self.which, f.path)
        if value is None:
            if key in at:
                self.places[where] = list(at).index(key)
            at.pop(key, None)
        elif key in at or where not in self.places:
            at[key] = value
        else:
            items = list(at.items())
            items.insert(self.places[where], (key, value))
            at.clear()
            at.update(items)

    def _load(self) -> None:
        self.edit.set(self.text(self.field))
        self.edit.lines = self.field.path == ("notes",)

    def move(self, by: int) -> None:
        self.cursor = (self.cursor + by) % len(self.fields)
        self._load()

    def turn(self, by: int) -> None:
        """Go to another sweep."""
        if self.sweeps > 1:
            self.which = (self.which + by) % self.sweeps
            self._load()

    def cycle(self, by: int) -> bool:
        """The next of the field's choices."""
        choices = self.field.choices
        if not choices:
            return False
        at = choices.index(self.edit.text) if self.edit.text in choices else -1 if by > 0 else 0
        self.edit.set(choices[(at + by) % len(choices)])
        self.commit()
        return True

    def key(self, key: str, character: str | None, printable: bool) -> bool:
        """A key of editing; the document follows at once."""
        if self.edit.key(key, character, printable):
            self.commit()
            return True
        return False

    def commit(self) -> None:
        value = read_value(self.edit.text, self.field)
        if self.field.path[0] == "models" and not isinstance(value, dict):
            return
        self._set(self.field, value)

    def toml(self) -> str:
        return dump(self.doc)

    def snapshot(self) -> dict[str, Any]:
        return copy.deepcopy(self.doc)
