"""`labtui doctor` on machines that are made up: each thing that may go wrong is seen, with its remedy."""

from __future__ import annotations

import sqlite3
from argparse import Namespace
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len

from labtui.cli.checks.check import Check, lines
from labtui.cli.checks.login_session import LoginSession
from labtui.cli.commands.doctor import Machine, wal_reset_fault
from labtui.cli.commands.doctor import run as doctor
from labtui.cli.context import Context
from store import commands
from store.read import open_lab
from store.write import Writer
from tests.cli.conftest import Labtui

IN_SCOPE = "0::/user.slice/user-1000.slice/session-3.scope\n"
IN_MANAGER = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope\n"


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, False),
        ({"etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, False),
        ({"etc/systemd/logind.conf": "[Login]\nKillUserProcesses = yes\n"}, True),
        (
            {"usr/lib/systemd/logind.conf": "KillUserProcesses=yes", "etc/systemd/logind.conf": "[Login]"},
            False,
        ),
        (
            {
                "etc/systemd/logind.conf": "KillUserProcesses=no",
                "usr/lib/systemd/logind.conf.d/a.conf": "KillUserProcesses=on",
            },
            True,
        ),
        (
            {
                "usr/lib/systemd/logind.conf.d/a.conf": "KillUserProcesses=yes",
                "etc/systemd/logind.conf.d/a.conf": "",
            },
            False,
        ),
        (
            {
                "etc/systemd/logind.conf.d/a.conf": "KillUserProcesses=yes",
                "usr/lib/systemd/logind.conf.d/b.conf": "KillUserProcesses=no",
            },
            False,
        ),
        ({"etc/systemd/logind.conf": "KillUserProcesses=yes\nKillExcludeUsers=root ada"}, False),
        ({"etc/systemd/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=bob"}, False),
        ({"etc/systemd/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=bob ada"}, True),
    ],
)
def test_logind_kills_what_a_user_leaves_running(tmp_path: Path, files: dict[str, str], kills: bool) -> None:
    assert LoginSession({}, root(tmp_path, files), "ada").kills is kills


def root(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


KILLS = {"etc/systemd/logind.conf": "KillUserProcesses=yes"}
LINGERS = {"var/lib/systemd/linger/ada": ""}


@pytest.mark.parametrize(
    ("group", "more", "level", "remedy"),
    [
        (
            IN_SCOPE,
            KILLS,
            "problem",
            "loginctl enable-linger, once; then systemd-run --user --scope labtui daemon start",
        ),
        (IN_SCOPE, KILLS | LINGERS, "problem", "systemd-run --user --scope labtui daemon start"),
        (IN_SCOPE, {}, "", ""),
        (IN_MANAGER, KILLS | LINGERS, "", ""),
        (IN_MANAGER, KILLS, "note", "loginctl enable-linger"),
        ("0::/system.slice/cron.service\n", KILLS, "", ""),
        (
            "1:name=systemd:/user.slice/user-1000.slice/session-c1.scope\n",
            KILLS,
            "problem",
            "loginctl enable-linger, once; ",
        ),
    ],
)
def test_what_a_log_out_ends(
    tmp_path: Path, group: str, more: dict[str, str], level: str, remedy: str
) -> None:
    found = list(LoginSession({}, root(tmp_path, {"proc/self/cgroup": group, **more}), "ada").ends())
    assert [f.level for f in found] == ([level] if level else [])
    assert "".join(f.remedy for f in found).startswith(remedy)


@dataclass
class Room:
    """A machine of the test, and a lab on it."""

    lab: Path
    root: Path
    env: dict[str, str] = field(default_factory=dict)
    sqlite: tuple[int, ...] = (3, 51, 3)
    mounts: str = "/dev/sda1 / ext4 rw 0 0\n"

    def ask(self, *, json: bool = False) -> tuple[int, str, str]:
        args = Namespace(lab=str(self.lab), json=json, ascii=False, read_only=False)
        context = Context(args, StringIO(), StringIO(), {"HOME": str(self.root), **self.env})
        code = doctor(context, Machine(LoginSession(self.env, self.root, "ada"), self.sqlite, self.mounts))
        assert isinstance(context.out, StringIO)
        assert isinstance(context.err, StringIO)
        return code, context.out.getvalue(), context.err.getvalue()


@pytest.fixture
def room(lab: Path, tmp_path: Path) -> Room:
    return Room(lab, tmp_path / "root")


def test_a_machine_without_faults(room: Room) -> None:
    code, out, err = room.ask()
    assert (code, err) == (0, "nothing is wrong\n")
    assert "  sqlite      3.51.3\n" in out
    for word in ("slurm", "logout", "modes", "network"):
        assert word not in out


@pytest.mark.parametrize(
    ("change", "code", "sentence", "remedy"),
    [
        (
            {"sqlite": (3, 51, 2)},
            0,
            "· sqlite      3.51.2 has the WAL-reset fault, which",
            "SQLite 3.51.3 and later",
        ),
        (
            {"env": {"SLURM_JOB_ID": "17"}},
            0,
            "· slurm       inside allocation 17: ",
            "`labtui run` into the script",
        ),
        (
            {"mounts": "srv:/x / nfs4 rw 0 0\n"},
            1,
            "lies on a network disk (nfs4), where",
            "give --lab a local path",
        ),
    ],
)
def test_each_fault_with_its_remedy(
    room: Room, change: dict[str, object], code: int, sentence: str, remedy: str
) -> None:
    vars(room).update(change)
    found, out, err = room.ask()
    assert found == code
    assert sentence in out
    assert remedy in out.partition(sentence)[2].splitlines()[1]
    assert err == ("1 thing to mend, marked !\n" if code else "nothing is wrong\n")


def test_the_versions_with_the_wal_reset_fault() -> None:
    ill = [(3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 0), (3, 51, 2)]
    well = [(3, 6, 23), (3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 52, 0)]
    assert [v for v in ill if not wal_reset_fault(v)] == []
    assert [v for v in well if wal_reset_fault(v)] == []


@pytest.mark.parametrize(
    ("mode", "mark", "sentence"),
    [
        (0o640, "·", "can be read by its group (mode 0640)"),
        (0o644, "·", "can be read by everybody (mode 0644)"),
        (0o660, "!", "can be written by its group (mode 0660)"),
        (0o646, "!", "can be written by everybody (mode 0646)"),
    ],
)
def test_a_lab_opened_to_others_stays_so_and_doctor_tells(
    room: Room, labtui: Labtui, mode: int, mark: str, sentence: str
) -> None:
    """A person's chmod is meant: labtui changes no mode of a lab, SQLite gives it to the WAL too;
    its folder is closed.
    """
    room.lab.chmod(mode)
    commands.hold(room.lab)
    assert labtui("submit", "quick").code == 0
    assert labtui("db", "vacuum").code == 0
    with Writer(room.lab) as writer, open_lab(room.lab):
        with writer.transaction() as tx:
            tx.event("so that there is a wal", "")
        files = [room.lab, *(room.lab.with_name(f"lab.db-{end}") for end in ("wal", "shm"))]
        assert {oct(f.stat().st_mode & 0o777) for f in files} == {oct(mode)}
    code, out, _ = room.ask()
    assert code == (1 if mark == "!" else 0)
    assert f"{mark} modes       {room.lab} {sentence}\n              → chmod 600 {room.lab}" in out


def test_what_else_is_open_to_others(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(room.root / ".local/state"))
    config, state = room.root / "config.toml", room.root / ".local/state/labtui"
    state.mkdir(parents=True)
    config.write_text("slow = true\n")
    room.env["LABTUI_CONFIG"] = str(config)
    folder = room.lab.with_name("lab.db.d")
    for place, mode in ((folder, 0o750), (state, 0o777), (config, 0o644)):
        place.chmod(mode)
    code, out, _ = room.ask()
    assert code == 1
    assert (
        f"· modes       {folder} can be entered by its group (mode 0750)\n              → chmod 700 "
        f"{folder}\n" in out
    )
    assert (
        f"! modes       {state} can be written by everybody (mode 0777)\n              → chmod 700 {state}\n"
        in out
    )
    assert str(config) not in out  # settings are no secret
    config.chmod(0o664)
    assert (
        f"! modes       {config} can be written by its group (mode 0664)\n              → chmod 600 "
        f"{config}\n" in room.ask()[1]
    )


def test_a_lab_of_another_version(room: Room) -> None:
    for schema, sentence, remedy in (
        (0, "it is of an older labtui", "labtui db upgrade, which"),
        (99, "a newer labtui", ""),
    ):
        with sqlite3.connect(room.lab) as connection:
            connection.execute(f"PRAGMA user_version = {schema}")
        connection.close()
        code, out, _ = room.ask()
        assert code == 0
        assert sentence in out
        assert remedy in out
        assert ("labtui daemon start" in out) == (schema == 0)


def test_a_lab_that_is_none_is_a_fault(room: Room) -> None:
    room.lab.write_text("no database, but long enough to be taken for one" * 40)
    code, out, _ = room.ask()
    assert code == 1
    assert "! lab         " in out
    room.lab.unlink()
    room.lab.symlink_to("nowhere")
    assert room.ask()[0] == 1
    room.lab.unlink()
    code, out, _ = room.ask()
    assert code == 0
    assert f"  lab         none yet at {room.lab}\n" in out


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_stay_within_the_terminal_and_aligned(width: int) -> None:
    found = [
        Check("a", "ok", "short"),
        Check(
            "network",
            "problem",
            "a sentence that is rather longer than a terminal is wide " * 3,
            "its remedy, long " * 9,
        ),
        Check("hostile", "note", "\x1b[31m\n" + "数" * 90),
    ]
    drawn = lines(found, width)
    assert max(map(cell_len, drawn)) <= width
    assert all(line[12:14] == "  " and line[14] != " " for line in drawn)
    assert {line[0] for line in drawn} == {" ", "!", "·"}
    assert "\x1b" not in "".join(drawn)
    assert len(lines(found, None)) == 4  # a pipe gets each sentence whole


def test_as_json(room: Room) -> None:
    import json

    room.mounts = "srv:/x / nfs4 rw 0 0\n"
    code, out, err = room.ask(json=True)
    found = json.loads(out)
    assert (code, err) == (1, "")
    assert {f["level"] for f in found} <= {"ok", "note", "problem"}
    assert next(f for f in found if f["level"] == "problem")["check"] == "disk"
    assert [f for f in found if f["level"] == "problem" and not f["remedy"]] == []
