"""The pool of this machine does what every pool owes."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.pool.devices import Device
from runners.pool.local import LocalPool
from tests.support.pool_contract import ENV, PoolContract


class TestLocal(PoolContract):
    @pytest.fixture
    def pool(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalPool:
        for name, value in {**ENV, "STANDIN_DIR": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        return LocalPool([Device("cpu", "this machine")])
