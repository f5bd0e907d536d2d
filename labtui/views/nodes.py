"""The machines of a cluster: by node, those with trouble first, many that are alike folded into one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from labtui.text import clean, fit
from labtui.views.lines import Line

if TYPE_CHECKING:
    from store.rows import DeviceRow, NodeRow, NodeState

ORDER: tuple[NodeState, ...] = ("refused", "silent", "gone", "starting", "active")
"""States, those that somebody should look at first."""
STYLES = {"refused": "bad", "silent": "warn", "gone": "warn", "starting": "dim", "active": "ok"}
USED: tuple[NodeState, ...] = ("active", "silent")
FOLDED = 12
"""Nodes that are alike up to which each has a line of its own."""
SLOW = 0.5
"""A node whose slots say so much less than those of the others in the middle is told as slow."""
LEAST_RATE = 0.2
"""Messages a second and slot below which no node is compared."""
NAME = 20


def node_of(device: DeviceRow) -> str:
    """The node that a device is on; empty: this machine."""
    return device.id.rpartition("/")[0]


def summary(nodes: Sequence[NodeRow]) -> str:
    """``64 nodes: 62 active, 1 silent, 1 refused; 480 of 496 slots train, 991 messages/s``."""
    states = Counter(node.state for node in nodes)
    told = ", ".join(f"{states[state]} {state}" for state in reversed(ORDER) if states[state])
    slots, busy = sum(n.slots for n in nodes), sum(n.busy for n in nodes)
    rate = sum(n.messages_per_s for n in nodes)
    many = "s" if len(nodes) != 1 else ""
    return f"{len(nodes)} node{many}: {told}; {busy} of {slots} slots train, {rate:,.0f} messages/s"


def slow(nodes: Sequence[NodeRow]) -> dict[str, str]:
    """Why in words, by the names of those nodes whose slots say much less than those of the others."""
    rates = {n.name: n.messages_per_s / n.busy for n in nodes if n.state == "active" and n.busy}
    middle = sorted(rates.values())[len(rates) // 2] if rates else 0.0
    return {
        name: f"slow: {rate:.1f} messages/s from each slot that trains, {middle:.1f} elsewhere"
        for name, rate in rates.items()
        if middle > LEAST_RATE and rate < SLOW * middle
    }


def node_lines(nodes: Sequence[NodeRow], devices: Sequence[DeviceRow]) -> list[Line]:
    """A summary, and a line for each node with its devices in few words; those with trouble first, with what
    is the matter. More than ``FOLDED`` that are alike, in trouble or not, are one line.
    """
    if not nodes:
        return []
    mine: dict[str, list[DeviceRow]] = {}
    for device in devices:
        mine.setdefault(node_of(device), []).append(device)
    late = slow(nodes)
    width = min(NAME, max(4, *(cell_len(clean(n.name)) for n in nodes)))
    alike: dict[tuple[bool, int, str], list[tuple[NodeRow, str]]] = {}
    for node in sorted(nodes, key=lambda n: _by_number(n.name)):
        has = mine.get(node.name, [])
        note, lag = clean(node.note, limit=200), late.get(node.name, "")
        out = ", ".join(f"{d.id.rpartition('/')[2]} {d.state}" for d in has if d.state != "active")
        if node.state == "gone":  # those that are gone are alike whatever they had
            out = ""
        trouble = [word for word in (note, lag, clean(out)) if word]
        fine = node.state == "active" and not trouble
        kind = note or (lag and "slow") or (out and "with devices left out")
        if fine:
            kind = _has(has)
        told = "; ".join([*trouble, *([_has(has)] if node.state in USED else [])])
        alike.setdefault((fine, ORDER.index(node.state), kind), []).append((node, told))
    lines: list[Line] = [((summary(nodes), "title"),)]
    for (fine, _, kind), some in sorted(alike.items(), key=lambda pair: pair[0][:2]):
        if len(some) <= FOLDED:
            lines += [_line(node, told, width, fine) for node, told in some]
        else:
            lines.append(_folded([node for node, _ in some], kind, fine))
    return lines


def _by_number(name: str) -> list[tuple[int, str]]:
    """node-9 stands before node-10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"([0-9]+)", name[:200])]


def _has(devices: Sequence[DeviceRow]) -> str:
    """``8 × NVIDIA H200``: the devices of a node by their names."""
    names = Counter(clean(d.name, limit=40) for d in devices if d.state != "lost")
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in names.items())


def _line(node: NodeRow, told: str, width: int, fine: bool) -> Line:
    slots = f"  {f'{node.busy}/{node.slots}':>7} slots  {node.messages_per_s:>6.1f}/s"
    return (
        (f" {fit(clean(node.name), width)}  ", ""),
        (f"{node.state:<8}", STYLES[node.state]),
        (f"{slots if node.state in USED else ''}  ", ""),
        (told, "dim" if fine else "warn"),
    )


def _folded(nodes: Sequence[NodeRow], kind: str, fine: bool) -> Line:
    slots, busy = sum(n.slots for n in nodes), sum(n.busy for n in nodes)
    rates = [n.messages_per_s for n in nodes]
    state = nodes[0].state
    adds = f"{busy} of {slots} slots train, {min(rates):.1f} to {max(rates):.1f}/s each"
    words = ", ".join(filter(None, (adds if state in USED else "", kind)))
    who = f"  {clean(nodes[0].name)} to {clean(nodes[-1].name)}"
    words = f"{who}: {words}" if words else who
    return ((f" {len(nodes)} nodes  ", ""), (state, STYLES[state]), (words, "dim" if fine else "warn"))
