"""The commands themselves: names, arguments, help. ``writes``: with --read-only they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labtui.cli.parser import Arg, Grammar

JOB: Arg = ("job", {"metavar": "JOB", "help": "an id, or the beginning of a hash"})
JOBS: Arg = ("jobs", {"metavar": "JOB", "nargs": "*", "help": "ids, ranges (3-9) or beginnings of hashes"})
ONE_OR_ALL: Arg = ("job", {"metavar": "JOB", "nargs": "?", "help": "only this one"})
STUDY: Arg = ("--study", {"metavar": "ID|NAME", "help": "only this study"})
SPEC: Arg = ("spec", {"metavar": "FILE|PRESET", "help": "a TOML file, or quick, demo, paper"})
FILTER: Arg = (
    "filter",
    {"metavar": "FILTER", "nargs": "*", "help": "words like state:running model:lstm L>=10"},
)
LIMIT: Arg = ("--limit", {"type": int, "metavar": "N", "help": "at most so many rows"})
FOLLOW: Arg = ("-f", "--follow", {"action": "store_true", "help": "go on until interrupted"})
START: Arg = ("--start", {"action": "store_true", "help": "start the supervisor too"})
WHOLE_STUDY: Arg = ("--study", {"metavar": "ID|NAME", "help": "all jobs of this study"})
WAIT: Arg = ("--no-wait", {"action": "store_true", "help": "do not wait for the supervisor's answer"})
SIZE: tuple[Arg, ...] = (
    ("--width", {"type": int, "default": 96, "metavar": "CELLS", "help": "of the drawing"}),
    ("--height", {"type": int, "default": 26, "metavar": "ROWS", "help": "of the drawing"}),
)
DEVICES: tuple[Arg, ...] = (
    ("--devices", {"metavar": "LIST", "help": "cpu or cuda:0,cuda:1 (else every CUDA device, or the CPU)"}),
    ("--slots", {"type": int, "metavar": "N", "help": "workers on the CPU (else one for each core)"}),
)


def fill(g: Grammar) -> None:
    """Add every command."""
    _begin(g)
    _look(g)
    _answers(g)
    _steer(g)
    _keep(g)


def _begin(g: Grammar) -> None:
    g.heading("begin")
    g.add("demo", "demo:demo", "train the preset quick for real and show kappa", *DEVICES, writes=True)
    dry = ("--dry-run", {"action": "store_true", "help": "print what it would queue and cost; queue nothing"})
    g.add(
        "submit", "submit:submit", "queue a study or a job", SPEC, dry, START, *DEVICES,
        example="study.toml --start"
    )  # fmt: skip
    g.add("run", "running:run", "supervise in the foreground until the queue is empty", *DEVICES, writes=True)
    daemon = g.group("daemon", "the supervisor: start, stop, status, run")
    for name, text, arguments, writes in (
        ("start", "start it, detached from this terminal", DEVICES, True),
        ("stop", "stop it; running work is checkpointed", (), True),
        ("status", "whether one runs, and how it is", (), False),
        ("run", "run it in the foreground and stay when idle (systemd)", DEVICES, True),
    ):
        g.within(
            daemon, name, f"running:daemon_{name}", text, *arguments, example=f"daemon {name}", writes=writes
        )
    g.add(
        "scan",
        "scan:scan",
        "measure the whole success curve of a job on a ladder of N",
        ("what", {"metavar": "JOB|FILE", "help": "a job of the lab, or a job's TOML file"}),
        ("--ladder", {"metavar": "N,N,...", "help": "every N (else around the bracket, or over 1..N_max)"}),
        ("--points", {"type": int, "default": 12, "metavar": "K", "help": "rungs of the default ladder"}),
        (
            "--seeds",
            {"type": int, "metavar": "K", "help": "fresh seeds at each N (else as many as the grid has)"},
        ),
        START,
        example="7 --ladder 100,200,400 --seeds 10",
    )


def _look(g: Grammar) -> None:
    g.heading("look")
    g.add("queue", "reading:queue", "what runs, what is next, when it is done", STUDY, LIMIT)
    g.add(
        "jobs",
        "reading:jobs",
        "all jobs, one line each",
        FILTER,
        STUDY,
        LIMIT,
        (
            "--order",
            {"default": "queue", "metavar": "FIELD", "help": "queue, id, state, n, L, ...; -FIELD descends"},
        ),
        ("--archived", {"action": "store_true", "help": "the archive instead"}),
        example="state:done model:lstm --order -n",
    )
    g.add("studies", "reading:studies", "all studies with their progress")
    g.add(
        "show",
        "show:show",
        "all that is known of a job, or any screen by its name",
        (
            "wanted",
            {
                "metavar": "JOB|SCREEN",
                "nargs": "+",
                "help": "a job, or queue, kappa, scaling, ... with what it takes",
            },
        ),
        STUDY,
        *SIZE,
        example="7",
    )
    g.add(
        "trials",
        "reading:trials",
        "trials, of a job or of all",
        ONE_OR_ALL,
        FILTER,
        STUDY,
        LIMIT,
        (
            "--order",
            {"default": "id", "metavar": "FIELD", "help": "id, n, lr, seed, outcome, ...; -FIELD descends"},
        ),
        ("--curves", {"action": "store_true", "help": "with --json: each trial's losses"}),
        example="7 outcome:success --order best_loss",
    )
    g.add(
        "events",
        "reading:events",
        "what happened",
        ONE_OR_ALL,
        ("--after", {"type": int, "default": 0, "metavar": "ID", "help": "only events after this id"}),
        (
            "--limit",
            {"type": int, "default": 50, "metavar": "N", "help": "at most so many, the newest (else 50)"},
        ),
        FOLLOW,
        example="--follow",
    )
    g.add(
        "watch",
        "running:watch",
        "follow a job, or the whole queue, to its end",
        ONE_OR_ALL,
        STUDY,
        example="7",
    )
    g.add(
        "logs",
        "logs:logs",
        "what the supervisor, or the workers of a job, wrote",
        ("job", {"metavar": "JOB", "nargs": "?", "help": "its workers (else the supervisor)"}),
        FOLLOW,
        ("-n", "--lines", {"type": int, "default": 40, "metavar": "N", "help": "the last so many (else 40)"}),
        example="7 --follow",
    )
    g.add("doctor", "doctor:doctor", "versions, devices, disk, and what may go wrong here")


def _answers(g: Grammar) -> None:
    g.heading("answers")
    g.add(
        "kappa",
        "results:kappa",
        "the kappa table, with intervals and bounds",
        STUDY,
        (
            "--rows",
            {"metavar": "AXES", "help": "of task m model format L distribution min_length, by commas"},
        ),
        ("--columns", {"metavar": "AXES", "help": "the same for the columns"}),
        ("--details", {"action": "store_true", "help": "every N*_n below each table"}),
        example="--rows model,m --columns format",
    )
    plot = g.group("plot", "plots as text: scaling, bracket, kappa")
    axis = (
        "--x",
        {"choices": ("L", "m", "n"), "default": None, "help": "the axis (else the one that varies)"},
    )
    g.within(
        plot,
        "scaling",
        "results:scaling",
        "N* against L, m or one length n on log axes, with fits",
        STUDY,
        axis,
        *SIZE,
        example="plot scaling --x L",
    )
    g.within(
        plot, "bracket", "results:bracket", "how a job's bracket closed", JOB, *SIZE, example="plot bracket 7"
    )
    cell = ("cell", {"type": int, "metavar": "CELL", "help": "its number, as labtui kappa --json tells it"})
    g.within(
        plot, "kappa", "results:terms", "N*_n of every length of a cell", cell, *SIZE, example="plot kappa 1"
    )
    g.add("fits", "results:fits", "scaling exponents N* ~ c L^a m^b, with intervals", STUDY)
    g.add(
        "generalisation",
        "results:generalisation",
        "accuracy at 2L beside kappa, and their rank correlation",
        STUDY,
    )
    g.add(
        "compare",
        "compare:compare",
        "measured beside published (paper), two jobs, or another lab",
        ("what", {"metavar": "paper|JOB|LAB", "help": "the paper, a job, or a lab's file"}),
        ("other", {"metavar": "JOB", "nargs": "?", "help": "beside a job: the other one"}),
        example="paper",
    )
    g.add(
        "rerun",
        "rerun:rerun",
        "run a job again from what is stored, in a lab of its own",
        JOB,
        (
            "--check",
            {"action": "store_true", "help": "compare with the stored result; exit 1 where they differ"},
        ),
        ("--out", {"metavar": "FILE", "help": "keep the new lab there (else a temporary one)"}),
        *DEVICES,
        example="7 --check",
    )
    tables = ("jobs", "probes", "trials", "curves", "cells", "kappa", "events")
    g.add(
        "export",
        "export:export",
        "tables as CSV that is safe in a spreadsheet, or as JSON",
        ("table", {"choices": tables, "metavar": "TABLE", "help": ", ".join(tables)}),
        ("--out", {"metavar": "FILE", "help": "instead of stdout"}),
        STUDY,
        example="jobs --out jobs.csv",
    )


def _steer(g: Grammar) -> None:
    g.heading("steer")
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
        g.add(verb, "verbs:verb", text, JOBS, WHOLE_STUDY, WAIT, example="3-9", verb=verb, writes=True)
    undo = {"verb": "undo_cancel", "study": None, "writes": True}
    g.add("undo", "verbs:verb", "take a cancel back while it can be", JOBS, WAIT, example="7", **undo)
    g.add(
        "priority",
        "verbs:priority",
        "what runs first: the higher number does",
        ("value", {"type": int, "metavar": "NUMBER", "help": "-1000 to 1000; 0 is usual"}),
        JOBS,
        WHOLE_STUDY,
        WAIT,
        example="10 3-9",
        writes=True,
    )
    g.add(
        "move",
        "verbs:move",
        "reorder the queue",
        JOBS,
        ("--before", {"metavar": "JOB", "help": "the job they come before (else to the end)"}),
        WAIT,
        example="8 9 --before 3",
        study=None,
        writes=True,
    )
    words: tuple[tuple[str, str, Arg, str], ...] = (
        (
            "note",
            "write a note on a job",
            ("text", {"metavar": "TEXT", "help": "instead of the one there"}),
            '7 "again"',
        ),
        (
            "tag",
            "set a job's tags",
            ("tags", {"metavar": "TAG", "nargs": "*", "help": "all of them; none: none"}),
            "7 pilot",
        ),
        (
            "rename",
            "give a job another name",
            ("name", {"metavar": "NAME", "help": "the new one"}),
            "7 baseline",
        ),
        (
            "edit",
            "change a queued job",
            ("patch", {"metavar": "JSON", "help": "a merge patch"}),
            """7 '{"priority": 5}'""",
        ),
    )
    for verb, text, argument, example in words:
        g.add(verb, f"verbs:{verb}", text, JOB, argument, WAIT, example=example, writes=True)
    for verb, text in (
        ("hold", "start nothing new"),
        ("release", "end a hold"),
        ("drain", "finish the running candidates, then end the supervisor"),
    ):
        g.add(verb, "verbs:lab_verb", text, WAIT, verb=verb, writes=True)
    g.add(
        "device",
        "verbs:device",
        "the devices; use one or leave it alone",
        ("id", {"metavar": "DEVICE", "nargs": "?", "help": "cpu or cuda:0 (else list them all)"}),
        (
            "--state",
            {
                "choices": ("active", "excluded", "reserved"),
                "metavar": "S",
                "help": "active, excluded or reserved",
            },
        ),
        ("--slots", {"type": int, "metavar": "N", "help": "workers on it at once"}),
        WAIT,
        example="cuda:0 --state excluded",
    )


def _keep(g: Grammar) -> None:
    g.heading("keep")
    out = ("out", {"metavar": "OUT", "help": "the new file"})
    g.add(
        "snapshot",
        "files:snapshot",
        "one good file of a lab, even while it is live",
        out,
        example="friday.db",
    )
    db = g.group("db", "the lab file: check, vacuum, backup, upgrade")
    for name, text, writes in (
        ("check", "integrity, references, and every bracket against its candidates", False),
        ("vacuum", "give unused space back", True),
        ("backup", "a verified copy in the folder beside the lab", True),
        ("upgrade", "bring an older lab up to date, after a verified backup", True),
    ):
        g.within(db, name, f"files:{name}", text, example=f"db {name}", writes=writes)
