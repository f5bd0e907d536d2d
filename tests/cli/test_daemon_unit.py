"""``labtui daemon unit``: a unit that systemd reads, for any lab's name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Labtui


@pytest.mark.parametrize("name", ["lab.db", "my lab 100%.db", "a$b.db", 'quo"te.db', "back\\slash.db"])
def test_a_unit_for_any_name(labtui: Labtui, tmp_path: Path, name: str) -> None:
    answer = labtui("--lab", name, "daemon", "unit", "--slots", "2")
    assert answer.code == 0
    line = next(line for line in answer.out.splitlines() if line.startswith("ExecStart="))
    path = (
        str(tmp_path / name).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"').replace("$", "$$")
    )
    lab = f'"{path}"' if any(c in path for c in " \"'\\;") else path
    assert line == f"ExecStart={sys.executable} -P -m labtui --lab {lab} daemon run --slots 2"
    assert not list(tmp_path.iterdir())
    if shutil.which("systemd-analyze"):
        file = tmp_path / "labtui.service"
        file.write_text(answer.out)
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(file)], capture_output=True, text=True, check=False
        )
        assert "labtui.service:" not in done.stderr, done.stderr


def test_what_no_unit_can_hold_is_refused(labtui: Labtui) -> None:
    assert labtui("--lab", "a\nb.db", "daemon", "unit").code == 2
    assert labtui("daemon", "unit", "--slots", "0").code == 2
