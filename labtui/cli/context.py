"""What every command has at hand: the lab, where data and narration go, and how they are written."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from labtui.cli.errors import BadInput
from labtui.cli.output import plain, write_json
from labtui.cli.streams import open_stdout
from labtui.config import Settings, read_settings
from store.locks import tell_waits

if TYPE_CHECKING:
    from store.read import Lab
    from store.rows import JobRow

DEFAULT_LAB = "lab.db"


@dataclass
class Context:
    """One command with its arguments."""

    args: Namespace
    out: TextIO = field(default_factory=open_stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    writes: bool = False

    def run(self) -> int:
        """Run the command; returns its exit code."""
        tell_waits(self.say)
        if self.args.writes:
            self.will_write()
        code: int | None = self.args.run(self)
        return code or 0

    def will_write(self) -> None:
        """Said before the first look at a lab that a command will write to.

        Raises:
            BadInput: --read-only was given.
        """
        if self.args.read_only:
            raise BadInput("this command writes and --read-only was given; expected one without the other")
        self.writes = True

    @property
    def lab_path(self) -> Path:
        """--lab, else the setting (LABTUI_LAB), else ./lab.db."""
        if self.args.lab == "":
            raise BadInput("--lab is empty; expected a file")
        path = Path(self.args.lab or self._own_settings.lab or DEFAULT_LAB)
        if path.name in ("", ".."):
            raise BadInput(f"{path} is a folder; expected a file")
        return path

    @cached_property
    def _own_settings(self) -> Settings:
        """Those of the person alone, which may name the lab."""
        return read_settings(self.env)

    @cached_property
    def settings(self) -> Settings:
        """Those that hold for the lab."""
        return read_settings(self.env, self.lab_path)

    @property
    def json(self) -> bool:
        """Machine-readable output was asked for."""
        return bool(self.args.json)

    @cached_property
    def ascii(self) -> bool:
        """No sign beyond ASCII: asked for, or the terminal's encoding has none."""
        encoding = (getattr(self.out, "encoding", None) or "utf-8").lower().replace("-", "")
        return bool(self.args.ascii) or encoding not in ("utf8", "utf16", "utf32")

    @cached_property
    def lab(self) -> Lab:
        """The lab, open for reading; says on stderr where it could only be opened read-only,
        unless writing will say more.
        """
        from runners.programs import consent
        from store.read import open_lab  # loads sqlite3, which the screens' first paint does not wait for

        lab = open_lab(self.lab_path, read_only=self.args.read_only, consent=consent)
        if lab.notice and not self.args.read_only and not self.writes:
            self.say(lab.notice)
        return lab

    def close(self) -> None:
        """Close the lab where it was opened; it opens again when it is asked for."""
        opened = self.__dict__.pop("lab", None)
        if opened is not None:
            opened.close()

    def job(self, reference: str) -> JobRow:
        """The job of an id or of the beginning of a hash."""
        return self.lab.job(reference)

    def jobs(self, references: Iterable[str]) -> list[JobRow]:
        """Jobs of ids, ranges (3-7) and hashes; each once."""
        found: dict[int, JobRow] = {}
        for reference in references:
            low, dash, high = reference.partition("-")
            if dash and low.isdecimal() and high.isdecimal():
                span = [self.lab.job(i) for i in range(int(low), min(int(high), int(low) + 10_000) + 1)]
            else:
                span = [self.lab.job(reference)]
            found.update((job.id, job) for job in span)
        return list(found.values())

    def say(self, text: str) -> None:
        """Write narration to stderr."""
        from labtui.text import clean  # loads rich, which the screens' first paint does not wait for

        with suppress(
            OSError, ValueError
        ):  # what stderr cannot take, or is closed by now, is no reason to end what the command is at
            print(clean(text), file=self.err, flush=True)

    def line(self, text: str = "") -> None:
        """Write one line of data to stdout; the caller has cleaned what came from outside."""
        self.lines((text,))

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines of data."""
        if self.ascii:
            from labtui.text import to_ascii  # loads rich

            lines = map(to_ascii, lines)
        self.out.writelines(f"{text}\n" for text in lines)

    def emit(self, value: Any) -> None:
        """Data as JSON, what is not finite as null; rows, which may come as they are read,
        one in each line.
        """
        if isinstance(value, Iterable) and not isinstance(value, Mapping | str):
            write_json(value, self.out)
        else:
            self.out.write(json.dumps(plain(value), indent=2, allow_nan=False) + "\n")
