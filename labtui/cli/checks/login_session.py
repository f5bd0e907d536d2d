"""What ends a supervisor behind its back: a log-out where systemd-logind kills,
a batch system whose allocation is over.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labtui.cli.checks.check import Check

LOGIND = ("usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd")
"""Where logind's settings lie; a file of one name counts in the last of them,
and drop-ins count over ``logind.conf``.
"""
SCOPE = "systemd-run --user --scope labtui daemon start"
LINGER = "loginctl enable-linger"
BATCH = "put `labtui run` into the script that sbatch gets; the next allocation goes on from the checkpoints"


def user_name() -> str:
    """Who runs this; the number where a container has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


@dataclass(frozen=True)
class LoginSession:
    """The surroundings of this process; ``root`` is another folder in tests."""

    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    root: Path = Path("/")
    user: str = field(default_factory=user_name)

    @property
    def kills(self) -> bool:
        """logind ends what this user's sessions leave running (logind.conf(5), KillUserProcesses)."""
        main = Path("none")
        extra: dict[str, Path] = {}
        for place in (self.root / name for name in LOGIND):
            main = place / "logind.conf" if (place / "logind.conf").is_file() else main
            extra |= {file.name: file for file in (place / "logind.conf.d").glob("*.conf")}
        told = {"KillUserProcesses": "no", "KillOnlyUsers": "", "KillExcludeUsers": "root"}
        for file in (main, *(extra[name] for name in sorted(extra))):
            for line in _read(file).splitlines():
                key, equals, value = line.partition("=")
                if equals and key.strip() in told:
                    told[key.strip()] = value.strip()
        only = told["KillOnlyUsers"].split()
        spared = self.user in told["KillExcludeUsers"].split() or (only and self.user not in only)
        return told["KillUserProcesses"].lower() in ("yes", "true", "y", "t", "1", "on") and not spared

    @property
    def lingers(self) -> bool:
        """The user's own systemd stays when nobody is logged in."""
        return (self.root / "var/lib/systemd/linger" / self.user).is_file()

    def ends(self) -> Iterator[Check]:
        """What would end a supervisor that is started from here."""
        group = _read(self.root / "proc/self/cgroup")
        if re.search(r"/session-[^/\n]*\.scope", group):
            if self.kills:
                remedy = SCOPE if self.lingers else f"{LINGER}, once; then {SCOPE}"
                text = "KillUserProcesses=yes: a supervisor started here is killed when you log out"
                yield Check("logout", "problem", text, remedy)
        elif "/user@" in group and not self.lingers:
            yield Check(
                "logout", "note", "a supervisor started here ends when you have logged out everywhere", LINGER
            )
        if job := self.env.get("SLURM_JOB_ID"):
            yield Check(
                "slurm", "note", f"inside allocation {job}: a supervisor started here ends with it", BATCH
            )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
