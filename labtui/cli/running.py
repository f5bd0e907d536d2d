"""Commands that make work go on, or watch it: run, daemon, watch."""

from __future__ import annotations

import os

from labtui.cli import supervise, writing
from labtui.cli.context import Context
from labtui.cli.entry import FAILED, BadInput, WorkFailed
from labtui.cli.follow import Follower
from labtui.cli.reading import study_of
from runners.pool import client as supervisor


def run(context: Context) -> int:
    """Supervise here until the queue is empty; an interrupt checkpoints and ends."""
    writing.require_torch()
    _ = supervise.options(context)
    _refuse_second(context)
    lab = supervise.ready(context)
    if handing := supervisor.outdated(context.lab_path):
        context.say(handing)
    code = supervise_and_follow(context)
    if context.json:
        context.emit({"counts": lab.counts()})
    return code


def _refuse_second(context: Context) -> None:
    told = supervisor.status(context.lab_path)
    if told.running and not supervisor.outdated(context.lab_path):
        who = f"a supervisor (process {told.pid} on {told.host})"
        raise BadInput(
            f"{who} has {context.lab_path} already; follow it with labtui watch, "
            "or end it with labtui daemon stop"
        )


def supervise_and_follow(context: Context) -> int:
    """Run a supervisor here until its queue is empty; the exit code.

    Raises:
        WorkFailed: it ended before that.
    """
    child = supervise.Foreground(context, "--until-empty")
    try:
        return Follower(context, None, child.running, lost_s=1.0).run()
    except WorkFailed:
        raise WorkFailed(
            child.problem() or "the supervisor has ended and work is left; see labtui logs"
        ) from None
    finally:
        child.end()


def daemon_start(context: Context) -> None:
    """Detached from the terminal."""
    if not context.lab_path.exists():
        context.say(f"making a new lab: {context.lab_path}")
        writing.create_or_open(context.lab_path)
    supervise.ready(context)
    supervise.start(context)


def daemon_stop(context: Context) -> None:
    """Running work is checkpointed and goes on at the next start."""
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
    from labtui.views.queue import supervisor_line

    row = context.lab.supervisor()
    running = supervise.alive(context.lab_path)
    if context.json:
        context.emit({"alive": running, "supervisor": row, "holding": context.lab.holding()})
    elif running and row is None:
        context.line("the first supervisor of this lab is starting")
    else:
        context.line(supervisor_line(row, context.lab.holding()))
    return 0 if running else FAILED


def daemon_run(context: Context) -> None:
    """For systemd: this process becomes the supervisor, in the foreground, and stays when idle."""
    writing.require_torch()
    if not context.lab_path.exists():
        writing.create_or_open(context.lab_path)
    _refuse_second(context)
    supervise.ready(context)
    context.close()
    command = supervise.command(context, "--daemon")
    os.execve(command[0], command, supervisor.environment())


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
        from labtui.views.job import bracket_lines, summary_lines

        context.lines(summary_lines(rows[0]))
        context.lines(["", *bracket_lines(rows[0], lab.probes(rows[0].id))])
    return code
