"""What runs on a node of a Ray cluster: one actor for each slot, which keeps the very same worker process
that a supervisor keeps on its own machine.

The actor passes on what goes down and up the worker's pipes, its log, and its checkpoints: they are kept in a
folder on the node, come back with the message that names them, and are sent along where a search goes on.
Nothing is lost or doubled when a call is: what goes up is kept until its arrival is told, what comes down has
a number.

Ray itself is not imported here: the class and the function are made remote by the driver.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

from runners import machine
from runners.pool import protocol as m
from runners.pool.identity import version
from runners.pool.local import LocalWorker
from runners.spec import SCIENCE_VERSION
from store.files import own_folder
from store.files import replace as write_file

POLL_S = 2.0
"""How long a call for news waits where there is none but beats."""
GATHER_S = 1.0
"""How long progress waits for company, for each call of Ray costs the driver processor time; an end, or what
somebody waits for, goes at once.
"""
ORPHAN_S = 45.0
"""An actor whose driver has not asked for so long ends, its worker with it."""
END_S = 20.0
"""How long its worker may take to end by itself then."""
LOG_CHUNK = 1 << 16
MANIFEST = "assignment.json"
"""The supervisor's own file in a folder of checkpoints."""
CHECKPOINT_BYTES = 1 << 30
"""The largest checkpoint that is sent back; one that is larger stays on its node."""

Files = tuple[tuple[str, bytes], ...]
"""Relative name and content of each file of a folder of checkpoints."""


@dataclass(frozen=True)
class Facts:
    """What must agree between nodes, and what one has."""

    labtui: str
    python: str
    science: int
    torch: str
    processor: str
    cores: int
    memory: int


def facts() -> Facts:
    """Of the node that this runs on."""
    try:
        torch = installed("torch")
    except PackageNotFoundError:
        torch = ""
    python = platform.python_version()
    cores, memory = machine.cores(), machine.total_memory()
    return Facts(version(), python, SCIENCE_VERSION, torch, machine.processor_name(), cores, memory)


@dataclass(frozen=True)
class Up:
    """One message of a worker, as it was on the pipe, and the files that it speaks of."""

    line: bytes
    files: Files | None = None
    """All that the folder of checkpoints holds now; None: it speaks of none."""


@dataclass(frozen=True)
class Batch:
    """What has come from a worker since the last batch."""

    number: int
    """From 1; the same number is the same batch once more."""
    heard: int
    """The highest number up to which everything that was sent down has come."""
    ups: tuple[Up, ...] = ()
    log: bytes = b""
    error: str = ""
    """What came was no message."""
    pid: int = 0
    code: int | None = None
    """Of the process, if it has ended and nothing comes any more."""


@dataclass
class _Out:
    """What was sent down and did not come in its turn yet."""

    heard: int = 0
    early: dict[int, tuple[bytes, Files]] = field(default_factory=dict)


class SlotActor:
    """Keeps one slot's worker on its node; made remote by ``ray_pool``. Its methods run in threads."""

    def __init__(self, slot: str, trainer: str, threads: int, env: Mapping[str, str]) -> None:
        self._start: Callable[[Path], LocalWorker] = lambda log: LocalWorker(
            slot, trainer, threads, log, env={**env, **_card(env)}
        )
        self._folder = Path(tempfile.mkdtemp(prefix="labtui-slot-"))
        self._log = self._folder / "worker.log"
        self._log_at = 0
        self._lock = threading.Lock()
        self._polling = threading.Lock()
        self._worker: LocalWorker | None = None
        self._run = 0
        self._out = _Out()
        self._last = Batch(0, 0)
        self._train: m.Train | None = None
        self._asked = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    def card(self) -> tuple[str, str]:
        """(number, name) of the card that Ray has given to this actor; empty where it has none."""
        number = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
        return number, next(iter(machine.visible_cards()), "GPU")

    def start(self, run: int) -> int:
        """Start a fresh worker, the one before having ended, and give its process id."""
        with self._lock:
            if run <= self._run:
                return self._worker.pid if self._worker is not None else 0
            self._end()
            self._run, self._out, self._last, self._train = run, _Out(), Batch(0, 0), None
            self._log_at = 0
            self._log.unlink(missing_ok=True)
            self._worker = self._start(self._log)
            self._asked = time.monotonic()
            return self._worker.pid

    def tell(self, run: int, number: int, line: bytes, files: Files) -> None:
        """Pass on a message for the worker, and the checkpoints that it is to go on from."""
        with self._lock:
            if run != self._run or self._worker is None or number <= self._out.heard:
                return
            self._out.early[number] = (line, files)
            while (found := self._out.early.pop(self._out.heard + 1, None)) is not None:
                self._out.heard += 1
                self._worker.send(self._here(*found))

    def poll(self, run: int, have: int) -> Batch:
        """What has come; waits for a while where there is nothing.

        Args:
            have: the number of the last batch that arrived.
        """
        with self._polling:
            self._asked = time.monotonic()
            if run != self._run or self._worker is None:
                return Batch(have + 1, 0, code=-9)
            if self._last.number > have:
                return replace(self._last, heard=self._out.heard)
            self._last = self._gather(self._worker, have + 1)
            self._asked = time.monotonic()
            return self._last

    def kill(self, run: int) -> None:
        """End the worker now."""
        if run == self._run and self._worker is not None:
            self._worker.kill()

    # On the node

    def _here(self, line: bytes, files: Files) -> m.Down:
        """A message as it is for this node: checkpoints lie in a folder of this actor."""
        message = m.decode_down(line)
        if not isinstance(message, m.Train):
            return message
        folder = self._folder / "checkpoints"
        shutil.rmtree(folder, ignore_errors=True)
        own_folder(folder)
        put(folder, files)
        self._train = replace(message, checkpoint_dir=str(folder))
        return self._train

    def _gather(self, worker: LocalWorker, number: int) -> Batch:
        until = time.monotonic() + POLL_S
        ups: list[Up] = []
        beat: Up | None = None
        error, code = "", None
        while True:
            with self._lock:
                worker.flush()
                code = worker.exit_code()  # asked before the last look: what it said before it ended counts
                try:
                    for message in worker.receive():
                        if isinstance(message, m.Beat):
                            beat = Up(m.encode(message))
                            continue
                        ups.append(self._with_files(message))
                        hurry = 0.0 if not isinstance(message, m.Progress | m.Noted) else GATHER_S
                        until = min(until, time.monotonic() + hurry)
                except m.MessageError as told:
                    error = str(told)
            left = until - time.monotonic()
            if left <= 0 or error or code is not None:
                break
            if worker.closed:
                time.sleep(min(left, 0.02))  # its pipe is closed and it is about to end
            else:
                worker.wait(left)
        if worker.closed and code is None:
            worker.kill()
        pid = worker.pid
        return Batch(
            number,
            self._out.heard,
            (*ups, *([beat] if beat is not None else [])),
            self._grown(),
            error,
            pid,
            code,
        )

    def _with_files(self, message: m.Up) -> Up:
        kept = isinstance(message, m.Saved) or (isinstance(message, m.Halted) and message.kept)
        if not kept or self._train is None:
            return Up(m.encode(message))
        assert isinstance(message, m.Saved | m.Halted)
        try:
            return Up(m.encode(message), take(Path(self._train.checkpoint_dir)))
        except OSError as error:
            why = error.strerror or str(error)
            text = f"a checkpoint stays on its node, and a search that goes on elsewhere begins anew: {why}"
            lost: m.Up = m.Noted(message.tag, text, "warning")
            return Up(m.encode(replace(message, kept=False) if isinstance(message, m.Halted) else lost))

    def _grown(self) -> bytes:
        """What the worker has logged since the last batch."""
        with contextlib.suppress(OSError), self._log.open("rb") as f:
            f.seek(self._log_at)
            found = f.read(LOG_CHUNK)
            self._log_at += len(found)
            return found
        return b""

    def _watch(self) -> None:
        """No driver asks any more: the worker checkpoints and ends, and so does this process."""
        while time.monotonic() - self._asked < ORPHAN_S or self._worker is None:
            time.sleep(1.0)
        self._worker.quit()
        until = time.monotonic() + END_S
        while self._worker.exit_code() is None and time.monotonic() < until:
            time.sleep(0.1)
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.close()
            self._worker = None

    def clear(self) -> None:
        """Nothing of it is left on the node."""
        with self._lock:
            self._end()
            self._run = 1 << 62
        shutil.rmtree(self._folder, ignore_errors=True)


def _card(env: Mapping[str, str]) -> dict[str, str]:
    """Ray's environment of this actor names its card; an actor beside another on one card is told which."""
    number = env.get("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES"))
    return {} if number is None else {"CUDA_VISIBLE_DEVICES": number}


# Folders of checkpoints


def take(folder: Path) -> Files:
    """The whole files of a folder of checkpoints, by their names in it; links are left alone.

    Raises:
        OSError: there is more than ``CHECKPOINT_BYTES`` of it.
    """
    found = []
    size = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if name.endswith((".aside", ".tmp")) or name.startswith(MANIFEST) or path.is_symlink():
                continue
            with contextlib.suppress(FileNotFoundError):  # replaced by a newer one
                size += path.stat().st_size
                if size > CHECKPOINT_BYTES:
                    raise OSError(0, f"it has more than {CHECKPOINT_BYTES >> 20} MiB")
                found.append((path.relative_to(folder).as_posix(), path.read_bytes()))
    return tuple(found)


def put(folder: Path, files: Files) -> None:
    """Make a folder hold these checkpoints; what another machine says of names is not believed.

    Raises:
        OSError: no room, or a name that leads out of the folder.
    """
    for name, content in files:
        parts = safe_parts(name)
        place = folder
        for part in parts[:-1]:
            place = place / part
            own_folder(place)
        write_file(place / parts[-1], content)
    wanted = {name for name, _ in files}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in wanted and not name.startswith(MANIFEST) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def safe_parts(name: str) -> Sequence[str]:
    """The folders and the file of a relative name.

    Raises:
        OSError: it is none, or leads out of where it is put.
    """
    parts = name.split("/")
    wrong = any(p in ("", ".", "..") or "\0" in p or len(p) > 200 for p in parts)
    if wrong or len(parts) > 8 or name.startswith(MANIFEST):
        raise OSError(0, f"a file of a checkpoint is called {name[:80]!r}")
    return parts
