"""The nodes of a cluster on a screen: readable however many there are, what is wrong on top."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labtui.cli.checks.cluster import _asks_for_token, odd
from labtui.views.lines import plain
from labtui.views.nodes import node_lines
from store.rows import DeviceRow, NodeRow


def cluster(nodes: int, cards: int = 8) -> tuple[list[NodeRow], list[DeviceRow]]:
    rows = [NodeRow(f"node-{i}", "active", "", f"10.0.0.{i}", cards, cards, cards, 8.0) for i in range(nodes)]
    devices = [
        DeviceRow(f"node-{i}/cuda:{j}", "NVIDIA H200", 1, "active", "")
        for i in range(nodes)
        for j in range(cards)
    ]
    return rows, devices


def text(nodes: list[NodeRow], devices: list[DeviceRow]) -> list[str]:
    return [plain(line) for line in node_lines(nodes, devices)]


def test_512_slots_fit_a_screen_with_what_is_wrong_on_top() -> None:
    nodes, devices = cluster(64)
    nodes[40] = replace(nodes[40], state="silent", messages_per_s=0.0)
    nodes[7] = replace(nodes[7], state="refused", note="it has labtui 0.1.0, and the supervisor has 0.2.0")
    devices[8 * 20 + 3] = replace(devices[8 * 20 + 3], state="lost")
    lines = text(nodes, devices)
    assert len(lines) <= 36
    assert lines[0] == ("64 nodes: 62 active, 1 silent, 1 refused; 512 of 512 slots train, 504 messages/s")
    assert lines[1].split()[:2] == ["node-7", "refused"]
    assert "it has labtui 0.1.0" in lines[1]
    assert lines[2].split()[:2] == ["node-40", "silent"]
    assert lines[3].split()[:2] == ["node-20", "active"]
    assert lines[4].strip() == "node-20/cuda:3 lost"
    assert lines[5].startswith(" 61 nodes  active  node-0 to node-63: 488 of 488 slots train")
    assert "8 × NVIDIA H200" in lines[5]


def test_a_few_nodes_have_a_line_each() -> None:
    nodes, devices = cluster(3)
    lines = text(nodes, devices)
    assert [line.split()[0] for line in lines[1:]] == ["node-0", "node-1", "node-2"]
    assert all("8/8 slots" in line and "8.0/s" in line for line in lines[1:])


@pytest.mark.parametrize("name", ["a\x1b[31mred", "x" * 500])
def test_what_a_node_calls_itself_is_data(name: str) -> None:
    lines = text([NodeRow(name, "refused", f"why {name}")], [DeviceRow(f"{name}/cpu", name, 1, "active", "")])
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 300


def test_no_cluster_is_no_line() -> None:
    assert node_lines([], []) == []


def test_doctor_tells_of_odd_and_slow_nodes() -> None:
    nodes, _ = cluster(5)
    nodes[1] = replace(nodes[1], messages_per_s=1.0)
    nodes[2] = replace(nodes[2], state="refused", note="it has Python 3.12, and the supervisor has 3.11")
    nodes[3] = replace(nodes[3], note="torch 2.9 (here 2.8): last bits may differ")
    found = {check.check: (check.level, check.text) for check in odd(nodes)}
    assert found["node-1"][1].startswith("slow: 0.1 messages/s")
    assert found["node-2"] == ("problem", "not used: it has Python 3.12, and the supervisor has 3.11")
    assert found["node-3"][0] == "note"
    assert set(found) == {"node-1", "node-2", "node-3"}


def test_doctor_knows_when_ray_asks_for_a_token() -> None:
    assert _asks_for_token("2.60.0", {})
    assert not _asks_for_token("2.59.1", {})
    assert _asks_for_token("2.50.0", {"RAY_AUTH_MODE": "token"})
    assert not _asks_for_token("2.61.0", {"RAY_AUTH_MODE": "disabled"})
