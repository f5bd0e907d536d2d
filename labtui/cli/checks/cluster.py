"""What ``labtui doctor`` says of Ray: its version, the cluster that trains the lab, and each odd node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from labtui.cli.checks.check import Check
from labtui.config import Settings
from labtui.views.nodes import FOLDED, slow, summary
from store.errors import LabError
from store.read import open_lab
from store.rows import NodeRow
from store.states import supervised


def cluster(path: Path, settings: Settings, env: Mapping[str, str], *, read_only: bool) -> Iterator[Check]:
    """Nothing where Ray is neither installed nor asked for."""
    try:
        ray = version("ray")
    except PackageNotFoundError:
        if settings.engine == "ray":
            yield Check("ray", "problem", "not installed, and engine = ray", "pip install 'labtui[ray]'")
        return
    wanted = settings.engine == "ray"
    yield Check(
        "ray", "ok", f"{ray}, address {settings.address}" if wanted else f"{ray}, not used (engine = local)"
    )
    if wanted and settings.address != "local" and not _asks_for_token(ray, env):
        text = "whoever reaches the ports of the cluster can run code as you (RAY_AUTH_MODE is not token)"
        yield Check("ray", "note", text, "docs/clusters.md: a private network, and Ray's token")
    try:
        with open_lab(path, read_only=read_only) as lab:
            nodes = lab.nodes() if supervised(lab.supervisor()) else []
    except LabError:  # told by the check of the lab
        return
    if nodes:
        yield Check("nodes", "ok", summary(nodes))
        yield from odd(nodes)


def _asks_for_token(ray: str, env: Mapping[str, str]) -> bool:
    """Ray's own check of who connects: by itself from 2.60 on, before that where it is asked for."""
    numbers = [int(part) for part in ray.split(".")[:2] if part.isdecimal()]
    return env.get("RAY_AUTH_MODE", "token" if numbers >= [2, 60] else "") == "token"


def odd(nodes: list[NodeRow]) -> Iterator[Check]:
    """Nodes that are not used, are unlike the others, or are slow; many with one trouble are one line."""
    late = slow(nodes)
    found: dict[Check, list[NodeRow]] = {}
    for node in nodes:
        if node.state == "refused":
            fix = "install the same there, then restart Ray"
            told = Check("", "problem", f"not used: {node.note}", fix)
        elif node.state in ("gone", "silent"):
            told = Check("", "note", f"the node is {node.state}")
        elif node.note or node.name in late:
            told = Check("", "note", node.note or late[node.name])
        else:
            continue
        found.setdefault(told, []).append(node)
    for told, alike in found.items():
        if len(alike) > FOLDED:
            text = f"{told.text}: {alike[0].name} to {alike[-1].name}"
            yield replace(told, check=f"{len(alike)} nodes", text=text)
            continue
        for node in alike:
            away = node.state in ("gone", "silent")
            text = f"{told.text} ({node.address})" if away else told.text
            yield replace(told, check=node.name, text=text)
