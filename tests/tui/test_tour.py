"""The pictures of docs/tour.md: each is there, and its plots need no font."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.tour import PICTURES, TOUR, dotted

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_picture_of_the_tour_is_made_by_its_command() -> None:
    shown = set(re.findall(r"\(pictures/([\w-]+)\.svg\)", (DOCS / "tour.md").read_text("utf-8")))
    assert shown - {"closing"} == {picture.name for picture in TOUR}  # that one: benchmarks.closing
    assert {picture.screen for picture in TOUR} | {"compare"} >= {
        "queue", "job", "kappa", "scaling", "trials", "new", "compare", "events", "paper",
    }  # fmt: skip
    for picture in TOUR:
        text = (PICTURES / f"{picture.name}.svg").read_text("utf-8")
        assert not re.search("[\u2801-\u28ff]", text)
        assert picture.sees.split(" ")[0] in text.replace("&#160;", " ")


def test_braille_becomes_squares_at_their_places() -> None:
    line = '<text class="t-r1" x="12.2" y="20" textLength="36.6">a\u2801\u28c0&#160;b</text>'
    drawn = dotted(line)
    assert drawn.startswith(
        '<text class="t-r1" x="12.2" y="20" textLength="36.6">a&#160;&#160;&#160;b</text>'
    )
    places = [(float(x), float(y)) for x, y in re.findall(r"M(\S+) (\S+?)h3", drawn)]
    assert places == [(25.9, 3.0), (38.1, 21.3), (44.2, 21.3)]
    assert dotted("<text>plain</text>") == "<text>plain</text>"
