"""Cards that a test believes in, through real supervisors and workers: slots, packing, what strangers take,
a card that goes, exclusive mode, slices, and what the screens tell of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runners import machine
from runners.pool import devices
from store.read import open_lab
from tests.support import labs, simulated
from tests.support.simulated import GIB, Cards, card, slices
from tests.tui.ptys import Terminal, environment

pytestmark = pytest.mark.skipif(
    machine.available_memory() < 9 * GIB,
    reason="two workers with a CUDA context ask for 3 GiB of the host's memory each",
)
SLOW = {"STANDIN_EVAL_S": "0.03", "STANDIN_EVALS": "12"}
"""Searches that take some seconds, so that something happens meanwhile."""


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cards]]:
    """Make cards, which this process and its children believe in."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.syspath_prepend(str(simulated.DRIVER))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    machine.forget_driver()

    def make(*every: dict[str, Any]) -> Cards:
        made = Cards(tmp_path / "cards", *every)
        for name, value in made.env.items():
            monkeypatch.setenv(name, value)
        return made

    yield make
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    machine.forget_driver()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else's."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()


def spawn(lab: Path, **env: str) -> labs.Supervised:
    return labs.spawn(lab, env=env, trainer=simulated.TRAINER)


def told(lab: Path) -> str:
    """What the supervisor says that it waits for."""
    with open_lab(lab) as opened:
        row = opened.supervisor()
    return row.message if row is not None and row.state == "waiting" else ""


def events(lab: Path) -> str:
    with open_lab(lab) as opened:
        return "\n".join(e.text for e in opened.events())


def states(lab: Path) -> dict[str, tuple[str, str]]:
    with open_lab(lab) as opened:
        return {d.id: (d.name, d.state) for d in opened.devices()}


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, ["Test card MIG 0"]),
        ("0", ["Test card 0"]),
        ("0,1", ["Test card MIG 0"]),
        ("1", ["Test card MIG 0"]),
        ("GPU-1", ["Test card MIG 0"]),
        ("MIG-1", ["Test card MIG 1"]),
        ("MIG-1,0", ["Test card MIG 1"]),
        ("", []),
    ],
)
def test_where_a_card_is_cut_cuda_shows_one_slice(
    cards: Callable[..., Cards], monkeypatch: pytest.MonkeyPatch, setting: str | None, names: list[str]
) -> None:
    cards(card(0), card(1, slices=slices(10 * GIB, 20 * GIB)))
    if setting is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert [d.name for d in devices.cuda()] == names
    assert [g.name for g in machine.look().gpus] == names, "the screens show the cards that cuda:N means"


def test_searches_pack_on_two_cards_and_the_queue_tells_who_else_computes(
    lab_path: Path,
    tmp_path: Path,
    cards: Callable[..., Cards],
    stranger: subprocess.Popen[bytes],
) -> None:
    mine = cards(card(0, users=[[stranger.pid, 30 * GIB]]), card(1))
    labs.make(lab_path, labs.study(4, ("dense_ssm", "lstm"), eps=(1e-4, 2e-4, 3e-4)))
    running = spawn(lab_path, **SLOW)
    labs.wait(lambda: mine.workers_on(0) and mine.workers_on(1), 60, "a worker on each card")
    env = environment(tmp_path, **mine.env)
    env["PYTHONPATH"] += f":{simulated.DRIVER}"
    terminal = Terminal([sys.executable, "-m", "labtui", "--lab", str(lab_path)], 160, 40, env)
    try:
        text = terminal.sees("gpu0", "gpu1", "also", "Test card 1")
        [first] = [line for line in text.splitlines() if "gpu0" in line]
        assert "also" in first
        assert "32.2 GB" in first or "30" in first
    finally:
        terminal.close()
    look = machine.look(running.process.pid)
    assert [[u.pid for u in g.others] for g in look.gpus] == [[stranger.pid], []]
    assert {u.pid for g in look.gpus for u in g.users if u.ours} <= set(running.workers())
    assert running.ended() == 0
    labs.verify(lab_path)
    lines = (tmp_path / "trained.log").read_text().splitlines()
    assert max(len({word.split(":")[0] for word in line.split()[1:]}) for line in lines) >= 3, "packed"


def test_what_a_stranger_took_is_waited_for(
    lab_path: Path, cards: Callable[..., Cards], stranger: subprocess.Popen[bytes]
) -> None:
    mine = cards(card(0, users=[[stranger.pid, 79 * GIB + GIB // 2]]))
    labs.make(lab_path, labs.study(3))
    running = spawn(lab_path)
    expected = "cuda:0 has 512 MiB free, a worker needs 1500 MiB"
    labs.wait(lambda: told(lab_path) == expected, 60, "the supervisor to say what it waits for")
    assert not running.workers()
    mine.set(0, users=[])
    assert running.ended() == 0
    labs.verify(lab_path)


def test_memory_that_others_take_in_mid_run_costs_one_attempt_and_no_result(
    lab_path: Path, cards: Callable[..., Cards], stranger: subprocess.Popen[bytes]
) -> None:
    """The worker that ran out of it ends, and the next one waits until there is some."""
    mine = cards(card(0))
    labs.make(lab_path, labs.study(3))
    running = spawn(lab_path, **SLOW)
    labs.wait(lambda: mine.workers_on(0), 60, "a worker on the card")
    mine.set(0, users=[[stranger.pid, 80 * GIB]])
    expected = "cuda:0 has 0 MiB free, a worker needs 1500 MiB"
    labs.wait(lambda: told(lab_path) == expected, 60, "the supervisor to say what it waits for")
    mine.set(0, users=[])
    assert running.ended() == 0
    labs.verify(lab_path)
    assert events(lab_path).count("to queued (out_of_memory)") == 1
    assert states(lab_path) == {"cuda:0": ("Test card 0", "active")}


def test_a_card_that_falls_off_the_bus_is_taken_out(lab_path: Path, cards: Callable[..., Cards]) -> None:
    mine = cards(card(0), card(1))
    labs.make(lab_path, labs.study(4, ("dense_ssm", "lstm")), max_attempts=100)
    running = spawn(lab_path, **SLOW)
    labs.wait(lambda: mine.workers_on(0), 60, "a worker on the first card")
    mine.set(0, lost=True)
    assert running.ended() == 0
    labs.verify(lab_path)
    assert {name: state for name, (_, state) in states(lab_path).items()} == {
        "cuda:0": "lost",
        "cuda:1": "active",
    }
    assert "cuda:0 is lost and taken out: cuda:0 is lost: NVML error 15" in events(lab_path)


def test_an_exclusive_card_has_one_worker_whatever_slots_it_was_given(
    lab_path: Path, cards: Callable[..., Cards], stranger: subprocess.Popen[bytes]
) -> None:
    mine = cards(card(0, mode=3, users=[[stranger.pid, GIB]]))
    labs.make(lab_path, labs.study(3, ("dense_ssm", "lstm")))
    running = spawn(lab_path, **SLOW)
    expected = f"cuda:0 is in exclusive mode and process {stranger.pid} computes on it"
    labs.wait(lambda: told(lab_path) == expected, 60, "the supervisor to say what it waits for")
    from store.commands import device  # of the store's write side

    device(lab_path, "cuda:0", slots=2)
    mine.set(0, users=[])
    seen = 0
    while running.process.poll() is None:
        seen = max(seen, len(mine.workers_on(0)))
        time.sleep(0.01)
    assert running.process.returncode == 0
    assert seen == 1
    labs.verify(lab_path)
    assert "busy or unavailable" not in events(lab_path)


def test_a_slice_is_trained_on(
    lab_path: Path, cards: Callable[..., Cards], stranger: subprocess.Popen[bytes]
) -> None:
    """Beside a card that a stranger fills: CUDA shows the slice alone."""
    cards(card(0, users=[[stranger.pid, 80 * GIB]]), card(1, slices=slices(10 * GIB, 20 * GIB)))
    labs.make(lab_path, labs.study(3))
    assert spawn(lab_path).ended() == 0
    labs.verify(lab_path)
    assert states(lab_path) == {"cuda:0": ("Test card MIG 0", "active")}
