"""Keys, mouse, clipboard, suspension and settings, in a real terminal."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.ptys import Terminal

Start = Callable[..., Terminal]


def test_copy_by_osc_52_with_a_file_beside_it(terminal: Start, small: Path, tmp_path: Path) -> None:
    t = terminal(small, "--read-only", "--no-mouse")
    t.sees("^p palette", "dense_ssm 16")
    text = t.settled()
    t.type("y")
    t.sees("sent to the terminal's clipboard", "w writes to a file")
    sent = t.raw[t.raw.index(b"\x1b]52;c;") + 7 :]
    copied = base64.b64decode(sent[: sent.index(b"\x07")]).decode()
    assert copied[:8] in text  # the hash of the job under the cursor
    out = tmp_path / "queue.txt"
    t.type(f"w\x15{out}\r")
    t.sees("written:")
    assert "dense_ssm 16" in out.read_text()
    t.type(f"w\x15{out}\r")
    t.sees("was not written: File exists")
    assert b"\x1b[?1000h" not in t.raw  # --no-mouse: selecting is the terminal's own


def test_the_mouse_chooses_and_opens(terminal: Start, small: Path) -> None:
    t = terminal(small, "--read-only")
    t.sees("^p palette", "dense_ssm 16")
    lines = t.settled().splitlines()
    assert b"\x1b[?1000h" in t.raw
    row = next(y for y, line in enumerate(lines, 1) if line.startswith("▸")) + 3
    click = f"\x1b[<0;20;{row}M\x1b[<0;20;{row}m"
    t.type(click)
    t.until(lambda s: s.splitlines()[row - 1].startswith("▸"))
    t.type("\x1b[<65;20;10M" * 2)  # the wheel
    t.until(lambda s: not s.splitlines()[row - 1].startswith("▸"))
    tab = lines[1].index("Kappa") + 1
    t.type(f"\x1b[<0;{tab};2M\x1b[<0;{tab};2m")
    t.sees("N*_joint")


def test_ctrl_z_and_fg(terminal: Start, small: Path) -> None:
    t = terminal(small, "--read-only", "--screen", "kappa")
    t.sees("N*_joint", "unknown", "^p palette")
    before = t.settled()
    t.type("\x1a")
    t.stopped()
    assert b"\x1b[?1049l" in t.raw[-2000:]
    t.screen.reset()  # the shell wrote all over it
    os.kill(t.pid, signal.SIGCONT)
    t.until(lambda s: s == before)
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0


def test_own_keys_are_told_everywhere(terminal: Start, small: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[keys]\npause = ["P"]\nshow_kappa = ["K"]\n')
    t = terminal(small, LABTUI_CONFIG=str(config), LABTUI_KEY_QUIT="ctrl+x")
    t.sees("K Kappa", "^x quit")
    t.type("?")
    t.sees("P         pause: checkpoint and stop")
    t.type("\x1b")
    t.until(lambda s: "pause: checkpoint" not in s)
    t.type("K")
    t.sees("N*_joint")
    t.type("\x18")
    assert os.waitstatus_to_exitcode(t.ended()) == 0


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("theme = 3", "theme is 3; expected a text"),
        ("[keys", "cannot be read"),
        ('[keys]\nfly = "f"', "keys.fly is no action"),
        ('colour = "red"', "unknown key colour"),
    ],
    ids=["type", "toml", "action", "key"],
)
def test_a_bad_config_costs_a_sentence(
    terminal: Start, small: Path, tmp_path: Path, config: str, told: str
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(config)
    t = terminal(small, "--read-only", LABTUI_CONFIG=str(file))
    t.sees(told)
    t.type("j")
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0
