"""The terminal that the app runs in, and its loss: a screen that nobody sees ends, whatever it is doing."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

LOOK_S = 1.0
"""How often the terminal is looked at."""
GRACE_S = 3.0
"""How long the app may take for its own end before the process is ended: it may wait on something that never
comes.
"""


class Watch:
    """Ends the app when its terminal hangs up or the process is asked to end. Make it in the main thread."""

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labtui-hangup", daemon=True)

    def start(self) -> None:
        for name in ("SIGHUP", "SIGTERM"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: self._asked.set())
        self._thread.start()

    def _run(self) -> None:
        """Until the process ends: after the app's own end too, which may wait for a thread of its own."""
        while not self._asked.wait(LOOK_S) and alive():
            pass
        self._end()
        time.sleep(GRACE_S)
        os._exit(1)


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
