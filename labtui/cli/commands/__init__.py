"""The menu of commands: each with its module of this folder and one line of help.

A module has ``arguments(parser)``, which adds the arguments and says with ``parser.runs`` what runs the
command. It is imported when its command is asked for, not before: help and other commands do not wait
for what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labtui.cli.arguments import Parser


@dataclass(frozen=True)
class Entry:
    """One command; ``first``: among the ten that ``labtui --help`` lists."""

    name: str
    module: str
    text: str
    first: bool = False

    def arguments(self, parser: Parser) -> None:
        """Import the command's module and let it add its arguments."""
        import_module(f"{__name__}.{self.module}").arguments(parser)


MENU: dict[str, tuple[Entry, ...]] = {
    "begin": (
        Entry("demo", "demo", "train the preset quick for real and show kappa", True),
        Entry("submit", "submit", "queue a study or a job", True),
        Entry("allow", "allow", "show what a program job would run, and let it run here"),
        Entry("run", "run", "supervise in the foreground until the queue is empty", True),
        Entry("daemon", "daemon", "the supervisor: start, stop, status, run, unit", True),
        Entry("tour", "tour", "look at a study that is done; nothing is written"),
        Entry("models", "models", "the models that come with labtui, with their equations"),
        Entry("tasks", "tasks", "the tasks that have a name: states, tokens, groups"),
        Entry("scan", "scan", "measure the whole success curve of a job on a ladder of N"),
    ),
    "look": (
        Entry("queue", "queue", "what runs, what is next, when it is done", True),
        Entry("jobs", "jobs", "all jobs, one line each"),
        Entry("studies", "studies", "all studies with their progress"),
        Entry("show", "show", "all that is known of a job, or any screen by its name", True),
        Entry("trials", "trials", "trials, of a job or of all"),
        Entry("events", "events", "what happened"),
        Entry("watch", "watch", "follow a job, or the whole queue, to its end", True),
        Entry("logs", "logs", "what the supervisor, or the workers of a job, wrote"),
        Entry("doctor", "doctor", "versions, devices, disk, and what may go wrong here", True),
    ),
    "answers": (
        Entry("kappa", "kappa", "the kappa table, with intervals and bounds", True),
        Entry("plot", "plot", "plots as text: scaling, bracket, kappa"),
        Entry("fits", "fits", "scaling exponents N* ~ c L^a m^b, with intervals"),
        Entry("generalisation", "generalisation", "accuracy at 2L beside kappa, and their rank correlation"),
        Entry("compare", "compare", "does the paper hold here? two jobs, or another lab"),
        Entry("refit", "refit", "N* at another eps, from stored curves; nothing is trained"),
        Entry("rerun", "rerun", "run a job again from what is stored, in a lab of its own"),
        Entry("figure", "figure", "figures for a paper: PDF, SVG or PNG"),
        Entry("report", "report", "one page of HTML that needs nothing else"),
        Entry("export", "export", "tables as CSV that is safe in a spreadsheet, or as JSON", True),
    ),
    "steer": (
        Entry("pause", "job_state", "checkpoint jobs and free their device"),
        Entry("resume", "job_state", "let paused jobs go on"),
        Entry("cancel", "job_state", "end jobs; finished candidates stay"),
        Entry("retry", "job_state", "queue failed or cancelled jobs again"),
        Entry("archive", "job_state", "hide jobs from the queue"),
        Entry("unarchive", "job_state", "bring archived jobs back"),
        Entry("delete", "job_state", "delete jobs (restore brings them back)"),
        Entry("restore", "job_state", "bring deleted jobs back"),
        Entry("undo", "job_state", "take a cancel back while it can be"),
        Entry("priority", "priority", "what runs first: the higher number does"),
        Entry("move", "move", "reorder the queue"),
        Entry("note", "note", "write a note on a job"),
        Entry("tag", "tag", "set a job's tags"),
        Entry("rename", "rename", "give a job another name"),
        Entry("edit", "edit", "change a queued job"),
        Entry("hold", "queue_state", "start nothing new"),
        Entry("release", "queue_state", "end a hold"),
        Entry("drain", "queue_state", "finish the running candidates, then end the supervisor"),
        Entry("study", "study", "a study: rename, archive"),
        Entry("device", "device", "the devices; use one or leave it alone"),
    ),
    "keep": (
        Entry("snapshot", "snapshot", "one good file of a lab, even while it is live"),
        Entry("bundle", "bundle", "a lab with its specs, report and checksums in one zip"),
        Entry("import", "import_bundle", "verify a bundle and write its lab to a new file"),
        Entry("merge", "merge", "two labs as one, equal searches once"),
        Entry("db", "db", "the lab file: check, vacuum, backup, upgrade"),
        Entry("config", "config", "every setting with its source; set one"),
        Entry("completion", "completion", "complete commands and jobs by tab: bash, zsh, fish"),
        Entry("help", "help", "the commands: the ten most needed, all, or one"),
    ),
}
"""Heading -> its commands, in the order of ``labtui help all``."""

ENTRIES: dict[str, Entry] = {entry.name: entry for entries in MENU.values() for entry in entries}
