"""A Ray cluster on this machine: a head that trains nothing, and small nodes that a test adds and kills."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.pool_contract import ENV

SMALL = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The cluster; what its workers get as environment is what this process has now."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ.update({**ENV, "STANDIN_DIR": str(tmp_path_factory.mktemp("standin"))})
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster: Any = Cluster(initialize_head=True, head_node_args={**SMALL, "num_cpus": 0})
    yield cluster
    cluster.shutdown()


class Nodes:
    """Nodes of a cluster by their names."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self._there: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, name: str, **more: Any) -> None:
        self._there[name] = self.cluster.add_node(**{**SMALL, "node_name": name, **more})

    def kill(self, name: str) -> None:
        self.cluster.remove_node(self._there.pop(name), allow_graceful=False)

    def processes(self, name: str, word: str) -> list[Any]:
        """Processes of a node whose command line has a word."""
        import psutil

        (raylet,) = self._there[name].all_processes["raylet"]
        found = []
        for child in psutil.Process(raylet.process.pid).children(recursive=True):
            try:
                if word in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def clear(self) -> None:
        for name in list(self._there):
            self.kill(name)


@pytest.fixture
def nodes(head: Any) -> Iterator[Nodes]:
    """Nodes of one test."""
    made = Nodes(head)
    yield made
    made.clear()
