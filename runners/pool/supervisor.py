"""The supervisor of a lab: one process, one thread, one event loop.

It owns the file, the searches and the workers.

A turn of the loop reads the pipes, watches the workers, and then lets the ledger, the verbs and the
dispatcher make their transactions. Whatever cannot be written now stays in memory and is tried again; nothing
is acted on before it is stored.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import psutil

from runners.pool import checkpoints, inbox
from runners.pool.identity import Roster, boot_id, start_of, version
from runners.pool.interpreter import importing
from runners.pool.notify import Notifier
from runners.pool.options import Options
from runners.pool.protocol import Clock, Pool, PoolLost
from runners.pool.signals import StopSignals
from runners.pool.state import SupervisorState, log
from runners.pool.wal import WalWatch
from runners.pool.workers import NoWorker, Workers
from runners.pool.write_retry import WriteRetry
from store.errors import Busy, Fenced, LabError, Moved, NoRoom, NotALab
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.states import MOVING_STATES

if TYPE_CHECKING:
    from store.rows import DeviceRow, NodeRow
    from store.write import Identity, Requeued

T = TypeVar("T")
COMMANDS_S = 0.2
PROGRESS_S = 0.4
GATHER_S = 20e-6
"""How long words wait for company, for each slot: a turn looks at all of them."""
FLUSH_S = 0.2
"""How long verbs wait for what a thousand slots have told, until the next turn."""
CURVES_S = 1.5
HEARTBEAT_S = 2.0
CHORES_S = 10.0
DEVICES_S = 0.5
NODES_S = 2.0
NOTIFY_S = 1.0
EXPIRY_S = 3600.0
CLAIM_S = 60.0
BUSY_MS = 400
REST_S = {"cpu": 90.0, "cuda": 20.0}
MAX_FAULTS = 8
"""Turns in a row that end in an error which nobody foresaw, until the supervisor gives up."""


class Supervisor:
    """Holds the lab's lock already; :meth:`run` returns the exit code."""

    def __init__(
        self,
        options: Options,
        lock: SupervisorLock,
        pool: Pool,
        *,
        clock: Clock = time.monotonic,
        signals: StopSignals | None = None,
    ) -> None:
        self.paths = LabPaths(options.lab)
        self.state = SupervisorState(options, self.paths, clock)
        self.options, self.lock, self.clock = options, lock, clock
        self.selector = selectors.DefaultSelector()
        self.roster = Roster(self.paths.folder / "workers.json")
        self.pool = pool
        self.workers = Workers(self.state, pool, self.selector, self.roster)
        self._signals = signals or StopSignals()
        self.wal = WalWatch(self.state)
        self._write_retry = WriteRetry(self.state, self._tell)
        self._rows: list[DeviceRow] | None = None
        """Of the devices, where the lab does not know them yet."""
        self._nodes: list[NodeRow] = []
        """As the lab knows them."""
        self._notifier: Notifier | None = None
        self._faults = 0
        self._due: dict[str, float] = {}
        self._idle_since = clock()
        self._leftover_until = 0.0
        self._told = ""
        self._started = start_of(os.getpid()) or ""

    # Life

    def run(self) -> int:
        """Go on until there is nothing to do, or a signal, or a newer supervisor."""
        self._signals.listen()
        code = 0
        try:
            self._open()
            while not self._finished():
                self._round(self._nap())
        except Fenced as error:
            log.error("%s", error)
            code = 1
        except Moved as error:
            self._abandon(error)
            code = 1
        except (LabError, NoWorker, PoolLost) as error:
            log.error("%s", error)
            self._tell(str(error))
            code = 1
        finally:
            self._close(code)
        return code

    @property
    def _stop(self) -> int:
        return self._signals.count

    def _open(self) -> None:
        """Workers first, because importing torch takes longest; then the file;
        then what the last supervisor left.
        """
        self._tell("")
        self.workers.leftovers = [p for p in self.roster.read() if p.alive()]
        self._leftover_until = self.clock() + self.options.grace_s
        waiting, programs, known = self._patiently(self._look)
        rows = self.workers.create_slots(self.pool.devices(), known)
        self.workers.start(min(len(self.state.slots), 2 * waiting), programs=programs)
        with importing():
            from store.write import Identity

        self._patiently(self._connect)
        me = Identity(os.getpid(), psutil.Process().create_time(), socket.gethostname(), boot_id(), version())
        back = self._patiently(lambda: self._claim(me, rows))
        for one in back:
            log.info("job %d of the supervisor before is %s", one.job_id, one.state)
        log.info(
            "epoch %d, %d slots: %s",
            self.state.epoch,
            len(self.state.slots),
            ", ".join(s.name for s in self.state.slots),
        )

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Tried for a minute where the lab is locked, and for ever where there is no room."""
        until = self.clock() + CLAIM_S
        while True:
            try:
                return attempt()
            except (Busy, NoRoom) as error:
                if self._stop or (isinstance(error, Busy) and self.clock() > until):
                    raise
                if not self._told:
                    log.warning("%s; trying again", error)
                self._tell(f"waiting: {error}")
                time.sleep(0.2)

    def _look(self) -> tuple[int, bool, dict[str, DeviceRow]]:
        """How many jobs there are to do, whether all run programs, and the devices as they were left."""
        from store.read import open_lab

        with open_lab(self.paths.lab) as lab:
            waiting = sum(lab.counts().get(s, 0) for s in MOVING_STATES)
            return waiting, lab.programs_alone(), {row.id: row for row in lab.devices()}

    def _connect(self) -> None:
        from store.read import open_lab
        from store.write import Writer, create_or_open

        create_or_open(self.paths.lab)
        self.writer = Writer(self.paths.lab, lock_timeout_s=0.5, clock=lambda: time.time())
        self.lab = open_lab(self.paths.lab)
        self._notifier = Notifier(self.options.notify, self.lab)

    def _claim(self, me: Identity, rows: list[DeviceRow]) -> list[Requeued]:
        """The first transaction: this epoch begins, and what the supervisor before left running
        is put back.
        """
        from store.write import jobs, lab

        with self.writer.transaction() as tx:
            self.state.epoch = lab.claim(tx, me)
            back: list[Requeued] = jobs.take_over(tx)
            lab.set_devices(tx, rows)
            lab.set_nodes(tx, self._nodes)
            self.state.holding = lab.holding(tx)
            # Rather come back than stand still: the pipes are read by this very thread.
            tx.run(f"PRAGMA busy_timeout = {BUSY_MS}")
        self._tell("")
        return back

    def _finished(self) -> bool:
        if self._stop or self.state.draining:
            return not self.state.assignments or self._stop > 1
        busy = bool(self.state.runs or self.state.assignments or self.state.returned or self.state.remarks)
        if busy or self._write_retry.why:
            self._idle_since = self.clock()
            return False
        if self._is_due("idle", COMMANDS_S) and not self.state.holding and not self._nothing_left():
            self._idle_since = self.clock()
        idle = self.clock() - self._idle_since
        if self.options.until_empty:
            return idle > COMMANDS_S and self._nothing_left()
        return not self.options.daemon and idle > self.options.idle_s

    def _nothing_left(self) -> bool:
        counts = self.lab.counts()
        queued = counts.get("queued", 0)
        if queued and self.state.unallowed:  # nobody knows when that word comes
            queued -= sum(row.state == "queued" for row in self.lab.jobs(sorted(self.state.unallowed)))
        return not queued and not counts.get("running", 0) and not self.lab.pending_commands()

    def _nap(self) -> float:
        if self.state.completed and not self._write_retry.why:
            return 0.0
        return 0.05 if self.state.wake or self.state.assignments else 0.2

    # A round

    def _round(self, nap: float) -> None:
        ready = self.selector.select(nap)
        if ready and (pause := GATHER_S * len(self.state.slots)) > 0.001:
            time.sleep(pause)
            ready = self.selector.select(0)
        for key, _ in ready:
            inbox.read(self.state, key.data)
        self.workers.watch()
        if self._stop:
            for assignment in self.state.assignments:
                self.state.stop(assignment, "checkpoint", self.options.grace_s)
        if self._write_retry.resting:
            return
        try:
            self._healthy_turn()
        except (Busy, NoRoom, Moved) as error:
            self._write_retry.begin(error)
        except NotALab as error:  # so reads a file in which another one is written, too: that is said first
            try:
                self.writer.require_place()
            except Moved as moved:
                self._write_retry.begin(moved)
            else:
                raise error
        except (Fenced, PoolLost, NoWorker):
            raise
        except Exception as error:
            self._faults += 1
            log.exception("a turn failed (%d of %d)", self._faults, MAX_FAULTS)
            if self._faults >= MAX_FAULTS:
                raise LabError(f"the supervisor gives up after {MAX_FAULTS} failed turns: {error}") from error
            self._write_retry.rest(0.5)
        else:
            self._faults = 0
            self._write_retry.end()

    def _healthy_turn(self) -> None:
        from runners.pool import persist

        try:
            self._turn()
        except persist.FailingJob as failing:
            persist.fail(self.state, self.writer, failing)

    def _turn(self) -> None:
        from runners.pool import commands, persist, schedule

        state = self.state
        if self._is_due("devices", DEVICES_S):
            self._follow_devices()
        busy = False
        if state.returned or state.completed or self._is_due("progress", PROGRESS_S):
            live, until = self._is_due("curves", CURVES_S), self.clock() + FLUSH_S

            def enough() -> bool:
                if state.draining or self._stop:  # all is to be written before the end, and nobody waits
                    return False
                return self.clock() >= until or self.lab.pending_commands() > 0

            busy = persist.flush(state, self.writer, live=live, enough=enough)
        if state.returned or any(r.leaving for r in state.runs.values()):
            persist.settle(state, self.writer)
        if (self._is_due("commands", COMMANDS_S) or busy) and self.lab.pending_commands():
            commands.obey(state, self.workers, self.writer, self.lab.devices)
            if any(r.leaving for r in state.runs.values()):
                persist.settle(state, self.writer)
        if not self._leftovers() and not self._stop and (state.wake or self._is_due("dispatch", 1.0)):
            state.wake = False
            wanted = 0 if self._write_retry.why else schedule.dispatch(state, self.writer)
            if wanted > 0:
                self.workers.start(wanted, programs=self.lab.programs_alone())
        if state.lost:
            self._report_lost()
        if (
            self._is_due("heartbeat", HEARTBEAT_S) or self._write_retry.why
        ):  # a turn that wrote nothing proves nothing
            from store.write import lab

            with self.writer.transaction(durable=False) as tx:
                lab.heartbeat(tx, self._state(), state.obstacle or state.waiting)
        if self._is_due("notify", NOTIFY_S):
            assert self._notifier is not None
            self._notifier.look()
        if self._is_due("chores", CHORES_S):
            from store.write import lab

            self.workers.trim_logs()
            self._expire_checkpoints()
            self.wal.look()
            with self.writer.transaction(durable=False) as tx:
                lab.prune_events(tx, lab.KEEP_EVENTS)
            for kind, idle_s in REST_S.items():
                if not state.holding or kind == "cuda":
                    self.workers.stop_idle(kind, idle_s)
            if any(s.worker is not None and s.worker.ready is not None for s in state.slots):
                state.waiting = ""

    def _expire_checkpoints(self) -> None:
        """Once an hour, where the person has said how long checkpoints are kept."""
        days = self.options.keep_checkpoints_days
        if days is None or not self._is_due("expiry", EXPIRY_S):
            return
        gone = checkpoints.expire(self.paths, self.lab.resumable(), time.time() - days * 86_400.0)
        if gone:
            log.info("checkpoints that were kept for %g days are deleted: %s", days, ", ".join(gone))

    def _is_due(self, what: str, every_s: float) -> bool:
        now = self.clock()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    def _state(self) -> str:
        if self.state.draining or self._stop:
            return "draining"
        if self.state.holding:
            return "holding"
        return "waiting" if self.state.obstacle or self.state.waiting else "running"

    def _leftovers(self) -> bool:
        """The workers of the supervisor before still live:
        they are writing checkpoints, or hang and are killed in the end.
        """
        workers = self.workers
        if not workers.leftovers:
            if self._leftover_until:
                self._leftover_until = 0.0
                checkpoints.recover(self.paths)
            return False
        workers.leftovers = [p for p in workers.leftovers if p.alive()]
        if workers.leftovers and self.clock() > self._leftover_until:
            for process in workers.leftovers:
                log.warning("worker %d of the supervisor before hangs and is killed", process.pid)
                process.kill()
        self.state.wake = True
        return True

    def _follow_devices(self) -> None:
        """Nodes of a cluster come and go: their devices are used from now on, or not any more."""
        from store.write import lab

        for one in self.pool.news():
            self.state.remark("device", one.text, one.level)
        there = self.pool.devices()
        if there != self.workers.devices:
            rows = self.workers.create_slots(there, {row.id: row for row in self.lab.devices()})
            self._rows = rows
            self.state.wake = True
        nodes = self.pool.nodes() if self._is_due("nodes", NODES_S) else self._nodes
        if self._rows is None and nodes == self._nodes:
            return
        with self.writer.transaction(durable=False) as tx:
            if self._rows is not None:
                lab.set_devices(tx, self._rows)
            lab.set_nodes(tx, nodes)
        self._rows, self._nodes = None, nodes

    def _report_lost(self) -> None:
        from store.write import lab

        gone = {device.id for device in self.state.lost}
        rows = [replace(row, state="lost") if row.id in gone else row for row in self.lab.devices()]
        with self.writer.transaction() as tx:
            lab.set_devices(tx, rows)
        self.state.lost.clear()

    def _tell(self, text: str) -> None:
        """A word for everybody, in the lock file."""
        if text == self._told and self._told:
            return
        self._told = text
        self.lock.tell(text, started=self._started, version=version())

    # End

    def _abandon(self, error: Moved) -> None:
        """The file is not at its place: what it holds is copied beside it,
        no checkpoint goes where no folder is.
        """
        try:
            text = f"{error}; all that it held is in {self.writer.rescue()}"
        except LabError as refused:
            text = f"{error}; {refused}"
        log.error("%s", text)
        self._tell(text)
        if not self.paths.checkpoints.is_dir():
            for assignment in self.state.assignments:
                self.state.stop(assignment, "discard")

    def _close(self, code: int) -> None:
        """Workers checkpoint and end; jobs that were running are queued again; the lock goes last."""
        until = self.clock() + (0.0 if self.pool.lost else self.options.grace_s + 5.0)
        if code == 0:
            self._last_turns(until)
        for slot in self.state.slots:
            if slot.worker is not None and not slot.worker.quitting:
                slot.worker.quit()
        while (
            any(s.worker is not None and s.worker.exit_code() is None for s in self.state.slots)
            and self.clock() < until
        ):
            self._pump(0.05)
        for slot in self.state.slots:
            if slot.worker is not None:
                slot.worker.kill()
                slot.worker.close()
                slot.worker = None
        self.pool.close()
        with contextlib.suppress(OSError):
            self.roster.write([])
        if self._notifier is not None:
            self._notifier.close()
        self._close_file()
        log.info("ended with code %d", code)
        self.lock.release()

    def _close_file(self) -> None:
        """The lab is one file again, and its room is given back: also where somebody still looks on.

        Whoever closes last folds the WAL in and deletes it, and a reader cannot. Where another file lies at
        the lab's place the WAL there may be another's too: then the reader closes last, and all stays as it
        is.
        """
        whole = False
        with contextlib.suppress(Exception):
            self.writer.checkpoint(truncate=True)
            whole = True
        for name in ("lab", "writer") if whole else ("writer", "lab"):
            with contextlib.suppress(Exception):
                getattr(self, name).close()

    def _pump(self, nap: float) -> None:
        for key, _ in self.selector.select(nap):
            worker = key.data.worker
            if worker is not None:
                with contextlib.suppress(ValueError):
                    for _ in worker.receive():
                        pass
                if worker.closed:
                    self.selector.unregister(key.fileobj)

    def _last_turns(self, until: float) -> None:
        from runners.pool import persist
        from store.write import jobs, lab

        while self.clock() < until:
            try:
                if not self.state.assignments:
                    persist.flush(self.state, self.writer, live=True)
                    persist.settle(self.state, self.writer)
                    with self.writer.transaction() as tx:
                        for run in self.state.runs.values():
                            jobs.requeue(tx, run.id, "stopped", "the supervisor ended", counts=False)
                        lab.heartbeat(tx, "stopped", "")
                    self.state.runs.clear()
                    return
            except (Busy, NoRoom):
                time.sleep(0.2)
                continue
            except Moved as error:
                self._abandon(error)
                return
            except persist.FailingJob as failing:
                persist.fail(self.state, self.writer, failing)
                continue
            except Exception:
                log.exception("the last turn failed; the next supervisor takes over")
                return
            with contextlib.suppress(NoWorker):
                self._drain_pipes()
        log.warning(
            "ended although not all could be written; the next supervisor trains the last stretch again"
        )

    def _drain_pipes(self) -> None:
        for key, _ in self.selector.select(0.05):
            inbox.read(self.state, key.data)
        for assignment in self.state.assignments:
            self.state.stop(assignment, "checkpoint", self.options.grace_s)
        self.workers.watch()
