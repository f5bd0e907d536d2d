"""Devices and memory, with a driver that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners import machine
from runners.pool import devices
from runners.pool.devices import Device
from tests.support import labs


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class Fake(types.ModuleType):
    """pynvml with three cards."""

    NVMLError = FakeError
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_NOT_FOUND = 6

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.free = [10 << 30, 1 << 30, 5 << 30]
        self.lost: set[int] = set()

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> int:
        if uuid != b"MIG-new":
            raise FakeError(6)
        return 1

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return ("GPU-aa1", "GPU-b2", "GPU-ab3")[handle]

    def nvmlDeviceGetName(self, handle: int) -> str:
        return f"card {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        if handle in self.lost:
            raise FakeError(15)
        return types.SimpleNamespace(free=self.free[handle])


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine.forget_driver()
    yield fake
    machine.forget_driver()


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    machine.forget_driver()
    yield
    machine.forget_driver()


@pytest.mark.usefixtures("no_driver")
def test_without_a_driver_there_is_the_cpu() -> None:
    assert [d.id for d in devices.detect(())] == ["cpu"]
    with pytest.raises(ValueError, match=r"'cuda:0' is not there; expected one of cpu$"):
        devices.detect(("cuda:0",))
    assert machine.card_free(0) is None


@pytest.mark.usefixtures("nvml")
def test_every_card_by_default_and_those_asked_for() -> None:
    assert [d.id for d in devices.detect(())] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [d.id for d in devices.detect(("cpu", "cuda:1", "cpu"))] == ["cpu", "cuda:1"]


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("2,0", ["card 2", "card 0"]),
        (" 2 , 0 ", ["card 2", "card 0"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["card 0"]),
        ("1,x,0", ["card 1"]),
        ("1x", ["card 1"]),
        ("7", []),
        ("0,7,1", ["card 0"]),
        ("0,0", []),
        ("1,0,1", []),
        ("²", []),
        ("9" * 5000, []),
        ("GPU-b2", ["card 1"]),
        ("GPU-b", ["card 1"]),
        ("GPU-ab,GPU-aa", ["card 2", "card 0"]),
        ("GPU-a", []),
        ("GPU-b,GPU-a,GPU-aa", ["card 1"]),
        ("GPU-b,0", ["card 1"]),
        ("0,GPU-b", ["card 0"]),
        ("GPU-b,GPU-b2", []),
        ("GPU-x", []),
        ("MIG-new", ["card 1"]),
        ("MIG-new,MIG-GPU-ab3/1/0", ["card 1"]),
        ("MIG-GPU-ab3/1/0", ["card 2"]),
        ("MIG-GPU-ab3", []),
        ("MIG-gone", []),
    ],
)
def test_visible_devices_are_numbered_as_torch_does(
    nvml: Fake, monkeypatch: pytest.MonkeyPatch, setting: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert [d.name for d in devices.cuda()] == names


def test_what_does_not_fit_is_said_in_words(nvml: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 8 << 30)
    monkeypatch.setattr(machine, "total_memory", lambda: 16 << 30)
    assert devices.shortage(Device("cuda:0", ""), 3 << 30, 0.05) == ""
    assert "cuda:1 has 1024 MiB free" in devices.shortage(Device("cuda:1", ""), 3 << 30, 0.05)
    assert "a worker needs 8192 MiB" in devices.shortage(Device("cuda:0", ""), 8 << 30, 0.05)
    nvml.lost.add(2)
    with pytest.raises(LookupError, match="cuda:2 is lost"):
        devices.shortage(Device("cuda:2", ""), 1, 0.05)


def test_memory_and_cores_of_this_machine_are_sane() -> None:
    assert machine.available_memory() > 0
    assert machine.cores() >= 1
    assert devices.cpu().name


def failing(name: str, text: str) -> types.ModuleType:
    """pynvml whose start fails with an error of that name."""

    class Failing(types.ModuleType):
        def nvmlInit(self) -> None:
            raise type(name, (Exception,), {})(text)

    return Failing("pynvml")


BROKEN = [
    ("NVMLError_LibRmVersionMismatch", "Driver/library version mismatch"),
    ("NVMLError_NoPermission", "Insufficient Permissions"),
    ("NVMLError_Unknown", "Unknown Error"),
    ("OSError", ""),
]
ABSENT = [
    ("NVMLError_LibraryNotFound", "NVML Shared Library Not Found"),
    ("NVMLError_DriverNotLoaded", "Driver Not Loaded"),
]


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine.forget_driver()
    yield
    machine.forget_driver()


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(("name", "text"), BROKEN)
def test_a_driver_that_fails_is_no_machine_without_cards(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", failing(name, text))
    with pytest.raises(ValueError, match=f"cannot be used: NVML fails: {text or name}; .* --devices cpu"):
        devices.detect(())
    with pytest.raises(
        ValueError, match=f"'cuda:0' is not there .NVML fails: {text or name}.; expected one of cpu"
    ):
        devices.detect(("cuda:0",))
    assert [d.id for d in devices.detect(("cpu",))] == ["cpu"]
    assert machine.look().gpu_problem == f"NVML fails: {text or name}"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # whoever hides the cards wants the CPU
    assert [d.id for d in devices.detect(())] == ["cpu"]


class Counting(types.ModuleType):
    """pynvml that starts and counts two cards, and whose ``refuses`` gives none of them."""

    NVMLError = type("NVMLError", (Exception,), {})
    refuses = ""
    lost: tuple[int, ...] = ()

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if self.refuses:
            raise self.NVMLError(self.refuses)
        return index

    def nvmlDeviceGetName(self, index: int) -> str:
        if index in self.lost:
            raise self.NVMLError("GPU is lost")
        return f"card {index}"


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("text", ["Insufficient Permissions", "Unknown Error"])
def test_a_driver_that_counts_cards_and_gives_none_is_no_machine_without_them(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    nvml = Counting("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    nvml.refuses = text
    with pytest.raises(ValueError, match=f"cannot be used: NVML fails: {text}; .* --devices cpu"):
        devices.detect(())
    reading = machine.look()
    assert (reading.gpus, reading.gpu_problem) == ((), f"NVML fails: {text}")
    assert [d.id for d in devices.detect(("cpu",))] == ["cpu"]
    nvml.refuses = ""
    assert [d.id for d in devices.detect(())] == ["cuda:0", "cuda:1"]
    assert machine.gpu_problem() == ""


@pytest.mark.usefixtures("anew")
def test_a_card_that_does_not_tell_its_name_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its machine are used, and nothing goes to the CPU unseen."""
    nvml = Counting("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    nvml.lost = (0,)
    assert [(d.id, d.name) for d in devices.detect(())] == [
        ("cuda:0", "GPU without a name"), ("cuda:1", "card 1")
    ]  # fmt: skip


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("cards", [False, True])
@pytest.mark.parametrize(("name", "text"), ABSENT)
def test_no_driver_is_a_fault_where_its_device_files_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str, cards: bool
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", failing(name, text))
    monkeypatch.setattr(machine, "DEVICE_FILES", tmp_path)
    if cards:
        (tmp_path / "nvidia0").touch()
        with pytest.raises(ValueError, match=text):
            devices.detect(())
    else:
        assert [d.id for d in devices.detect(())] == ["cpu"]


def test_a_broken_driver_is_told_by_supervisor_daemon_and_doctor(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(
        "class NVMLError(Exception): pass\n"
        "def nvmlInit(): raise NVMLError('Driver/library version mismatch')\n"
    )
    lab = tmp_path / "lab.db"
    labs.make(lab, labs.study(2))
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "LABTUI_TRAINER": labs.TRAINER, "LABTUI_LAB": str(lab)}
    env.pop("CUDA_VISIBLE_DEVICES", None)

    def labtui(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "labtui", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    for words in (("run",), ("daemon", "start")):
        done = labtui(*words)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert (
            "the GPUs of this machine cannot be used: NVML fails: Driver/library version mismatch"
            in done.stderr
        )
    assert labs.no_supervisor(lab)
    done = labtui("doctor")
    assert done.returncode == 1
    assert "the GPUs cannot be used: NVML fails: Driver/library version mismatch" in " ".join(
        done.stdout.split()
    )
    assert labtui("run", "--devices", "cpu").returncode == 0
    labs.verify(lab)
