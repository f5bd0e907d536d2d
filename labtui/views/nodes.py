"""The machines of a cluster: by node, those with trouble first, many that are alike folded into one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len

from labtui.text import clean, fit
from labtui.views.lines import Line
from store.rows import DeviceRow, NodeRow, NodeState

ORDER: tuple[NodeState, ...] = ("refused", "silent", "gone", "starting", "active")
"""States, those that somebody should look at first."""
STYLES = {"refused": "bad", "silent": "warn", "gone": "warn", "starting": "dim", "active": "ok"}
FOLDED = 12
"""Healthy nodes up to which each has a line of its own."""
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


def node_lines(nodes: Sequence[NodeRow], devices: Sequence[DeviceRow]) -> list[Line]:
    """A summary, and a line for each node with its devices in few words; those with trouble first, with what
    is the matter. More than ``FOLDED`` healthy ones of one kind are one line.
    """
    if not nodes:
        return []
    mine: dict[str, list[DeviceRow]] = {}
    for device in devices:
        mine.setdefault(node_of(device), []).append(device)
    width = min(NAME, max(4, *(cell_len(clean(n.name)) for n in nodes)))
    lines: list[Line] = [((summary(nodes), "title"),)]
    odd = [n for n in nodes if _trouble(n, mine.get(n.name, []))]
    for node in sorted(odd, key=lambda n: (ORDER.index(n.state), _by_number(n.name))):
        lines.append(_line(node, mine.get(node.name, []), width))
        lines += [
            ((f"   {' ' * width}  {clean(device.id)} {device.state}", "warn"),)
            for device in mine.get(node.name, [])
            if node.state != "gone" and device.state != "active"
        ]
    kinds: dict[str, list[NodeRow]] = {}
    for node in sorted(nodes, key=lambda n: _by_number(n.name)):
        if node not in odd:
            kinds.setdefault(_has(mine.get(node.name, [])), []).append(node)
    for has, alike in kinds.items():
        if len(alike) <= FOLDED:
            lines += [_line(node, mine.get(node.name, []), width) for node in alike]
        else:
            lines.append(_folded(alike, has))
    return lines


def _by_number(name: str) -> list[tuple[int, str]]:
    """node-9 stands before node-10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"([0-9]+)", name[:200])]


def _trouble(node: NodeRow, devices: Sequence[DeviceRow]) -> bool:
    return node.state != "active" or bool(node.note) or any(d.state != "active" for d in devices)


def _has(devices: Sequence[DeviceRow]) -> str:
    """``8 × NVIDIA H200``: the devices of a node by their names."""
    names = Counter(clean(d.name, limit=40) for d in devices if d.state != "lost")
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in names.items())


def _line(node: NodeRow, devices: Sequence[DeviceRow], width: int) -> Line:
    slots = f"{node.busy}/{node.slots}"
    why = clean(node.note, limit=200) or _has(devices)
    style = "warn" if node.note else "dim"
    return (
        (f" {fit(clean(node.name), width)}  ", ""),
        (f"{node.state:<8}", STYLES[node.state]),
        (f"  {slots:>7} slots  {node.messages_per_s:>6.1f}/s  ", ""),
        (why, style),
    )


def _folded(nodes: Sequence[NodeRow], has: str) -> Line:
    slots, busy = sum(n.slots for n in nodes), sum(n.busy for n in nodes)
    rates = [n.messages_per_s for n in nodes]
    words = f"{busy} of {slots} slots train, {min(rates):.1f} to {max(rates):.1f}/s each, {has}"
    return (
        (f" {len(nodes)} nodes  ", ""),
        ("active", STYLES["active"]),
        (f"  {clean(nodes[0].name)} to {clean(nodes[-1].name)}: {words}", "dim"),
    )
