from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.engine import checkpoint
from runners.engine.types import Checkpointed, Note

STATE: dict[str, Any] = {"a": [1, 2, {"b": "é"}], "c": None}
TENSORS = {
    "x": torch.arange(6.0).reshape(2, 3),
    "y": torch.tensor([1.5], dtype=torch.float64),
    "none": torch.zeros(0, 3),
    "steps": torch.arange(5),
}


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return tensors.keys() == TENSORS.keys() and all(torch.equal(tensors[k], TENSORS[k]) for k in TENSORS)


def test_round_trip(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path / "deeper", STATE, TENSORS)
    state, tensors = checkpoint.read(path)
    assert state == STATE
    assert same(tensors)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(OSError, match="No such file"):  # where a lab was moved away nothing is made anew
        checkpoint.write(tmp_path / "gone" / "9", STATE, TENSORS)
    assert not (tmp_path / "gone").exists()


def test_keeps_the_last_two_and_nothing_else(tmp_path: Path) -> None:
    paths = [checkpoint.write(tmp_path, STATE, TENSORS) for _ in range(4)]
    assert checkpoint.files(tmp_path) == [paths[3], paths[2]]
    assert sorted(tmp_path.iterdir()) == paths[2:]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = checkpoint.write(tmp_path, STATE, TENSORS)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        checkpoint.write(tmp_path, STATE, TENSORS)
    assert list(tmp_path.iterdir()) == [first]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_any_truncation_and_any_flipped_bit_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "checkpoint-00000001.labtui"
    if not path.exists():
        checkpoint.write(tmp_path, STATE, TENSORS)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.read(path)


def test_a_process_killed_while_writing_leaves_the_last_whole_one(tmp_path: Path) -> None:
    first = checkpoint.write(tmp_path, STATE, TENSORS)
    code = (
        "import os, sys, torch\nfrom pathlib import Path\nfrom runners.engine import checkpoint\n"
        "checkpoint.os.fsync = lambda _: os._exit(9)\n"
        "checkpoint.write(Path(sys.argv[1]), {}, {'x': torch.zeros(9)})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 9
    assert checkpoint.files(tmp_path) == [first]
    second = checkpoint.write(tmp_path, STATE, TENSORS)
    assert checkpoint.files(tmp_path) == [second, first]
    assert same(checkpoint.read(second)[1])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_interval_is_a_minute_or_a_hundred_times_what_was_blocked_and_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    keeper = checkpoint.Saver(tmp_path, clock)

    def take() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        clock.now += blocked
        return STATE, TENSORS

    for blocked, computed, pause in ((0.1, 0.1, 60.0), (2.0, 0.0, 200.0), (0.5, 1.0, 150.0)):
        monkeypatch.setattr(checkpoint, "thread_time", lambda computed=computed: computed)
        assert not keeper.due()
        clock.now += 1000.0
        assert keeper.due()
        assert keeper.save(7, take) == []
        (event,) = keeper.finish()
        assert isinstance(event, Checkpointed)
        assert event == Checkpointed(str(checkpoint.files(tmp_path)[0]), 7, event.blocked_s)
        assert event.blocked_s == pytest.approx(blocked)
        clock.now += pause - 0.01
        assert not keeper.due()
        clock.now += 0.02
        assert keeper.due()
        clock.now -= 1000.0


def test_a_disk_that_is_full_is_told_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = checkpoint.Saver(tmp_path)

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    keeper.save(3, lambda: (STATE, TENSORS))
    (event,) = keeper.finish()
    assert isinstance(event, Note)
    assert "No space left" in event.text


def test_without_a_folder_nothing_is_due() -> None:
    clock = Clock()
    keeper = checkpoint.Saver(None, clock)
    clock.now = 1e9
    assert not keeper.due()
    assert keeper.save(1, lambda: (STATE, TENSORS)) == []
