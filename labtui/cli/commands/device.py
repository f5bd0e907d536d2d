"""``labtui device``: the devices, on a cluster node by node; use one or leave it alone.

``device cuda:0 --state excluded`` leaves a device alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import store.commands
from labtui.cli.arguments import NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.send import send
from labtui.views.lines import plain
from labtui.views.nodes import node_lines, node_of
from labtui.views.queue import device_lines
from store.rows import DeviceRow

LISTED = 24
"""Devices of a cluster up to which each has a line beside its node's."""


def arguments(parser: Parser) -> None:
    """Take a device, and what becomes of it."""
    parser.add_argument(
        "id", metavar="DEVICE", nargs="?", help="cpu, cuda:0 or node-3/cuda:1 (else list all)"
    )
    parser.add_argument(
        "--state",
        choices=("active", "excluded", "reserved"),
        metavar="S",
        help="active, excluded or reserved",
    )
    parser.add_argument("--slots", type=int, metavar="N", help="workers on it at once")
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, example="cuda:0 --state excluded")


def run(context: Context) -> None:
    """Use a device or leave it alone; without arguments list them."""
    args = context.args
    if args.id is not None:
        context.will_write()
    rows = context.lab.devices()
    if args.id is None:
        _show(context, rows)
        return
    if args.id not in [d.id for d in rows]:
        known = ", ".join(d.id for d in rows) or "none known yet; a supervisor finds them"
        raise BadInput(f"there is no device {args.id!r}; expected one of: {known}")
    if args.state is None and args.slots is None:
        raise BadInput("nothing to change; expected --state or --slots")
    if args.slots is not None and not 0 <= args.slots <= 1024:
        raise BadInput(f"--slots is {args.slots}; expected 0 to 1024")
    send(
        context, lambda: store.commands.device(context.lab_path, args.id, state=args.state, slots=args.slots)
    )


def _show(context: Context, rows: Sequence[DeviceRow]) -> None:
    """All of them; as JSON each with its node, and nodes without a device too."""
    nodes = context.lab.nodes()
    if context.json:
        by_name = {node.name: asdict(node) for node in nodes}
        told = [{**asdict(row), "node": by_name.get(node_of(row))} for row in rows]
        bare = [name for name in by_name if name not in {node_of(row) for row in rows}]
        nothing = dict.fromkeys(("id", "name", "slots", "state", "note"))
        context.emit([*told, *({**nothing, "node": by_name[name]} for name in bare)])
        return
    if nodes:
        context.lines(plain(line) for line in node_lines(nodes, rows))
        rows = [row for row in rows if row.state != "lost"]
        if len(rows) > LISTED:
            context.say(f"{len(rows)} devices; one a line: labtui device --json")
            return
        context.line("")
    context.lines(device_lines(rows))
