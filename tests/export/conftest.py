"""The fixtures of the command line: a believable lab, and commands on a copy of it."""

from tests.cli.conftest import lab, labtui, made

__all__ = ["lab", "labtui", "made"]
