"""A user without root's powers, who can still read this Python wherever it lies."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

UID = 65534
_POWERS = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")


@cache
def plain_user() -> tuple[str, ...]:
    """What stands before a command so that a user other than root runs it;
    skips the test where that cannot be.
    """
    if os.geteuid() != 0:
        return ()
    ids = ("--reuid", str(UID), "--regid", str(UID), "--clear-groups")
    prefix = (shutil.which("setpriv") or "", *ids, *_POWERS)
    if not prefix[0] or subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("root may write everywhere, and setpriv cannot make another user of it here")
    return prefix
