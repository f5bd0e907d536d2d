"""The fork server of a supervisor: one process that imports a trainer once and forks the CPU's workers.

Torch takes 0.8 s of a core and 140 MB of memory of every process that imports it; a fork takes 5 ms and
shares both. It is forked from the supervisor before that has a lock, a log, a thread or a lab open, never
computes, and has one thread but for BLAS's own, which puts them away at a fork: so a fork of it is as good as
a fresh process. Workers of a CUDA device are spawned all the same: no two processes may share what a driver
keeps. Where an import fails, starts a thread or takes too long, the server ends: half of a package must not
stay for the workers that come later.

The standard library's own (``multiprocessing.forkserver``) starts with a fresh interpreter, 0.2 s of imports
that the supervisor has done already and a second process, imports ``__main__`` anew, and speaks pickle.

Linux since 5.3 alone; elsewhere, and where it has died, workers are spawned.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from runners.pool.identity import identify
from runners.pool.interpreter import end_process, forget_exit_hooks, importing

log = logging.getLogger("labtui")
REPLY_S = 10.0
"""How long a fork may take (5 ms where nothing is wrong)."""
IMPORT_S = 120.0
"""How long an import may take until workers are spawned instead."""
REAP_S = 1.0
"""How long the code of a process that has ended is waited for, where its server is busy."""
LOST = 1
"""Stands for the code of a process whose end nobody could see."""
_MESSAGE = 1 << 16
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What a worker hears; SIGHUP it ignores, as those that are spawned."""


class ForkServer:
    """The supervisor's side of it."""

    def __init__(self, process: int, channel: socket.socket) -> None:
        self._pid, self._channel = process, channel
        self._asked: dict[str, float] = {}
        """Trainers that are being imported, and since when."""
        self._imported: set[str] = set()
        self._forked: list[int] = []
        """Process ids in the order of the requests, not yet taken."""
        self._codes: dict[int, int] = {}
        self.gone = False

    @classmethod
    def begin(cls, environ: Mapping[str, str]) -> ForkServer | None:
        """Fork it from this process, which must have one thread.

        Args:
            environ: of its workers.

        Returns:
            None where workers are to be spawned.
        """
        if not _can_watch_processes():
            return None
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()  # what is in them would be written twice
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
        except OSError:
            return None
        if pid == 0:
            _serve(theirs.detach(), environ)
        theirs.close()
        return cls(pid, ours)

    def prepare(self, trainer: str) -> bool:
        """Have ``module:Class`` imported; True once workers with it can be started, False until then."""
        self._hear()
        if self.gone or trainer in self._imported:
            return True
        if trainer not in self._asked:
            self._asked[trainer] = time.monotonic()
            self._send({"import": trainer})
        elif time.monotonic() > self._asked[trainer] + IMPORT_S:
            self._lose(f"it has imported {trainer} for {IMPORT_S:.0f} s")
        return self.gone

    @property
    def ready(self) -> bool:
        """It forks at once what it is asked for."""
        return not self.gone and not self._asked

    def start(self, words: Sequence[str], files: Sequence[int]) -> ForkedProcess:
        """Fork a worker.

        Args:
            words: of the worker's command line, but for its descriptors.
            files: what it reads from, writes to, and logs to.

        Raises:
            OSError: there was none; the server is given up.
        """
        self._send({"fork": words}, files)
        until = time.monotonic() + REPLY_S
        while not self._forked and not self.gone:
            self._hear(max(until - time.monotonic(), 0.0))
            if not self._forked and time.monotonic() >= until:
                self._lose(f"it did not answer for {REPLY_S:.0f} s")
        if not self._forked:
            raise OSError(0, "the process that forks workers has ended")
        if (pid := self._forked.pop(0)) == 0:
            raise OSError(0, "no process could be forked")
        return ForkedProcess(self, pid)

    def code_of(self, pid: int) -> int | None:
        """The exit code of a worker, once it has one and it is known; it is forgotten then."""
        self._hear()
        return self._codes.pop(pid, None)

    def close(self) -> None:
        """End the server, not its workers."""
        if self.gone:
            return
        self.gone = True
        self._asked.clear()
        self._channel.close()
        with suppress(ChildProcessError, ProcessLookupError):
            if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)

    def _lose(self, why: str) -> None:
        log.warning("the process that forks workers is given up: %s; they are spawned", why)
        self.close()

    def _send(self, request: dict[str, Any], files: Sequence[int] = ()) -> None:
        data = json.dumps(request).encode()
        try:
            socket.send_fds(self._channel, [data], list(files))
        except OSError as error:
            self._lose(error.strerror or str(error))

    def _hear(self, wait_s: float = 0.0) -> None:
        """Take in what it has said; waits for the first word only."""
        while not self.gone:
            try:
                self._channel.settimeout(wait_s)
                data = self._channel.recv(_MESSAGE)
            except (BlockingIOError, TimeoutError):
                break
            except OSError:
                data = b""
            if not data:
                self._lose("it has ended")
                break
            wait_s = 0.0
            said = json.loads(data)
            if "imported" in said:
                self._imported.add(said["imported"])
                self._asked.pop(said["imported"], None)
            elif "forked" in said:
                self._forked.append(said["forked"])
                self._codes.pop(said["forked"], None)  # of an earlier process of that number
            else:
                self._codes[said["ended"]] = said["code"]
        if not self.gone:
            self._channel.settimeout(None)


class ForkedProcess:
    """A child of the fork server, as far as a worker needs a ``subprocess.Popen``."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._server, self._who = server, identify(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code if it has ended, negative for a signal."""
        if self._code is None:
            self._code = self._server.code_of(self.pid)
        if self._code is None and self._server.gone and not self._who.alive():
            self._code = LOST
        return self._code

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        until: float | None = None
        while (code := self.poll()) is None:
            if until is None and not self._who.alive():
                until = time.monotonic() + (REAP_S if self._server.ready else 0.0)
            if until is not None and time.monotonic() > until:
                self._code = LOST
            time.sleep(0.001)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal; ProcessLookupError: it has ended."""
        if self.poll() is None and not self._who.kill(number):
            raise ProcessLookupError


def _can_watch_processes() -> bool:
    """Linux since 5.3, where no sandbox forbids it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):  # some Pythons are built without it
        return False
    return True


# In the server


def _serve(channel: int, environ: Mapping[str, str]) -> NoReturn:
    """Import and fork what is asked for until the supervisor has gone."""
    code = 1
    try:
        os.setsid()  # no signal of a terminal is meant for it
        forget_exit_hooks()
        # It ends with its supervisor's end of the channel, and tells of its workers until then.
        for number in (signal.SIGHUP, *HANDLED):
            signal.signal(number, signal.SIG_IGN)
        _call_it("labtui forks")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        _close_all_but(channel)
        os.environ.update(environ)
        with socket.socket(fileno=channel) as mine, selectors.DefaultSelector() as selector:
            selector.register(mine, selectors.EVENT_READ)
            while _turn(mine, selector):
                pass
        code = 0
    finally:
        os._exit(code)


def _turn(channel: socket.socket, selector: selectors.BaseSelector) -> bool:
    """Obey one request or tell of one end; False once nobody asks any more."""
    for key, _ in selector.select():
        if key.fileobj is channel:
            data, files, _, _ = socket.recv_fds(channel, _MESSAGE, 3)
            if not data:
                return False
            asked = json.loads(data)
            if "import" in asked:
                if not _import(asked["import"]):
                    return False
                _reply(channel, imported=asked["import"])
            else:
                _reply(channel, forked=_fork(asked["fork"], files, selector))
        else:
            selector.unregister(key.fd)
            os.close(key.fd)
            _, status = os.waitpid(key.data, 0)
            _reply(channel, ended=key.data, code=os.waitstatus_to_exitcode(status))
    return True


def _reply(channel: socket.socket, **words: Any) -> None:
    with suppress(OSError):  # the end of file comes next
        channel.send(json.dumps(words).encode())


def _import(trainer: str) -> bool:
    """Import it; False where this process cannot be forked from any more.

    What cannot be imported is told by the worker that is spawned, in its log.
    """
    try:
        with importing():
            from runners.pool.worker import load_trainer

            load_trainer(trainer)
    except (Exception, SystemExit):
        return False
    return threading.active_count() == 1


def _fork(words: Sequence[str], files: Sequence[int], selector: selectors.BaseSelector) -> int:
    """Fork a worker and give its process id; 0 where the system has no room for one."""
    try:
        pid = os.fork()
    except OSError:
        pid = 0
    else:
        if pid == 0:
            _work(words, files, selector)
        selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
    for file in files:
        os.close(file)
    return pid


def _work(words: Sequence[str], files: Sequence[int], selector: selectors.BaseSelector) -> NoReturn:
    """Be a worker, as if this were a fresh process."""
    try:
        os.setsid()
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        _call_it("labtui worker")
        read, write, log_file = files
        for descriptor in (1, 2):
            os.dup2(log_file, descriptor)
        sys.stdout, sys.stderr = _text(1), _text(2)
        # Its own alone: what an import has opened is the trainer's.
        for key in selector.get_map().values():
            os.close(key.fd)
        selector.close()
        os.close(log_file)
        with importing():
            from runners.pool import worker
        end_process(worker.main(["--read", str(read), "--write", str(write), *words]))
    except SystemExit as left:
        end_process(left.code if isinstance(left.code, int) else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        end_process(1)
    finally:
        os._exit(1)


def _text(descriptor: int) -> TextIO:
    """A stream of a fresh process: whatever took the place of the supervisor's is not the worker's."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _call_it(name: str) -> None:
    """What ``ps -o comm`` and ``top`` show of it; all else they show is the supervisor's."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _close_all_but(kept: int) -> None:
    for entry in Path("/proc/self/fd").iterdir():
        if (descriptor := int(entry.name)) > 2 and descriptor != kept:
            with suppress(OSError):  # that of the listing itself
                os.close(descriptor)
