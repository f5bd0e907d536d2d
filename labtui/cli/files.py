"""Commands on the lab file itself."""

from __future__ import annotations

from pathlib import Path

from labtui.cli import writing
from labtui.cli.context import Context
from labtui.cli.entry import FAILED, BadInput
from labtui.text import clean
from store.paths import LabPaths


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"


def snapshot(context: Context) -> None:
    """A copy that opens anywhere, with no supervisor, torch or GPU."""
    out = Path(context.args.out)
    if out.exists():
        raise BadInput(f"{out} is there already; expected a new file")
    writing.snapshot(context.lab_path, out, read_only=context.args.read_only)
    _wrote(context, out)


def _wrote(context: Context, path: Path) -> None:
    if context.json:
        context.emit({"path": str(path), "bytes": path.stat().st_size})
    else:
        context.line(
            clean(str(path)) if context.out.isatty() else str(path)
        )  # a pipe wants the name as it is
        context.say(f"{_size(path)}; open it with: labtui --read-only {path}")


def check(context: Context) -> int:
    """Integrity, foreign keys, invariants; exit 1 where something is wrong."""
    problems = writing.check(context.lab_path, read_only=context.args.read_only)
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
    before, after = writing.vacuum(path)
    if context.json:
        context.emit({"path": str(path), "bytes_before": before, "bytes": after})
    else:
        context.say(f"{path}: {before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB now")


def backup(context: Context) -> None:
    """A verified copy beside the lab."""
    _wrote(context, writing.backup(context.lab_path))


def upgrade(context: Context) -> None:
    """Bring an older lab to this schema."""
    path = context.lab_path
    with context.lab as lab:
        before = lab.schema
    context.close()
    writing.create_or_open(path)
    after = context.lab.schema
    if context.json:
        context.emit({"path": str(path), "schema_before": before, "schema": after})
    elif before < after:
        context.say(f"{path}: schema {before} before, {after} now; the backup is in {LabPaths(path).backups}")
    else:
        context.say(f"{path}: schema {after}, nothing to upgrade")
