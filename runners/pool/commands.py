"""Commands of the app and the CLI: the store changes the rows, this tells the workers."""

from __future__ import annotations

from collections.abc import Callable

from runners.pool.devices import Device
from runners.pool.state import SupervisorState, log
from runners.pool.workers import Workers
from store.rows import DeviceRow
from store.write import Action, Writer, jobs
from store.write import commands as command_rows


def obey(
    state: SupervisorState, workers: Workers, writer: Writer, devices: Callable[[], list[DeviceRow]]
) -> list[str]:
    """Carry out every command that waits, each in a transaction of its own.

    Args:
        devices: reads the lab's device rows.

    Returns:
        The kinds of the actions that were taken, for the loop.
    """
    kinds: list[str] = []
    with writer.transaction() as tx:
        commands = command_rows.pending(tx)
    for command in commands:
        with writer.transaction() as tx:
            applied = command_rows.apply(tx, command, live=True)
            # A job that is stopped while none of its probes is out has nothing to wait for.
            resting = [a for a in applied.actions if a.kind == "stop" and a.job_id not in state.runs]
            for action in resting:
                if action.job_id is not None and action.then is not None:
                    jobs.stopped(tx, action.job_id)
        log.info("%s: %s", command.kind, applied.text or "done")
        for action in applied.actions:
            kinds.append(action.kind)
            _act(state, action)
    if "device" in kinds:
        _devices(workers, {row.id: row for row in devices()})
    return kinds


def _act(state: SupervisorState, action: Action) -> None:
    state.wake = True
    if action.kind == "stop" and action.job_id in state.runs and action.then is not None:
        run = state.runs[action.job_id]
        run.leaving = action.then
        for probe in list(run.probes.values()):
            if probe.home is not None and probe.home.slot.assignment is probe.home:
                state.stop(probe.home, "checkpoint")
    elif action.kind == "hold":
        state.holding = True
    elif action.kind == "release":
        state.holding = False
    elif action.kind == "drain":
        state.draining = True


def _devices(workers: Workers, rows: dict[str, DeviceRow]) -> None:
    """Bring the slots in line with what the lab now says about its devices."""
    known: dict[str, Device] = {d.id: d for d in workers.devices}
    for device in known.values():
        row = rows.get(device.id)
        if row is None:
            continue
        if row.state == "active":
            workers.resize(device, max(1, row.slots))
        elif row.state == "reserved":
            workers.resize(device, 0)  # what runs there runs to its end
        else:
            workers.drain(device)
