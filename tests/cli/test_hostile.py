"""Labs that nobody may trust, through every command that reads:
an answer or one sentence, nothing that a terminal obeys.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from store.connect import TABLES
from tests.cli.conftest import Labtui
from tests.cli.test_reading import READERS

WORDS = (
    "[red]markup[/red] [bold",
    "\x1b[2J\x1b[31m\x1b]0;title\x07\x1b]8;;http://x\x07 \x9b31m",
    "line\nbreak\r\v\f\x85\u2028end\ttab",
    "\u202eright to left\u2066 \u200b\ufeff\U000e0041",
    "Z" + "\u0301" * 500,
    "\U0001f468\u200d\U0001f469\u200d\U0001f466 \uff37\uff29\uff24\uff25 \ud7b0\U000f0000",
    '=HYPERLINK("http://x")',
    "x" * 3_000,
    "\x00\x01\x7f",
)
"""Texts that a name, a note, a reason, a tag or a device may hold."""
VALUES: tuple[object, ...] = (
    *(None, "", b"\xff\xfe\x00\x1b[31m", "{}", "[]", "null", "1" * 5_000, '{"a": NaN}', "[1e999, -1e999, 0]"),
    *("[" * 3_000, "[" * 400 + "]" * 400, '{"a":' * 200 + "1" + "}" * 200),
    *(-1, 0, 1, 2**63 - 1, -(2**63), 1.5, 1e308, 1e-320, float("inf"), float("-inf")),
)
"""What may stand in any column, whatever its type says."""
COMMANDS = [
    *READERS,
    ("show", "1", "--json"),
    ("jobs", "--json"),
    ("events", "--json"),
    ("studies", "--json"),
    ("kappa", "--json"),
    ("fits", "--json"),
    ("queue", "--json"),
    ("daemon", "status"),
    ("trials", "1", "--json", "--curves"),
    *(("export", table) for table in ("jobs", "probes", "trials", "curves", "cells", "events")),
    ("db", "check"),
    ("config",),
    ("tour",),
    ("daemon", "unit"),
]


def fill(path: Path, value: object, *, texts_only: bool) -> None:
    """Put one value into every column of every table that takes it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        for table in TABLES:
            for _, column, kind, _, _, key in connection.execute(f"PRAGMA table_info({table})").fetchall():
                fixed = (
                    "state",
                    "status",
                    "outcome",
                    "level",
                    "kind",
                    "hash",
                    "members",
                    "distribution",
                    "strategy",
                )
                if key or (texts_only and (kind != "VARCHAR" or column in fixed)):
                    continue
                for row in ("rowid % 2 AND rowid < 80", "1"):  # a table without row ids takes it in every row
                    try:
                        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {row}", (value,))
                        break
                    except sqlite3.Error:
                        continue
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def harmless(text: str) -> list[str]:
    """The characters that a terminal would obey."""
    obeyed = {
        c for c in set(text) - {"\n"} if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
    }
    return [hex(ord(c)) for c in text if c in obeyed] if obeyed else []


def ask_everything(labtui: Labtui) -> None:
    for words in COMMANDS:
        answer = labtui(*words)
        assert answer.code in (0, 1, 2), words
        if answer.code == 2:
            assert answer.err.count("\n") == 1, (words, answer.err)
        if "--json" in words and answer.code == 0:
            assert answer.json is not None
        assert harmless(answer.err) == [], words
        assert harmless(answer.out) == [] or words[0] == "export", words
        if words[0] == "export":
            for row in csv.reader(io.StringIO(answer.out)):
                for cell in set(row):
                    assert not cell.lstrip(" ").startswith(("=", "+", "@")), (words, cell[:80])
                    assert [c for c in harmless(cell) if c != "0x9"] == [], (words, cell[:80])


def check_words(labtui: Labtui, lab: Path, word: str) -> None:
    listed = (("jobs",), ("events",), ("studies",), ("device",))
    calm = {words: labtui(*words).out.count("\n") for words in listed}
    for value in (word, json.dumps([word])):  # as a text, and as a list of tags or flags
        fill(lab, value, texts_only=True)
        ask_everything(labtui)
        for words, lines in calm.items():
            assert labtui(*words).out.count("\n") == lines, f"{words}: a text made or ate a line"


@pytest.mark.slow
def test_no_text_of_a_lab_reaches_the_terminal_as_more_than_letters(labtui: Labtui, lab: Path) -> None:
    check_words(labtui, lab, " ".join(WORDS[:6]))


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS, ids=lambda w: ascii(w)[:20])
def test_none_of_these_texts_does(labtui: Labtui, lab: Path, word: str) -> None:
    check_words(labtui, lab, word)


@pytest.mark.parametrize("value", [None, "[" * 3_000, 2**63 - 1], ids=lambda v: ascii(v)[:20])
def test_a_wrong_value_in_every_column_is_an_answer_or_a_sentence(
    labtui: Labtui, lab: Path, value: object
) -> None:
    fill(lab, value, texts_only=False)
    ask_everything(labtui)


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES, ids=lambda v: ascii(v)[:20])
def test_any_value_in_every_column_is_an_answer_or_a_sentence(
    labtui: Labtui, lab: Path, value: object
) -> None:
    fill(lab, value, texts_only=False)
    ask_everything(labtui)
