"""``labtui models``: the models that come with labtui, and the keys of each."""

from __future__ import annotations

from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.views.grid import grid


def arguments(parser: Parser) -> None:
    """None of its own."""
    parser.runs(run)


def run(context: Context) -> None:
    """Every kind with its equation of one step, its keys and where it comes from."""
    from runners.spec.model import KINDS  # pydantic: only what reads specs waits for it

    rows = []
    for model in KINDS:
        fields = model.model_fields
        keys = {name: field.default for name, field in fields.items() if name != "kind"}
        row = {"kind": fields["kind"].default, "equation": model.EQUATION, "keys": keys}  # type: ignore[attr-defined]
        rows.append(row | {"source": model.SOURCE})  # type: ignore[attr-defined]
    if context.json:
        context.emit(rows)
        return
    listed = [[r["kind"], r["equation"], " ".join(r["keys"]), r["source"]] for r in rows]
    context.lines(grid(["kind", "one step", "keys", "source"], listed, limit=90))
