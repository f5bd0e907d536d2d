"""``labtui study``: rename a study, archive it, bring it back."""

from __future__ import annotations

import json
from typing import Any

import store.commands
from labtui.cli.arguments import NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.selection import study_id
from labtui.cli.send import send


def arguments(parser: Parser) -> None:
    """Take rename or archive."""
    for name, text in (
        ("rename", "give a study another name"),
        ("archive", "hide a study from the queue"),
    ):
        part = parser.part(name, text)
        part.add_argument("study", metavar="ID|NAME", help="the study")
        if name == "rename":
            part.add_argument("name", metavar="NAME", help="the new one")
        else:
            part.add_argument("--undo", action="store_true", help="bring it back instead")
        part.add_argument("--no-wait", **NO_WAIT)
        example = "1 baseline" if name == "rename" else "1"
        part.runs(run, writes=True, example=example, verb=name)


def run(context: Context) -> None:
    """Send the change of a study."""
    args = context.args
    study = study_id(context, args.study)
    if study is None:
        raise BadInput("no study is given; expected an id or a name")
    patch: dict[str, Any] = {"name": args.name} if args.verb == "rename" else {"archived": not args.undo}
    send(context, lambda: store.commands.study(context.lab_path, study, json.dumps(patch)))
