"""Slots on GPUs, with cards that only the supervisor believes in:
packing, speculation in a load, a card that goes.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners import machine
from runners.pool.devices import Device
from runners.pool.local import LocalPool
from runners.pool.options import Options
from runners.pool.supervisor import Supervisor
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs

CARDS = [Device("cuda:0", "Test card"), Device("cuda:1", "Test card")]


@pytest.fixture
def supervise(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Supervisor]]:
    """Run a supervisor in this process until the queue is empty."""
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    monkeypatch.setenv("STANDIN_DIR", str(lab_path.parent))
    monkeypatch.setenv("STANDIN_AT_ONCE", "64")
    monkeypatch.setattr(machine, "available_memory", lambda: 1 << 40)

    def run(cards: list[Device] = CARDS, **options: object) -> Supervisor:
        made = Options(lab_path, trainer=labs.TRAINER, until_empty=True, backoff_s=0.05, **options)  # type: ignore[arg-type]
        supervisor = Supervisor(made, SupervisorLock.acquire(LabPaths(lab_path)), LocalPool(cards))
        assert supervisor.run() == 0
        return supervisor

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
    logging.getLogger("labtui").handlers.clear()


def begun(lab: Path) -> list[set[str]]:
    """The probes of each load that was begun afresh."""
    lines = (lab.parent / "trained.log").read_text().splitlines()
    return [{word.split(":")[0] for word in line.split()[1:]} for line in lines]


def test_searches_of_one_shape_share_a_card(lab_path: Path, supervise: Callable[..., Supervisor]) -> None:
    labs.make(lab_path, labs.study(3, eps=(1e-4, 2e-4, 3e-4, 4e-4, 5e-4)))
    supervise(CARDS[:1], speculate=False)
    labs.verify(lab_path)
    assert max(map(len, begun(lab_path))) >= 4


def test_candidates_ahead_of_their_turn_fill_a_load(
    lab_path: Path, supervise: Callable[..., Supervisor]
) -> None:
    labs.make(lab_path, labs.study(4))
    supervise()
    labs.verify(lab_path)
    with open_lab(lab_path) as opened:
        assert any(p.speculative for j in opened.jobs() for p in opened.probes(j.id))


def test_a_card_that_goes_is_taken_out_and_its_jobs_move(
    lab_path: Path, supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [{"kind": "device", "at": 0, "times": 1000, "device": "cuda:0"}]
    monkeypatch.setenv("STANDIN_FAULTS", json.dumps(faults))
    monkeypatch.setenv("STANDIN_EVAL_S", "0.02")
    labs.make(lab_path, labs.study(6, ("dense_ssm", "lstm")), max_attempts=100)
    supervise()
    labs.verify(lab_path)
    with open_lab(lab_path) as opened:
        assert {d.id: d.state for d in opened.devices()} == {"cuda:0": "lost", "cuda:1": "active"}
        assert {p.device for j in opened.jobs() for p in opened.probes(j.id) if p.state == "done"} == {
            "cuda:1"
        }


def test_an_assertion_on_a_card_fails_its_job_and_no_card(
    lab_path: Path, supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    labs.make(lab_path, labs.study(3), max_attempts=4)
    with open_lab(lab_path) as opened:
        bad = opened.job(1).hash
    monkeypatch.setenv(
        "STANDIN_FAULTS", json.dumps([{"kind": "assert", "at": 0, "times": 1000, "hash": bad}])
    )
    supervise()
    with open_lab(lab_path) as opened:
        assert {d.state for d in opened.devices()} == {"active"}
        assert {j.id: j.state for j in opened.jobs()} == {1: "failed", 2: "done", 3: "done"}


def test_a_checkpoint_of_a_pack_survives_the_supervisor(lab_path: Path, tmp_path: Path) -> None:
    """Killed in mid-pack: each search goes on by itself from the pack's checkpoint."""
    labs.make(lab_path, labs.study(2, eps=(1e-4, 2e-4, 3e-4)), max_attempts=100)
    env = {
        "STANDIN_AT_ONCE": "64",
        "STANDIN_EVAL_S": "0.03",
        "STANDIN_EVALS": "20",
        "STANDIN_CHECKPOINT_EVERY": "1",
    }
    folder = LabPaths(lab_path).checkpoints
    running = labs.spawn(lab_path, "--slots", "1", "--no-speculation", env=env)
    manifests = labs.wait(
        lambda: [f for f in folder.rglob("assignment.json") if _packed(f)], 60, "a pack's checkpoint"
    )
    running.kill()
    begun_before = len((tmp_path / "trained.log").read_text().splitlines())
    keys = {row[0] for row in json.loads(manifests[0].read_text())["members"]}
    with open_lab(lab_path) as opened:
        left = {str(p.id) for j in opened.jobs() for p in opened.probes(j.id) if p.state != "done"}
    assert (
        labs.spawn(lab_path, "--slots", "1", "--no-speculation", env={**env, "STANDIN_AT_ONCE": "1"}).ended()
        == 0
    )
    labs.verify(lab_path)
    lines = (tmp_path / "trained.log").read_text().splitlines()[begun_before:]
    again = {word.split(":")[0] for line in lines for word in line.split()[1:]}
    assert not again & keys & left, "a probe of the pack began afresh"


def _packed(file: Path) -> bool:
    try:
        rows = json.loads(file.read_text())["members"]
    except (OSError, ValueError):
        return False
    return len({row[0] for row in rows}) > 1 and (file.parent / "standin.ckpt").exists()
