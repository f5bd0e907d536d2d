"""What befalls a cluster while it trains: in each case no trial is lost or doubled, and the brackets are
those of an undisturbed search.

The nodes are processes of this machine (``ray.cluster_utils``); the supervisor is a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.pool import client
from store import commands
from store.read import open_lab
from store.write import Writer
from tests.ray.conftest import SMALL, Nodes
from tests.support import labs
from tests.support.simulated import Cards, card

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(600)]
PATIENCE_S = 180.0
"""The machine may have other things to do."""


class Course:
    """A lab, and a supervisor that trains it on the nodes."""

    def __init__(self, lab: Path, nodes: Nodes) -> None:
        self.lab, self.nodes = lab, nodes
        self.running: labs.Supervised | None = None

    def supervise(self, *options: str) -> labs.Supervised:
        words = ("--engine", "ray", "--address", self.nodes.address, *options)
        self.running = labs.spawn(self.lab, *words)
        return self.running

    def probes(self) -> list[Any]:
        with open_lab(self.lab) as lab:
            return [p for job in lab.jobs() for p in lab.probes(job.id)]

    def events(self) -> str:
        with open_lab(self.lab) as lab:
            return "\n".join(e.text for e in lab.events(limit=10_000))

    def done(self) -> int:
        return sum(p.state == "done" for p in self.probes())

    def until(self, ready: Callable[[], Any], what: str) -> Any:
        def look() -> Any:
            ended = self.running is not None and self.running.process.poll() is not None
            return ready() or (True if ended else None)

        return labs.wait(look, PATIENCE_S, what)

    def go_on(self, candidates: int = 2) -> None:
        """Until so many more candidates are done."""
        wanted = self.done() + candidates
        self.until(lambda: self.done() >= wanted, f"{wanted} candidates")

    def process(self, node: str, word: str) -> Any:
        """The first of a node's processes that is called so; the other node may be ahead of it."""
        return self.until(lambda: next(iter(self.nodes.processes(node, word)), None), f"{word} on {node}")

    def ended(self) -> None:
        assert self.running is not None
        assert self.running.ended(PATIENCE_S) == 0, self.running.log[-3000:]
        labs.verify(self.lab)


@pytest.fixture
def course(request: pytest.FixtureRequest, lab_path: Path, nodes: Nodes) -> Iterator[Course]:
    labs.make(lab_path, labs.study(getattr(request, "param", 5), ("dense_ssm", "lstm")), max_attempts=100)
    made = Course(lab_path, nodes)
    yield made
    if made.running is not None and made.running.process.poll() is None:
        made.running.kill()


def test_two_nodes_go_one_comes_and_an_odd_one_is_refused(course: Course) -> None:
    for name in ("a", "b"):
        course.nodes.add(name)
    course.supervise()
    course.go_on()
    course.nodes.add("odd", env_vars={"LABTUI_VERSION": "0.0.1"})
    course.nodes.kill("a")
    course.go_on()
    course.nodes.add("d")
    course.until(lambda: any((p.device or "").startswith("d/") for p in course.probes()), "work on d")
    course.nodes.kill("b")
    course.ended()
    assert "node odd" in course.events()
    assert "it has labtui 0.0.1" in course.events()
    assert not any((p.device or "").startswith("odd/") for p in course.probes())
    with open_lab(course.lab) as lab:
        states = {n.name: n.state for n in lab.nodes()}
        devices = {d.id: d.state for d in lab.devices()}
    assert states["d"] == "active"
    assert states["odd"] == "refused"
    assert devices["a/cpu"] == "lost"


def test_actor_worker_and_supervisor_are_killed_and_a_node_hangs(course: Course) -> None:
    for name in ("a", "b"):
        course.nodes.add(name)
    first = course.supervise("--lease", "5")
    course.go_on()
    course.process("a", "ray::SlotActor").kill()
    course.go_on()
    course.process("a", "runners.pool.worker").kill()
    course.go_on()
    course.process("b", "runners.pool.worker")
    hung = [
        p for word in ("ray::SlotActor", "runners.pool.worker") for p in course.nodes.processes("b", word)
    ]
    try:
        for process in hung:
            process.send_signal(signal.SIGSTOP)
        course.until(lambda: "no heartbeat" in first.log, "the hung workers are given up")
    finally:
        for process in hung:
            with contextlib.suppress(Exception):
                process.kill()
    first.kill()
    labs.wait(
        lambda: not any(course.nodes.processes(n, "ray::SlotActor") for n in ("a", "b")),
        PATIENCE_S,
        "orphaned actors to end by themselves",
    )
    course.supervise()
    course.ended()


def test_the_head_goes_and_comes_back(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor waits for it and goes on there by itself, under its process id.

    Actors go on without a head, so the work must last longer than its end takes to be noticed.
    """
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("STANDIN_EVAL_S", "0.4")
    labs.make(lab_path, labs.study(5, ("dense_ssm", "lstm")), max_attempts=100)
    cluster: Any = Cluster(initialize_head=True, head_node_args=SMALL)
    course = Course(lab_path, Nodes(cluster))
    running = course.supervise()
    try:
        course.go_on()
        address = course.nodes.address
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        course.until(lambda: "waiting: " in client.status(lab_path).message, "that the head is gone")
        assert "its head is gone" in running.log
        monkeypatch.setenv("STANDIN_EVAL_S", "0.01")
        cluster.shutdown()
        same = {"gcs_server_port": int(address.rpartition(":")[2])}
        cluster = Cluster(initialize_head=True, head_node_args={**SMALL, **same})
        assert str(cluster.address) == address
        course.ended()
    finally:
        running.kill()
        cluster.shutdown()


@pytest.mark.parametrize("course", [2], indirect=True)
def test_cards_of_a_node_are_devices_of_their_own(course: Course) -> None:
    course.nodes.add("g", num_gpus=2)
    course.supervise()
    course.ended()
    with open_lab(course.lab) as lab:
        assert {d.id for d in lab.devices()} == {"g/cuda:0", "g/cuda:1"}
    assert {p.device for p in course.probes()} == {"g/cuda:0", "g/cuda:1"}


@pytest.mark.parametrize("course", [2], indirect=True)
def test_cards_of_unlike_speed_have_plans_of_their_own(course: Course, tmp_path: Path) -> None:
    """What is measured on one kind of card says nothing of another."""
    at_once = {"A100": 4, "H200": 64}
    for kind, most in at_once.items():
        cards = Cards(tmp_path / kind, card(0, name=kind))
        path = os.pathsep.join([cards.env["PYTHONPATH"], str(labs.ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**cards.env, "PYTHONPATH": path, "STANDIN_AT_ONCE": str(most)}
        course.nodes.add(kind.lower(), num_gpus=1, env_vars=env)
    commands.hold(course.lab)
    course.supervise()

    def both() -> bool:
        with open_lab(course.lab) as lab:
            return len(lab.devices()) == 2

    course.until(both, "both cards")
    commands.release(course.lab)
    course.ended()
    with open_lab(course.lab) as lab:
        assert {d.id: d.name for d in lab.devices()} == {"a100/cuda:0": "A100", "h200/cuda:0": "H200"}
    assert {p.device for p in course.probes()} == {"a100/cuda:0", "h200/cuda:0"}
    with Writer(course.lab) as writer, writer.transaction() as tx:
        plans = tx.rows("SELECT device, plan FROM calibration")
    found = {(row.device.split("/")[1], json.loads(row.plan)["members_at_once"]) for row in plans}
    assert found == set(at_once.items())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_seeded_course(course: Course, seed: int) -> None:
    """Two nodes killed and one added when the seed says so; an actor, a worker or the supervisor too."""
    rng = random.Random(seed)
    for name in ("a", "b", "c"):
        course.nodes.add(name)
    course.supervise()
    moments = ["a", "b", "add", rng.choice(["ray::SlotActor", "runners.pool.worker", "supervisor"])]
    rng.shuffle(moments)
    for moment in moments:
        course.go_on(rng.randint(1, 3))
        if moment == "add":
            course.nodes.add("d")
        elif moment == "supervisor":
            assert course.running is not None
            course.running.kill()
            course.supervise()
        elif moment in ("a", "b"):
            course.nodes.kill(moment)
        elif found := course.nodes.processes("c", moment):
            rng.choice(found).kill()
    course.ended()
