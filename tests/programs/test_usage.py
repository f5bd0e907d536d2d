"""What a program takes of memory and of its GPU, as it is sampled, kept and shown. The GPU is one that a test
believes in: a fake NVML behind the one reader of ``runners/machine.py``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from labtui.__main__ import main
from labtui.export import records
from runners import machine
from runners.engine.types import Control, Ended, EngineEvent, Member
from runners.programs.trainer import ProgramTrainer
from runners.spec import Job, NamedJob
from runners.verdict import Outcome
from store import curves
from store.read import open_lab
from store.rows import Curve, Usage
from tests.programs.conftest import REPORTS, TAIL, Made
from tests.support import labs, simulated
from tests.support.simulated import GIB, Cards, card

ONE = TAIL.replace("0.1, 0.2", "0.1").replace("1, 2", "1").replace("1000", "2")
HOLDS = f"{sys.executable} -c 'x = bytearray(96 << 20); print(len(x))'\n"
COMPUTES = """
echo "[\\"$CUDA\\", 3221225472]" > "$CARDS_DIR/$$.json"
while [ ! -e sampled ]; do sleep 0.05; done
"""


@pytest.fixture
def one_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.syspath_prepend(str(simulated.DRIVER))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    machine.forget_driver()
    made = Cards(tmp_path / "cards", card(0))
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CARDS_DIR", str(tmp_path / "cards"))
    monkeypatch.setenv("CUDA", made.cards[0]["uuid"])
    yield made
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    machine.forget_driver()


def ended(job: Job, folder: Path, device: str, n: int = 100) -> Ended:
    members = [Member("1", n, lr, seed, job.bound, "probe") for lr, seed in job.grid.members]
    trainer = ProgramTrainer(job, members, device=device, checkpoint_dir=folder / "kept")
    events: list[EngineEvent] = list(trainer.run(Control()))
    [found] = [event for event in events if isinstance(event, Ended)]
    return found


@pytest.mark.parametrize(("n", "outcome"), [(100, Outcome.SUCCESS), (1, Outcome.FAILURE)])
def test_memory_is_that_of_all_that_it_started(n: int, outcome: Outcome, made: Made, tmp_path: Path) -> None:
    found = ended(made(HOLDS + REPORTS, tail=ONE), tmp_path, "cpu", n)
    assert found.outcome is outcome
    memory, gpu_memory, gpu_use = found.usage
    assert 96 << 20 < memory < 1 << 30
    assert math.isnan(gpu_memory)
    assert math.isnan(gpu_use)


def test_the_gpu_is_asked_through_the_one_reader(
    made: Made, tmp_path: Path, one_card: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = machine.card_share

    def looked(index: int, pids: Collection[int]) -> tuple[float, float]:
        found = share(index, pids)
        if not math.isnan(found[0]):
            (tmp_path / "work" / "sampled").touch()
        return found

    monkeypatch.setattr(machine, "card_share", looked)
    monkeypatch.setattr("runners.programs.trainer.SAMPLE_S", 0.05)
    found = ended(made(COMPUTES + REPORTS, tail=ONE), tmp_path, "cuda:0")
    assert found.usage[1:] == (3.0 * GIB, 0.5)


def test_what_others_do_on_the_card_is_not_the_programs(one_card: Cards) -> None:
    one_card.set(0, users=[[1, GIB], [2, 2 * GIB]])
    assert machine.card_share(0, {1, 2}) == (3.0 * GIB, 0.5)
    memory, use = machine.card_share(0, {1})
    assert memory == GIB
    assert math.isnan(use)  # this driver tells the card's time alone, and another computes there too
    assert all(map(math.isnan, machine.card_share(0, {3})))
    assert all(map(math.isnan, machine.card_share(7, {1})))


def test_each_process_is_told_where_the_driver_tells_it(
    one_card: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pynvml

    class Sample:
        def __init__(self, pid: int, at: int, use: int) -> None:
            self.pid, self.timeStamp, self.smUtil = pid, at, use

    samples = [Sample(1, 2, 30), Sample(1, 1, 99), Sample(2, 2, 60)]
    monkeypatch.setattr(pynvml, "nvmlDeviceGetProcessUtilization", lambda *_: samples, raising=False)
    one_card.set(0, users=[[1, GIB], [2, GIB]])
    assert machine.card_share(0, {1}) == (float(GIB), 0.3)


@pytest.mark.parametrize("usage", [Usage(1e9, 2e9, 0.5), Usage(1e9, None, None), None])
def test_it_is_kept_with_the_curve(usage: Usage | None) -> None:
    curve = Curve((1, 2), (0.5, 0.25), (0.5, 0.25), (True, True), usage=usage)
    blob = curves.encode(curve)
    assert curves.decode(blob) == curve
    assert all(curves.decode(blob[:cut]) in (None, curves.decode(blob[:cut])) for cut in range(len(blob)))


def test_it_is_shown_and_exported(lab_path: Path, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    labs.make(lab_path, NamedJob(job=made(HOLDS + REPORTS, tail=ONE)))  # type: ignore[arg-type]
    with labs.supervisor(lab_path) as running:
        assert running.ended() == 0, running.log
    with open_lab(lab_path) as lab:
        rows = [row for row in records.trials(lab) if row.outcome != "superseded"]
    assert rows
    assert all(row.memory is not None and row.memory > 96 << 20 for row in rows)
    assert {(row.gpu_memory, row.gpu_use) for row in rows} == {(None, None)}
    assert main(["--lab", str(lab_path), "trials", "1"]) == 0
    head, _, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[-1] == "memory"
    assert first.split()[-1].endswith("M")
    assert main(["--json", "--lab", str(lab_path), "trials", "1", "--curves"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["curve"]["usage"]["memory"] > 96 << 20
