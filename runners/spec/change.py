"""A stored search back as TOML, a spec with keys set to other values, and in what two searches differ."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from runners.spec.errors import SpecError
from runners.spec.job import Job, numbered
from runners.spec.load import NamedJob
from runners.spec.plugins import check_models
from runners.spec.sentences import first_problem
from runners.spec.study import Study


def to_toml(spec: NamedJob) -> str:
    """A file that reads back as this job, with the same hash; what is at its default is left out."""
    lines = [f"{key} = {_toml(value)}" for key, value in _own(spec) if key != "job"]
    job = dict(_own(spec.job))
    plain = {key: value for key, value in job.items() if key not in ("grid", "training", "search")}
    lines += ["", "[job]", *(f"{key} = {_toml(value)}" for key, value in plain.items())]
    for section in ("grid", "training", "search"):
        own = dict(_own(getattr(spec.job, section)))
        if own:
            lines += ["", f"[job.{section}]", *(f"{key} = {_toml(value)}" for key, value in own.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def with_keys(spec: Study | NamedJob, settings: Iterable[str]) -> Study | NamedJob:
    """The spec with keys set: ``search.eps=0.03``, ``m=5``, ``format=cot``, ``name=again``.

    A key is one of a job (of every sweep of a study, its joint section included) or of the file. A value is
    TOML; a bare word is text.

    Raises:
        SpecError: no such key, or a value that it does not take; the setting is named.
    """
    model: type[BaseModel] = type(spec)
    data = spec.model_dump(mode="json")
    for setting in settings:
        key, sign, text = setting.partition("=")
        path = [part.strip() for part in key.split(".")]
        if not sign or not all(re.fullmatch(r"[A-Za-z0-9_]{1,60}", part) for part in path):
            raise SpecError(f"--set {setting!r} is no KEY=VALUE; expected for example search.eps=0.03")
        value = _value(text.strip())
        for holder, keys in _holders(data, path):
            _put(holder, keys, value, setting)
        try:
            spec = model.model_validate_json(json.dumps(data))  # type: ignore[assignment]
            data = spec.model_dump(mode="json")
            jobs = spec.jobs() if isinstance(spec, Study) else (spec.job,)
        except ValidationError as error:
            problem, _ = first_problem(error, Job if error.title == "Job" else model)
            raise SpecError(f"--set {setting}: {problem}") from None
        check_models(job.model for job in jobs)
    return spec


def differences(job: Job, other: Job) -> tuple[tuple[str, str, str], ...]:
    """(dotted key, value here, value there) of everything in which two searches differ, defaults resolved."""
    here, there = _flat(json.loads(job.canonical())), _flat(json.loads(other.canonical()))
    keys = [*here, *(key for key in there if key not in here)]
    return tuple(
        (key, _shown(here.get(key)), _shown(there.get(key)))
        for key in keys
        if here.get(key) != there.get(key)
    )


def _own(model: BaseModel) -> list[tuple[str, Any]]:
    """(key, JSON value) of what is required or not at its default."""
    data = model.model_dump(mode="json")
    fields = type(model).model_fields
    return [
        (key, value)
        for key, value in data.items()
        if value is not None and (fields[key].is_required() or getattr(model, key) != fields[key].default)
    ]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "".join(c if c.isprintable() else _escape(c) for c in json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        inner = (f"{_key(key)} = {_toml(item)}" for key, item in value.items() if item is not None)
        return "{" + ", ".join(inner) + "}"
    return repr(value)


def _escape(sign: str) -> str:
    """What no terminal is to obey, such as a control of 8 bits or of the direction of text."""
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _value(text: str) -> Any:
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float | str | list | dict) else text


def _holders(data: dict[str, Any], path: list[str]) -> list[tuple[dict[str, Any], list[str]]]:
    """The tables that a setting changes, each with the rest of its path."""
    if "job" in data:
        if path[0] in data and path[0] != "job":
            return [(data, path)]
        return [(data["job"], path[1:] if path[0] == "job" and len(path) > 1 else path)]
    if path[0] in data and path[0] != "sweep":
        return [(data, path)]
    path = path[1:] if path[0] == "sweep" and len(path) > 1 else path
    joint = [
        (sweep["joint"], path) for sweep in data["sweep"] if len(path) > 1 and sweep["joint"].get(path[0])
    ]
    return [*((sweep, path) for sweep in data["sweep"]), *joint]


def _put(holder: dict[str, Any], path: list[str], value: Any, setting: str) -> None:
    if path == ["m"]:
        numbers = value if isinstance(value, list) else [value]
        tasks = [{"kind": "modular_addition", "m": m} for m in numbers]
        holder["task"] = tasks if isinstance(holder.get("task"), list) else tasks[0]
        return
    if path == ["L"] and "lengths" in holder:
        path = ["lengths", "length"]
    if path[0] == "program":
        path = ["model", *path[1:]]
    if path[0] == "grid" and len(path) == 2 and (axes := holder.get("grid", {}).get("axes")):
        path = ["grid", *(["axes", path[1]] if path[1] in axes else [path[1]])]
    outer = holder
    for part in path[:-1]:
        outer = holder
        inner = holder.get(part)
        if isinstance(inner, list) and len(inner) == 1:  # a sweep's axis with one value
            inner = inner[0]
        if not isinstance(inner, dict):
            raise SpecError(f"--set {setting}: {part} is no table of one value; expected a key of a job")
        holder = inner
    old = holder.get(path[-1])
    holder[path[-1]] = [value] if isinstance(old, list) and not isinstance(value, list) else value
    if path[-2:-1] == ["axes"]:
        outer["learning_rates"] = list(numbered(holder))
    if path == ["lengths", "length"] or (path[-1] == "length" and holder.get("distribution") == "fixed"):
        if holder.get("distribution") == "fixed":
            holder["min_length"] = value
        elif "lengths" in holder and holder["lengths"].get("distribution") == "fixed":
            holder["lengths"]["min_length"] = value


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {at: value}
    out: dict[str, Any] = {}
    for key, item in value.items():
        out |= _flat(item, f"{at}.{key}" if at else key)
    return out


def _shown(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else _toml(value)
    return text if len(text) <= 60 else text[:57] + "..."
