"""The rules of the house: the arrows of docs/architecture.md, by the imports that are written and by what an
import really loads; and what holds for every page of the docs.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WINGS = ("labtui", "runners", "store")

APP_STORE = (
    "store.read", "store.commands", "store.rows", "store.states", "store.errors", "store.paths",
    "store.files", "store.wal", "store.filters", "store.locks", "store.header", "store.json",
)  # fmt: skip
LIGHT_STORE = (*APP_STORE, "store.connect", "store.decode", "store.curves")
"""The side of the store that imports the standard library alone."""
PURE_RUNNERS = (
    "runners.engine",
    "runners.search",
    "runners.tasks",
    "runners.models",
    "runners.kernels",
    "runners.streams",
    "runners.interrupt",
    "runners.spec",
    "runners.strategies",
    "runners.verdict",
)

ARROWS: dict[str, tuple[str, ...]] = {
    # The CLI's one gate to the SQLModel side of the store and to the search that checks it,
    # imported inside functions.
    "labtui.cli.writing": ("labtui", "runners.presets", "runners.spec", "runners.search", "store"),
    # The posterior after each candidate is the search's own; numpy comes with its first.
    "labtui.analysis.closing": ("runners.search", "runners.strategies", "store.json", "store.rows"),
    "labtui": (
        "labtui",
        "runners.presets",
        "runners.spec",
        "runners.strategies",
        "runners.verdict",
        "runners.machine",
        "runners.pool.client",
        "runners.programs.consent",
        "runners.programs.report",
        *APP_STORE,
    ),
    "runners.pool.client": (
        *APP_STORE,
        "runners.pool.identity",
        "runners.pool.interpreter",
        "runners.pool.signals",
    ),
    "runners.pool.signals": (),
    "runners.pool.identity": ("runners.pool.interpreter", "store.files", "store.json"),
    "runners.pool.interpreter": (),
    "runners.machine": (),
    "runners.presets": (),
    "runners.spec": ("runners.presets", "runners.spec", "runners.strategies"),
    "runners.streams": (),
    "runners.strategies": (),
    "runners.verdict": (),
    "runners.interrupt": (),
    "runners.programs": (*PURE_RUNNERS, "runners.programs", "runners.machine"),
    "runners.programs.consent": ("runners.spec",),
    "runners.programs.report": (),
    "runners.engine": PURE_RUNNERS,
    "runners.search": PURE_RUNNERS,
    "runners.tasks": PURE_RUNNERS,
    "runners.models": PURE_RUNNERS,
    "runners.kernels": ("runners.kernels", "runners.interrupt"),
    "runners": ("runners", "store"),
    "store.read": LIGHT_STORE,
    "store.commands": LIGHT_STORE,
    "store": ("store", "runners.spec", "runners.strategies", "runners.verdict"),
}
"""Module prefix -> what of ours it may import; the longest prefix decides."""

FORBIDDEN: dict[str, tuple[str, ...]] = {
    "labtui": ("torch", "sqlmodel", "sqlalchemy", "alembic"),
    "runners.spec": ("torch", "numpy", "sqlite3", "sqlmodel", "sqlalchemy", "textual"),
    "runners.search": ("torch", "sqlite3", "sqlmodel", "textual", "time", "random"),
    "runners.engine": ("sqlite3", "sqlmodel", "sqlalchemy", "textual"),
    "runners.models": ("sqlite3", "sqlmodel", "sqlalchemy", "textual"),
    "runners.tasks": ("sqlite3", "sqlmodel", "sqlalchemy", "textual"),
    "runners": ("textual",),
    "store": ("torch", "textual"),
}


def modules() -> Iterator[tuple[str, Path]]:
    for wing in WINGS:
        for path in sorted((ROOT / wing).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, line) of every import, those inside functions and under TYPE_CHECKING too."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield (name if is_module(name) else module), node.lineno


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == p or name.startswith(p + ".") for p in prefixes)


def rule(name: str, rules: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    found = [p for p in rules if within(name, (p,))]
    return rules[max(found, key=len)] if found else None


def test_arrows_point_one_way() -> None:
    wrong = []
    for name, path in modules():
        allowed = rule(name, ARROWS)
        assert allowed is not None, name
        wrong += [
            f"{path.relative_to(ROOT)}:{line} imports {target}"
            for target, line in imports(path)
            if within(target, WINGS) and not within(target, allowed)
        ]
    assert not wrong, "\n".join(wrong)


def test_no_wing_imports_what_it_must_not_know() -> None:
    wrong = []
    for name, path in modules():
        banned = tuple(b for prefix, names in FORBIDDEN.items() if within(name, (prefix,)) for b in names)
        if name == "store.read" or name.startswith("store.read."):
            banned += ("sqlmodel", "sqlalchemy", "alembic", "pydantic", "numpy")
        wrong += [
            f"{path.relative_to(ROOT)}:{line} imports {target}"
            for target, line in imports(path)
            if within(target, banned)
        ]
    assert not wrong, "\n".join(wrong)


def test_the_light_side_of_the_store_is_standard_library() -> None:
    allowed = tuple(sys.stdlib_module_names)
    wrong = []
    for name, path in modules():
        if not within(name, LIGHT_STORE):
            continue
        for target, line in imports(path):
            if not (within(target, allowed) or within(target, LIGHT_STORE)):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_packages_of_store_and_wings_import_nothing_eagerly() -> None:
    for package in ("store", "labtui", "runners"):
        tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
        eager = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in eager for alias in node.names} - {"annotations", "__version__"}
        assert not names, f"{package}/__init__.py imports {names}"


def test_no_pickle_no_eval_no_socket() -> None:
    """Nothing from a file is ever run, and labtui opens no port of its own."""
    banned_modules = ("pickle", "cloudpickle", "dill", "shelve", "marshal", "socketserver", "http.server")
    wrong = []
    for _, path in modules():
        where = path.relative_to(ROOT)
        wrong += [f"{where}:{line} imports {t}" for t, line in imports(path) if within(t, banned_modules)]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name) and called.id in ("eval", "exec"):
                    wrong.append(f"{where}:{node.lineno} calls {called.id}")
                if isinstance(called, ast.Attribute) and ast.unparse(called) == "torch.load":
                    safe = [
                        k for k in node.keywords if k.arg == "weights_only" and ast.unparse(k.value) == "True"
                    ]
                    if not safe:
                        wrong.append(f"{where}:{node.lineno} calls torch.load without weights_only=True")
    assert not wrong, "\n".join(wrong)


def loaded_by(*names: str) -> set[str]:
    code = "import sys\n" + "".join(f"import {n}\n" for n in names) + "print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


LATER = {
    "labtui.tui.dialogs",
    "labtui.analysis.eta",
    "labtui.views.plot",
    "store.rows",
    "store.read",
    "psutil",
}
"""What the first paint of the screens need not wait for: each takes milliseconds."""
HEAVY = {"torch", "sqlmodel", "sqlalchemy", "alembic", "pydantic", "numpy", "scipy", "plotext"}


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("labtui.tui.app", HEAVY | LATER),
        ("labtui.__main__", HEAVY | {"textual", "rich", "asyncio"}),
        ("runners.spec", {"torch", "numpy", "sqlmodel", "sqlalchemy", "textual"}),
        ("store.read", HEAVY | {"textual"}),
        ("store.commands", HEAVY | {"textual"}),
        ("store.write", (HEAVY - {"pydantic"}) | {"textual"}),
        ("runners.pool.supervisor", (HEAVY - {"pydantic", "numpy"}) | {"textual"}),
        ("runners.search", {"torch", "sqlmodel", "sqlalchemy", "textual"}),
        ("runners.verdict", HEAVY | {"textual", "sqlite3"}),
        ("store", HEAVY | {"sqlite3", "textual"}),
    ],
)
def test_what_an_import_really_loads(module: str, never: set[str]) -> None:
    assert not loaded_by(module) & never


def test_training_needs_torch_numpy_and_pydantic_alone() -> None:
    """A machine with a GPU and these three runs benchmarks/gpu.py, and with it the whole engine."""
    absent = ("textual", "rich", "sqlmodel", "sqlalchemy", "alembic", "psutil", "plotext", "scipy", "ray")
    rooms = (
        "runners.engine.trainer",
        "runners.tasks",
        "runners.models",
        "runners.search",
        "benchmarks.gpu",
        "benchmarks.engine",
    )
    code = f"import sys\nsys.modules.update(dict.fromkeys({absent}))\nimport {', '.join(rooms)}\n"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


CIRCLES: tuple[frozenset[str], ...] = ()
"""Modules that still import one another in a circle; this list may only shrink."""


def circles() -> list[frozenset[str]]:
    """The strongly connected sets of two and more modules of the import graph (Tarjan 1972)."""
    targets = {name: sorted({t for t, _ in imports(path) if t != name}) for name, path in modules()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in targets[name]:
            if target not in targets:
                continue
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            found.append(frozenset(stack[at:]))
            del stack[at:]

    for name in targets:
        if name not in index:
            visit(name)
    return [circle for circle in found if len(circle) > 1]


def test_no_imports_in_a_circle() -> None:
    """An import inside a function and one under TYPE_CHECKING count too."""
    found = circles()
    new = [sorted(circle) for circle in found if not any(circle <= known for known in CIRCLES)]
    assert not new, "\n".join(map(str, new))
    gone = [sorted(known) for known in CIRCLES if not any(circle <= known for circle in found)]
    assert not gone, f"no circle any more, strike it off CIRCLES: {gone}"


KINDS = {
    "runners.engine.types.Control": "what a trainer asks; the worker's answers by a pipe, a test's by rule"
}
"""Base classes of one heir that are a kind of thing all the same."""
CONTINUED: dict[str, str] = {}
"""Classes that still continue another file's class, and that class; these may only go."""


def classes() -> dict[str, list[str]]:
    """Every class of ours, by its full name, with the full names of its bases."""
    found = {}
    for name, path in modules():
        tree = ast.parse(path.read_text("utf-8"))
        known = {n.name: f"{name}.{n.name}" for n in tree.body if isinstance(n, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(b.value if isinstance(b, ast.Subscript) else b) for b in node.bases]
                found[f"{name}.{node.name}"] = [known.get(base, base) for base in bases]
    return found


def made() -> set[str]:
    """The names of what is called somewhere in the three wings: a class that is made by itself is whole."""
    return {
        ast.unparse(node.func).rpartition(".")[2]
        for _, path in modules()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    }


def test_no_class_is_continued_in_another_file() -> None:
    """Parts are owned, not inherited.

    A base class from another file is a kind of thing: it has two subclasses or more, or is made by itself, or
    is a Protocol or an ABC. Nobody inherits from two of ours in other files: that is one class in pieces.
    """
    ours = classes()
    whole = made()
    heirs = Counter(base for bases in ours.values() for base in bases)
    found = {}
    for name, bases in ours.items():
        far = [b for b in bases if b in ours and b.rpartition(".")[0] != name.rpartition(".")[0]]
        alone = [
            b
            for b in far
            if heirs[b] == 1
            and b not in KINDS
            and b.rpartition(".")[2] not in whole
            and not {"Protocol", "typing.Protocol", "ABC", "abc.ABC"} & set(ours[b])
        ]
        if alone or len(far) > 1:
            found[name] = ", ".join(alone or far)
    new = {name: bases for name, bases in found.items() if name not in CONTINUED}
    assert not new, "\n".join(f"{name} continues {bases}" for name, bases in new.items())
    gone = sorted(set(CONTINUED) - set(found))
    assert not gone, f"whole by now, strike it off CONTINUED: {gone}"


LONGEST = 60
LONG: set[str] = {
    "labtui/views/plot.py:plot",
}
"""Functions of more lines that give no reason yet; this set may only shrink."""


def test_a_long_function_says_why() -> None:
    """More than 60 lines: a comment ``# Long: ...`` on the line of its def or right above it
    has the reason.
    """
    found = set()
    for _, path in modules():
        source = path.read_text("utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            above = first - 1
            while above and lines[above - 1].lstrip().startswith("#"):
                above -= 1
            reason = "\n".join(lines[above : node.lineno])
            if (node.end_lineno or 0) - node.lineno >= LONGEST and "# Long: " not in reason:
                found.add(f"{path.relative_to(ROOT)}:{node.name}")
    assert not found - LONG, f"more than {LONGEST} lines and no `# Long: ...` above: {sorted(found - LONG)}"
    assert not LONG - found, f"short or with a reason by now, strike it off LONG: {sorted(LONG - found)}"


WALL_CLOCK = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "now", "utcnow", "today"}
MAY_ASK_THE_TIME = {
    "runners/pool/supervisor.py": "the clock of its transactions: when something happened, "
    "until when a job rests, and how old a checkpoint is that nothing goes on from",
    "runners/pool/notify.py": "when something ended, as a text for a person's own command",
    "runners/pool/launch.py": "the times in the log",
    "store/commands.py": "when a verb was asked for",
    "store/locks.py": "since when a supervisor lives",
    "store/read/lab.py": "whether a supervisor has written lately, for the eye",
    "store/snapshot.py": "the name of a backup",
    "store/wal.py": "the name of a WAL that was put aside",
    "store/write/lab.py": "when the lab was made",
    "store/write/writer.py": "the clock of a transaction, handed in by tests that set it back and forward",
}


def test_no_clock_that_can_be_set_decides_anything() -> None:
    """Outside these places runners and store know monotonic time alone."""
    asked = set()
    for _, path in modules():
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            if node.value.id in ("time", "datetime", "date") and node.attr in WALL_CLOCK:
                asked.add(name)
    assert {name for name in asked if not name.startswith("labtui/")} == set(MAY_ASK_THE_TIME)


WIDTH = 110
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OTHER_PAGES = {
    "gpu.md": "benchmarks/gpu.py writes it beside its numbers",
}
"""Pages that code names and that are not kept here, each with its reason."""


def source_lines(page: Path) -> list[tuple[int, str]]:
    """(number, line) of prose and source; not of tables, nor of what a command printed (a bare fence)."""
    kept, fence = [], None
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = line.strip().lstrip("`") if fence is None else None
        elif fence != "" and not line.lstrip().startswith("|"):
            kept.append((number, line))
    return kept


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_hold_110_columns(page: Path) -> None:
    long = [f"{page.name}:{number}: {len(line)}" for number, line in source_lines(page) if len(line) > WIDTH]
    assert not long, "\n".join(long)


def test_every_page_that_is_named_exists() -> None:
    """``x.md`` in code, tests and pages is a file from the root, from docs, or beside who names it."""
    folders = ("labtui", "runners", "store", "tests", "benchmarks")
    code = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    lost = []
    for file in [*code, *PAGES, ROOT / "pyproject.toml", ROOT / "Makefile"]:
        if file == Path(__file__):
            continue
        name = file.relative_to(ROOT)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            for found in re.findall(r"(?<![\w/.*{}-])[\w./-]*\w\.md\b", line):
                places = (ROOT / found, ROOT / "docs" / found, file.parent / found)
                if found not in OTHER_PAGES and not any(place.is_file() for place in places):
                    lost.append(f"{name}:{number}: {found}")
    assert not lost, "\n".join(lost)


def test_a_program_that_stands_in_a_text_imports_what_there_is() -> None:
    """Benchmarks and tests start programs that they hold as text, which no linter reads."""
    told = re.compile(r"^\s*from ((?:labtui|runners|store|benchmarks|tests)[\w.]*) import", re.M)
    files = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    named = {(name, path.name) for path in files for name in told.findall(path.read_text("utf-8"))}
    assert len(named) > 100
    missing = [one for one in sorted(named) if importlib.util.find_spec(one[0]) is None]
    assert not missing
