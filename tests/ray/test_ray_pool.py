"""The pool on a Ray cluster does what every pool owes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.pool.ray_pool import RayPool
from tests.ray.conftest import Nodes
from tests.support import labs
from tests.support.pool_contract import PoolContract

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


class TestRay(PoolContract):
    @pytest.fixture(scope="class")
    def cluster(self, head: Any) -> Iterator[Nodes]:
        nodes = Nodes(head)
        nodes.add("one")
        yield nodes
        nodes.clear()

    @pytest.fixture(scope="class")
    def pool(self, cluster: Nodes) -> Iterator[RayPool]:
        made = RayPool(cluster.address, trainer=labs.TRAINER)
        yield made
        made.close()

    def test_a_slot_of_a_node_that_is_not_there_cannot_start(self, pool: RayPool, tmp_path: Any) -> None:
        from runners.pool.devices import Device

        with pytest.raises(OSError, match="two is not there"):
            pool.start("two/cpu.0", Device("two/cpu", ""), labs.TRAINER, 1, tmp_path / "log", lambda: 0.0)


def test_a_cluster_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "):
        RayPool("127.0.0.1:1")


def test_a_cluster_of_this_machine_comes_and_goes_with_the_run(lab_path: Path, tmp_path: Path) -> None:
    labs.make(lab_path, labs.study(3))
    before = set(Path("/tmp").glob("labtui-ray-*"))
    words = ["--lab", str(lab_path), "run", "--engine", "ray", "--address", "local", "--slots", "2"]
    env = {"LABTUI_TRAINER": labs.TRAINER, "STANDIN_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "labtui", *words],
        env={**os.environ, **env, "PYTHONPATH": str(labs.ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    labs.verify(lab_path)
    assert set(Path("/tmp").glob("labtui-ray-*")) <= before
