"""Reading specs from TOML: sugar is resolved, plugins and table files become data,
errors become one sentence with a place.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from runners.presets import preset_names, read_preset
from runners.spec.base import Spec
from runners.spec.errors import SpecError
from runners.spec.job import Job
from runners.spec.model import Model
from runners.spec.plugins import check_models
from runners.spec.sentences import Keys, dotted, first_problem, line_of
from runners.spec.study import Study
from runners.spec.sugar import Sugar
from runners.spec.task import Automaton

MAX_FILE_BYTES = 1 << 20
MAX_JOBS = 100_000
_DEEP_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){64}""")


class NamedJob(Spec):
    """A file that holds one job instead of a study."""

    name: Annotated[str, Field(max_length=80)] = ""
    """How the job is listed; empty: its label. No part of its hash."""
    notes: Annotated[str, Field(max_length=10_000)] = ""
    """Free text."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = ()
    """Words to filter by."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Higher runs first."""
    job: Job
    """The search."""


def load(name_or_path: str) -> Study | NamedJob:
    """Load a study or a job from a preset's name or a TOML file.

    Raises:
        SpecError: no such preset or file, bad TOML, or a value that is out of its range;
        one sentence with the place.
    """
    text, source, folder = read_source(name_or_path)
    return parse(text, source=source, folder=folder)


def read_source(name_or_path: str) -> tuple[str, str, Path | None]:
    """Read (text, source for messages, folder for relative file names) of a preset or file."""
    presets = preset_names()
    if name_or_path in presets:
        return read_preset(name_or_path), f"preset {name_or_path}", None
    path = Path(name_or_path)
    if not path.exists():
        known = ", ".join(presets)
        near = get_close_matches(name_or_path, presets, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SpecError(
            f"no preset and no file is called {name_or_path!r}; expected a TOML file or one of: {known}{hint}"
        )
    return _read_file(path), str(path), path.parent


def parse(text: str, *, source: str = "", folder: Path | None = None) -> Study | NamedJob:
    """Parse text like :func:`load`; a relative table file is looked for in ``folder``."""
    try:
        return _parse(text.removeprefix("\ufeff"), source, folder)
    except RecursionError:
        raise SpecError("is nested too deeply; expected a study or a job", source=source) from None


def parse_data(data: Mapping[str, Any], *, source: str = "") -> Study | NamedJob:
    """Parse like :func:`parse` what a TOML file would hold, as plain dicts and lists."""
    try:
        plain = json.loads(json.dumps(data))
        if not isinstance(plain, dict):
            raise TypeError(f"a spec is no {type(data).__name__}")
        return _validate("", plain, source, None)
    except RecursionError:
        raise SpecError("is nested too deeply; expected a study or a job", source=source) from None
    except TypeError as error:
        raise SpecError(f"{error}; expected texts, numbers, lists and dicts", source=source) from None


def _parse(text: str, source: str, folder: Path | None) -> Study | NamedJob:
    return _validate(text, _parse_toml(text, source), source, folder)


def _validate(text: str, read: dict[str, Any], source: str, folder: Path | None) -> Study | NamedJob:
    sugar = Sugar(text, source, folder, read_table)
    data = sugar.resolve(read)
    model: type[Study] | type[NamedJob] = Study if "sweep" in data else NamedJob
    try:
        spec = model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problem, keys = first_problem(error, model, sugar.origin)
        raise SpecError(problem, source=source, line=line_of(text, keys)) from None
    _check_unused_models(sugar.unused, text, source)
    _check_plugins(spec, text, source)
    if isinstance(spec, Study):
        _check_cells(spec, text, source, sugar.origin)
    return spec


class _Unused(Spec):
    model: Model


def _check_unused_models(unused: dict[str, Any], text: str, source: str) -> None:
    """A ``[models.NAME]`` table that nothing names is checked like the others."""
    for name, table in unused.items():
        try:
            _Unused.model_validate_json(json.dumps({"model": table}))
        except ValidationError as error:
            problem, keys = first_problem(error, _Unused, lambda keys, at=("models", name): at + keys[1:])  # type: ignore[misc]
            raise SpecError(problem, source=source, line=line_of(text, keys)) from None


def _check_plugins(spec: Study | NamedJob, text: str, source: str) -> None:
    used = (
        [model for sweep in spec.sweep for model in sweep.model]
        if isinstance(spec, Study)
        else [spec.job.model]
    )
    try:
        check_models(used)
    except SpecError as error:
        raise SpecError(error.problem, source=source, line=line_of(text, ("models",))) from None


def read_table(path: Path) -> dict[str, Any]:
    """Read an automaton's table file, checked, as plain data.

    Raises:
        SpecError: it cannot be read, or holds no valid automaton; the place is in that file.
    """
    text, source = _read_file(path), str(path)
    data = _parse_toml(text, source)
    try:
        Automaton.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problem, keys = first_problem(error, Automaton)
        raise SpecError(problem, source=source, line=line_of(text, keys)) from None
    return data


def _read_file(path: Path) -> str:
    try:
        if not path.exists():
            raise SpecError("does not exist; expected a TOML file", source=str(path))
        if not path.is_file():
            raise SpecError("is not a file; expected a TOML file", source=str(path))
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SpecError(f"is larger than {MAX_FILE_BYTES} bytes; expected a TOML file", source=str(path))
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError("is not UTF-8 text; expected a TOML file", source=str(path)) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", source=str(path)) from None


def _parse_toml(text: str, source: str) -> dict[str, Any]:
    if _DEEP_KEY.search(text):  # tomllib's memory grows with the square of a dotted key's depth
        raise SpecError("not valid TOML: nested too deeply", source=source)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        what = str(error)[: where.start()] + f" (column {where.group(2)})" if where else str(error)
        raise SpecError(
            f"not valid TOML: {what}", source=source, line=int(where.group(1)) if where else None
        ) from None
    except ValueError:
        raise SpecError(
            "has a number with thousands of digits; expected numbers in their range", source=source
        ) from None
    except RecursionError:
        raise SpecError("not valid TOML: nested too deeply", source=source) from None
    _refuse_dates(data, source, text, ())
    return data


def _refuse_dates(value: Any, source: str, text: str, keys: tuple[str | int, ...]) -> None:
    if isinstance(value, datetime | date | time):
        dotted = ".".join(map(str, keys))
        raise SpecError(f"{dotted} is a date; expected no dates", source=source, line=line_of(text, keys))
    items: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in items:
        _refuse_dates(item, source, text, (*keys, key))


def _check_cells(study: Study, text: str, source: str, origin: Callable[[Keys], Keys]) -> None:
    """What only shows when the sweeps expand: their number, and combinations that have no valid job."""
    jobs = 0
    for i, sweep in enumerate(study.sweep):
        jobs += sweep.n_jobs
        if jobs > MAX_JOBS:
            before = "" if jobs == sweep.n_jobs else " with those before it"
            raise SpecError(
                f"{dotted(origin(('sweep', i)))} expands to {jobs} jobs{before}; expected at most {MAX_JOBS}",
                source=source,
                line=line_of(text, ("sweep", i)),
            )
        try:
            sweep.cells()
        except ValidationError as error:
            problem, keys = first_problem(error, Job, lambda keys, at=("sweep", i): origin(at + keys))  # type: ignore[misc]
            raise SpecError(problem, source=source, line=line_of(text, ("sweep", i, *keys[1:]))) from None
