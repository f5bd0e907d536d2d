"""The terminal that the app runs in, and its loss: a screen that nobody sees ends,
it does not spin on a closed stdin.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def on_loss(end: Callable[[], object]) -> None:
    """Call ``end`` when the terminal hangs up or the process is asked to end. In the main thread only."""
    for name in ("SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: end())


def alive() -> bool:
    """Whether there is still somebody at the other end of stdin."""
    if os.name != "posix":
        return True
    import select

    try:
        look = select.poll()
        look.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        return not any(
            event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in look.poll(0)
        )
    except (OSError, ValueError):
        return False
