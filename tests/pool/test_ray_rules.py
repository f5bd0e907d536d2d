"""The rules of the pool on a cluster that need no Ray: which nodes are refused, what one may write here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runners.pool import client, launch, ray_node
from runners.pool.devices import Device
from runners.pool.options import Options
from runners.pool.ray_node import Facts, put, take
from runners.pool.ray_pool import differs
from runners.pool.signals import StopSignals
from runners.pool.state import Slot
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.write.probes import kind_of
from tests.support import labs

MINE = Facts("1.2.3", "3.11.7", 4, "2.8.0", "a processor", 8, 1 << 34)


def test_a_node_like_this_one_is_used() -> None:
    assert differs(MINE, MINE) == ""
    assert differs(MINE, replace(MINE, python="3.11.9", cores=64, torch="2.9.0")) == ""


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (replace(MINE, labtui="1.2.2"), "it has labtui 1.2.2, expected 1.2.3 as the supervisor has"),
        (replace(MINE, python="3.12.0"), "it has Python 3.12, expected 3.11 as the supervisor has"),
        (replace(MINE, science=3), "it has science_version 3, expected 4 as the supervisor has"),
        (replace(MINE, torch=""), "torch is not installed there"),
    ],
)
def test_one_that_would_give_other_numbers_is_refused_with_a_sentence(theirs: Facts, told: str) -> None:
    assert differs(MINE, theirs).startswith(told)


def test_the_facts_of_this_machine_agree_with_themselves() -> None:
    assert ray_node.facts() == ray_node.facts()


def test_a_device_of_a_node_is_of_its_kind() -> None:
    device = Device("node-3/cuda:1", "H200")
    assert (device.node, device.local, device.kind) == ("node-3", "cuda:1", "cuda")
    assert (Device("cpu", "").node, Device("cpu", "").kind) == ("", "cpu")
    assert kind_of("node-3/cuda:1") == kind_of("cuda:0") == "cuda"
    assert kind_of("node-3/cpu") == kind_of("cpu")


def test_cards_of_different_kinds_are_calibrated_apart() -> None:
    slow, fast = Slot("a", Device("a/cuda:0", "A100"), 1), Slot("b", Device("b/cuda:0", "H200"), 1)
    twin = Slot("c", Device("c/cuda:3", "H200"), 1)
    assert slow.calibration_key != fast.calibration_key == twin.calibration_key


def test_checkpoints_travel_whole_and_only_into_their_folder(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "trial-1").mkdir(parents=True)
    here.mkdir()
    (there / "checkpoint-00000001.labtui").write_bytes(b"one")
    (there / "trial-1" / "state").write_bytes(b"two")
    (there / "half.aside").write_bytes(b"not whole")
    (there / "link").symlink_to(tmp_path)
    (here / ray_node.MANIFEST).write_text("{}")
    (here / "checkpoint-00000000.labtui").write_bytes(b"older")
    put(here, take(there))
    found = {p.relative_to(here).as_posix(): p.read_bytes() for p in here.rglob("*") if p.is_file()}
    assert found == {
        ray_node.MANIFEST: b"{}",
        "checkpoint-00000001.labtui": b"one",
        "trial-1/state": b"two",
    }
    for name in (
        "../out",
        "/etc/passwd",
        "a/../../out",
        "",
        "a//b",
        "a\0b",
        ray_node.MANIFEST,
        "/".join("a" * 9),
    ):
        with pytest.raises(OSError, match="a file of a checkpoint is called"):
            put(here, ((name, b"x"),))
    assert not (tmp_path / "out").exists()
    (here / "way").symlink_to(tmp_path)
    with pytest.raises(OSError, match="is a link"):
        put(here, (("way/out", b"x"),))


@pytest.mark.parametrize("word", [(), ("--daemon",)])
def test_a_cluster_that_went_is_waited_for_until_somebody_says_stop(
    lab_path: Path, word: tuple[str, ...]
) -> None:
    labs.make(lab_path, labs.study(2))
    nobody = "127.0.0.1:1"
    options = ("--engine", "ray", "--address", nobody, "--rejoin", nobody, *word)
    with labs.supervisor(lab_path, *options, until_empty=False) as running:

        def waits() -> bool:
            told = client.status(lab_path)
            return told.pid == running.process.pid and told.message.startswith("waiting: no Ray cluster")

        labs.wait(waits, 40, "a word that it waits")
        assert client.stop(lab_path).ok
        assert running.ended() == 0


def test_it_is_not_waited_for_without_end(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labs.make(lab_path, labs.study(2))
    monkeypatch.setattr(launch, "REJOIN_S", 0.0)
    monkeypatch.setattr(StopSignals, "listen", lambda self: None)
    lock = SupervisorLock.acquire(LabPaths(lab_path))
    with pytest.raises(ValueError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "):
        launch._ray(Options(lab_path, engine="ray", rejoin="127.0.0.1:1"), StopSignals(), lock)
    lock.release()
