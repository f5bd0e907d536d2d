"""``labtui db``: the lab file itself: check, vacuum, backup, restore, upgrade.

``check`` tests integrity, references and that every bracket is what a replay of its search gives. ``restore``
checks a backup, ends the supervisor and puts it in the lab's place; the lab as it was stays in
``lab.db.d/backups``.
"""

from __future__ import annotations

from pathlib import Path

from labtui.cli import supervise, writing
from labtui.cli.arguments import Parser
from labtui.cli.commands.snapshot import tell_written
from labtui.cli.context import Context
from labtui.cli.errors import FAILED, WorkFailed
from labtui.cli.waiting import waiting
from labtui.text import clean
from labtui.views.numbers import volume
from runners.pool import client
from store.paths import LabPaths


def arguments(parser: Parser) -> None:
    """Take one part for each thing that is done to the file."""
    parser.part("check", "integrity, references, and every bracket against its candidates").runs(check)
    parser.part("vacuum", "give unused space back").runs(vacuum, writes=True)
    parser.part("backup", "a verified copy in the folder beside the lab").runs(backup, writes=True)
    part = parser.part("restore", "put a backup in the lab's place; keep the lab as it was")
    part.add_argument("backup", type=Path, metavar="BACKUP", help="a file that db backup or snapshot wrote")
    part.runs(restore, writes=True, example="friday.db")
    parser.part("upgrade", "bring an older lab up to date, after a verified backup").runs(
        upgrade, writes=True
    )


def check(context: Context) -> int:
    """Check integrity, foreign keys and invariants; exit 1 where something is wrong."""
    with waiting(context, "checking") as bar:
        problems = writing.check(context.lab_path, read_only=context.args.read_only, progress=bar.at)
    if context.json:
        context.emit({"lab": str(context.lab_path), "problems": problems})
    else:
        context.lines(clean(problem) for problem in problems)
        many = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        context.say(f"{context.lab_path}: {many if problems else 'no problem found'}")
    return FAILED if problems else 0


def vacuum(context: Context) -> None:
    """Give unused space back."""
    path = context.lab_path
    with waiting(context, "giving space back"):
        before, after = writing.vacuum(path)
    if context.json:
        context.emit({"path": str(path), "bytes_before": before, "bytes": after})
    else:
        context.say(f"{path}: {volume(before)} before, {volume(after)} now")


def backup(context: Context) -> None:
    """Put a verified copy beside the lab."""
    with waiting(context, "copying") as bar:
        copy = writing.backup(context.lab_path, bar.at)
    tell_written(context, copy)


def restore(context: Context) -> None:
    """Put a backup in the lab's place."""
    path, chosen = context.lab_path, context.args.backup
    context.close()
    if supervise.alive(path):
        stopped = client.stop(path)
        if not stopped.ok:
            raise WorkFailed(stopped.text)
        context.say(stopped.text)
    with waiting(context, "restoring"):
        old, _ = writing.restore(path, chosen)
    if context.json:
        context.emit({"lab": str(path), "restored": str(chosen), "before": str(old)})
    else:
        context.say(f"{path} is {chosen} now; the lab as it was: {old}")


def upgrade(context: Context) -> None:
    """Bring an older lab to this schema."""
    path = context.lab_path
    with context.lab as lab:
        before = lab.schema
    context.close()
    with waiting(context, "upgrading"):
        writing.create_or_open(path)
    after = context.lab.schema
    if context.json:
        context.emit({"path": str(path), "schema_before": before, "schema": after})
    elif before < after:
        context.say(f"{path}: schema {before} before, {after} now; the backup is in {LabPaths(path).backups}")
    else:
        context.say(f"{path}: schema {after}, nothing to upgrade")
