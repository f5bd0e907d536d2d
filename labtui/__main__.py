"""The command ``labtui``: see ``labtui.cli``."""

# Not even __future__ is imported before the module path is in order; Python has loaded os and sys by now.
import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path[0] = HOME  # python -m puts the current folder here, whose files are data


def leave_current_folder_out() -> None:
    """Take the current folder off the module path where an empty entry of PYTHONPATH put it there."""
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


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 (work failed), 2 (bad input)."""
    from labtui.cli.main import run

    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
