"""What every test shares: one thread, no settings of the person who runs them, hypothesis without a clock."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

gc.disable()  # until all tests are collected: nothing of what is imported becomes garbage
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiling takes seconds: once for all runs of the tests, and never into the home of who runs them.
os.environ.setdefault("LABTUI_KERNELS", str(Path(__file__).resolve().parents[1] / ".kernels"))
for name in ("LABTUI_LAB", "NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(name, None)

# `make test` tries the same examples every time; `make test-all` draws others and tells the seed. None is
# kept: a fault that was found once would stay in a folder that nobody else has.
settings.register_profile(
    "fixed",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
)
settings.register_profile("random", settings.get_profile("fixed"), derandomize=False)
settings.register_profile("few", settings.get_profile("fixed"), max_examples=20)
settings.load_profile("fixed")


def pytest_collection_finish() -> None:
    """Keep what was imported out of every look for garbage: a batch that ends asks for one, of 0.2 s."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the settings in the real home."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(home / name.lower()))
        yield


@pytest.fixture(autouse=True)
def _whole_arithmetic() -> Iterator[None]:
    """The models flush denormals in their thread; hypothesis draws floats that need them."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture
def lab_path(tmp_path: Path) -> Path:
    """Where a test's lab may be created."""
    return tmp_path / "lab.db"
