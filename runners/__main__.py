"""``python -m runners --lab FILE``: the supervisor of a lab,
detached from the terminal unless told otherwise.
"""

# Not even __future__ is imported before the module path is in order; Python has loaded os and sys by now.
import os
import sys

if not sys.flags.safe_path:
    # python -m puts the current folder here, whose files are data
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

from runners.pool.interpreter import end_process, importing

with importing():
    from runners.pool.launch import main

if __name__ == "__main__":
    end_process(main())
