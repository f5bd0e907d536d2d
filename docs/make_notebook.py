"""Run the cells of docs/notebook.ipynb and renew their outputs: ``python docs/make_notebook.py``.

No Jupyter is needed: a cell's last expression is its output, as in one. (nbclient and ipykernel would be 24
packages more in every environment.) With ``--check`` nothing is written: exit 1 where a cell fails or its
output is another one.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
PAGE = HERE / "notebook.ipynb"


class SVG:
    """As IPython's: what a cell shows as a picture."""

    def __init__(self, filename: str) -> None:
        self.data = Path(filename).read_text("utf-8")


def stand_in() -> dict[str, ModuleType]:
    """As much of IPython as a cell imports."""
    package, display = ModuleType("IPython"), ModuleType("IPython.display")
    package.__dict__["version_info"] = (9, 0)
    display.__dict__["SVG"] = SVG
    return {"IPython": package, "IPython.display": display}


def run(code: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell; its outputs as a notebook has them."""
    tree = ast.parse(code)
    last = tree.body[-1] if tree.body else None
    said, value = io.StringIO(), None
    with contextlib.redirect_stdout(said):
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), names)  # noqa: S102 - our own page
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307
        else:
            exec(compile(tree, "cell", "exec"), names)  # noqa: S102
    out: list[dict[str, Any]] = []
    if text := said.getvalue():
        out.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if isinstance(value, SVG):
            data = {"image/svg+xml": value.data.splitlines(keepends=True)}
        elif hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(keepends=True)
        out.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return out


def renewed(text: str) -> str:
    """The notebook with every cell run, in a folder that has the docs' labs."""
    notebook = json.loads(text)
    before, known = Path.cwd(), dict(sys.modules)
    sys.modules.update(stand_in())
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "labs").mkdir()
        shutil.copy(HERE / "labs" / "demo.db", Path(folder) / "labs" / "demo.db")
        os.chdir(folder)
        try:
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    outputs = json.dumps(run("".join(cell["source"]), names))
                    cell["outputs"] = json.loads(outputs.replace(os.path.realpath(folder), "docs"))
        finally:
            os.chdir(before)
            for name in stand_in():
                sys.modules.pop(name, None)
                if name in known:
                    sys.modules[name] = known[name]
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    before = PAGE.read_text("utf-8")
    after = renewed(before)
    if "--check" in sys.argv[1:]:
        sys.exit(before != after)
    PAGE.write_text(after, "utf-8")
