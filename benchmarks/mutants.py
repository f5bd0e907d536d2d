"""Do the tests notice? ``python -m benchmarks.mutants [verdict|kappa|search|store]``.

A mutant is a module with one comparison, operator, number or truth value changed. Each runs in a forked
process against the tests of that module alone; one that no test notices is a survivor and is listed with its
line. docs/reliability.md argues those that are left.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
TARGETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "verdict": (
        ("runners.verdict",),
        ("tests/search/test_verdict.py",),
    ),
    "kappa": (("labtui.analysis.kappa",), ("tests/analysis/test_kappa.py",)),
    "search": (
        ("runners.search.bisection", "runners.search.replay", "runners.search.speculative"),
        (
            "tests/search/test_bisection.py",
            "tests/search/test_speculative.py",
            "tests/search/test_verdict.py",
        ),
    ),
    "store": (("store.write.jobs",), ("tests/store/test_job_states.py", "tests/store/test_lab_runs.py")),
}
CPU_S = 60
"""A mutant that computes for so long hangs, which its tests notice; the clock on the wall decides nothing."""
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE,), ast.LtE: (ast.Lt,), ast.Gt: (ast.GtE,), ast.GtE: (ast.Gt,), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One changed place."""

    module: str
    line: int
    was: str
    now: str
    tree: ast.Module


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")
    places = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.expr)]
    for index, place in enumerate(places):
        if not _may_change(place):
            continue
        for variant in range(2):
            tree = ast.parse(source)
            node = [n for n in ast.walk(tree) if isinstance(n, ast.expr)][index]
            was = ast.unparse(node)
            if _change(node, variant):
                yield Mutant(module, node.lineno, was, ast.unparse(node), tree)


def _may_change(node: ast.expr) -> bool:
    """Whether it is worth a tree of its own, which takes long to make."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    return isinstance(node, ast.Compare | ast.BoolOp | ast.BinOp | ast.UnaryOp)


def _change(node: ast.expr, variant: int) -> bool:
    """Change a node in place; False where it has no such variant."""
    if isinstance(node, ast.Compare) and variant == 0:
        node.ops[0] = COMPARISONS[type(node.ops[0])][0]()
        return True
    if isinstance(node, ast.BoolOp) and variant == 0:
        node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        return True
    if isinstance(node, ast.BinOp) and variant == 0 and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
        return True
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            node.value = not value
            return variant == 0
        if isinstance(value, int | float):
            node.value = value + (1 if variant == 0 else -1)
            return True
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and variant == 0:
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        return True
    return False


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module the mutant's code."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.mutant.module else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(ROOT / f"{self.mutant.module.replace('.', '/')}.py")
        exec(compile(self.mutant.tree, module.__file__, "exec"), module.__dict__)  # noqa: S102 - our own source


def noticed(mutant: Mutant | None, tests: Sequence[str], profile: str = "fixed") -> bool:
    """Whether the tests fail with it; None: with the module as it is. A profile says how many examples."""
    if (child := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        with (
            Path(os.devnull).open("w") as null,
            contextlib.redirect_stdout(null),
            contextlib.redirect_stderr(null),
        ):
            code = 1
            with contextlib.suppress(BaseException):
                if mutant is not None:
                    sys.meta_path.insert(0, Finder(mutant))
                import pytest

                options = f"-q -x -m 'not slow' -p no:cacheprovider --tb=no --hypothesis-profile={profile}"
                code = pytest.main([*shlex.split(options), *tests])
        os._exit(1 if code else 0)
    return os.waitpid(child, 0)[1] != 0


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 1 where a mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", choices=TARGETS, help="else all")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long")
    parser.add_argument("--every", type=int, default=1, help="only each K-th mutant")
    args = parser.parse_args(argv)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import hypothesis  # noqa: F401 - what every child needs is loaded once
    import numpy  # noqa: F401
    import pydantic  # noqa: F401
    import pytest  # noqa: F401
    import scipy.special  # noqa: F401
    import sqlmodel  # noqa: F401

    end, left = time.monotonic() + 60 * args.minutes, 0
    for which in args.which or TARGETS:
        modules, tests = TARGETS[which]
        if noticed(None, tests):
            raise SystemExit(f"the tests of {which} fail without any mutant")
        tried = killed = 0
        for module in modules:
            for mutant in list(mutants(module))[:: args.every]:
                if time.monotonic() > end:
                    break
                tried += 1
                if noticed(mutant, tests, "few") or noticed(mutant, tests):
                    killed += 1
                    continue
                left += 1
                print(f"survives  {module}:{mutant.line}  {mutant.was}  ->  {mutant.now}", flush=True)
        print(f"{which}: {killed} of {tried} mutants noticed", flush=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
