"""In a notebook ``Lab.run`` and ``Lab.wait`` move one bar; elsewhere IPython is not even looked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labtui import Lab
from labtui.cli import supervise
from labtui.cli.notebook import NotebookBar, in_notebook


class Handle:
    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, html: str) -> None:
        self.shown.append(html)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """As much of a notebook's kernel as the bar asks for."""
    handle = Handle()
    package, display = ModuleType("IPython"), ModuleType("IPython.display")
    package.__dict__["get_ipython"] = lambda: type("Shell", (), {"kernel": object()})()
    display.__dict__["HTML"] = str

    def show(html: str, *, display_id: bool) -> Handle:
        handle.update(html)
        return handle

    display.__dict__["display"] = show
    modules: dict[str, Any] = {"IPython": package, "IPython.display": display, "ipykernel": ModuleType("k")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return handle


def test_the_bar_follows_the_queue_to_its_end(
    kernel: Handle, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "alive", lambda path: True)
    found = Lab(lab)
    done = next(job.id for job in Lab(lab, frames="rows").jobs() if job.state == "done")
    found.wait(done)
    assert kernel.shown[0].startswith('<progress max="100" value="0">')
    assert kernel.shown[-1] == '<progress max="100" value="100"></progress> 1 search'


def test_what_it_says_is_text(kernel: Handle) -> None:
    bar = NotebookBar()
    bar.update(0.5, "<script>alert(1)</script>")
    bar.update(0.5, "<script>alert(1)</script>")
    assert len(kernel.shown) == 2
    assert kernel.shown[-1].endswith('value="50"></progress> &lt;script&gt;alert(1)&lt;/script&gt;')


def test_elsewhere_there_is_none() -> None:
    assert not in_notebook()
    look = "from labtui.cli.notebook import in_notebook; in_notebook()"
    code = f"import sys; {look}; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
