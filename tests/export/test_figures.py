"""``labtui figure``: every kind in every format, what it shows as rows, nothing of a lab as mathematics."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from labtui import Lab
from labtui.export import figures
from labtui.views.signs import model_sign, model_style
from runners.spec.model import KINDS as MODELS
from tests.cli.conftest import Labtui
from tests.cli.test_hostile import WORDS, fill

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "docs" / "labs" / "demo.db"
KINDS = (
    ("kappa",),
    ("scaling",),
    ("bracket", "--job", "24"),
    ("curves", "--job", "24"),
    ("scan", "--job", "24"),
)


def data() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path("data.csv").read_text())))


@pytest.mark.parametrize("words", KINDS, ids=lambda words: words[0])
def test_a_figure_is_what_the_gallery_shows(labtui: Labtui, words: tuple[str, ...]) -> None:
    what, *rest = words
    width = ("--width", "6.75") if not rest else ()
    answer = labtui(
        "--read-only", "--lab", str(DEMO), "figure", what, "out.svg", *rest, *width, "--data", "data.csv"
    )
    assert (answer.code, answer.err) == (0, "wrote out.svg\nwrote data.csv\n")
    root = ET.fromstring(Path("out.svg").read_text())  # noqa: S314 - our own
    inches = float(str(root.get("width")).removesuffix("pt")) / 72
    assert inches == pytest.approx(6.75 if width else 3.25, abs=0.01)
    assert data()
    page = (ROOT / "docs/gallery.md").read_text()
    command = " ".join(["figure", what, f"docs/figures/{what}.svg", *rest, *width])
    assert f"`labtui --read-only --lab docs/labs/demo.db {command}`" in page
    shown = (ROOT / "docs/figures" / f"{what}.svg").read_text()
    assert len(re.findall("<use", shown)) == len(re.findall("<use", Path("out.svg").read_text()))


def test_what_is_drawn_is_what_was_measured(labtui: Labtui) -> None:
    lab = ("--read-only", "--lab", str(DEMO))
    assert labtui(*lab, "figure", "kappa", "out.png", "--data", "data.csv").code == 0
    measured = {(k.model_label, k.format): k for k in Lab(DEMO, frames="rows").kappa()}
    assert len(data()) == len(measured)
    for row in data():
        k = measured[row["model"], row["format"]]
        for name, value in (("kappa", k.kappa_value), ("low", k.kappa_low), ("high", k.kappa_high)):
            assert row[name] == ("" if value is None else str(value))
    Path("data.csv").unlink()
    assert labtui(*lab, "figure", "scaling", "two.png", "--data", "data.csv", "--x", "n", "--dark").code == 0
    points = [row for row in data() if row["kind"] == "point"]
    jobs = [job for job in Lab(DEMO, frames="rows").jobs() if job.distribution == "fixed"]
    assert len(points) == len(jobs)
    (censored,) = [row for row in points if not row["nstar"]]
    assert (censored["low"], censored["high"]) == ("23", "")
    laws = [row for row in data() if row["kind"] == "law"]
    assert all(float(r["low"]) < float(r["nstar"]) < float(r["high"]) for r in laws)


def test_fonts_are_embedded_and_bytes_are_the_same(labtui: Labtui) -> None:
    for name in ("a", "b"):
        assert labtui("--read-only", "--lab", str(DEMO), "figure", "kappa", f"{name}.pdf").code == 0
    found = Path("a.pdf").read_bytes()
    assert found == Path("b.pdf").read_bytes()
    assert b"/FontFile2" in found
    assert b"/Type3" not in found


def test_rows_are_named_where_marks_do_not_tell_the_models_apart(labtui: Labtui) -> None:
    """Three dense SSMs have one marker and one colour; the field study has ten models."""
    field = ("--read-only", "--lab", str(ROOT / "docs/labs/field.db"))
    assert labtui(*field, "figure", "kappa", "out.svg", "--data", "data.csv", "--width", "6.75").code == 0
    rows = data()
    models = {row["model"] for row in rows}
    assert {"dense_ssm 16", "dense_ssm 16 block 2", "dense_ssm 16 rotation"} <= models
    shown = re.findall(r"<!-- (.*?) -->", Path("out.svg").read_text())
    for model in models:
        assert shown.count(model) == sum(row["model"] == model for row in rows)


def test_every_kind_of_model_has_its_own_sign_and_colour() -> None:
    kinds = [model.model_fields["kind"].default for model in MODELS]
    assert len({(model_sign(kind), model_style(kind)) for kind in kinds}) == len(kinds)


def test_one_colour_and_one_marker_per_model() -> None:
    for dark in (False, True):
        look = figures.Look(dark=dark)
        assert len({look.model(m) for m in ("transformer", "lstm", "dense_ssm")}) == 3
    assert len({figures._marker(m) for m in ("transformer", "lstm", "dense_ssm")}) == 3
    assert all(figures._marker(f"plugin{i}") for i in range(20))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kappa", "out.gif"), "no ending of a figure"),
        (("kappa", "out"), "no ending of a figure"),
        (("kappa", "lab.svg"), "is there already"),
        (("kappa", "out.svg", "--data", "lab.svg"), "is there already"),
        (("kappa", "out.svg", "--job", "1"), "expected no --job"),
        (("bracket", "out.svg"), "expected one with --job"),
        (("kappa", "out.svg", "--width", "0"), "expected 1 to 40"),
        (("kappa", "out.svg", "--width", "nan"), "expected 1 to 40"),
        (("curves", "out.svg", "--job", "1", "--n", "0"), "has no candidate N = 0"),
        (("kappa", "no/where.svg"), "cannot be written"),
        (("bracket", "out.svg", "--job", "9999"), "there is no job"),
    ],
)
def test_what_cannot_be_is_one_sentence(labtui: Labtui, lab: Path, words: tuple[str, ...], said: str) -> None:
    Path("lab.svg").write_text("mine")
    answer = labtui("figure", *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not list(Path().glob("out*"))
    assert Path("lab.svg").read_text() == "mine"


def test_without_matplotlib_one_sentence(labtui: Labtui, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    answer = labtui("figure", "kappa", "out.svg")
    assert (answer.code, answer.err) == (1, f"labtui: {figures.NO_MATPLOTLIB}\n")


@pytest.mark.parametrize("word", ["$x^2$ \\frac{", "_a^b$", WORDS[1], WORDS[5]], ids=ascii)
def test_a_text_of_a_lab_is_letters(labtui: Labtui, lab: Path, word: str) -> None:
    Path("matplotlibrc").write_text("text.usetex: True\nbackend: module://nothing\nfont.size: 99\n")
    fill(lab, word, texts_only=True)
    for words in (("kappa",), ("scaling",), ("bracket", "--job", "1"), ("curves", "--job", "1")):
        Path("out.svg").unlink(missing_ok=True)
        answer = labtui("figure", words[0], "out.svg", *words[1:])
        assert answer.code == 0, answer.err
        assert answer.err == "wrote out.svg\n"
        ET.fromstring(Path("out.svg").read_text())  # noqa: S314 - our own


@pytest.mark.parametrize("value", [None, 2**63 - 1, -1, float("inf"), 1e-320], ids=ascii)
def test_a_damaged_lab_is_a_figure_or_a_sentence(labtui: Labtui, lab: Path, value: object) -> None:
    fill(lab, value, texts_only=False)
    for words in (("kappa",), ("scaling",), ("bracket", "--job", "1"), ("curves", "--job", "1")):
        Path("out.png").unlink(missing_ok=True)
        answer = labtui("figure", words[0], "out.png", *words[1:])
        assert answer.code in (0, 2), answer.err
