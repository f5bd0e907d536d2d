"""The first run, where there is no lab yet: the tour, the quick demo, or a new lab, by one key."""

from __future__ import annotations

import os
import sys
import termios
from pathlib import Path
from typing import Literal

from labtui.cli.context import Context
from labtui.cli.errors import BadInput

Choice = Literal["tour", "demo", "new", "leave"]
KEYS: dict[str, Choice] = {"t": "tour", "d": "demo", "n": "new", "\r": "new", "\n": "new", "q": "leave"}
LEAVE = ("\x03", "\x04", "\x1b", "")
"""ctrl+c, ctrl+d, escape, the end of the terminal."""
ASKED = """\
There is no lab in this folder yet.

  t  the tour: a study that is done, read-only; nothing is written
  d  the quick demo: two models, 8 searches, trained here for real in about a minute
  n  a new lab, {lab}
  q  leave
"""


def tour_lab() -> Path:
    """The lab of the tour: in a package beside the modules, in a clone that of the docs.

    Raises:
        BadInput: neither is there.
    """
    home = Path(__file__).resolve().parents[1]
    for path in (home / "tour.db", home.parent / "docs" / "labs" / "demo.db"):
        if path.is_file():
            return path
    raise BadInput("this labtui came without its tour; expected labtui/tour.db beside its modules")


def ask(context: Context) -> Choice:
    """Ask on the terminal and wait for one of the keys."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        keys = termios.tcgetattr(descriptor)
        keys[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)  # ctrl+c is a key here
        termios.tcsetattr(
            descriptor, termios.TCSANOW, keys
        )  # first: a key that comes with the question counts
        sys.stdout.write(ASKED.format(lab=context.lab_path))
        sys.stdout.flush()
        while True:
            key = os.read(descriptor, 1).decode("ascii", "replace").lower()
            if key in KEYS or key in LEAVE:
                return KEYS.get(key, "leave")
    finally:
        # What came with the key, as in a paste, is no command to what follows.
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
