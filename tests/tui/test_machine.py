"""Looking at the machine, with a stand-in for NVML:
what a card tells, who uses it, and cards that tell nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from runners import machine

GIB = 2**30


class Nvml:
    """What labtui asks of pynvml."""

    def __init__(self, processes: list[Any]) -> None:
        self.processes = processes
        self.mute: set[str] = set()
        self.count = 1

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: self.count,
            "nvmlDeviceGetHandleByIndex": lambda i: i,
            "nvmlDeviceGetMemoryInfo": lambda h: SimpleNamespace(used=30 * GIB, total=80 * GIB),
            "nvmlDeviceGetName": lambda h: b"NVIDIA H100",
            "nvmlDeviceGetPowerUsage": lambda h: 412_000,
            "nvmlDeviceGetUtilizationRates": lambda h: SimpleNamespace(gpu=91),
            "nvmlDeviceGetTemperature": lambda h, kind: 58,
            "nvmlDeviceGetComputeRunningProcesses": lambda h: self.processes,
        }
        if name in self.mute:
            return self._refuse
        return answers[name]

    @staticmethod
    def _refuse(*_: Any) -> Any:
        raise RuntimeError("Not Supported")


@pytest.fixture
def strangers() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.forget_driver()


def with_nvml(monkeypatch: pytest.MonkeyPatch, nvml: object) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


def process(pid: int, memory: int | None) -> Any:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)


def test_a_card_tells_who_computes_on_it(
    monkeypatch: pytest.MonkeyPatch, strangers: subprocess.Popen[bytes]
) -> None:
    nobody = 2**22 + 17  # beyond the largest process id
    with_nvml(
        monkeypatch,
        Nvml([process(strangers.pid, 12 * GIB), process(os.getpid(), 18 * GIB), process(nobody, 2**64 - 1)]),
    )
    (card,) = machine.look(supervisor=strangers.pid).gpus
    assert (card.name, card.use, card.celsius, card.watts) == ("NVIDIA H100", 0.91, 58, 412.0)
    users = {u.pid: u for u in card.users}
    assert users[strangers.pid].ours
    assert users[strangers.pid].memory == 12 * GIB
    assert [u.pid for u in card.others] == [os.getpid(), nobody]
    me = users[os.getpid()]
    assert (me.user, me.program) == (psutil.Process().username(), psutil.Process().name())
    assert (users[nobody].user, users[nobody].memory) == ("?", None)


def test_the_workers_of_our_supervisor_are_ours(
    monkeypatch: pytest.MonkeyPatch, strangers: subprocess.Popen[bytes]
) -> None:
    with_nvml(monkeypatch, Nvml([process(strangers.pid, GIB)]))
    (card,) = machine.look(supervisor=os.getpid()).gpus
    assert card.others == ()
    (card,) = machine.look(supervisor=None).gpus
    assert [u.pid for u in card.others] == [strangers.pid]


def test_a_card_that_tells_little_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml([process(1, None)])
    nvml.mute = {
        "nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTemperature",
        "nvmlDeviceGetComputeRunningProcesses",
    }  # fmt: skip
    with_nvml(monkeypatch, nvml)
    (card,) = machine.look().gpus
    assert (card.use, card.celsius, card.watts, card.users) == (0.0, None, None, ())


def test_no_driver_is_asked_once_and_a_lost_card_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml([])
    nvml.mute = {"nvmlDeviceGetMemoryInfo"}
    with_nvml(monkeypatch, nvml)
    assert machine.look().gpus == ()
    nvml.mute = set()
    assert len(machine.look().gpus) == 1
    nvml.mute = {"nvmlInit"}
    machine.forget_driver()
    assert machine.look().gpus == ()
    nvml.mute = set()
    assert machine.look().gpus == ()


def test_the_first_look_at_the_processor_is_no_zero_by_definition() -> None:
    code = (
        "import threading\n"
        "def burn():\n    while True: pass\n"
        "threading.Thread(target=burn, daemon=True).start()\n"
        "from runners.machine import look\n"
        "assert look().cpu > 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
