"""A reader that does not let go: the run goes on, somebody is told who it is, and the room comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runners.pool import wal
from runners.pool.options import Options
from runners.pool.state import SupervisorState
from store.paths import LabPaths
from store.write import Identity, Writer, lab, writer
from tests.support import labs

READER = """
import sqlite3, sys
c = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
c.execute("BEGIN"); print(c.execute("SELECT count(*) FROM event").fetchone(), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="who locks a byte is asked of Linux")
def test_a_reader_that_does_not_let_go_is_named(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "MANY_BYTES", 1 << 20)
    monkeypatch.setattr(writer, "WAL_BYTES", 1 << 16)
    labs.make(lab_path, labs.study(2))
    paths, found = LabPaths(lab_path), SupervisorState(Options(lab_path), LabPaths(lab_path))
    watch = wal.WalWatch(found)
    with Writer(lab_path) as open_writer:

        def write(bytes_: int) -> None:
            for _ in range(bytes_ // 8192):
                with open_writer.transaction(durable=False) as tx:
                    tx.event("filler", "x" * 4000)

        with open_writer.transaction() as tx:
            lab.claim(tx, Identity(1, 2.0, "bench", "boot", "0.1.0"))
        write(6 << 20)
        watch.look()
        told = len(found.remarks)
        child = subprocess.Popen(
            [sys.executable, "-c", READER, str(lab_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline()
        write(24 << 20)
        watch.look()
        assert len(found.remarks) == told + 1
        assert f"process {child.pid}" in found.remarks[-1].text
        watch.look()
        assert len(found.remarks) == told + 1, "told again although it has not doubled"
        grown = paths.wal.stat().st_size
        child.stdin.close()
        assert child.wait(30) == 0
        write(1 << 20)
        assert paths.wal.stat().st_size < min(grown, 8 << 20)
