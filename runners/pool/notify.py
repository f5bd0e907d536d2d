"""The notification command: a program of the person's own that is told, as JSON on stdin, what has ended.

It comes from the person's own settings (``labtui.config``), never from a file that may have come with a lab,
and goes through no shell. It runs in a thread of its own, one at a time: a command that hangs is killed, and
the work goes on meanwhile.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runners.pool.state import log
from store.states import LIVE_STATES

if TYPE_CHECKING:
    from store.read import Lab

VARIABLE = "LABTUI_NOTIFY_COMMAND"
ENDS = {"job.done": "job done", "job.failed": "job failed"}
JOB_FACTS = (
    "id", "hash", "name", "state", "task", "model_label", "format", "min_length", "length", "status", "lo",
    "hi", "n_max", "estimate", "flags", "reason",
)  # fmt: skip
"""What of a job's row is told."""
PATIENCE_S = 30.0
"""How long one call may take before it is killed."""
LAST_S = 10.0
"""How long the end of a supervisor waits for calls that are not over."""
MOST = 1000
"""Calls that wait at once; further ones are dropped, and the log says so."""


def taken_command(env: MutableMapping[str, str]) -> tuple[str, ...]:
    """The command's words, taken out of the environment: workers and programs have no use for them."""
    try:
        return tuple(shlex.split(env.pop(VARIABLE, "")))
    except ValueError as error:
        log.warning("%s cannot be read: %s", VARIABLE, error)
        return ()


class Notifier:
    """Reads the lab's events and tells a command of the ends of jobs and studies."""

    def __init__(self, words: Sequence[str], lab: Lab, *, patience_s: float = PATIENCE_S) -> None:
        self._words, self._lab, self._patience_s = list(words), lab, patience_s
        self._seen = lab.last_event_id() if words else 0
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST)
        self._thread = threading.Thread(target=self._serve, name="notify", daemon=True)
        self._running: subprocess.Popen[bytes] | None = None
        if words:
            self._thread.start()

    def look(self) -> None:
        """Tell of what has ended since the last look."""
        if not self._words or self._lab.last_event_id() == self._seen:
            return
        studies: dict[int, float] = {}
        for event in self._lab.events(self._seen, limit=MOST):
            self._seen = event.id
            if event.kind in ENDS and event.job_id is not None:
                self._tell_job(ENDS[event.kind], event.job_id, event.at)
                studies.update(dict.fromkeys(self._lab.studies_of(event.job_id), event.at))
        for study_id, at in studies.items():
            self._tell_study(study_id, at)

    def close(self) -> None:
        """Look a last time, with a little patience for what is not told yet."""
        if not self._words:
            return
        with suppress(Exception):  # the lab may be what has gone
            self.look()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(LAST_S)
        if (child := self._running) is not None:
            _kill(child)

    def _tell_job(self, what: str, job_id: int, at: float) -> None:
        job = self._lab.job(job_id)
        self._put(what, at, job={name: getattr(job, name) for name in JOB_FACTS})

    def _tell_study(self, study_id: int, at: float) -> None:
        """Where nothing of it is left to do."""
        study = self._lab.study(study_id)
        if not any(study.counts.get(state) for state in LIVE_STATES):
            self._put("study done", at, study={"id": study.id, "name": study.name, "counts": study.counts})

    def _put(self, event: str, at: float, **about: dict[str, Any]) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        try:
            self._waiting.put_nowait({"event": event, "at": stamp, "lab": str(self._lab.path), **about})
        except queue.Full:
            log.warning("%d notifications wait already; one was dropped", MOST)

    def _serve(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                self._call(json.dumps(message).encode())
            except (OSError, ValueError) as error:
                log.warning("the notification command %s: %s", self._words[0], error)

    def _call(self, text: bytes) -> None:
        child = self._running = subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, said = child.communicate(text, self._patience_s)
        except subprocess.TimeoutExpired:
            _kill(child)
            child.communicate()
            log.warning("the notification command %s was killed after %g s", self._words[0], self._patience_s)
            return
        finally:
            self._running = None
        if child.returncode:
            told = said.decode("utf-8", "replace").strip()[-300:]
            log.warning("the notification command ended with code %d: %s", child.returncode, told)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
