"""What the Scaling screen makes of a lab's points, without a terminal."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labtui.tui.app import LabApp
from labtui.tui.frame import Footer
from labtui.tui.screens.scaling import ScalingRequest
from labtui.views.plot import Canvas
from labtui.views.scaling import Curve, curve_sign, drawn_series, known, stands_at, tags, tail, trend
from labtui.views.signs import model_style
from tests.support import fakelab
from tests.tui.conftest import Opened, until
from tests.tui.fake import FakeLab, small_lab
from tests.tui.ptys import ROOT


def test_points_become_lines_with_one_sign_for_each_model() -> None:
    data = ScalingRequest(laws=True)(small_lab())
    assert data.curves
    for curve in data.curves:
        drawn = drawn_series(curve, data.request.axis)
        assert (drawn.style, drawn.sign) == (model_style(curve.kind), curve_sign(curve))
        assert len(drawn.points) + len(drawn.arrows) == len(curve.points)
        for (x, y), (at, low, high) in zip(drawn.points, drawn.bars, strict=True):
            assert x == at
            assert low <= y <= high
        xs = [curve.x(p, data.request.axis) for p in curve.points]
        assert xs == sorted(xs)


def test_the_first_axis_is_one_that_makes_lines() -> None:
    """Each model at one length only: against L there would be nothing but single points."""

    class Lab:
        def __init__(self) -> None:
            self.lab = small_lab()

        def cells(self, study: int | None = None) -> list[Any]:
            kept: dict[tuple[str, str], Any] = {}
            for cell in self.lab.cell_rows:
                done = cell.joint._replace(state="done", status="bracket", lo=90, hi=100)
                kept.setdefault((cell.model_label, cell.format), replace(cell, joint=done))
            return [replace(c, L=5 + i % 2, m=3) for i, c in enumerate(kept.values())]

        def __getattr__(self, name: str) -> Any:
            return getattr(self.lab, name)

    data = ScalingRequest()(Lab())
    assert data.request.axis == "n"
    assert all("fixed" not in c.label for c in data.curves)
    assert ScalingRequest(axis="L")(Lab()).request.axis == "L"


def test_a_point_says_what_its_search_left_open() -> None:
    data = ScalingRequest(laws=True)(small_lab())
    point = next(p for c in data.curves for p in c.points if p.hi is not None)
    assert known(replace(point, lo=1180, hi=1294, estimate=None)) == ("1.29k", "(1,180, 1,294]")
    assert known(replace(point, hi=None, n_max=16_000_000)) == ("> 16M", "censored")
    assert known(replace(point, estimate=(1300.0, 1100.0, 1600.0))) == ("≈ 1.3k", "[1.1k, 1.6k]")
    assert stands_at(replace(point, lo=99, hi=100, estimate=None)) == pytest.approx(100)
    assert stands_at(replace(point, hi=None, n_max=500, estimate=None)) == 500


def test_the_legend_tells_the_exponent_or_why_there_is_none() -> None:
    data = ScalingRequest(laws=True)(small_lab())
    for curve in data.curves:
        text = tail(curve, data.request.axis)
        assert ("^" in text) == trend(curve, data.request.axis)
        assert text
    found = next(p for c in data.curves for p in c.points if p.hi is not None)
    lost = replace(found, hi=None)
    told = [
        tail(replace(data.curves[0], points=p, law=None), "L") for p in ((found, lost), (found,), (lost,))
    ]
    assert told == ["1 point, 1 ↑", "1 point", "1 censored"]


async def test_no_key_is_promised_where_there_is_no_line(opened: Opened) -> None:
    async with opened(lab=FakeLab(), screen="scaling") as (app, pilot, _):
        await until(pilot, lambda: "No N* along an axis" in app.front.text())
        assert "next line" not in app.query_one(Footer).text()


def test_the_points_come_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    """The first visit waits for no scipy: laws are read after the points."""
    lab = fakelab.small_lab(tmp_path / "lab.db")
    code = (
        "import sys\nfrom store.read import open_lab\n"
        "from labtui.tui.screens.scaling import ScalingRequest\n"
        f"with open_lab({str(lab)!r}, read_only=True) as lab:\n    data = ScalingRequest()(lab)\n"
        "assert data.curves and all(c.law is None for c in data.curves)\n"
        "print(sorted({'numpy', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stderr


async def test_a_slow_reading_is_told(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    free, fitted = threading.Event(), threading.Event()
    real = ScalingRequest.__call__

    def held(self: ScalingRequest, lab: Any) -> Any:
        (fitted if self.laws else free).wait(20)
        return real(self, lab)

    monkeypatch.setattr(ScalingRequest, "__call__", held)
    monkeypatch.setattr(LabApp, "LATE_S", 0.01)
    async with opened() as (app, pilot, _):
        await pilot.press("4")
        await until(pilot, lambda: "reading…" in app.front.text())
        free.set()
        await until(pilot, lambda: "fitting the laws…" in app.front.text())
        fitted.set()
        await until(pilot, lambda: "fitting" not in app.front.text() and "reading…" not in app.front.text())


def test_formats_of_one_model_differ_by_fill() -> None:
    signs = {curve_sign(Curve("", "", "lstm", f, (), None)) for f in ("outcome", "cot", "acot")}
    assert len(signs) == 3


def test_a_letter_goes_with_its_sign() -> None:
    canvas = Canvas(20, 4)
    canvas.put(0.5, 0.5, "■", "one", "a")
    column, row = canvas.cell(0.5, 0.5)
    assert canvas.signs[column + 1, row] == ("a", "one")
    canvas.put(0.5, 0.5, "△", "two")  # another point in the same cell
    assert (column + 1, row) not in canvas.signs
    canvas.put(0.5, 0.5, "●", "three", "b")
    assert canvas.signs[column + 1, row] == ("b", "three")
    curves = [Curve(str(i), "", "lstm", f, (), None) for i, f in enumerate(("acot", "acot", "cot"))]
    assert tags(curves) == {"0": "a", "1": "b"}
