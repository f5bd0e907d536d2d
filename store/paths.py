"""Where everything of a lab lies, and whether it lies on a disk that can hold a live one.

Standard library only.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from store.errors import LabError, NotALab, from_os
from store.files import UnusableError, open_own, own_folder

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ncpfs", "9p", "lustre", "beegfs",
    "beegfs_nodev", "gpfs", "glusterfs", "ceph", "ocfs2", "gfs2", "panfs", "pvfs2", "orangefs", "wekafs",
    "vboxsf", "prl_fs", "davfs", "acfs",
}  # fmt: skip
_NETWORK_FUSE = (
    "sshfs",
    "glusterfs",
    "ceph",
    "s3fs",
    "gcsfuse",
    "rclone",
    "goofys",
    "davfs",
    "juicefs",
    "beegfs",
    "moosefs",
)
NETWORK_WAY_OUT = (
    "give --lab a local path, and take copies out with `labtui snapshot`; "
    "several batch jobs take a lab each, by `labtui submit --part 1/8`, "
    "and `labtui merge` puts them together (docs/clusters.md)"
)
"""What to do where a lab would lie on a network disk."""
SCHEMES = str.maketrans({"%": "%25", "?": "%3f", "#": "%23"})


class LabPaths:
    """The files of one lab: ``lab.db`` and the folder ``lab.db.d`` (mode 0700) beside it.

    Links are followed first: SQLite keeps the WAL beside the file itself,
    and under two names there must be one set of locks.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._asked = Path(path)
        self.lab = Path(os.path.realpath(self._asked))
        name = self.lab.name
        self.wal = self.lab.with_name(name + "-wal")
        self.shm = self.lab.with_name(name + "-shm")
        self.journal = self.lab.with_name(name + "-journal")
        self.folder = self.lab.with_name(name + ".d")
        self.settings = self.lab.with_name(name + ".toml")
        self.write_lock = self.folder / "write.lock"
        self.supervisor_lock = self.folder / "supervisor.lock"
        self.wal_note = self.folder / "wal.json"
        self.checkpoints = self.folder / "checkpoints"
        self.logs = self.folder / "logs"
        self.backups = self.folder / "backups"

    def probe_checkpoints(self, probe_id: int) -> Path:
        """The folder for one probe's checkpoints."""
        return self.checkpoints / str(int(probe_id))

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor tells."""
        return self.logs / "supervisor.log"

    def worker_log(self, slot: str) -> Path:
        """What the workers of a slot (``cpu.0``, ``cuda:0.0``) print; the name may have come with a lab."""
        return self.logs / f"{re.sub(r'[^A-Za-z0-9._-]', '', slot)[:80]}.log"

    def worker_logs(self) -> list[Path]:
        """The logs of workers that are there, without links."""
        try:
            found = [p for p in self.logs.glob("*.log") if p.is_file() and not p.is_symlink()]
        except OSError:
            return []
        return sorted(p for p in found if p != self.supervisor_log)

    def make_folder(self) -> None:
        """Create the folder and those in it, for the owner alone; what others could enter is closed to them.

        Raises:
            LabError: it cannot be made, or a link, a file or another user's folder stands there
                (others could put links in place of the files in it).
        """
        for folder in (self.folder, self.checkpoints, self.logs, self.backups):
            try:
                own_folder(folder)
            except UnusableError as error:
                raise LabError(f"{folder} {error.strerror}") from None
            except PermissionError as error:
                raise LabError(
                    f"{folder} cannot be made or used by this user ({error.strerror}); "
                    f"expected a folder of one's own: give --lab a path in one, or look with --read-only"
                ) from None
            except OSError as error:
                raise from_os(error, folder) from None

    def uri(self, **options: str | int) -> str:
        """SQLite's URI of the lab, whatever characters its name has."""
        query = "&".join(f"{key}={value}" for key, value in options.items())
        return f"file://{str(self.lab).translate(SCHEMES)}?{query}"

    def require_file(self) -> None:
        """Raises NotALab unless the lab is an ordinary file that can be opened for reading."""
        try:
            if not self.lab.exists():
                where = f", where the link {self._asked} leads" if self._asked.is_symlink() else ""
                raise NotALab(f"there is no lab at {self.lab}{where}; expected a file that labtui made")
            if not self.lab.is_file():
                raise NotALab(f"{self.lab} is not a file; expected a lab that labtui made")
            if self.lab.stat().st_size == 0:
                raise NotALab(f"{self.lab} is empty and so is not a lab; expected a file that labtui made")
            if not os.access(
                self.lab, os.R_OK
            ):  # opening and closing it here would drop SQLite's locks (store/files.py)
                raise LabError(
                    f"{self.lab} cannot be read by this user; expected a lab of one's own, or a copy"
                )
            for beside in (self.wal, self.shm, self.journal):
                with suppress(FileNotFoundError):
                    if not stat.S_ISREG(beside.lstat().st_mode):
                        raise LabError(
                            f"{beside} is a link or no file; expected SQLite's own: remove what stands there"
                        )
            if _names_another(self.journal):
                raise LabError(
                    f"{self.journal} names another file, which SQLite would delete; expected none: remove it"
                )
        except OSError as error:
            raise from_os(error, self.lab) from None


_SUPER = bytes.fromhex("d9d505f920a163d7")


def _names_another(journal: Path) -> bool:
    """Whether a rollback journal ends with the name of a super-journal: SQLite deletes that file once it has
    rolled back, whatever it is, and a lab never has one.
    """
    try:
        with os.fdopen(open_own(journal, os.O_RDONLY), "rb") as file:
            file.seek(-len(_SUPER), os.SEEK_END)
            return file.read() == _SUPER
    except OSError:  # none there, or shorter
        return False


def network_filesystem(path: str | os.PathLike[str], mounts: str | None = None) -> str | None:
    """The type of the network file system that holds ``path``, None where it is local or unknown.

    Args:
        path: need not exist; its nearest existing parent counts.
        mounts: the text of ``/proc/mounts``; read from there where None (elsewhere than on Linux: unknown).
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text("utf-8", "replace")
        except OSError:
            return None
    place = os.path.realpath(os.fspath(path))
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), fields[2]
    if kind in _NETWORK or (kind.startswith("fuse.") and kind[5:].startswith(_NETWORK_FUSE)):
        return kind
    return None


def second_name(paths: LabPaths) -> str:
    """Why a lab under two names (hard links) is not written, in words; empty where it has one.

    SQLite keeps the WAL, and labtui the locks, beside a name: under two names there would be two of each.
    """
    try:
        found = paths.lab.stat()
    except OSError:
        return ""
    if found.st_nlink < 2 or not stat.S_ISREG(found.st_mode):
        return ""
    other = "one that is not in its folder"
    with suppress(OSError), os.scandir(paths.lab.parent) as entries:
        for entry in entries:
            if entry.name != paths.lab.name and entry.inode() == found.st_ino and not entry.is_symlink():
                other = entry.path
                break
    return f"{paths.lab} has another name, {other} (hard links), and a lab is written under one only"


def refuse_place(paths: LabPaths) -> None:
    """Raises LabError where a live lab cannot lie: on a network disk, or under two names."""
    refuse_network(paths)
    if reason := second_name(paths):
        raise LabError(f"{reason}; remove one of them, or make a copy with `labtui snapshot OUT`")


def refuse_network(paths: LabPaths) -> None:
    """Raises LabError where a live lab would lie on a network disk:
    locks and shared memory do not hold there.
    """
    kind = network_filesystem(paths.lab)
    if kind is not None:
        raise LabError(
            f"{paths.lab} lies on a network disk ({kind}), where a live lab loses data; "
            f"expected a local disk: {NETWORK_WAY_OUT}"
        )
