"""The reference of the spec file, from the models: ``python -m runners.spec.document`` prints the tables of
docs/specs.md, with that page's name behind it writes them there.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runners.spec.job import Grid, Job, Lengths, Search, Training
from runners.spec.load import NamedJob
from runners.spec.model import (
    GRU,
    LSTM,
    PDSSM,
    RNN,
    SLSTM,
    DeltaNet,
    DenseSSM,
    Diagonal,
    Mamba,
    PluginModel,
    Transformer,
)
from runners.spec.program import Program
from runners.spec.study import Overrides, Sharing, Study, Sweep
from runners.spec.task import (
    Automaton,
    Dihedral,
    ModularAddition,
    PermutationComposition,
    PluginTask,
    Product,
)

BEGIN, END = "<!-- generated: python -m runners.spec.document -->", "<!-- end of generated -->"

WIDTH = 110
"""Columns of prose in the docs; a table's row is one line however long."""

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("A study file", Study),
    ("`[[sweep]]`", Sweep),
    ("`[sweep.joint]`: what the joint job has otherwise", Overrides),
    ("A job file", NamedJob),
    ("`[job]`", Job),
    ("`lengths`", Lengths),
    ("`grid`", Grid),
    ("`training`", Training),
    ("`search`", Search),
    ('Task `kind = "modular_addition"`', ModularAddition),
    ('Task `kind = "permutation_composition"`', PermutationComposition),
    ('Task `kind = "dihedral"`', Dihedral),
    ('Task `kind = "product"`', Product),
    ('Task `kind = "automaton"`', Automaton),
    ('Task `kind = "plugin"`', PluginTask),
    ('Model `kind = "transformer"`', Transformer),
    ('Model `kind = "lstm"`', LSTM),
    ('Model `kind = "dense_ssm"`', DenseSSM),
    ('Model `kind = "rnn"`', RNN),
    ('Model `kind = "gru"`', GRU),
    ('Model `kind = "slstm"`', SLSTM),
    ('Model `kind = "diagonal"`', Diagonal),
    ('Model `kind = "deltanet"`', DeltaNet),
    ('Model `kind = "mamba"`', Mamba),
    ('Model `kind = "pd_ssm"`', PDSSM),
    ('Model `kind = "plugin"`', PluginModel),
    ("`[program]`", Program),
    ("`[sharing]`", Sharing),
)


def reference() -> str:
    """Markdown: one table for each model, every key with what it takes, its default and its meaning."""
    return "\n".join([BEGIN, *(_section(title, model) for title, model in SECTIONS), END, ""])


def _section(title: str, model: type[BaseModel]) -> str:
    head = [
        f"### {title}",
        "",
        *textwrap.wrap(_oneline(model.__doc__ or ""), WIDTH, break_long_words=False, break_on_hyphens=False),
        "",
        "| key | takes | default | meaning |",
        "|---|---|---|---|",
    ]
    told = meanings(model)
    rows = [_row(name, f, told.get(name, "")) for name, f in model.model_fields.items() if name != "kind"]
    return "\n".join([*head, *rows, ""])


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What each key means: the string below it in its class. Read here, for the pages and the tests alone:
    Pydantic would read the sources whenever a process begins.
    """
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(made, ast.ClassDef)
        for key, below in pairwise(made.body):
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
                match below:
                    case ast.Expr(ast.Constant(str() as text)):
                        found[key.target.id] = inspect.cleandoc(text)
    return found


def _row(name: str, field: FieldInfo, meaning: str) -> str:
    takes = _takes(field.annotation) + _limits(field.metadata)
    cells = (f"`{name}`", takes, _default(field), _oneline(meaning))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _oneline(text: str) -> str:
    return re.sub(r"``([^`]*)``", r"`\1`", re.sub(r":\w+:`([^`]*)`", r"`\1`", " ".join(text.split())))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        return "its defaults"
    if value is None:
        return "none"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else str(value)


def _takes(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _takes(args[0]) + _limits(annotation.__metadata__)
    if origin is Literal:
        return " or ".join(f'`"{a}"`' for a in args)
    if origin is tuple:
        return "list of " + _takes(args[0])
    if origin is dict:
        return "table"
    if origin is Union or type(annotation).__name__ == "UnionType":
        options = [a for a in args if a is not type(None)]
        if all(isinstance(o, type) and issubclass(o, BaseModel) for o in options) and len(options) > 1:
            return "table with a `kind`"
        return _takes(options[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    names = {int: "integer", float: "number", str: "text", bool: "true or false"}
    return names.get(annotation, "value")


def _limits(metadata: Any) -> str:
    words = []
    for found in metadata:
        for item in getattr(found, "metadata", [found]):
            match item:
                case Ge(ge=x):
                    words.append(f">= {_number(x)}")
                case Gt(gt=x):
                    words.append(f"> {_number(x)}")
                case Le(le=x):
                    words.append(f"<= {_number(x)}")
                case Lt(lt=x):
                    words.append(f"< {_number(x)}")
                case MinLen(min_length=x) if x > 1:
                    words.append(f"at least {x}")
                case MaxLen(max_length=x):
                    words.append(f"at most {x}")
    return f" ({', '.join(words)})" if words else ""


def _number(x: Any) -> str:
    if isinstance(x, int) and x >= 1 << 16 and x & (x - 1) == 0:
        return f"2^{x.bit_length() - 1}"
    return f"{x:g}" if isinstance(x, float) else str(x)


def write(page: Path) -> None:
    """Put the reference between a page's two marks."""
    head, _, rest = page.read_text("utf-8").partition(BEGIN)
    page.write_text(head + reference() + rest.partition(f"{END}\n")[2], "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1])) if len(sys.argv) > 1 else sys.stdout.write(reference())
