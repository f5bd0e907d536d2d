"""The nodes of a cluster on a screen: readable however many there are, what is wrong on top."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labtui.cli.checks.cluster import _asks_for_token, odd
from labtui.views.lines import plain
from labtui.views.nodes import node_lines
from store.rows import DeviceRow, NodeRow, NodeState


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
    nodes[7] = replace(
        nodes[7], state="refused", note="it has labtui 0.1.0, expected 0.2.0 as the supervisor has"
    )
    devices[8 * 20 + 3] = replace(devices[8 * 20 + 3], state="lost")
    lines = text(nodes, devices)
    assert len(lines) <= 36
    assert lines[0] == ("64 nodes: 62 active, 1 silent, 1 refused; 512 of 512 slots train, 504 messages/s")
    assert lines[1].split()[:2] == ["node-7", "refused"]
    assert "it has labtui 0.1.0" in lines[1]
    assert lines[2].split()[:2] == ["node-40", "silent"]
    assert lines[3].split()[:2] == ["node-20", "active"]
    assert lines[3].endswith("cuda:3 lost; 7 × NVIDIA H200")
    assert lines[4].startswith(" 61 nodes  active  node-0 to node-63: 488 of 488 slots train")
    assert "8 × NVIDIA H200" in lines[4]
    assert len(lines) == 5


@pytest.mark.parametrize("state", ["gone", "refused", "active"])
def test_many_nodes_with_one_trouble_are_one_line(state: NodeState) -> None:
    nodes, devices = cluster(128)
    note = "torch 2.9 (here 2.8): last bits may differ" if state == "active" else ""
    nodes = [replace(n, state=state, note=note) if i % 2 else n for i, n in enumerate(nodes)]
    lines = text(nodes, devices)
    assert len(lines) == 3
    assert lines[1].startswith(f" 64 nodes  {state}  node-1 to node-127")
    assert note in lines[1]


def test_a_slow_node_stands_on_top() -> None:
    nodes, devices = cluster(64)
    nodes[61] = replace(nodes[61], messages_per_s=1.0)
    lines = text(nodes, devices)
    assert lines[1].split()[:2] == ["node-61", "active"]
    assert "slow: 0.1 messages/s from each slot that trains" in lines[1]


def test_the_sentence_of_a_refused_node_fits_a_screen() -> None:
    nodes, devices = cluster(64)
    why = "it has labtui 0.1.0, expected 0.2.0 as the supervisor has"
    nodes[7] = replace(nodes[7], state="refused", note=why, slots=0, busy=0, messages_per_s=0.0)
    assert max(map(len, text(nodes, devices))) <= 118


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
    nodes[2] = replace(
        nodes[2], state="refused", note="it has Python 3.12, expected 3.11 as the supervisor has"
    )
    nodes[3] = replace(nodes[3], note="torch 2.9 (here 2.8): last bits may differ")
    found = {check.check: (check.level, check.text) for check in odd(nodes)}
    assert found["node-1"][1].startswith("slow: 0.1 messages/s")
    assert found["node-2"] == ("problem", f"not used: {nodes[2].note}")
    assert found["node-3"][0] == "note"
    assert set(found) == {"node-1", "node-2", "node-3"}


def test_doctor_tells_many_with_one_trouble_in_one_line() -> None:
    nodes, _ = cluster(64)
    nodes = [replace(n, state="gone") if i % 2 else n for i, n in enumerate(nodes)]
    nodes[0] = replace(nodes[0], state="silent")
    (silent, gone) = odd(nodes)
    assert (silent.check, silent.text) == ("node-0", "the node is silent (10.0.0.0)")
    assert (gone.check, gone.text) == ("32 nodes", "the node is gone: node-1 to node-63")


def test_doctor_knows_when_ray_asks_for_a_token() -> None:
    assert _asks_for_token("2.60.0", {})
    assert not _asks_for_token("2.59.1", {})
    assert _asks_for_token("2.50.0", {"RAY_AUTH_MODE": "token"})
    assert not _asks_for_token("2.61.0", {"RAY_AUTH_MODE": "disabled"})
