"""``python -m runners --lab FILE``: the supervisor of a lab,
detached from the terminal unless told otherwise.
"""

from __future__ import annotations

import sys

from runners.pool.launch import main

if __name__ == "__main__":
    sys.exit(main())
