"""What the plots of the screens and of the command line draw."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from labtui.views.plot import Axis, Series, plot

BRAILLE = range(0x2801, 0x2900)


def columns(values: list[float]) -> list[int]:
    """The columns with a dot of a curve over 0, 1, 2, ..."""
    points = tuple((float(i), v) for i, v in enumerate(values))
    lines = plot(
        [Series(points, "")], 60, 12, Axis(0.0, float(len(values) - 1), False), Axis(0.0, 4.0, False)
    )
    texts = ["".join(text for text, _ in line) for line in lines]
    return sorted({i for text in texts for i, sign in enumerate(text) if ord(sign) in BRAILLE})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_gap(bad: float) -> None:
    whole = columns([2.0, 3.0, 2.0, 3.0, 2.0])
    gaps = [b - a for a, b in pairwise(whole)]
    assert max(gaps) == 1
    cut = columns([2.0, 3.0, bad, 3.0, 2.0])
    assert max(b - a for a, b in pairwise(cut)) > 10
    assert (cut[0], cut[-1]) == (whole[0], whole[-1])
    alone = columns([2.0, bad, 3.0, bad, 2.0])
    assert len(alone) == 3, "a number between two gaps is a dot"
