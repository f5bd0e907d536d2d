"""The command ``labtui``: see ``labtui.cli``."""

from __future__ import annotations

import sys

from labtui.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
