"""What befalls a cluster while it trains: in each case no trial is lost or doubled, and the brackets are
those of an undisturbed search.

The nodes are processes of this machine (``ray.cluster_utils``); the supervisor is a process of its own.
"""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store.read import open_lab
from tests.ray.conftest import SMALL, Nodes
from tests.support import labs

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
    course.nodes.processes("a", "ray::SlotActor")[0].kill()
    course.go_on()
    course.nodes.processes("a", "runners.pool.worker")[0].kill()
    course.go_on()
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


def test_the_head_goes_and_the_lab_goes_on_here(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors go on without a head, so the work must last longer than its end takes to be noticed."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("STANDIN_EVAL_S", "0.4")
    labs.make(lab_path, labs.study(5, ("dense_ssm", "lstm")), max_attempts=100)
    cluster: Any = Cluster(initialize_head=True, head_node_args=SMALL)
    course = Course(lab_path, Nodes(cluster))
    try:
        running = course.supervise()
        course.go_on()
        cluster.head_node.kill_gcs_server()
        assert running.ended(90.0) == 1
        assert "its head is gone" in running.log
    finally:
        cluster.shutdown()
    monkeypatch.setenv("STANDIN_EVAL_S", "0.01")
    course.running = labs.spawn(lab_path)
    course.ended()


@pytest.mark.parametrize("course", [2], indirect=True)
def test_cards_of_a_node_are_devices_of_their_own(course: Course) -> None:
    course.nodes.add("g", num_gpus=2)
    course.supervise()
    course.ended()
    with open_lab(course.lab) as lab:
        assert {d.id for d in lab.devices()} == {"g/cuda:0", "g/cuda:1"}
    assert {p.device for p in course.probes()} == {"g/cuda:0", "g/cuda:1"}


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
