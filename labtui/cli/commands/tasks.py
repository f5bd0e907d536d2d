"""``labtui tasks``: one task of every form and those of installed packages, or what is known of one."""

from __future__ import annotations

from typing import Any

from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.views.grid import grid
from labtui.views.numbers import count

LENGTHS = range(2, 11)


def arguments(parser: Parser) -> None:
    """Take names to describe; none: one of every form."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="such as A5, 'S5 swaps' or 'tomita 4'")
    parser.runs(run, example="A5 'S5 swaps'")


def run(context: Context) -> None:
    """Tell states, tokens, labels, whether it is a group and solvable, and sequences of each length."""
    from runners.spec.named_tasks import EXAMPLES  # pydantic: only what reads specs waits for it
    from runners.spec.plugins import TASKS, offered, package_of

    rows = [_describe(name) for name in context.args.names or EXAMPLES]
    plugins = {} if context.args.names else offered(TASKS)
    if context.json:
        packages = [{"name": name, "plugin": package_of(entry)} for name, entry in plugins.items()]
        context.emit(
            [row | {"plugin": None} for row in rows] + [dict.fromkeys(rows[0]) | p for p in packages]
        )
        return
    yes = {True: "yes", False: "no", None: "?"}
    listed = [
        [
            row["name"],
            row["states"],
            row["tokens"],
            row["labels"],
            yes[row["group"]],
            yes[row["solvable"]] if row["group"] else "",
            " ".join(count(n) for n in row["sequences"].values()),
        ]
        for row in rows
    ]
    listed += [[name, *[""] * 5, f"plugin of {package_of(entry)}"] for name, entry in plugins.items()]
    heads = ["task", "states", "tokens", "labels", "group", "solvable", "sequences of 2..10 tokens"]
    context.lines(grid(heads, listed, right="states tokens labels"))


def _describe(name: str) -> dict[str, Any]:
    from runners.spec.groups import algebra
    from runners.spec.named_tasks import task_of
    from runners.spec.task import Automaton

    task = task_of(name)
    found = algebra(task)
    labels = len(set(task.output)) if isinstance(task, Automaton) and task.output else task.n_states
    return {
        "name": name,
        "states": task.n_states,
        "tokens": task.n_tokens,
        "labels": labels,
        "group": found.group,
        "order": found.order,
        "solvable": found.solvable,
        "sequences": {n: task.n_tokens**n for n in LENGTHS},
    }
