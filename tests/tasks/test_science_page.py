"""docs/science.md names real tests: every row of its tables has one, and each exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_edge_case_has_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "science.md").read_text("utf-8")
    table = page.split("## Edge cases", 1)[1]
    table = re.split(r"^## ", table, maxsplit=1, flags=re.M)[0]
    rows = [
        line for line in table.splitlines() if line.startswith("|") and not re.match(r"\|\s*(case|-)", line)
    ]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`((?:tests/\S+\.py)?::\w+|tests/\S+\.py)`", row.rsplit("|", 2)[1])
        assert named, f"no test in: {row}"
        file = ""
        for name in named:
            path, _, function = name.partition("::")
            file = path or file
            text = (ROOT / file).read_text("utf-8")
            assert not function or re.search(rf"^\s*(async )?def {function}\b", text, re.M), (
                f"{file} has no {function}"
            )
