"""Workers on this machine: the pool that starts them, and each one's pipes, log and life."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runners.machine import cores
from runners.pool import devices
from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.fork_server import ForkedProcess, ForkServer
from runners.pool.identity import ProcessId, identify
from runners.pool.interpreter import environment, module_command
from runners.pool.protocol import MAX_LINE, Clock, MessageError, encode
from store.files import open_own, replace
from store.rows import NodeRow

LOG_BYTES = 2 << 20
_CHUNK = 1 << 18


class LocalPool:
    """This machine: every worker a child of the supervisor, or of its fork server."""

    def __init__(self, devices: Sequence[Device], forks: ForkServer | None = None) -> None:
        """``forks``: of the workers on the CPU; those of other devices, and without it all, are spawned."""
        self._devices, self._forks = list(devices), forks
        if forks is not None and not any(device.kind == "cpu" for device in devices):
            forks.close()

    @property
    def lost(self) -> bool:
        return False

    def devices(self) -> list[Device]:
        return self._devices

    def slots(self, device: Device) -> int:
        return cores() if device.kind == "cpu" else 1

    def shortage(self, device: Device, need: int, reserve: float) -> str:
        return devices.shortage(device, need, reserve)

    def prepare(self, device: Device, trainer: str) -> bool:
        return self._forks is None or device.kind != "cpu" or self._forks.prepare(trainer)

    def start(
        self, slot: str, device: Device, trainer: str, threads: int, log: Path, clock: Clock
    ) -> LocalWorker:
        forks = self._forks if device.kind == "cpu" else None
        return LocalWorker(slot, trainer, threads, log, clock, forks=forks)

    def free(self, slot: str) -> None:
        """Nothing is held for a slot without a worker."""

    def news(self) -> list[m.News]:
        return []

    def nodes(self) -> list[NodeRow]:
        return []

    def close(self) -> None:
        if self._forks is not None:
            self._forks.close()


class LocalWorker:
    """One process in a session of its own, spawned, or forked by a process that does nothing else.

    Reading and writing never block; a closed pipe is no error here:
    :meth:`exit_code` tells what became of the process.
    """

    def __init__(
        self,
        name: str,
        trainer: str,
        threads: int,
        log: Path,
        clock: Clock = time.monotonic,
        env: Mapping[str, str] | None = None,
        forks: ForkServer | None = None,
    ) -> None:
        """Start it.

        Args:
            name: of the slot, for messages.
            trainer: ``module:Class``.
            threads: for the maths libraries.
            log: file that takes its stdout and stderr.
            env: of it beyond this process's own, where it is spawned.
            forks: what forks it, where that is ready.

        Raises:
            OSError: no process, no pipe or no log file to be had.
        """
        self.name, self.clock = name, clock
        self.ready: m.Ready | None = None
        self.rss, self.silent_s = 0, 0.0
        self.heard = self.started = clock()
        self.closed = False
        self.quitting = False
        """It was told to end; its end is no failure."""
        self.holding = False
        """It was told to stand still."""
        self._in, self._out, self._log = bytearray(), bytearray(), log
        trim(log)
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        self._down, self.up = down_write, up_read
        try:
            with os.fdopen(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as out:
                files = (down_read, up_write, out.fileno())
                if forks is not None and forks.ready:
                    self._process: _Process = forks.start(["--trainer", trainer], files)
                else:
                    self._process = _spawned(trainer, files, worker_environment(threads, env or {}))
        except OSError:
            os.close(down_write)
            os.close(up_read)
            raise
        finally:
            os.close(down_read)
            os.close(up_write)
        os.set_blocking(down_write, False)
        os.set_blocking(up_read, False)
        self.id: ProcessId = identify(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: m.Down) -> None:
        """Queue a message and write what the pipe takes."""
        self._out += encode(message)
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes of what is queued."""
        while self._out and not self.closed:
            try:
                written = os.write(self._down, self._out)
            except BlockingIOError:
                return
            except OSError:
                self._out.clear()
                return
            del self._out[:written]

    def wait(self, timeout_s: float) -> None:
        """Wait until it says something, or takes more of what is queued for it."""
        if not self.closed:
            select.select([self.up], [self._down] if self._out else [], [], timeout_s)

    def receive(self) -> Iterator[m.Up]:
        """Every whole message that is there.

        Raises:
            MessageError: what it sent is not one; nothing that follows can be trusted.
        """
        while not self.closed:
            try:
                chunk = os.read(self.up, _CHUNK)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self.closed = True
                break
            self.heard = self.clock()
            self._in += chunk
            if len(self._in) > MAX_LINE:
                raise MessageError(f"a message has more than {MAX_LINE} bytes")
            if len(chunk) < _CHUNK:
                break
        *lines, rest = bytes(self._in).split(b"\n")
        self._in = bytearray(rest)
        for line in lines:
            message = m.decode_up(line)
            if isinstance(message, m.Ready):
                self.ready = message
            elif isinstance(message, m.Beat):
                self.rss, self.silent_s = message.rss, message.silent_s
            yield message

    def quit(self) -> None:
        """Ask it to end, keeping what it can."""
        self.quitting = True
        self.send(m.Quit())

    def exit_code(self) -> int | None:
        """Of the process if it has ended, negative for a signal."""
        return self._process.poll()

    def kill(self) -> None:
        """End it now, stopped or not."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes and reap it; it must have ended or been killed."""
        self._process.wait()
        for descriptor in (self._down, self.up):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.closed = True

    def tail(self, size: int = 2000) -> str:
        """The end of its log."""
        return tail(self._log, size)


_Process = subprocess.Popen[bytes] | ForkedProcess


def _spawned(trainer: str, files: tuple[int, int, int], environ: Mapping[str, str]) -> _Process:
    """A fresh interpreter that reads from, writes and logs to these files."""
    read, write, log = files
    words = ("--read", str(read), "--write", str(write), "--trainer", trainer)
    return subprocess.Popen(
        module_command("runners.pool.worker", *words),
        pass_fds=(read, write),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=environ,
    )


def tail(log: Path, size: int) -> str:
    """The end of a log; empty where there is none."""
    try:
        with log.open("rb") as f:
            f.seek(max(0, log.stat().st_size - size))
            return f.read().decode("utf-8", "replace")
    except OSError:
        return ""


def trim(log: Path, most: int = LOG_BYTES) -> None:
    """Keep a log of more than ``most`` bytes as ``.1`` and begin it anew (its writers append,
    so they go on at the start).
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > most:
            old = log.with_suffix(log.suffix + ".1")
            with os.fdopen(open_own(log, os.O_RDWR), "r+b") as f:
                f.seek(-(most // 2), os.SEEK_END)
                replace(old, f.read())
                f.truncate(0)


def worker_environment(threads: int, more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with what the maths libraries of a worker read in theirs."""
    libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # NVML's order, so that cuda:0 is the same card for both
    return environment(**{**dict.fromkeys(libraries, str(threads)), **order, **more})
