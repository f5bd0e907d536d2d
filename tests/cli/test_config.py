"""Settings: their table, their sources, the command that shows and sets them, and what a lab may not set."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from labtui.config import TABLE, Settings, read_settings, supervisor_words, variable
from tests.cli.conftest import Labtui

OTHER = {
    "text": "x", "flag": "0", "whole": "3", "number": "0.5", "words": "notify-send 'a b'",
    "address": "local",
    "theme": "nord", "glyphs": "ascii", "notify": "bell", "devices": "cpu", "engine": "ray", "mouse": "0",
    "slow": "1",
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own" / "config.toml"
    monkeypatch.setenv("LABTUI_CONFIG", str(path))
    return path


@pytest.mark.parametrize("name", TABLE)
def test_every_setting_is_a_variable_and_can_be_set(name: str, labtui: Labtui, own: Path) -> None:
    text = OTHER.get(name, OTHER[TABLE[name].kind])
    by_variable = read_settings({"LABTUI_CONFIG": str(own), variable(name): text})
    assert not by_variable.problems
    assert getattr(by_variable, name) != getattr(Settings(), name)
    assert by_variable.sources == {name: f"${variable(name)}"}
    assert labtui("config", "set", name, text).code == 0
    by_file = read_settings({"LABTUI_CONFIG": str(own)})
    assert getattr(by_file, name) == getattr(by_variable, name)
    assert by_file.sources == {name: str(own)}
    row = next(r for r in labtui("config", "--json").json["settings"] if r["key"] == name)
    assert row["source"] == str(own)
    assert labtui("config", "unset", name).code == 0
    assert read_settings({"LABTUI_CONFIG": str(own)}) == Settings()


def test_the_nearer_source_wins(
    labtui: Labtui, lab: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert labtui("config", "set", "slots", "2").code == 0
    assert labtui("config", "set", "slots", "3", "--beside-lab").code == 0
    beside = lab.with_name("lab.db.toml")
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    assert read_settings(lab=lab).slots == 3
    assert read_settings().slots == 2
    monkeypatch.setenv("LABTUI_SLOTS", "4")
    found = read_settings(lab=lab)
    assert (found.slots, found.sources["slots"]) == (4, "$LABTUI_SLOTS")
    assert supervisor_words(found) == ["--slots", "4"]
    told = labtui("config", "set", "slots", "5")
    assert told.err.endswith("$LABTUI_SLOTS sets it too, and is what holds\n")


def test_setting_keeps_comments(labtui: Labtui, own: Path) -> None:
    own.parent.mkdir()
    own.write_text('# mine\nslots = 1  # one is enough\n\n[keys] # own\npause = ["P"]\n')
    assert labtui("config", "set", "slots", "2").code == 0
    assert labtui("config", "set", "keys.quit", "Q,ctrl+q").code == 0
    assert labtui("config", "set", "poll_s", "0.5").code == 0
    assert own.read_text() == (
        "# mine\nslots = 2  # one is enough\npoll_s = 0.5\n\n"
        '[keys] # own\npause = ["P"]\nquit = ["Q", "ctrl+q"]\n'
    )
    assert read_settings().keys == {"pause": ("P",), "quit": ("Q", "ctrl+q")}


def test_a_link_to_ones_own_file_stays(labtui: Labtui, own: Path) -> None:
    real = own.parent.parent / "dotfiles.toml"
    real.write_text("")
    own.parent.mkdir()
    own.symlink_to(real)
    assert labtui("config", "set", "slots", "2").code == 0
    assert own.is_symlink()
    assert real.read_text() == "slots = 2\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("slts", "2"),
            "labtui: there is no setting 'slts'; did you mean slots?; labtui config shows them all",
        ),
        (("slots", "0"), "labtui: slots is '0'; expected a whole number from 1 to 1,024"),
        (("slots", "two"), "labtui: slots is 'two'; expected a whole number from 1 to 1,024"),
        (("devices", "gpu"), "labtui: devices is 'gpu'; expected cpu or cuda:0, by commas"),
        (("glyphs", "uni"), "labtui: glyphs is 'uni'; expected auto, unicode, blocks, ascii"),
        (("keys.pause", "Ctl+Space"), "labtui: keys.pause has 'Ctl+Space', "),
        (("keys.fly", "f"), "labtui: there is no setting 'keys.fly'"),
        (("notify_command", "a 'b"), 'labtui: notify_command is "a \'b"; expected a command (no closing'),
        (("theme", "nord", "--beside-lab"), "labtui: theme counts in your own settings alone"),
    ],
)
def test_what_cannot_be_set(
    labtui: Labtui, lab: Path, own: Path, words: tuple[str, ...], sentence: str
) -> None:
    answer = labtui("config", "set", *words)
    assert answer.code == 2
    assert answer.err.startswith(sentence)
    assert answer.err.count("\n") == 1
    assert not own.exists()


def test_a_file_that_is_no_toml_is_left_alone(labtui: Labtui, own: Path) -> None:
    own.parent.mkdir()
    own.write_text("slots = [")
    answer = labtui("config", "set", "slots", "2")
    assert answer.code == 2
    assert "is no TOML" in answer.err
    assert own.read_text() == "slots = ["


@pytest.mark.parametrize("name", [n for n, about in TABLE.items() if about.personal])
def test_a_lab_that_came_from_elsewhere_sets_nothing_personal(lab: Path, name: str) -> None:
    value = {"flag": "false", "words": '["touch", "/tmp/owned"]'}.get(TABLE[name].kind, '"nord"')
    lab.with_name("lab.db.toml").write_text(f"{name} = {value}\nslots = 3\n[keys]\ncancel = ['down']\n")
    found = read_settings(lab=lab)
    assert getattr(found, name) == getattr(Settings(), name)
    assert (found.slots, found.keys) == (3, {})
    assert len(found.problems) == 2


def test_the_file_beside_a_lab_is_followed_through_no_link(lab: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("slots = 3\n")
    beside = lab.with_name("lab.db.toml")
    beside.symlink_to(other)
    found = read_settings(lab=lab)
    assert found.slots is None
    assert len(found.problems) == 1
    assert "is a link" in found.problems[0]
    beside.unlink()
    os.link(other, beside)
    assert read_settings(lab=lab).slots is None


def test_settings_of_another_shape_are_told_at_once(own: Path) -> None:
    own.parent.mkdir()
    own.write_text('slots = "x"\nkeys = 3\nnotify_command = [1]\nposs = 1\npoll_s = true\nslow = "y"\n')
    found = read_settings()
    assert len(found.problems) == 6
    assert found == Settings(problems=found.problems)


def test_without_a_home_the_current_folder_is_no_config_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".config" / "labtui").mkdir(parents=True)
    (tmp_path / ".config" / "labtui" / "config.toml").write_text('notify_command = ["touch", "owned"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    for home in ("", ".", "./"):
        monkeypatch.setenv("HOME", home)
        assert read_settings().notify_command == ()


def test_settings_that_are_no_file_are_not_waited_for(
    labtui: Labtui, lab: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.parent.mkdir()
    os.mkfifo(own)
    assert f"{own} cannot be read (it is a pipe)" in labtui("config").err
    for place in (own, own.parent):
        monkeypatch.setenv("LABTUI_CONFIG", str(place))
        answer = labtui("config", "set", "slots", "4")
        assert (answer.code, answer.err) == (2, f"labtui: {place} is no file; expected one for settings\n")
    assert stat.S_ISFIFO(own.stat().st_mode)


def test_a_flag_is_true_or_false_and_nothing_else(labtui: Labtui, own: Path) -> None:
    for word, value in (("yes", True), ("ON", True), ("No", False), ("0", False)):
        assert read_settings({"LABTUI_CONFIG": str(own), "LABTUI_MOUSE": word}).mouse is value
    assert labtui("config", "set", "mouse", "maybe").err == (
        "labtui: mouse is 'maybe'; expected true or false\n"
    )
    assert "expected true or false" in read_settings({"LABTUI_SLOW": "nein"}).problems[0]


def test_a_link_to_ones_own_settings_is_no_second_source(labtui: Labtui, own: Path) -> None:
    own.parent.mkdir()
    own.symlink_to(own.with_name("real.toml"))
    answer = labtui("config", "set", "slots", "4")
    assert answer.err.count("\n") == 1
    assert own.is_symlink()
