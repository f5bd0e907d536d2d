"""``labtui export``: what is written is the lab's rows in any format, and tables that a paper can take."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from labtui import Lab
from labtui.export import papers, parquet
from labtui.export.records import RECORDS
from tests.cli.conftest import Labtui
from tests.cli.test_hostile import WORDS, fill

DEMO = Path(__file__).resolve().parents[2] / "docs" / "labs" / "demo.db"
MD = Path("out").with_suffix(".md")
SPECIAL = '\\ { } $ & # _ % ~ ^ < > | " [ ] ≤ ≥ ≈ κ × – … * é 中 \U0001f468'


def rows_of(lab: Path, table: str) -> list[dict[str, Any]]:
    found = getattr(Lab(lab, frames="rows"), table)()
    return [{f.name: getattr(row, f.name) for f in fields(row)} for row in found]


@pytest.mark.parametrize("table", RECORDS)
def test_every_format_has_the_same_rows(labtui: Labtui, lab: Path, table: str) -> None:
    expected = json.loads(json.dumps(rows_of(lab, table)))
    for ending in ("csv", "json", "jsonl"):
        assert labtui("export", table, "-o", f"out.{ending}").code == 0
    assert json.loads(Path("out.json").read_text()) == expected
    assert [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()] == expected
    assert labtui("export", table, "--json").json == expected
    read = list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))
    assert len(read) == len(expected)
    assert list(read[0]) == [f.name for f in fields(RECORDS[table])]
    for row, right in zip(read, expected, strict=True):
        for name, value in right.items():
            if isinstance(value, float | int) and not isinstance(value, bool):
                assert float(row[name]) == value, name


@pytest.mark.parametrize("table", RECORDS)
def test_parquet_has_the_same_rows(labtui: Labtui, lab: Path, table: str) -> None:
    read = pytest.importorskip("pyarrow.parquet")
    assert labtui("export", table, "-o", "out.parquet").code == 0
    found = read.read_table("out.parquet").to_pylist()
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(rows_of(lab, table)))


def test_parquet_of_a_damaged_lab(labtui: Labtui, lab: Path) -> None:
    pytest.importorskip("pyarrow")
    for value in (2**63 - 1, float("inf"), "x" * 3000, b"\xff"):
        fill(lab, value, texts_only=False)
        for table in ("jobs", "trials", "kappa"):
            answer = labtui("export", table, "-o", "out.parquet")
            assert answer.code in (0, 2), answer.err
            Path("out.parquet").unlink(missing_ok=True)


def test_without_pyarrow_one_sentence(labtui: Labtui, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    answer = labtui("export", "jobs", "-o", "out.parquet")
    assert (answer.code, answer.err) == (1, f"labtui: {parquet.NO_PYARROW}\n")
    assert not Path("out.parquet").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("jobs", "-o", "out.tex"), ".tex is for kappa and nstar"),
        (("trials", "-o", str(MD)), ".md is for kappa and nstar"),
        (("kappa", "--json", "-o", "out.tex"), "two formats"),
        (("kappa", "--json", "-o", "out.parquet"), "two formats"),
        (("kappa", "-o", "lab.db"), "has no ending of a table"),
        (("kappa", "-o", "here.csv"), "is there already"),
        (("kappa", "-o", "no/where.csv"), "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_sentence(labtui: Labtui, lab: Path, words: tuple[str, ...], said: str) -> None:
    Path("here.csv").write_text("mine")
    answer = labtui("export", *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert Path("here.csv").read_text() == "mine"
    assert not list(Path().glob("out.*"))


def check_tex(text: str) -> None:
    """Braces and environments close, rows have a cell for each column, letters are escaped."""
    bare = re.sub(r"(?<!\\)%.*", "", text).replace(r"\\", "")
    assert bare.isascii() or re.sub(r"[À-ſ]", "", bare).isascii()
    without = re.sub(r"\\[{}$&#_%]", "", bare)
    assert without.count("{") == without.count("}")
    assert without.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == list(reversed(re.findall(r"\\end\{(\w+)\}", text))) or (
        sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    )
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    known = "begin end caption centering toprule midrule bottomrule smallskip footnotesize raggedright"
    known += " textsuperscript par textbackslash textasciitilde textasciicircum leq geq approx infty kappa"
    known += " times rightarrow dots circ"
    assert set(re.findall(r"\\([a-zA-Z]+)", bare)) <= set(known.split())


def compile_tex(text: str, folder: Path, fonts: str = "T1") -> None:
    tool = shutil.which("tectonic") or shutil.which("pdflatex")
    if tool is None:
        return
    page = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
    page = page.replace("\\usepackage", f"\\usepackage[{fonts}]{{fontenc}}\\usepackage", 1)
    (folder / "page.tex").write_text(f"{page}\n{text}\n\\end{{document}}\n")
    extra = ["-interaction=nonstopmode", "-halt-on-error"] if tool.endswith("pdflatex") else []
    subprocess.run([tool, *extra, "page.tex"], cwd=folder, check=True, timeout=100, capture_output=True)


@pytest.mark.parametrize("fonts", ["T1", "OT1"])
def test_no_letter_of_a_name_stops_latex(tmp_path: Path, fonts: str) -> None:
    assert papers.tex("ħ e\u0301 “x” 日") == "? é ``x'' ?"
    letters = [*range(0x20, 0x250), *range(0x1E00, 0x1F00), *range(0x2010, 0x2060)]
    compile_tex("\n\n".join(papers.tex(chr(c)) for c in letters), tmp_path, fonts)


@pytest.mark.parametrize("table", ["kappa", "nstar"])
def test_tables_for_papers(labtui: Labtui, tmp_path: Path, table: str) -> None:
    for ending in ("tex", "md"):
        assert labtui("--read-only", str(DEMO), "export", table, "-o", f"out.{ending}").code == 0
    tex, md = Path("out.tex").read_text(), MD.read_text()
    check_tex(tex)
    compile_tex(tex, tmp_path)
    if table == "kappa":
        assert r"transformer 2x32 & 1.3 {[}1.0, 1.6{]} & 0.24 {[}0.22, 0.27{]}" in tex
        assert r"$\geq$ 2.1\textsuperscript{b,c}" in tex
        assert r"| lstm 32 | 1.6 \[1.4, 1.8\]<sup>a</sup> |" in md
    else:
        assert r"& $>$ 22 & -- & 22 & 1e-2 \\" in tex
        assert r"| 2..7 | 14 | (13, 14\] | 3,124 | 1e-3 |" in md
        assert tex.count(r"\\") == 39
    assert "fails at its N" in tex


@pytest.mark.parametrize("word", [*WORDS, SPECIAL, "\\input{/etc/passwd}", "a\\", "[2em] x", "|--|", "<b>x"])
def test_no_text_of_a_lab_is_markup(labtui: Labtui, lab: Path, tmp_path: Path, word: str) -> None:
    fill(lab, word, texts_only=True)
    for table in ("kappa", "nstar"):
        for ending in ("tex", "md"):
            Path(f"out.{ending}").unlink(missing_ok=True)
            assert labtui("export", table, "-o", f"out.{ending}").code == 0
        check_tex(Path("out.tex").read_text())
        rows = [line for line in MD.read_text().splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 2
        assert "<b>" not in MD.read_text()
    compile_tex(Path("out.tex").read_text(), tmp_path)


def test_footnotes_go_on_after_z() -> None:
    table = papers.PaperTable("t", ["a"], rows=[["x"]] * 30)
    for i in range(30):
        table.marks[i, 0] = [table.note(f"note {i}")]
    assert r"\textsuperscript{ab}~note 27." in papers.latex([table])
    check_tex(papers.latex([table]))


def test_parquet_and_figures_are_asked_for_not_loaded(lab: Path) -> None:
    code = (
        "import sys; from labtui.__main__ import main; main(sys.argv[1:]); "
        "print('LOADED', sorted(set(sys.modules) & {'pyarrow', 'matplotlib', 'numpy', 'pandas'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "jobs", "--lab", str(lab)], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stderr
