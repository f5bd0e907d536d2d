"""Guard one trial of a program: start it, read what it says, and end it with all that it started.

``python -I -S guard.py``, spawned by :mod:`runners.programs.trainer`; standard library alone, and no module
of ours. On stdin: one line of JSON (:func:`main`), later ``stop`` or ``kill``; the end of stdin says that the
worker is gone. On stdout: lines of JSON, ``{"points": [[step, value], ...]}`` and at last ``{"end": ...}``.
Whatever the program does (a gigabyte of output, a hang, a daemon, a regular expression that never ends), it
does to this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

PREFIX = b"LABTUI "
"""Before a report that stands in the output."""
LONGEST_LINE = 1 << 16
"""Bytes of a line that are kept; the rest of a longer one is dropped."""
LONGEST_MATCHED = 4096
LOG_BYTES = 1 << 14
"""The end of the output, kept for people."""
REPORT_BYTES = 64 << 20
"""A file of reports that grows beyond this ends its trial."""
REGEX_S = 2.0
"""Of one chunk of output; the expression is given up then."""
REGEX_TOTAL_S = 60.0
TELL_S = 0.1
MOST_POINTS = 100
"""That improve, between two words to the worker."""
LOOK_S = 0.5
"""Between looks at memory and disk."""
_SUBREAPER, _PDEATHSIG = 36, 1


class _GivenUp(Exception):  # noqa: N818 - says what happened
    """The program cannot go on, for a reason that lies in what it does."""


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Process ids of all that ``root`` started, and of what those started; Linux alone, else none."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is not imported here: 10 ms
            if name.isdecimal():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    with open(f"/proc/{name}/stat", "rb") as f:  # noqa: PTH123
                        fields = f.read().rpartition(b")")[2].split()
                    children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        more = children.get(todo.pop(), [])
        found += more
        todo += more
    return found


def _memory(pids: list[int]) -> int:
    """Resident bytes of these processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as f:  # noqa: PTH123
            total += int(f.read().split()[1]) * resource.getpagesize()
    return total


class Reader:
    """Finds the metric in reports and output."""

    def __init__(self, metric: str, read: str, better: float) -> None:
        """``better``: 1 where a larger metric is, else -1."""
        self._metric, self._better = metric, better
        self._key = read.removeprefix("json:") if read.startswith("json:") else ""
        self._pattern = re.compile(read) if read and not self._key else None
        self.reads = bool(read)
        self.needle = b"" if self._pattern is not None else b"{"
        self.points: list[tuple[int, float]] = []
        self.count = 0
        self.bad = ""
        """The first line that should have been a report and is none."""
        self._best = -math.inf
        self._tail = False
        """The last point is not the best one."""
        self._spent = 0.0

    def report(self, line: bytes) -> None:
        """Take a line that is to be a report."""
        if not line.strip():
            return
        found = self._number(_json(line), self._metric)
        if found is None:
            self.bad = self.bad or line[:200].decode("utf-8", "replace")
            return
        value, data = found
        step = data.get("step")
        self._take(step if type(step) is int and 0 <= step < 1 << 62 else self.count + 1, value)

    def output(self, lines: Iterator[bytes]) -> None:
        """Take whole lines of the output.

        The alarm's handler raises in the middle of a match that takes too long.
        """
        began = time.monotonic()
        if self._pattern is not None:
            signal.setitimer(signal.ITIMER_REAL, REGEX_S)
        try:
            for line in lines:
                if self._pattern is not None:
                    self._match(line[:LONGEST_MATCHED].decode("utf-8", "replace"))
                elif self._key:
                    found = self._number(_json(line), self._key) if line.lstrip().startswith(b"{") else None
                    if found is not None:
                        self._take(self.count + 1, found[0])
                elif line.startswith(PREFIX):
                    self.report(line[len(PREFIX) :])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._spent += time.monotonic() - began
        if self._pattern is not None and self._spent > REGEX_TOTAL_S:
            raise _GivenUp("program.read takes too long over its output")

    def whole(self, text: bytes) -> None:
        """The end of the output, where no line of it was JSON: it may be one object over several lines."""
        if self._key and not self.count and b"{" in text:
            found = self._number(_json(text[text.index(b"{") :]), self._key)
            if found is not None:
                self._take(1, found[0])

    def _number(self, data: Any, key: str) -> tuple[float, dict[str, Any]] | None:
        whole = data
        if isinstance(data, dict) and key not in data:
            for part in key.split("."):
                data = data.get(part) if isinstance(data, dict) else None
        elif isinstance(data, dict):
            data = data[key]
        if isinstance(data, bool) or not isinstance(data, int | float) or not isinstance(whole, dict):
            return None
        try:
            return float(data), whole
        except OverflowError:
            return None

    def _match(self, text: str) -> None:
        assert self._pattern is not None
        for found in self._pattern.finditer(text):
            word = found.group(1) or ""
            try:
                self._take(self.count + 1, float(word.replace(",", "")))
            except ValueError:
                self.bad = self.bad or word[:200]

    def _take(self, step: int, value: float) -> None:
        """Keep the point; where much comes, only what is the best so far, and the last."""
        self.count += 1
        better = value * self._better > self._best
        if better:
            self._best = value * self._better
        if self._tail if not better else len(self.points) >= MOST_POINTS:
            self.points.pop()
        self.points.append((step, value))
        self._tail = not better

    def taken(self) -> list[tuple[int, float]]:
        """The points since the last call."""
        points, self.points, self._tail = self.points, [], False
        return points


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Lines:
    """Whole lines out of chunks, in bounded memory."""

    def __init__(self, needle: bytes = b"") -> None:
        """``needle``: what every line that matters has."""
        self._rest, self._needle = b"", needle
        self._skipping = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that are whole now."""
        text = self._rest + chunk
        if self._needle not in text and len(text) > LONGEST_LINE // 2:  # a gigabyte of chatter: nothing in it
            self._rest = text[-len(self._needle) :] if self._needle else b""
            return
        *lines, rest = text.replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if not self._skipping:
                yield line[:LONGEST_LINE]
            self._skipping = False
        if len(rest) > LONGEST_LINE:
            if not self._skipping:
                yield rest[:LONGEST_LINE]
            self._skipping, rest = True, b""
        self._rest = rest

    def end(self) -> Iterator[bytes]:
        """What stands there without an end."""
        if self._rest and not self._skipping:
            yield self._rest
        self._rest = b""


class Guard:
    """One trial."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.reader = Reader(asked["metric"], asked["read"], 1.0 if asked["goal"] == "max" else -1.0)
        self.log = b""
        self.peak = 0
        self.why = ""
        """exit, timeout, stopped, gone, or a sentence."""
        self._report_fd = -1
        self._report_at = 0
        self._output, self._reports = Lines(self.reader.needle), Lines()
        self._kill_at = math.inf
        self._killed = False
        self._told = self._looked = 0.0
        self._commands = b""

    def run(self) -> None:
        """Go on until the program and all that it started have ended."""
        asked = self.asked
        self._report_fd = os.open(
            asked["report"], os.O_RDONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            self.process = subprocess.Popen(
                asked["command"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=asked["cwd"],
                env=asked["env"],
                start_new_session=True,
                preexec_fn=lambda: _prctl(_PDEATHSIG, signal.SIGKILL),
            )
        except (OSError, ValueError) as error:
            self._end(None, f"it cannot be started: {error}")
            return
        assert self.process.stdout is not None
        self._out = self.process.stdout.fileno()
        os.set_blocking(self._out, False)
        try:
            self._follow()
        except _GivenUp as error:
            self.why = str(error)
        code = self._finish()
        self._end(code, self.why or "exit")

    def _follow(self) -> None:
        """Read what it says until its own process has ended."""
        began = time.monotonic()
        until = began + self.asked["timeout"]
        sources = [0, self._out]
        while self.process.poll() is None:
            now = time.monotonic()
            if now > until and not self.why:
                self._stop("timeout")
            if now > self._kill_at:
                self._killed = True
                return
            ready, _, _ = select.select(sources, [], [], 0.02 if now - began < 2.0 else 0.1)
            if self._out in ready and not self._read():
                sources.remove(self._out)
            if 0 in ready and not self._obey():
                return
            self._read_reports()
            self._tell(now)
            if now - self._looked > LOOK_S:
                self._look(now)

    def _read(self) -> bool:
        """A chunk of the output; False at its end."""
        try:
            chunk = os.read(self._out, 1 << 20)
        except BlockingIOError:
            return True
        self.log = (self.log + chunk)[-LOG_BYTES:]
        self.reader.output(self._output.feed(chunk))
        return bool(chunk)

    def _read_reports(self) -> None:
        while chunk := os.pread(self._report_fd, 1 << 18, self._report_at):
            self._report_at += len(chunk)
            if self._report_at > REPORT_BYTES:
                raise _GivenUp(f"it reported more than {REPORT_BYTES >> 20} MiB")
            if not self.reader.reads:
                for line in self._reports.feed(chunk):
                    self.reader.report(line)

    def _obey(self) -> bool:
        """A word of the worker; False where it is gone."""
        chunk = os.read(0, 4096)
        if not chunk:
            self.why = self.why or "gone"
            return False
        self._commands += chunk
        if b"kill\n" in self._commands:
            self.why = self.why or "stopped"
            return False
        if b"stop\n" in self._commands and not self.why:
            self._stop("stopped")
        return True

    def _stop(self, why: str) -> None:
        """SIGTERM to all of it, SIGKILL after ``grace``."""
        self.why = why
        self._kill_at = time.monotonic() + self.asked["grace"]
        for pid in descendants(os.getpid()) or [self.process.pid]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    def _look(self, now: float) -> None:
        self._looked = now
        self.peak = max(self.peak, _memory(descendants(os.getpid())))
        with contextlib.suppress(OSError):
            room = os.statvfs(self.asked["folder"])
            if room.f_bavail * room.f_frsize < self.asked["least_disk"]:
                raise _GivenUp("the disk is full; it was ended to leave the others some room")

    def _tell(self, now: float, *, last: bool = False) -> None:
        if self.reader.points and (last or now - self._told > TELL_S):
            self._told = now
            _send({"points": self.reader.taken()})

    def _finish(self) -> int | None:
        """End whatever is left of it, then read what it still said; its exit code."""
        code = self.process.poll()
        for _ in range(200):
            left = descendants(os.getpid())
            if not left:
                break
            for sign in (signal.SIGSTOP, signal.SIGKILL):  # so that none forks while the others are killed
                for pid in left:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, sign)
            code = self._reap(code)
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self._reap(code)
        try:
            until = time.monotonic() + 5.0
            while time.monotonic() < until and select.select([self._out], [], [], 0)[0] and self._read():
                pass
            self._read_reports()
            self.reader.output(self._output.end())
            for line in self._reports.end() if not self.reader.reads else ():
                self.reader.report(line)
            self.reader.whole(self.log)
        except _GivenUp as error:
            self.why = self.why or str(error)
        return code

    def _reap(self, code: int | None) -> int | None:
        """Take in every child that has ended, those that it left behind too."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.process.pid:
                    code = os.waitstatus_to_exitcode(status)
                    self.process.returncode = code
        return code

    def _end(self, code: int | None, why: str) -> None:
        self._tell(time.monotonic(), last=True)
        reader = self.reader
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of one that ended between two looks
        self.peak = max(self.peak, most if sys.platform == "darwin" else most << 10)
        _send(
            {
                "end": why,
                "code": code,
                "killed": self._killed,
                "count": reader.count,
                "bad": reader.bad,
                "log": self.log.decode("utf-8", "replace"),
                "peak": self.peak,
            }
        )


def _send(event: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except OSError:  # the worker is gone; what is to be ended still is
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _alarm(*_: object) -> None:
    raise _GivenUp(f"program.read takes more than {REGEX_S:.0f} s over a chunk of its output")


def main() -> None:
    """Read what is asked (``ProgramTrainer._asked``), and guard it."""
    signal.signal(signal.SIGALRM, _alarm)
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: None)  # SIG_IGN would be the program's own from its first moment
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    asked = b""
    while not asked.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        asked += chunk
    _prctl(_SUBREAPER, 1)
    Guard(json.loads(asked)).run()


if __name__ == "__main__":
    main()
