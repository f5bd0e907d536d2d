"""Verbs where no supervisor runs: they take effect at once, as they would at its next start."""

from __future__ import annotations

import os

from store.locks import supervisor_alive
from store.paths import LabPaths
from store.write.commands import Applied
from store.write.create import create_or_open
from store.write.writer import Writer


def apply_pending(path: str | os.PathLike[str]) -> list[Applied]:
    """Carry out the verbs that wait, unless a supervisor lives (it does so itself within a second):
    what became of each.

    A supervisor that starts meanwhile is no danger:
    each verb is carried out in one transaction, by whoever comes first.

    Raises:
        LabError: the lab cannot be written.
    """
    if supervisor_alive(LabPaths(path)):
        return []
    create_or_open(path)
    with Writer(path) as writer, writer.transaction() as tx:
        return [tx.apply_command(command, live=False) for command in tx.commands()]
