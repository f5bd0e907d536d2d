"""The one thread that reads the lab: it watches the lab's version and reads a frozen snapshot for the
screen in front.

One connection, owned by the thread (``PRAGMA data_version`` compares only within one). A snapshot is
delivered by one call and the next is not read before the last was taken, so ticks coalesce and never pile up.
A read that took c seconds of processor time is not repeated for 5c, one that waited for a disk or for other
programs not for as long as it took: a huge lab keeps no core busy, and a busy machine no screen behind.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from store.states import supervised

if TYPE_CHECKING:
    from store.rows import DeviceRow, EventRow, JobRow, NodeRow, StudyRow, SupervisorRow


class LabReader(Protocol):
    """What the poller itself needs of ``store.read.Lab``; loaders get the whole of it."""

    notice: str
    read_only: bool

    def data_version(self) -> int: ...
    def counts(self) -> dict[str, int]: ...
    def supervisor(self) -> SupervisorRow | None: ...
    def pending_commands(self) -> int: ...
    def studies(self) -> list[StudyRow]: ...
    def last_event_id(self) -> int: ...
    def events(self, after: int = 0, job_id: int | None = None, limit: int = 200) -> list[EventRow]: ...
    def jobs(self, ids: Any = None) -> list[JobRow]: ...
    def nodes(self) -> list[NodeRow]: ...
    def devices(self) -> list[DeviceRow]: ...
    def close(self) -> None: ...


STUDIES_S = 2.0
"""Seconds for which the studies' counts serve while no event is written."""
Loader = Callable[[Any], Any]
"""Reads what one screen shows; runs in the poller's thread, touches no widget."""


@dataclass(frozen=True)
class Common:
    """What every screen shows in its header, and what happened since the last snapshot."""

    counts: dict[str, int]
    supervisor: SupervisorRow | None
    studies: tuple[StudyRow, ...]
    pending: int
    last_event: int
    fresh: tuple[EventRow, ...]
    """Events since the last snapshot, at most 50; none on the first."""
    ended: tuple[JobRow, ...]
    """The jobs that these events say are over."""
    read_only: bool
    notice: str
    nodes: tuple[NodeRow, ...] = ()
    """Of the cluster that trains it; none: one machine."""
    devices: tuple[DeviceRow, ...] = ()
    """Where there are nodes."""

    @property
    def supervised(self) -> bool:
        return supervised(self.supervisor)


@dataclass(frozen=True)
class Snapshot:
    """One reading."""

    key: str
    """Whose request it answers."""
    data: Any
    """What the loader returned; None if it failed."""
    common: Common | None
    problem: str = ""
    """Why the lab could not be read, in a sentence."""
    seconds: float = 0.0


@dataclass
class _Wanted:
    key: str = ""
    loader: Loader | None = None
    dirty: bool = True
    once: Loader | None = None


@dataclass
class Poller:
    """Start it, say what is in front with :meth:`watch`, stop it."""

    open_lab: Callable[[], LabReader]
    deliver: Callable[[Snapshot], None]
    """Called in the poller's thread; must hand over to the screen and call :meth:`taken` when it is shown."""
    interval: float = 0.2
    heartbeat: float = 0.5
    """Seconds after which the supervisor is looked at although nothing was written: one that was killed
    writes nothing.
    """
    _wanted: _Wanted = field(default_factory=_Wanted)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _wake: threading.Event = field(default_factory=threading.Event)
    _free: threading.Event = field(default_factory=threading.Event)
    _stop: bool = False
    _thread: threading.Thread | None = None
    _studies: tuple[StudyRow, ...] = ()
    _studies_at: tuple[float, int] = (-math.inf, 0)
    """When the studies were read, and the newest event then."""

    def start(self) -> None:
        self._free.set()
        self._thread = threading.Thread(target=self._run, name="labtui-poller", daemon=True)
        self._thread.start()

    def watch(self, key: str, loader: Loader) -> None:
        """Read this from now on; at once, whatever the version is."""
        with self._lock:
            self._wanted = _Wanted(key, loader)
        self._wake.set()

    def turn(self, key: str, once: Loader, then: Loader) -> None:
        """Read ``once`` at once, and from the next commit on ``then``:
        a page that is turned needs no new list of ids.
        """
        with self._lock:
            self._wanted = _Wanted(key, then, dirty=False, once=once)
        self._wake.set()

    def poke(self) -> None:
        """Read again although the version may stand still."""
        with self._lock:
            self._wanted.dirty = True
        self._wake.set()

    def taken(self) -> None:
        """The last snapshot is on the screen: the next may come."""
        self._free.set()

    def stop(self) -> None:
        self._stop = True
        self._free.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _run(self) -> None:
        lab: LabReader | None = None
        version: int | None = None
        last_event: int | None = None
        looked = 0.0
        not_before = 0.0
        told: tuple[bool, str] | None = None
        while not self._stop:
            hurried = self._wake.wait(self.interval)
            self._wake.clear()
            now = time.monotonic()
            if self._stop or not self._free.is_set():
                if hurried and not self._stop:
                    self._free.wait(1.0)
                    self._wake.set()
                continue
            with self._lock:
                wanted = self._wanted
                dirty, wanted.dirty = wanted.dirty, False
                once, wanted.once = wanted.once, None
            if wanted.loader is None:
                continue
            try:
                if lab is None:
                    lab = self.open_lab()
                    version = None
                seen = lab.data_version()
                if now - looked > self.heartbeat:
                    looked = now
                    dirty = dirty or _word(lab.supervisor()) != told
                if once is None and not dirty and (seen == version or now < not_before):
                    continue
                started, computed = time.perf_counter(), time.thread_time()
                if once is not None and seen == version and not dirty:
                    self._send(Snapshot(wanted.key, once(lab), None))
                    continue
                data = wanted.loader(lab)
                common = self._common(lab, last_event)
                spent = time.perf_counter() - started
                version, last_event = seen, common.last_event
                told = _word(common.supervisor)
                not_before = time.monotonic() + max(spent, 5 * (time.thread_time() - computed))
                self._send(Snapshot(wanted.key, data, common, "", spent))
            except (
                Exception
            ) as error:  # any fault of reading is a sentence on the screen, never the end of the app
                if lab is not None:
                    lab.close()
                    lab = None
                self._send(Snapshot(wanted.key, None, None, _sentence(error)))
                with self._lock:
                    self._wanted.dirty = True
                self._pause(2.0)
        if lab is not None:
            lab.close()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stop and time.monotonic() < end and not self._wake.wait(0.2):
            pass

    def _send(self, snapshot: Snapshot) -> None:
        if not self._stop:
            self._free.clear()
            self.deliver(snapshot)

    def _common(self, lab: LabReader, last_event: int | None) -> Common:
        newest = lab.last_event_id()
        now = time.monotonic()
        if last_event is None or newest != self._studies_at[1] or now - self._studies_at[0] > STUDIES_S:
            # To count each study's searches costs most of all this; what changes a state writes an event.
            self._studies, self._studies_at = tuple(lab.studies()), (now, newest)
        fresh: tuple[EventRow, ...] = ()
        if last_event is not None and newest > last_event:
            fresh = tuple(lab.events(after=last_event, limit=50))
        over = {e.job_id for e in fresh if e.kind in ("job.done", "job.failed") and e.job_id is not None}
        ended = tuple(lab.jobs(sorted(over))) if over else ()
        nodes = tuple(lab.nodes())
        return Common(
            lab.counts(), lab.supervisor(), self._studies, lab.pending_commands(), newest, fresh,
            ended, lab.read_only, lab.notice, nodes, tuple(lab.devices()) if nodes else (),
        )  # fmt: skip


def _word(row: SupervisorRow | None) -> tuple[bool, str]:
    """Whether a supervisor lives, and what it says: the lab's version stands still where it cannot write."""
    return supervised(row), row.message if row is not None else ""


def _sentence(error: Exception) -> str:
    from store.errors import LabError

    if isinstance(error, (LabError, OSError)):
        return str(error)
    return f"the lab cannot be read: {type(error).__name__}: {error}"
