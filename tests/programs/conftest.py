"""Programs of a few lines of sh, and what runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runners.programs import consent
from runners.spec import Job, NamedJob, Study, parse

HEAD = """
[program]
command = ["sh", "train.sh", "{n}", "{seed}", "{lr}"]
metric = "accuracy"
goal = "max"
threshold = 0.9
"""
TAIL = """
[grid]
lr = [0.1, 0.2]
seed = [1, 2]
[search]
n_max = 1000
"""
REPORTS = """
echo '{"step": 1, "accuracy": 0.5}' >> "$LABTUI_REPORT"
if [ "$1" -ge 100 ]; then echo '{"step": 2, "accuracy": 0.95}' >> "$LABTUI_REPORT"; fi
"""
"""N* is 100."""
Made = Callable[..., Job]


def spec_of(
    folder: Path, script: str, more: str = "", head: str = HEAD, tail: str = TAIL
) -> NamedJob | Study:
    """The spec of a program whose train.sh is ``script``; ``more`` goes into its [program]."""
    folder.mkdir(exist_ok=True)
    (folder / "train.sh").write_text(script)
    return parse(head + more + tail, source="spec.toml", folder=folder)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes the job of a program, which its user has allowed."""

    def make(script: str = REPORTS, more: str = "", *, allow: bool = True, **parts: str) -> Job:
        spec = spec_of(tmp_path / "work", script, more, **parts)
        assert isinstance(spec, NamedJob)
        if allow:
            consent.allow([spec.job])
        return spec.job

    return make
