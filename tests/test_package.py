"""The wheel and the sdist: what is in them, and the commands out of a clean environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("labtui", "runners", "store")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, made from this very tree."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_has_all_that_is_needed_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        entry = next(wheel.read(n).decode() for n in names if n.endswith("entry_points.txt"))
    assert "labtui = labtui.__main__:main" in entry
    inside = {n for n in names if ".dist-info/" not in n and ".data/" not in n}
    assert {n.split("/")[0] for n in inside} == set(PACKAGES)
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    source = [p for p in tracked if (ROOT / p).exists()]
    assert source == [] or set(source) <= inside
    assert {"labtui/py.typed", "runners/py.typed", "store/py.typed", "labtui/tour.db"} <= inside
    assert "runners/spec/presets/quick.toml" in inside
    assert any(n.endswith("share/man/man1/labtui.1") for n in names)


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    with (
        zipfile.ZipFile(next(built.glob("*.whl"))) as first,
        zipfile.ZipFile(next((tmp_path / "again").glob("*.whl"))) as second,
    ):
        assert {(i.filename, i.CRC) for i in first.infolist() if not i.filename.endswith("RECORD")} == {
            (i.filename, i.CRC) for i in second.infolist() if not i.filename.endswith("RECORD")
        }


def run(command: Sequence[str | Path], cwd: Path, code: int = 0) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LABTUI_", "VIRTUAL_ENV"))}
    env |= {"HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(w) for w in command], cwd=cwd, capture_output=True, text=True, env=env)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def install(built: Path, folder: Path, python: str, extra: str = "") -> Path:
    """The command labtui of an environment of its own, in which it reads a lab."""
    run([python, "-m", "venv", folder / "venv"], folder)
    own, labtui = folder / "venv/bin/python", folder / "venv/bin/labtui"
    pins: list[str | Path] = ["-c", ROOT / "constraints.txt"]
    run([own, "-m", "pip", "install", "--quiet", *pins, f"{next(built.glob('*.whl'))}{extra}"], folder)
    assert run([labtui, "--version"], folder).startswith("labtui ")
    assert "dense_ssm 16" in run([labtui, "--read-only", ROOT / "docs/labs/demo.db", "kappa"], folder)
    assert "done" in run([labtui, "tour"], folder)
    assert "done" in run([own, "-m", "labtui", "tour", "--json"], folder)
    return labtui


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_another_python_reads_labs(built: Path, tmp_path: Path, version: str) -> None:
    """Without torch: for some versions there is none yet."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", "import venv"], capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    labtui = install(built, tmp_path, python)
    run([labtui, "submit", "quick"], tmp_path)
    assert run([labtui, "jobs", "--json"], tmp_path).count('"queued"') == 8
    run([labtui, "export", "jobs", "-o", "jobs.csv"], tmp_path)
    run([labtui, "bundle", "lab.zip"], tmp_path)
    assert run([labtui, "db", "check"], tmp_path).endswith("no problem found\n")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("extra", ["", "[train]"], ids=["reading", "training"])
def test_a_clean_environment(built: Path, tmp_path: Path, extra: str) -> None:
    """As a user installs it: it reads a lab, and with ``train`` it trains one."""
    labtui = install(built, tmp_path, sys.executable, extra)
    small = ["submit", "quick", "--set", "training.steps=20", "--set", "search.n_max=8"]
    if not extra:
        assert "pip install 'labtui[train]'" in run([labtui, *small, "--start"], tmp_path, code=1)
        return
    run([labtui, *small], tmp_path)
    run([labtui, "run"], tmp_path)
    assert "quick" in run([labtui, "studies"], tmp_path)
    assert run([labtui, "db", "check"], tmp_path).endswith("no problem found\n")
