"""The pool on a Ray cluster does what every pool owes."""

from __future__ import annotations

from collections.abc import Iterator
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
