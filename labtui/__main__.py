"""The command ``labtui``: see ``labtui.cli``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 (work failed), 2 (bad input)."""
    from labtui.cli.entry import run

    os.umask(0o077)  # whatever is written for a person (exports, settings, specs) is theirs alone
    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
