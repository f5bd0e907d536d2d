"""The one way to change a lab: a transaction under the write lock,
refused where a newer supervisor has the lab.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from store import files, locks, wal
from store.connect import require_schema, validate
from store.errors import Fenced, LabError, Moved, NoRoom, Overwritten, ReadOnlyLab, from_sqlite, refusal
from store.header import check_header
from store.locks import HeldLock
from store.paths import LabPaths, refuse_place
from store.write.tx import Tx, connect, immediate

CHECKPOINT_PAGES = 1000
"""Pages in the WAL after which the supervisor's commit, and no other connection's,
folds it back into the file.
"""
SCARCE_PAGES = 32
SCARCE_BYTES = 4 * CHECKPOINT_PAGES * 4096
"""With less room than this the WAL is folded back early:
it must not take up what the file needs to take it in.
"""
WAL_BYTES = 16 << 20
"""What the WAL keeps of its room once all of it is folded in:
a reader that looked on for long has let it grow.
"""


class Writer:
    """A connection that writes; one thread at a time.

    Most processes that write once use ``store.write.submit`` or commands.

    Args:
        lock_timeout_s: how long to wait for other writers before ``Busy``
            (``store.locks.TIMEOUT_S`` where None).
        clock: Unix seconds, for tests.

    Raises:
        LabError: there is no lab, it is of another schema, or it cannot be written here.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lock_timeout_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.paths = LabPaths(path)
        self.epoch: int | None = None
        """The supervisor's, from its claim on."""
        lock_timeout_s = locks.TIMEOUT_S if lock_timeout_s is None else lock_timeout_s
        self._timeout_s = lock_timeout_s
        self._clock = clock
        self._durable = True
        self._closed = False
        self._pages = 0
        self.paths.require_file()
        check_header(self.paths.lab)
        refuse_place(self.paths)
        if not os.access(self.paths.lab, os.W_OK):
            raise ReadOnlyLab(refusal(f"{self.paths.lab} cannot be written by this user"))
        self._lock = HeldLock(self.paths)
        try:
            with self._lock.hold(lock_timeout_s):
                if wal.foreign(self.paths):
                    wal.put_aside(self.paths)
                self._connection = connect(self.paths)
                try:
                    require_schema(validate(self._connection, self.paths.lab), self.paths.lab)
                    wal.begin(self._connection, self.paths)
                    self._connection.execute("PRAGMA synchronous = FULL")
                    self._connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
                except BaseException:
                    self._connection.close()
                    raise
        except sqlite3.Error as error:
            self._lock.close()
            raise from_sqlite(error, self.paths.lab) from None
        except BaseException:
            self._lock.close()
            raise
        self._origin = wal.origin(self.paths)
        self._seen = self._look()
        self._progress = wal.progress(self.paths)
        self._places = {p: wal.identity(p) for p in (self.paths.lab, self.paths.wal, self.paths.write_lock)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self, *, durable: bool = True, lock_timeout_s: float | None = None) -> Iterator[Tx]:
        """One write transaction; committed when the block ends, rolled back whole when it raises.

        Args:
            durable: on the disk when the block has ended (synchronous = FULL), as verdicts must be. Without
                it a power cut, but no crash of a process, may take the newest transactions back; progress can
                be written so.

        Raises:
            Fenced: a newer supervisor has claimed the lab.
            Moved: another file, or none, lies where the lab was opened: what is written would go where nobody
            looks for it. Busy: another process held the lab for too long. NoRoom: the disk is full or failed.
            The same can be tried again. LabError: anything else; nothing was written in any of these cases.
        """
        timeout_s = self._timeout_s if lock_timeout_s is None else lock_timeout_s
        with self._lock.hold(timeout_s):
            self.require_place()
            try:
                if durable != self._durable:
                    self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                self._fold_after(SCARCE_PAGES if self._scarce() else CHECKPOINT_PAGES)
                with immediate(self._connection):
                    tx = Tx(self._connection, now=self._clock(), epoch=self.epoch)
                    self._fence(tx)
                    tx.run(wal.COUNT)
                    yield tx
                self.epoch = tx.epoch
                self._folded()
            except sqlite3.Error as error:
                raise self._refused(from_sqlite(error, self.paths.lab)) from None

    def rescue(self) -> Path:
        """A checked copy of the open file in the lab's folder of backups,
        for when the file itself has gone from its path.

        Raises:
            LabError: it cannot be written; nothing is left half done.
        """
        from store.snapshot import backup_locked

        if wal.identity(self.paths.lab) == self._places[self.paths.lab]:
            raise LabError("what is left of it is its WAL, which is put into the folder of backups")
        if not self.paths.backups.is_dir():
            raise LabError(f"the folder {self.paths.backups} has gone too; no copy can be written")
        with self._lock.hold(self._timeout_s):
            return backup_locked(self.paths, self._connection, "rescued")

    def checkpoint(self, *, truncate: bool = False) -> None:
        """Fold the WAL into the file, as far as readers let it; with ``truncate`` also shorten it.

        Raises:
            Moved: another file, or none, lies where the lab was opened.
            Busy: another process held the lab for too long.
        """
        with self._lock.hold(self._timeout_s):
            self.require_place()
            self._checkpoint("TRUNCATE" if truncate else "PASSIVE")
            self._folded()

    def close(self) -> None:
        """Close the connection; the last of all to close folds the WAL into the file,
        so it holds the lock too.
        """
        if self._closed:
            return
        self._closed = True
        try:
            with self._lock.hold(self._timeout_s):
                self._let_go()
                self._connection.close()
        except LabError:
            pass  # somebody else is writing and so has the file open: this close checkpoints nothing
        finally:
            self._connection.close()
            self._lock.close()

    def _let_go(self) -> None:
        """Where another file lies in the lab's place, our WAL is not left beside it, nor folded into it."""
        there = wal.identity(self.paths.lab)
        same = there == self._places[self.paths.lab]
        if there is None or (same and not self._overwritten()):
            return
        aside = self.paths.wal
        if wal.identity(aside) == self._places[aside]:
            aside = wal.put_aside(self.paths)
        if same:
            # SQLite folds it in when it closes, by its open descriptor, wherever somebody moved it to
            mine = self._places[self.paths.wal]
            for one in {aside, *wal.left_behind(self.paths)}:
                if wal.identity(one) == mine:
                    files.copy_kept(one, one.with_suffix(".copy"))
                    os.truncate(one, 0)
                    one.with_suffix(".copy").replace(one)

    def _look(self) -> tuple[int, int]:
        try:
            found = self.paths.lab.stat()
        except OSError as error:
            raise Moved(
                f"{self.paths.lab} cannot be seen any more ({error.strerror}); expected the file at its place"
            ) from None
        return found.st_mtime_ns, found.st_size

    def _folded(self) -> None:
        """Note that this process has written into the file itself, if it has.

        What is committed is committed: a file that was moved in this very moment is told by the next
        transaction. An error here would say that nothing was written, and the same would be written twice.
        """
        with suppress(OSError, Moved, sqlite3.Error):
            seen = self._look()
            if seen != self._seen and self._is_fold(now := wal.progress(self.paths)):
                self._seen, self._progress = seen, now
                wal.note_fold(self.paths, now)

    def _is_fold(self, now: wal.Progress | None) -> bool:
        """Whether the file can have come so far by a fold of its WAL; else another program wrote there, and
        the next transaction tells what.
        """
        if wal.origin(self.paths) != self._origin:
            return False
        rows = self._connection.execute("SELECT value FROM lab WHERE key = 'life'").fetchall()
        if now is None or not rows:
            return now is None and not rows
        before = self._progress
        return now[0] == rows[0][0] and (before is None or before[0] != now[0] or before[1] <= now[1])

    def _overwritten(self) -> bool:
        """Another lab, or this one as it was earlier, was written into the very file (``cp`` over it).

        Raises:
            Moved: half of something is written yet.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        now, progress = wal.origin(self.paths), wal.progress(self.paths)
        if now == self._origin and progress == self._progress and seen[1] == self._seen[1]:
            self._seen = seen  # the very same was written, or only its time was set
            return False
        if not now or (now == self._origin and progress == self._progress):
            raise Moved(f"{self.paths.lab} is being written by another program")
        if now == self._origin and not wal.is_earlier(self.paths):
            self._seen, self._progress = (
                seen,
                progress,
            )  # a newer supervisor of ours folded it
            return False
        return True

    def require_place(self) -> None:
        """Check that the file that was opened is the one at its place, as it was.

        Raises:
            Moved: it is not.
        """
        for path, mine in self._places.items():
            there = wal.identity(path)
            if there != mine:
                what = "was moved or deleted" if there is None else "was replaced by another file"
                raise Moved(f"{path} {what} while the lab was open; expected the same file at its place")
        if self._overwritten():
            raise Overwritten(f"{self.paths.lab} was overwritten with another lab while it was open")

    def _fence(self, tx: Tx) -> None:
        if self.epoch is None:
            return
        newest = tx.rows("SELECT max(epoch) FROM supervisor")[0][0]
        if newest != self.epoch:
            raise Fenced(
                f"{self.paths.lab} has a newer supervisor (epoch {newest}); "
                f"this one (epoch {self.epoch}) must end"
            )

    def _scarce(self) -> bool:
        try:
            room = os.statvfs(self.paths.lab)
        except OSError:
            return False
        return room.f_bavail * room.f_frsize < SCARCE_BYTES

    def _fold_after(self, pages: int) -> None:
        if self.epoch is not None and pages != self._pages:
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            self._pages = pages

    def _refused(self, error: LabError) -> LabError:
        """Where there is no room, what the WAL takes up is given back, so that the next try finds it."""
        if isinstance(error, NoRoom):
            self._checkpoint("TRUNCATE")
            self._folded()
        return error

    def _checkpoint(self, mode: str) -> None:
        try:
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})")
        except sqlite3.Error:
            # No room, or a reader in the way: the WAL stays, nothing is lost, and the next commit tries again
            return
