"""What would end a supervisor behind its back, as `labtui doctor` sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labtui.cli import doctor


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, False),
        ({"etc/logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, False),
        ({"etc/logind.conf": "[Login]\nKillUserProcesses = yes\n"}, True),
        ({"usr/logind.conf": "KillUserProcesses=yes", "etc/logind.conf": "[Login]"}, False),
        ({"etc/logind.conf": "KillUserProcesses=no", "usr/logind.conf.d/a.conf": "KillUserProcesses=on"}, True),
        ({"usr/logind.conf.d/a.conf": "KillUserProcesses=yes", "etc/logind.conf.d/a.conf": ""}, False),
        ({"etc/logind.conf.d/a.conf": "KillUserProcesses=yes", "usr/logind.conf.d/b.conf": "KillUserProcesses=no"}, False),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillExcludeUsers=root ada"}, False),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=bob"}, False),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=bob ada"}, True),
    ],
)
def test_logind_kills_what_a_user_leaves_running(tmp_path: Path, files: dict[str, str], kills: bool) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert doctor.kills_user_processes("ada", (str(tmp_path / "usr"), str(tmp_path / "etc"))) is kills


def test_each_comes_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "kills_user_processes", lambda user: True)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    found = {f.check: f for f in doctor._session()}
    assert found["logout"].level == "problem"
    assert "enable-linger" in found["logout"].remedy
    assert "17" in found["slurm"].text
    assert "batch script" in found["slurm"].remedy
    monkeypatch.setattr(doctor, "kills_user_processes", lambda user: False)
    monkeypatch.delenv("SLURM_JOB_ID")
    assert list(doctor._session()) == []
