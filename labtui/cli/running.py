"""Commands that make work go on, or watch it: run, daemon, watch."""

from __future__ import annotations

import contextlib
import signal
import subprocess

from labtui.cli import supervise, writing
from labtui.cli.context import Context
from labtui.cli.entry import FAILED, BadInput, WorkFailed
from labtui.cli.follow import Follower
from labtui.cli.reading import study_of

STOP_S = 60.0
"""How long a stopped supervisor may checkpoint before it is told about."""


def run(context: Context) -> int:
    """Supervise here until the queue is empty; an interrupt checkpoints and ends."""
    writing.require_torch()
    _ = supervise.options(context)
    _refuse_second(context)
    lab = context.lab
    if lab.read_only:
        raise BadInput(lab.notice or f"{context.lab_path} cannot be written here; expected a lab of one's own")
    child = supervise.foreground(context, "--until-empty")
    follower = Follower(context, None, lambda: child.poll() is None)
    try:
        code = follower.run()
    except WorkFailed:
        raise WorkFailed(f"the supervisor ended with code {child.poll()} and work is left; see labtui logs") from None
    finally:
        end_child(child)
    if context.json:
        context.emit({"counts": lab.counts()})
    return code


def _refuse_second(context: Context) -> None:
    if supervise.alive(context.lab_path):
        row = context.lab.supervisor()
        who = f" (pid {row.pid} on {row.host})" if row else ""
        raise BadInput(f"a supervisor{who} has {context.lab_path} already; follow it with labtui watch, or labtui daemon stop")


def end_child(child: subprocess.Popen[bytes]) -> None:
    """Let it checkpoint; it ends by itself, and an interrupt from the terminal has reached it too."""
    if child.poll() is not None:
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=2.0)
        return
    child.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=STOP_S)


def daemon_start(context: Context) -> None:
    """Detached from the terminal."""
    if not context.lab_path.exists():
        context.say(f"making a new lab: {context.lab_path}")
        writing.create_or_open(context.lab_path)
    _ = context.lab
    supervise.start(context)


def daemon_stop(context: Context) -> None:
    """Running work is checkpointed and goes on at the next start."""
    from labtui import supervisor

    _ = context.lab
    if not supervise.alive(context.lab_path):
        context.say("no supervisor runs")
        return
    stopped = supervisor.stop(context.lab_path)
    if not stopped.ok:
        raise WorkFailed(stopped.text)
    context.say(stopped.text)


def daemon_status(context: Context) -> int:
    """Exit 0 where one runs, else 1."""
    from labtui.plain.queue import supervisor_line

    row = context.lab.supervisor()
    running = row is not None and row.alive
    if context.json:
        context.emit({"alive": running, "supervisor": row, "holding": context.lab.holding()})
    else:
        context.line(supervisor_line(row, context.lab.holding()))
    return 0 if running else FAILED


def daemon_run(context: Context) -> int:
    """For systemd: in the foreground, stays when idle."""
    if not context.lab_path.exists():
        writing.create_or_open(context.lab_path)
    _refuse_second(context)
    child = supervise.foreground(context, "--daemon")
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGTERM)


def watch(context: Context) -> int:
    """Follow jobs to their end; exit 1 where one failed or was cancelled."""
    args, lab = context.args, context.lab
    study = study_of(context, args.study)
    if args.job is not None:
        ids = [context.job(args.job).id]
    elif study is not None:
        ids = list(lab.job_ids(study=study))
    else:
        ids = [job.id for job in lab.jobs() if job.state in ("queued", "running", "paused")]
    live = [job for job in lab.jobs(ids) if job.state in ("queued", "running")]
    if live and not supervise.alive(context.lab_path):
        raise WorkFailed("no supervisor runs, so nothing will move; start one: labtui daemon start")
    code = Follower(context, ids, lambda: supervise.alive(context.lab_path)).run()
    rows = lab.jobs(ids)
    if context.json:
        context.emit(rows)
    elif args.job is not None:
        from labtui.plain.job import bracket_lines, summary_lines

        context.lines(summary_lines(rows[0]))
        context.lines(["", *bracket_lines(rows[0], lab.probes(rows[0].id))])
    return code
