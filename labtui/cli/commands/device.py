"""``labtui device``: the devices; use one or leave it alone.

``device cuda:0 --state excluded`` leaves a device alone.
"""

from __future__ import annotations

import store.commands
from labtui.cli.arguments import NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.send import send
from labtui.views.queue import device_lines


def arguments(parser: Parser) -> None:
    """A device, and what becomes of it."""
    parser.add_argument("id", metavar="DEVICE", nargs="?", help="cpu or cuda:0 (else list them all)")
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
        if context.json:
            context.emit(rows)
        else:
            context.lines(device_lines(rows))
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
