"""``labtui models``: the models of labtui and of installed packages, and the keys of each."""

from __future__ import annotations

from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.views.grid import grid


def arguments(parser: Parser) -> None:
    """Take no option of its own."""
    parser.runs(run)


def run(context: Context) -> None:
    """Tell every kind with its equation of one step, its keys and where it comes from."""
    from runners.spec.model import KINDS  # pydantic: only what reads specs waits for it
    from runners.spec.plugins import MODELS, offered, package_of

    rows = []
    for model in KINDS:
        fields = model.model_fields
        keys = {name: field.default for name, field in fields.items() if name != "kind"}
        row = {"kind": fields["kind"].default, "equation": model.EQUATION, "keys": keys}  # type: ignore[attr-defined]
        rows.append(row | {"source": model.SOURCE})  # type: ignore[attr-defined]
    for name, entry in offered(MODELS).items():
        keys = {"name": name, "version": None, "params": {}}
        rows.append({"kind": "plugin", "equation": None, "keys": keys, "source": package_of(entry)})
    if context.json:
        context.emit(rows)
        return
    listed = [
        [f"{r['kind']} {r['keys'].get('name', '')}", r["equation"], " ".join(r["keys"]), r["source"]]
        for r in rows
    ]
    context.lines(grid(["kind", "one step", "keys", "source"], listed, limit=90))
