"""The bar of what takes long: on a terminal, after a while, and gone at the end."""

from __future__ import annotations

import io
import time
from argparse import Namespace
from pathlib import Path

import pytest

from labtui.cli import waiting as module
from labtui.cli.context import Context
from labtui.cli.waiting import waiting
from tests.cli.conftest import Labtui


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def until(text: str, out: io.StringIO) -> None:
    end = time.monotonic() + 30
    while text not in out.getvalue():
        assert time.monotonic() < end, out.getvalue()
        time.sleep(0.01)


def test_it_shows_after_a_while_and_tells_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY_S", 0.0)
    monkeypatch.setenv("TERM", "xterm-256color")
    err = Terminal()
    with waiting(Context(Namespace(), err=err), "merging") as bar:
        until("merging", err)
        bar.at(50, 200)
        until("25%", err)
    assert err.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K") or "\x1b[2K" in err.getvalue()


def test_what_is_quick_or_no_terminal_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for err, delay in ((Terminal(), 600.0), (io.StringIO(), 0.0)):
        monkeypatch.setattr(module, "DELAY_S", delay)
        with waiting(Context(Namespace(), err=err), "merging") as bar:
            bar.at(1, 2)
        assert err.getvalue() == ""


@pytest.mark.parametrize(
    "words",
    [
        ("db", "check"), ("db", "backup"), ("merge", "lab.db", "copy.db", "-o", "both.db"),
        ("submit", "quick"),
        ("export", "trials", "-o", "t.csv"), ("export", "kappa", "-o", "k.jsonl"), ("report", "r.html"),
    ],
)  # fmt: skip
def test_it_is_told_how_far_the_long_commands_are(
    labtui: Labtui, lab: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert labtui("snapshot", "copy.db").code == 0
    told: list[tuple[float, float | None]] = []
    begun: list[str] = []
    real = module.Bar.__init__

    def begin(self: module.Bar, text: str, err: io.StringIO) -> None:
        begun.append(text)
        real(self, text, err)

    monkeypatch.setattr(module.Bar, "at", lambda self, done, total=None: told.append((done, total)))
    monkeypatch.setattr(module.Bar, "__init__", begin)
    assert labtui(*words).code == 0
    assert begun
    if words[0] not in ("submit", "report"):
        assert told
        assert all(total is not None and 0 <= done <= total for done, total in told)
