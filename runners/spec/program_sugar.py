"""From a file with ``[program]`` to the data of a study or a job: axes of any name become tasks, what stands
in ``[grid]`` becomes settings, files get their digests. Nothing of the program is imported or run.
"""

from __future__ import annotations

import ast
import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from runners.spec.errors import SpecError
from runners.spec.job import numbered
from runners.spec.program import OWN, PLACEHOLDER, placeholders
from runners.spec.sentences import Keys
from runners.strategies import FRESH_SEEDS

Fail = Callable[[str, Keys], SpecError]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_SCRIPT = re.compile(r"[\w./-]{1,200}\.(?:py|sh|pl|rb|jl|R|js|lua)")
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_OF_PROGRAMS = ("eps", "criterion", "accuracy", "fresh")
"""Keys of a search that say when a model of ours succeeds."""
_SECTIONS = ("grid", "search")
MAX_FILES, MAX_CELLS, MAX_SETTINGS, MAX_SEEDS = 1000, 10_000, 64, 1000
_CHUNK = 1 << 20


class ProgramSugar:
    """Resolves one file's data."""

    def __init__(self, fail: Fail, folder: Path | None, origins: dict[Keys, Keys]) -> None:
        """``fail``: makes an error of a sentence and a place; ``origins``: where things came from."""
        self._fail, self._folder, self._origins = fail, folder or Path(), origins
        self._program: dict[str, Any] = {}
        self._wanted: tuple[str, ...] = ()
        """Names that the program takes."""
        self._open = False
        """It takes any name (``**kwargs``)."""
        self._optional: set[str] = set()
        """Parameters of its function that have a default."""

    def resolve(self, data: dict[str, Any]) -> dict[str, Any]:
        """Make plain data for Study or NamedJob.

        Raises:
            SpecError: a missing file, an unknown placeholder, an axis that fills none; one sentence.
        """
        data = dict(data)
        if "job" in data:
            raise self._fail("has both a [program] and a [job]; expected one of them", ("job",))
        sweeps, sharing = data.pop("sweep", None), data.pop("sharing", None)
        self._program = self._resolve_program(
            self._table(data.pop("program"), ("program",)), data.get("name")
        )
        grid, search = (self._table(data.pop(key, {}), (key,)) for key in _SECTIONS)
        if sweeps is None and sharing is None:
            self._origins["job", "model"] = ("program",)
            self._origins["job", "task"] = ("program",)
            data["job"] = self._searches(("job",), {}, (grid, ("grid",)), (search, ("search",)))
            lengths = {"distribution": "fixed", "length": 2}
            data["job"] |= {"task": {"kind": "axes"}, "model": self._program}
            data["job"] |= {"format": "outcome", "lengths": lengths}
            return data
        tables = [{}] if sweeps is None else sweeps if isinstance(sweeps, list) else [sweeps]
        over = self._sharing(sharing) if sharing is not None else None
        data["sweep"] = [
            self._sweep(self._table(t, ("sweep", i)), i, grid, search, over) for i, t in enumerate(tables)
        ]
        return data

    def _table(self, value: Any, keys: Keys) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._fail(f"{keys[0]} is not a table; expected [{keys[0]}]", keys)
        return dict(value)

    def _sweep(
        self, sweep: dict[str, Any], i: int, grid: dict[str, Any], search: dict[str, Any], over: Any
    ) -> dict[str, Any]:
        at: Keys = ("sweep", i)
        own = {key: self._table(sweep.pop(key), (*at, key)) for key in _SECTIONS if key in sweep}
        axes = {name: self._axis(name, v, (*at, name)) for name, v in sweep.items()}
        if prod(map(len, axes.values())) > MAX_CELLS:
            raise self._fail(f"sweep expands to more than {MAX_CELLS} cells; expected fewer values", at)
        shared = {over["over"]: over} if over is not None else {}
        for name in shared:
            if name in axes:
                raise self._fail(
                    f"sharing.over is {name!r}, which the sweep has too; expected one of them",
                    ("sharing", "over"),
                )
        out = self._searches(
            at,
            axes | shared,
            (own.get("grid", grid), (*at, "grid") if "grid" in own else ("grid",)),
            (own.get("search", search), (*at, "search") if "search" in own else ("search",)),
        )
        self._origins[(*at, "model", 0)] = ("program",)
        tasks = [{"kind": "axes", "values": dict(zip(axes, c, strict=True))} for c in product(*axes.values())]
        fixed = {"format": ["outcome"], "L": [2], "distribution": ["fixed"]}
        out |= {"task": tasks, "model": [self._program], **fixed}
        return out | ({"sharing": over} if over is not None else {"measure": "joint"})

    def _axis(self, name: str, value: Any, keys: Keys) -> list[Any]:
        """The values of an axis; one value may stand without brackets."""
        if not _NAME.fullmatch(name) or name in OWN:
            why = "is filled by labtui" if name in OWN else "is no name of a placeholder"
            raise self._fail(f"{'.'.join(map(str, keys[:1]))}.{name[:40]} {why}; expected another name", keys)
        values = value if isinstance(value, list) else [value]
        if not values or any(not isinstance(v, str | int | float | bool) or _endless(v) for v in values):
            raise self._fail(
                f"{name} has no plain values; expected texts, finite numbers or true and false", keys
            )
        return values

    def _searches(
        self,
        at: Keys,
        axes: dict[str, Any],
        grid: tuple[dict[str, Any], Keys],
        search: tuple[dict[str, Any], Keys],
    ) -> dict[str, Any]:
        """The sections ``grid`` and ``search``, and that all names fit together."""
        (table, grid_at), (searched, search_at) = grid, search
        settings = {
            k: self._axis(k, v, (*grid_at, k)) for k, v in table.items() if k not in ("seed", "seeds")
        }
        for name in settings:
            self._origins[(*at, "grid", "axes", name)] = (*grid_at, name)
            if name in axes:
                raise self._fail(
                    f"grid.{name} is an axis of the sweep too; expected one of them", (*grid_at, name)
                )
        self._origins[(*at, "grid", "seeds")] = (*grid_at, "seed")
        self._origins[(*at, "search")] = search_at
        self._check_names({**axes, **settings}, at, grid_at)
        seeded = self._open or "seed" in self._wanted
        strategy = searched.get("strategy")
        if not seeded and (strategy in FRESH_SEEDS or "seed" in table or "seeds" in table):
            why = f"the strategy {strategy!r} takes fresh seeds" if "seed" not in table else "grid has seeds"
            raise self._fail(
                f"{why}, and the program takes none; expected {{seed}} in its command", ("program",)
            )
        for key in _NOT_OF_PROGRAMS:
            if key in searched:
                raise self._fail(
                    f"search.{key} is not of a program; expected program.threshold", (*search_at, key)
                )
        if (count := prod(map(len, settings.values()))) > MAX_SETTINGS:
            raise self._fail(f"grid has {count} combinations; expected at most {MAX_SETTINGS}", grid_at)
        if "n_max" not in searched:
            raise self._fail(
                "search.n_max is missing; expected the most examples that the program can be given", search_at
            )
        made: dict[str, Any] = {"learning_rates": list(numbered(settings))}
        made |= {"axes": settings} if settings else {}
        if "seed" in table and "seeds" in table:
            raise self._fail("grid has both seed and seeds; expected one of them", (*grid_at, "seeds"))
        seeds = table.get("seed", table.get("seeds"))
        if seeds is not None:
            made["seeds"] = seeds if isinstance(seeds, list) else [seeds]
            if any(one in made["seeds"][:i] for i, one in enumerate(made["seeds"][:MAX_SEEDS])):
                raise self._fail(
                    "grid.seed has the same value twice; expected distinct values", (*grid_at, "seed")
                )
        elif not seeded:
            made["seeds"] = [0]
        return {"grid": made, "search": searched}

    def _check_names(self, filled: dict[str, Any], at: Keys, grid_at: Keys) -> None:
        known = (*OWN, *filled)
        for name in self._wanted:
            if name not in known and name not in self._optional:
                key = "function" if self._program.get("function") else "command"
                taken = f"wants {name!r}" if key == "function" else f"has the placeholder {{{name}}}"
                raise self._fail(
                    f"program.{key} {taken}, which nothing fills; expected one of: {', '.join(known)}",
                    ("program", key),
                )
        unused = [name for name in filled if name not in self._wanted] if not self._open else []
        if unused:
            where = grid_at if at == ("job",) else at
            raise self._fail(
                f"the axis {unused[0]!r} fills no placeholder; expected {{{unused[0]}}} in the command",
                (*where, unused[0]),
            )
        if "n" not in self._wanted and not self._open:
            raise self._fail(
                "the program takes no {n}; expected the sample size among its words", ("program",)
            )

    def _sharing(self, value: Any) -> dict[str, Any]:
        found = self._table(value, ("sharing",))
        over, parts, joint = (found.pop(key, None) for key in ("over", "parts", "joint"))
        if found:
            raise self._fail(
                f"unknown key sharing.{min(found)[:40]}; expected over, parts and joint", ("sharing",)
            )
        if not isinstance(over, str) or not _NAME.fullmatch(over) or over in OWN:
            given = "is missing" if over is None else f"is {over!r:.40}"
            raise self._fail(f"sharing.over {given}; expected the name of an axis", ("sharing", "over"))
        if not isinstance(parts, list) or len(parts) < 2 or joint is None:
            raise self._fail(
                "sharing has no parts and joint; expected two or more values and the one that stands for all",
                ("sharing",),
            )
        values = self._axis(over, [*parts, joint], ("sharing", "parts"))
        if any(one in values[:i] for i, one in enumerate(values)):
            raise self._fail(
                "sharing.parts and joint have the same value twice; expected distinct values",
                ("sharing", "parts"),
            )
        return {"over": over, "parts": parts, "joint": joint}

    # The program itself

    def _resolve_program(self, raw: dict[str, Any], name: Any) -> dict[str, Any]:
        at: Keys = ("program",)
        program = {"kind": "program", **raw}
        place = raw.get("cwd", ".")
        if not isinstance(place, str):
            raise self._fail(f"program.cwd is {place!r:.40}; expected a folder's name", (*at, "cwd"))
        cwd = Path(os.path.abspath(self._folder / place))  # noqa: PTH100 - resolve() would follow links
        if not _there(cwd.is_dir):
            raise self._fail(f"program.cwd is {place!r:.80}, which is no folder; expected one", (*at, "cwd"))
        program["cwd"] = str(cwd)
        command = raw.get("command", [])
        if not isinstance(command, list) or not all(isinstance(w, str) for w in command):
            raise self._fail("program.command is no list of texts; expected its words", (*at, "command"))
        names = dict.fromkeys(self._listed(raw.get("files", []), cwd))
        env = raw.get("env", {})
        self._check_words(raw, env)
        texts = [*command, *(env.values() if isinstance(env, dict) else ())]
        self._wanted = tuple(dict.fromkeys(n for t in texts if isinstance(t, str) for n in placeholders(t)))
        if isinstance(function := raw.get("function"), str) and function:
            names |= dict.fromkeys([self._read_function(function, cwd)])
        else:
            names |= dict.fromkeys(_scripts(command, cwd))
            gone = [w for w in command if _SCRIPT.fullmatch(w) and not _there((cwd / w).is_file)]
            if gone:
                raise self._fail(
                    f"program.command names {gone[0]!r:.80}, which is not in {cwd}; expected a file",
                    (*at, "command"),
                )
            if command and (why := _unstartable(command[0], cwd, env)):
                raise self._fail(f"program.command begins with {command[0]!r:.80}, {why}", (*at, "command"))
        program["files"] = {name: self._digest(cwd, name) for name in names}
        stem = Path(next(iter(_scripts(command, cwd)), command[0] if command else "program")).stem
        program.setdefault("name", (name if isinstance(name, str) and name else stem)[:40] or "program")
        return program

    def _check_words(self, raw: dict[str, Any], env: Any) -> None:
        """What the fields' own patterns would say less clearly."""
        metric, read = raw.get("metric"), raw.get("read")
        if isinstance(metric, str) and not _METRIC.fullmatch(metric):
            raise self._fail(
                f"program.metric is {metric!r:.40}; expected a key of its reports: letters, digits, _.-",
                ("program", "metric"),
            )
        if isinstance(read, str) and read.strip() == "json:":
            raise self._fail("program.read is 'json:'; expected json:KEY", ("program", "read"))
        for name in env if isinstance(env, dict) else ():
            if not _VARIABLE.fullmatch(name):
                raise self._fail(
                    f"program.env has {name!r:.40}; expected a variable's name: letters, digits and _",
                    ("program", "env"),
                )

    def _listed(self, files: Any, cwd: Path) -> Iterable[str]:
        """The names in ``files``, patterns with ``*`` expanded; of a table its keys."""
        if not isinstance(files, list | dict) or not all(isinstance(f, str) for f in files):
            raise self._fail(
                "program.files is no list of names; expected files below cwd", ("program", "files")
            )
        for name in files:
            found = [name] if "*" not in name else self._matches(name, cwd)
            if not found or len(found) > MAX_FILES:
                many = "no file" if not found else f"more than {MAX_FILES} files"
                raise self._fail(
                    f"program.files has {name!r:.80}, which names {many}; expected files",
                    ("program", "files"),
                )
            yield from found

    def _matches(self, pattern: str, cwd: Path) -> list[str]:
        try:
            return sorted(str(f.relative_to(cwd)) for f in cwd.glob(pattern) if f.is_file())
        except (ValueError, NotImplementedError, OSError, RecursionError) as error:
            raise self._fail(
                f"program.files has {pattern!r:.80}, which names nothing ({error})", ("program", "files")
            ) from None

    def _digest(self, cwd: Path, name: str) -> str:
        try:
            return digest(cwd / name)
        except OSError as error:
            raise self._fail(
                f"program.files: {name[:80] or 'nothing'} cannot be read in {cwd} ({error.strerror}); "
                "expected a file",
                ("program", "files"),
            ) from None

    def _read_function(self, function: str, cwd: Path) -> str:
        """The file of ``module:function``; its parameters become the names that are wanted."""
        module, _, wanted = function.partition(":")
        stem = module.replace(".", "/")
        file = next((f for f in (f"{stem}.py", f"{stem}/__init__.py") if _there((cwd / f).is_file)), None)
        if file is None:
            raise self._fail(
                f"program.function is {function!r:.80}, and {cwd} has no {stem[:80]}.py; "
                "expected module:function",
                ("program", "function"),
            )
        try:
            tree = ast.parse((cwd / file).read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
            raise self._fail(
                f"program.function: {file} is no Python ({error})", ("program", "function")
            ) from None
        found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == wanted]
        if not found:
            raise self._fail(
                f"program.function: {file} has no function {wanted!r:.60}; expected one at its top level",
                ("program", "function"),
            )
        a = found[-1].args
        self._open = a.kwarg is not None
        self._optional = {p.arg for p in a.args[len(a.args) - len(a.defaults) :]}
        self._optional |= {p.arg for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None}
        self._wanted += tuple(p.arg for p in (*a.args, *a.kwonlyargs))
        return file


def _scripts(command: list[str], cwd: Path) -> list[str]:
    """The words of a command that name a file, but for a program that is looked for on the PATH."""
    return [
        word
        for place, word in enumerate(command)
        if word
        and not PLACEHOLDER.search(word)
        and (place or ("/" in word and not word.startswith("/")))
        and len(word) < 400
        and _there((cwd / word).is_file)
    ]


def _there(found: Callable[[], bool]) -> bool:
    """What a path says of itself; no for a name that no file can have."""
    try:
        return found()
    except (OSError, ValueError):
        return False


def _endless(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _unstartable(word: str, cwd: Path, env: Any) -> str:
    """Why the first word of a command starts nothing; empty where it does, or may on another machine."""
    own = placeholders(word)
    if not word.strip() or "n" in own or "seed" in own:
        return "which is no program; expected one"
    elsewhere = word.startswith("/") and not _there(Path(word).exists)
    if own or elsewhere or word in ("python", "python3") or (isinstance(env, dict) and "PATH" in env):
        return ""
    if "/" in word:
        found = cwd / word
        if not _there(found.is_file):
            return "which is not there; expected a program"
        return (
            ""
            if os.access(found, os.X_OK)
            else "which may not be executed; expected chmod +x, or sh before it"
        )
    return "" if shutil.which(word) else "which is not on the PATH; expected a program"


def digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: it cannot be read, or is no ordinary file.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "no such file" if not path.exists() else "no ordinary file", str(path))
    with path.open("rb") as f:
        found = hashlib.sha256()
        while chunk := f.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
