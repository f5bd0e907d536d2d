"""Slots and their workers: made from devices, staffed when there is work, watched, taken out."""

from __future__ import annotations

import selectors
from collections.abc import Iterable

from runners.pool import inbox
from runners.pool.devices import CPU_WORKER, CUDA_WORKER, Device, most_slots
from runners.pool.identity import ProcessId, Roster
from runners.pool.local import trim
from runners.pool.options import PROGRAMS
from runners.pool.protocol import Pool
from runners.pool.state import Slot, SupervisorState, log
from store.files import UnusableError
from store.rows import DeviceRow, DeviceState

START_FAILURES = 5
"""Workers of one slot that died before they were ready, in a row, until it is given up."""
DEVICE_FAILURES = 3
BASE = {"cpu": CPU_WORKER, "cuda": CUDA_WORKER}
"""Host memory of a worker before its data, by the kind of its device."""


class NoWorker(Exception):  # noqa: N818 - says what happened
    """No slot can keep a worker alive; ``str(e)`` says why."""


class Workers:
    """All workers of a state."""

    def __init__(
        self, state: SupervisorState, pool: Pool, selector: selectors.BaseSelector, roster: Roster
    ) -> None:
        self.state = state
        self.pool = pool
        self.selector = selector
        self.roster = roster
        self.devices: list[Device] = []
        self._failed: set[str] = set()
        """Ids of devices that are there and were taken out because they failed."""
        self.leftovers: list[ProcessId] = []
        """Workers of the supervisor before, not yet seen dead."""
        self._roster_is_old = False

    def create_slots(self, devices: Iterable[Device], rows: dict[str, DeviceRow]) -> list[DeviceRow]:
        """Make the slots; what the lab says about a device (slots, excluded, reserved) counts.

        Those of devices that have gone since the last time go too: what they trained begins elsewhere.

        Returns:
            The rows of the devices as they are now.
        """
        out = []
        before, self.devices = self.devices, list(devices)
        there = {device.id for device in self.devices}
        self._failed &= there
        for device in before:
            if device.id not in there:
                self.drain(device)
        for device in self.devices:
            row = rows.get(device.id)
            default = self.pool.slots(device)
            asked = self.state.options.slots if device.kind == "cpu" else None
            count = asked or (row.slots if row is not None and row.slots else default)
            kept: DeviceState = row.state if row is not None and row.state != "lost" else "active"
            if device.id in self._failed:
                kept = "lost"
            self.resize(device, count if kept == "active" else 0)
            out.append(DeviceRow(device.id, device.name, count, kept, row.note if row is not None else ""))
        return out

    def resize(self, device: Device, count: int) -> None:
        """Give a device so many slots, as far as it takes them; those too many take nothing new and go when
        they are free."""
        mine = [s for s in self.state.slots if s.device.id == device.id]
        count = min(count, most_slots(device) or count)
        threads = self.state.options.threads_of_a_worker()
        for index, slot in enumerate(mine):
            slot.retired = index >= count
        for index in range(len(mine), count):
            self.state.slots.append(Slot(f"{device.id}.{index}", device, threads))
        self.state.wake = True

    def start(self, most: int, *, programs: bool = False) -> None:
        """Start up to so many workers, where they fit into the memory and no backoff runs.

        Args:
            programs: all that is to do runs programs: they import no trainer, and torch with it, until a
                search comes that wants it.
        """
        now = self.state.clock()
        trainer = PROGRAMS if programs else self.state.options.trainer
        if most <= 0:
            return
        running = [(s.kind, s.worker) for s in self.state.slots if s.worker is not None]
        largest = dict(BASE)
        for kind, worker in running:
            largest[kind] = max(largest[kind], worker.rss)
        starting = sum(worker.ready is None for _, worker in running)
        try:
            for slot in self.state.slots:
                if most <= 0:
                    return
                if slot.worker is not None or slot.retired or slot.not_before > now:
                    continue
                if not self.pool.prepare(slot.device, trainer):
                    self.state.wake = True
                    continue
                need = largest[slot.kind] + starting * BASE[slot.kind]
                if (reason := self._shortage(slot, need)) != "":
                    slot.not_before = now + 5.0
                    self.state.waiting = reason
                    log.warning("%s: %s; trying again", slot.name, reason)
                    continue
                starting += self._start(slot, trainer)
                most -= 1
        finally:
            self._write_roster()

    def _shortage(self, slot: Slot, need: int) -> str:
        try:
            return self.pool.shortage(slot.device, need, self.state.options.memory_reserve)
        except LookupError as error:
            self.lose(slot.device, str(error))
            return str(error)

    def _start(self, slot: Slot, trainer: str) -> bool:
        log_file = self.state.paths.worker_log(slot.name)
        try:
            worker = self.pool.start(
                slot.name, slot.device, trainer, slot.threads, log_file, self.state.clock
            )
        except UnusableError as error:
            raise NoWorker(f"no worker can be started: {log_file} {error.strerror}") from None
        except OSError as error:
            slot.not_before = self.state.clock() + 2.0
            self.state.waiting = f"no worker can be started: {error.strerror}"
            log.warning("%s: %s", slot.name, self.state.waiting)
            return False
        slot.worker, slot.ending = worker, None
        self.selector.register(worker.up, selectors.EVENT_READ, slot)
        self._roster_is_old = True
        log.info("%s: worker %d started, %d threads", slot.name, worker.pid, slot.threads)
        return True

    def _write_roster(self) -> None:
        """Write the roster where it is old; a disk without room must not stop the work."""
        if not self._roster_is_old:
            return
        self._roster_is_old = False
        self.leftovers = [p for p in self.leftovers if p.alive()]
        mine = [s.worker.id for s in self.state.slots if s.worker is not None]
        try:
            self.roster.write([*self.leftovers, *mine])
        except OSError as error:
            log.warning("the roster of workers could not be written: %s", error)

    def watch(self) -> None:
        """Look after leases, ends of processes, overdue stops and idle workers."""
        now, options = self.state.clock(), self.state.options
        for slot in list(self.state.slots):
            worker, assignment = slot.worker, slot.assignment
            if worker is None:
                continue
            worker.flush()
            if slot.ending is None and not worker.closed:
                if now - worker.heard > options.lease_s:
                    self._kill(slot, "stale", f"no heartbeat for {now - worker.heard:.0f} s")
                elif assignment is not None and worker.silent_s > options.stall_s:
                    self._kill(slot, "stale", f"the trainer has not looked up for {worker.silent_s:.0f} s")
                elif assignment is not None and assignment.stopping and now > assignment.stop_by:
                    self._kill(
                        slot,
                        "stopped",
                        f"it has not stopped {now - assignment.stop_by:.1f} s after it had to",
                    )
            if worker.closed or worker.exit_code() is not None:
                if not worker.closed:
                    inbox.read(self.state, slot)  # its last words
                self._reap(slot)
            elif slot.retired and assignment is None and not worker.quitting:
                worker.quit()
        for slot in [s for s in self.state.slots if s.retired and s.worker is None]:
            self.pool.free(slot.name)
        self.state.slots[:] = [s for s in self.state.slots if not (s.retired and s.worker is None)]
        self._write_roster()

    def _kill(self, slot: Slot, reason: str, text: str) -> None:
        assert slot.worker is not None
        log.warning("%s: worker %d is killed: %s", slot.name, slot.worker.pid, text)
        slot.ending = (reason, text)
        slot.worker.kill()

    def _reap(self, slot: Slot) -> None:
        worker, assignment = slot.worker, slot.assignment
        assert worker is not None
        self.selector.unregister(worker.up)
        if worker.exit_code() is None:
            worker.kill()
        worker.close()
        code = worker.exit_code() or 0
        slot.worker, slot.assignment = None, None
        ending, slot.ending = slot.ending, None
        self.state.wake = self._roster_is_old = True
        if worker.quitting and assignment is None:
            log.info("%s: worker %d ended", slot.name, worker.pid)
            return
        how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
        reason, text = ending or ("lost", f"the worker {how}\n{worker.tail()}")
        level = "info" if reason == "stopped" else "warning"
        job = next((p.run.id for p in assignment.probes.values()), None) if assignment is not None else None
        self.state.remark("worker", f"{slot.name}: worker {worker.pid} {how} ({reason})", level, job_id=job)  # type: ignore[arg-type]
        if assignment is not None:
            inbox.give_back(self.state, assignment, reason, text, died=True)
        if reason == "stopped":
            return
        slot.failures += 1
        slot.not_before = self.state.clock() + min(
            30.0, self.state.options.backoff_s / 8 * 2 ** min(slot.failures - 1, 10)
        )
        if reason == "device" and slot.failures >= DEVICE_FAILURES:
            self.lose(slot.device, text)
        elif worker.ready is None:
            self.state.waiting = (
                f"workers do not start: {(worker.tail(400).strip().splitlines() or [how])[-1]}"
            )
            if all(
                s.failures >= START_FAILURES and (s.worker is None or s.worker.ready is None)
                for s in self.state.slots
            ):
                raise NoWorker(self.state.waiting)

    def lose(self, device: Device, text: str) -> None:
        """A device has gone: its slots take nothing any more, its jobs move."""
        if any(s.device.id == device.id and not s.retired for s in self.state.slots):
            self.state.remark(
                "device", f"{device.id} is lost and taken out: {text.splitlines()[0][:300]}", "error"
            )
            self.state.lost.append(device)
            self._failed.add(device.id)
            self.drain(device)

    def drain(self, device: Device) -> None:
        """Stop everything on a device and give it no slots."""
        self.resize(device, 0)
        for assignment in self.state.assignments:
            if assignment.slot.device.id == device.id:
                self.state.stop(assignment, "checkpoint")

    def stop_idle(self, kind: str, idle_s: float) -> None:
        """Send home the workers on a kind of device that have had nothing to do for so long."""
        now = self.state.clock()
        for slot in self.state.slots:
            worker = slot.worker
            if (
                worker is None
                or slot.kind != kind
                or slot.assignment is not None
                or worker.ready is None
                or worker.quitting
            ):
                continue
            if now - slot.idle_since > idle_s:
                worker.quit()

    def trim_logs(self) -> None:
        """Keep the logs of running workers within their size."""
        for file in self.state.paths.worker_logs():
            trim(file, int(self.state.options.keep_logs_mb * 2**20))
