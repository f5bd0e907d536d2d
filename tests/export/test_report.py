"""``labtui report``: a page that loads nothing, runs nothing, and has every N*."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from labtui import Lab
from labtui.export import figures
from labtui.views.numbers import exact
from tests.cli.conftest import Labtui
from tests.cli.test_hostile import WORDS, fill

DEMO = Path(__file__).resolve().parents[2] / "docs" / "labs" / "demo.db"
VOID = {"meta", "br", "hr", "img", "link"}
ALLOWED = (
    "html head meta title style body h1 h2 p dl dt dd div table thead tbody tr th td sup figure "
    "figcaption svg g path use defs clippath rect"
)


class Page(HTMLParser):
    """Checks that elements close in order, and keeps all tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(text: str) -> Page:
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= set(ALLOWED.split())
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href"):
                assert str(value).startswith("#"), (tag, value)
                assert str(value)[1:] in ids
            for target in re.findall(r"url\(([^)]*)\)", str(value)):
                assert target.startswith("#"), target
    style = re.findall(r"<style>.*?</style>", text, re.S)
    assert not [s for s in style if "url(" in s or "@import" in s]
    return page


def test_a_report_is_whole_and_loads_nothing(labtui: Labtui, tmp_path: Path) -> None:
    answer = labtui("--read-only", "--lab", str(DEMO), "report", "out.html")
    assert (answer.code, answer.err) == (0, "wrote out.html\n")
    text = Path("out.html").read_text()
    page = check(text)
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert "<h1>demo</h1>" in text
    for job in Lab(DEMO, frames="rows").jobs():
        shown = f"&gt; {exact(job.n_max)}" if job.nstar is None else exact(job.nstar)
        assert re.search(rf'<td class="number">{re.escape(shown)}(<sup>[a-z,]+</sup>)?</td>', text)
    assert "1.3 [1.0, 1.6]" in text
    assert "<h2>The paper</h2>" in text
    assert "5 open, 6 not measured; at reduced settings" in text
    assert "torch" in text
    assert "training.steps" in text
    assert "@media print" in text
    assert "width=device-width" in text
    assert Path("out.html").stat().st_mode & 0o777 == 0o600
    assert labtui("--read-only", "--lab", str(DEMO), "report", "two.html").code == 0
    assert Path("two.html").read_text() == text
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is not None:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=400,900"]
        shot = [f"--screenshot={tmp_path / 'out.png'}", (tmp_path / "out.html").as_uri()]
        subprocess.run([*command, *shot], check=True, timeout=60, capture_output=True)
        assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "word", [*WORDS, "<script>x</script>", '"><img src=x onerror=y>', "</style><b>"], ids=ascii
)
def test_no_text_of_a_lab_is_markup(labtui: Labtui, lab: Path, word: str) -> None:
    fill(lab, word, texts_only=True)
    assert labtui("report", "out.html").code == 0
    check(Path("out.html").read_text())


@pytest.mark.parametrize("value", [None, "[" * 300, 2**63 - 1, float("inf")], ids=lambda v: ascii(v)[:9])
def test_a_damaged_lab_is_a_page_or_a_sentence(labtui: Labtui, lab: Path, value: object) -> None:
    fill(lab, value, texts_only=False)
    answer = labtui("report", "out.html")
    assert answer.code in (0, 2)
    if answer.code == 0:
        check(Path("out.html").read_text())


def test_without_matplotlib_the_page_says_so(
    labtui: Labtui, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    assert labtui("report", "out.html").code == 0
    assert "No plots: figures need matplotlib" in Path("out.html").read_text()
    assert labtui("report", "out.txt").code == labtui("report", "out.html").code == 2
