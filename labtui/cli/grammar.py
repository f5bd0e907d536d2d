"""The commands themselves: names, arguments, help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labtui.cli.parser import Grammar

Arg = tuple[Any, ...]
JOB: Arg = ("job", {"metavar": "JOB"})
JOBS: Arg = ("jobs", {"metavar": "JOB", "nargs": "*"})
STUDY: Arg = ("--study", {"metavar": "ID|NAME", "help": "only this study"})
SPEC: Arg = ("spec", {"metavar": "FILE|PRESET", "help": "a TOML file, or quick, demo, paper"})
FILTER: Arg = ("filter", {"metavar": "FILTER", "nargs": "*", "help": "words like state:running model:lstm L>=10"})
LIMIT: Arg = ("--limit", {"type": int, "metavar": "N", "help": "at most so many rows"})
WHOLE_STUDY: Arg = ("--study", {"metavar": "ID|NAME", "help": "all jobs of this study"})
WAIT: Arg = ("--no-wait", {"action": "store_true", "help": "do not wait for the supervisor's answer"})
SIZE: tuple[Arg, ...] = (
    ("--width", {"type": int, "default": 96, "metavar": "CELLS"}),
    ("--height", {"type": int, "default": 26, "metavar": "ROWS"}),
)
DEVICES: tuple[Arg, ...] = (
    ("--devices", {"metavar": "LIST", "help": "cpu, cuda:0,cuda:1 (default: every CUDA device, else the CPU)"}),
    ("--slots", {"type": int, "metavar": "N", "help": "workers on the CPU (default: one per core)"}),
)


def fill(g: Grammar) -> None:
    """Add every command."""
    _begin(g)
    _read(g)
    _results(g)
    _verbs(g)
    _keep(g)


def _begin(g: Grammar) -> None:
    g.add("demo", "demo:demo", "train the preset quick for real and show kappa", *DEVICES)
    g.add(
        "submit",
        "submit:submit",
        "queue a study or a job",
        SPEC,
        ("--dry-run", {"action": "store_true", "help": "print what it would queue and cost; queue nothing"}),
        ("--start", {"action": "store_true", "help": "start the supervisor too"}),
        *DEVICES,
    )
    g.add("run", "running:run", "supervise in the foreground until the queue is empty", *DEVICES)
    daemon = g.group("daemon", "the supervisor: start, stop, status, or run in the foreground and stay")
    g.within(daemon, "start", "running:daemon_start", "start it, detached from this terminal", *DEVICES)
    g.within(daemon, "stop", "running:daemon_stop", "stop it; running work is checkpointed")
    g.within(daemon, "status", "running:daemon_status", "whether one runs, and how it is")
    g.within(daemon, "run", "running:daemon_run", "run it in the foreground and stay when idle (systemd)", *DEVICES)
    g.add(
        "scan",
        "scan:scan",
        "measure the whole success curve of a job on a ladder of N",
        ("what", {"metavar": "JOB|FILE", "help": "a job of the lab, or a job's TOML file"}),
        ("--ladder", {"metavar": "N,N,...", "help": "every N (default: around the job's bracket, or over 1..N_max)"}),
        ("--points", {"type": int, "default": 12, "metavar": "K", "help": "rungs of the default ladder"}),
        ("--seeds", {"type": int, "metavar": "K", "help": "fresh seeds at each N (default: as many as the grid has)"}),
        ("--start", {"action": "store_true", "help": "start the supervisor too"}),
    )


def _read(g: Grammar) -> None:
    g.add("queue", "reading:queue", "the queue as text: what runs, what is next, when it is done", STUDY, LIMIT)
    g.add(
        "jobs",
        "reading:jobs",
        "all jobs, one line each",
        FILTER,
        STUDY,
        LIMIT,
        (
            "--order",
            {"default": "queue", "metavar": "FIELD", "help": "queue, id, state, n, L, finished, ...; -FIELD descends"},
        ),
        ("--archived", {"action": "store_true", "help": "the archive instead"}),
    )
    g.add("studies", "reading:studies", "all studies with their progress")
    g.add(
        "show",
        "show:show",
        "a job: bracket, candidates, trials, spec, provenance, events; or any screen as text, by its name",
        ("wanted", {"metavar": "JOB|SCREEN", "nargs": "+"}),
        STUDY,
        *SIZE,
    )
    g.add(
        "trials",
        "reading:trials",
        "trials, of a job or of all",
        ("job", {"metavar": "JOB", "nargs": "?"}),
        FILTER,
        STUDY,
        LIMIT,
        (
            "--order",
            {"default": "id", "metavar": "FIELD", "help": "id, n, lr, seed, outcome, best_loss, ...; -FIELD descends"},
        ),
        ("--curves", {"action": "store_true", "help": "with --json: each trial's losses"}),
    )
    g.add(
        "events",
        "reading:events",
        "what happened",
        ("job", {"metavar": "JOB", "nargs": "?"}),
        ("--after", {"type": int, "default": 0, "metavar": "ID", "help": "only events after this id"}),
        ("--limit", {"type": int, "default": 50, "metavar": "N"}),
        ("-f", "--follow", {"action": "store_true", "help": "go on until interrupted"}),
    )
    g.add(
        "watch",
        "running:watch",
        "follow a job, or the whole queue, to its end",
        ("job", {"metavar": "JOB", "nargs": "?"}),
        STUDY,
    )
    g.add(
        "logs",
        "logs:logs",
        "what the workers of a job, or the supervisor, wrote",
        ("job", {"metavar": "JOB", "nargs": "?", "help": "without: the supervisor's log"}),
        ("-f", "--follow", {"action": "store_true", "help": "go on until interrupted"}),
        ("-n", "--lines", {"type": int, "default": 40, "metavar": "N"}),
    )


def _results(g: Grammar) -> None:
    g.add(
        "kappa",
        "results:kappa",
        "the kappa table, with intervals and bounds",
        STUDY,
        ("--rows", {"metavar": "AXES", "help": "axes of the rows: task m model format L distribution min_length, by commas"}),
        ("--columns", {"metavar": "AXES", "help": "axes of the columns"}),
        ("--details", {"action": "store_true", "help": "every N*_n below each table"}),
    )
    plot = g.group("plot", "plots as text")
    g.within(
        plot,
        "scaling",
        "results:scaling",
        "N* against L, m or a single length n on log axes, with fits",
        STUDY,
        ("--x", {"choices": ("L", "m", "n"), "default": None, "help": "the axis (default: the one that varies)"}),
        *SIZE,
    )
    g.within(plot, "bracket", "results:bracket", "how a job's bracket closed", JOB, *SIZE)
    g.within(
        plot, "kappa", "results:terms", "N*_n of every length of a cell", ("cell", {"type": int, "metavar": "CELL"}), *SIZE
    )
    g.add("fits", "results:fits", "scaling exponents N* ~ c L^a m^b, with intervals", STUDY)
    g.add("generalisation", "results:generalisation", "accuracy at 2L beside kappa, and their rank correlation", STUDY)
    g.add(
        "compare",
        "compare:compare",
        "measured beside published (paper), two jobs, or another lab",
        ("what", {"metavar": "paper|JOB|LAB"}),
        ("other", {"metavar": "JOB", "nargs": "?"}),
    )
    g.add(
        "rerun",
        "rerun:rerun",
        "run a job again from what is stored, in a lab of its own",
        JOB,
        ("--check", {"action": "store_true", "help": "compare with the stored result; exit 1 where they differ"}),
        ("--out", {"metavar": "FILE", "help": "keep the new lab there (default: a temporary one)"}),
        *DEVICES,
    )
    g.add(
        "export",
        "export:export",
        "tables for other programs; CSV that is safe to open in a spreadsheet",
        ("table", {"choices": ("jobs", "probes", "trials", "curves", "cells", "kappa", "events")}),
        ("--out", {"metavar": "FILE", "help": "instead of stdout"}),
        STUDY,
    )


def _verbs(g: Grammar) -> None:
    for verb, text in (
        ("pause", "checkpoint jobs and free their device"),
        ("resume", "let paused jobs go on"),
        ("cancel", "end jobs; finished candidates stay"),
        ("retry", "queue failed or cancelled jobs again"),
        ("archive", "hide jobs from the queue"),
        ("unarchive", "bring archived jobs back"),
        ("delete", "delete jobs (restore brings them back)"),
        ("restore", "bring deleted jobs back"),
    ):
        g.add(verb, "verbs:verb", text, JOBS, WHOLE_STUDY, WAIT, verb=verb)
    g.add("undo", "verbs:verb", "take a cancel back while it can be", JOBS, WAIT, verb="undo_cancel", study=None)
    g.add("priority", "verbs:priority", "higher runs first", ("value", {"type": int}), JOBS, WHOLE_STUDY, WAIT)
    g.add(
        "move",
        "verbs:move",
        "reorder the queue",
        JOBS,
        ("--before", {"metavar": "JOB", "help": "the job they come before (default: to the end)"}),
        WAIT,
        study=None,
    )
    g.add("note", "verbs:note", "write a note on a job", JOB, ("text", {"metavar": "TEXT"}), WAIT)
    g.add(
        "tag", "verbs:tag", "set the tags of a job (none: remove them)", JOB, ("tags", {"metavar": "TAG", "nargs": "*"}), WAIT
    )
    g.add("rename", "verbs:rename", "give a job another name", JOB, ("name", {"metavar": "NAME"}), WAIT)
    g.add("edit", "verbs:edit", "change a queued job", JOB, ("patch", {"metavar": "JSON", "help": "a merge patch"}), WAIT)
    for verb, text in (
        ("hold", "start nothing new"),
        ("release", "end a hold"),
        ("drain", "finish the running candidates, then end the supervisor"),
    ):
        g.add(verb, "verbs:lab_verb", text, WAIT, verb=verb)
    g.add(
        "device",
        "verbs:device",
        "use a device or leave it alone; without arguments: the devices",
        ("id", {"metavar": "cpu|cuda:0", "nargs": "?"}),
        ("--state", {"choices": ("active", "excluded", "reserved")}),
        ("--slots", {"type": int, "metavar": "N"}),
        WAIT,
    )


def _keep(g: Grammar) -> None:
    g.add("snapshot", "files:snapshot", "one good file of a lab, even while it is live", ("out", {"metavar": "OUT"}))
    db = g.group("db", "the lab file: check, vacuum, backup, upgrade")
    g.within(db, "check", "files:check", "integrity, foreign keys, and that every bracket agrees with its candidates")
    g.within(db, "vacuum", "files:vacuum", "give unused space back")
    g.within(db, "backup", "files:backup", "a verified copy beside the lab")
    g.within(db, "upgrade", "files:upgrade", "bring an older lab to this schema, after a verified backup")
    g.add("doctor", "doctor:doctor", "versions, devices, disk, and what may go wrong here")
