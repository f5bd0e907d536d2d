"""The signals that ask a supervisor to end, heard from before it holds the lock, and what it ends with."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

REQUEUE = 75
"""Exit code of a run that a batch system ends before its work is done: queue it again (EX_TEMPFAIL)."""


def requeues(number: int, environ: Mapping[str, str]) -> bool:
    """Whether a signal says that the time is up here and the work goes on elsewhere.

    SIGUSR1 always does (``sbatch --signal=USR1@120``); SIGTERM inside a Slurm job, which is preempted or at
    its limit.
    """
    return number == signal.SIGUSR1 or (number == signal.SIGTERM and "SLURM_JOB_ID" in environ)


class StopSignals:
    """How often SIGTERM, SIGUSR1 or SIGINT came: once means end in good order, twice at once.

    They are heard before the lock is taken: whoever reads in the lock file which process to end
    must not meet one that still dies of the signal and leaves its lab as it stands.
    """

    def __init__(self) -> None:
        self.count = 0
        self.code = 0
        """What a supervisor that was ended so ends with, where all went well."""

    def listen(self) -> None:
        """Hear them from now on; a terminal that closes is none of a supervisor's business."""
        signal.signal(signal.SIGTERM, self._heard)
        signal.signal(signal.SIGUSR1, self._heard)
        signal.signal(signal.SIGINT, self._heard)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _heard(self, number: int, frame: Any) -> None:
        self.count += 1
        if requeues(number, os.environ):
            self.code = REQUEUE
