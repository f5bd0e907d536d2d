"""``python -m runners --lab FILE``: the supervisor of a lab,
detached from the terminal unless told otherwise.
"""

# Not even __future__ is imported before the module path is in order; Python has loaded os and sys by now.
import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
if not sys.flags.safe_path:
    sys.path[0] = HOME  # python -m puts the current folder here, whose files are data


def leave_current_folder_out() -> None:
    """Take it off the module path where an empty entry of PYTHONPATH put it there, as labtui/__main__ does:
    neither can import the other's before that.
    """
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if len(named) == 1 or "" not in named:
        return
    try:
        here = os.getcwd()  # noqa: PTH109
    except OSError:
        here = ""
    kept = {HOME, *(os.path.abspath(name) for name in named if name)} if here else set()  # noqa: PTH100
    sys.path[:] = [p for p in sys.path if p not in ("", here) or p in kept]


leave_current_folder_out()

from runners.pool.interpreter import end_process, importing  # noqa: E402

with importing():
    from runners.pool.launch import main

if __name__ == "__main__":
    end_process(main())
