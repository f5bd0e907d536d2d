"""The form: fields over a document, TOML out, the spec's own sentences back."""

from __future__ import annotations

import tomllib

import pytest

from labtui.tui.screens.checking import Known, check
from labtui.tui.screens.form import DEFAULTS, SEARCH, SEARCH_TOML, STUDY, Form, dump
from runners.presets import preset_names, read_preset
from runners.spec import Grid, Search, Study, Sweep, Training, parse


@pytest.mark.parametrize("name", ["quick", "demo", "paper"])
def test_presets_survive_the_form(name: str) -> None:
    assert name in preset_names()
    text = read_preset(name)
    if name == "paper":  # its 10,000 searches are expanded elsewhere
        assert tomllib.loads(dump(Form.of(text).doc)) == Form.of(text).doc
    else:
        assert parse(Form.of(text).toml()) == parse(text)


def type_in(form: Form, label: str, text: str) -> None:
    form.cursor = next(i for i, f in enumerate(form.fields) if f.label == label)
    form.move(0)
    form.key("ctrl+u", None, False)
    form.edit.set("")
    for char in text:
        form.key(char, char, True)
    form.commit()


def test_what_is_typed_becomes_toml() -> None:
    form = Form.of(read_preset("demo"))
    type_in(form, "L", "5, 7")
    type_in(form, "format", "acot, cot")
    type_in(form, "eps", "1e-2")
    type_in(form, "N max", "")
    sweep = tomllib.loads(form.toml())["sweep"][0]
    assert sweep["L"] == [5, 7]
    assert sweep["format"] == ["acot", "cot"]
    assert sweep["search"] == {"eps": 0.01}
    form.turn(1)
    assert form.text(form.fields[5]) == ""
    assert form.which == 1


def test_a_published_protocol_can_be_typed() -> None:
    form = Form.of(read_preset("quick"))
    typed = {
        "task": "S3", "m": "", "test at": "40, 64", "test at 2L": "true", "decay": "0.1", "clip": "1.0",
        "schedule": "cosine", "warm-up": "0.1", "final rate": "0.01", "strategy": "scan", "ladder": "60, 92",
        "criterion": "accuracy", "accuracy": "0.9", "fresh": "512", "eps": "",
    }  # fmt: skip
    for label, text in typed.items():
        type_in(form, label, text)
    spec = parse(form.toml())
    assert isinstance(spec, Study)
    sweep = spec.sweep[0]
    assert (sweep.training.weight_decay, sweep.training.clip, sweep.training.warmup) == (0.1, 1.0, 0.1)
    assert (sweep.training.schedule, sweep.training.final_rate) == ("cosine", 0.01)
    assert (sweep.search.criterion, sweep.search.accuracy, sweep.search.fresh) == ("accuracy", 0.9, 512)
    assert (sweep.search.ladder, sweep.generalisation_lengths) == ((60, 92), (40, 64))
    assert sweep.task[0].n_states == 6


def test_wrong_values_give_the_specs_sentence_and_line() -> None:
    form = Form.of(read_preset("quick"))
    type_in(form, "steps", "-3")
    checked = check(form.toml(), Known())
    assert "training.steps is -3; expected at least 1" in checked.problem
    assert checked.line is not None
    assert form.toml().splitlines()[checked.line - 1] == "steps = -3"


def test_cost_counts_what_is_known() -> None:
    checked = check(read_preset("quick"), Known())
    assert (checked.problem, checked.searches, checked.reused, checked.cells) == ("", 8, 0, 2)
    spec = parse(read_preset("quick"))
    hashes = frozenset(job.hash for job in list(spec.jobs())[:3])  # type: ignore[union-attr]
    again = check(read_preset("quick"), Known(hashes))
    assert again.reused == 3
    assert again.trials < checked.trials
    assert check(SEARCH_TOML, Known()).searches == 1


def test_shown_defaults_are_the_specs() -> None:
    section = {"grid": Grid(), "training": Training(), "search": Search()}
    for path, shown in DEFAULTS.items():
        if len(path) == 2 and path[0] in section and path[1] != "n_max":
            value = getattr(section[path[0]], path[1])
            assert shown == (", ".join(map(str, value)) if isinstance(value, tuple) else str(value)), path
    assert DEFAULTS["min_length",] == str(Sweep.model_fields["min_length"].default)
    assert {f.label for f in STUDY} > {"m", "L", "eps"}
    assert {f.label for f in SEARCH} > {"L", "eps"}


def test_a_value_that_is_retyped_keeps_its_line() -> None:
    form = Form.of('[[sweep]]\nm = 3\nformat = "cot"\nL = 7\n')
    before = form.toml()
    form.cursor = next(i for i, f in enumerate(form.fields) if f.label == "format")
    form._load()
    for _ in "cot":
        form.key("backspace", None, False)
    assert "format" not in form.toml()
    for letter in "cot":
        form.key(letter, letter, True)
    assert form.toml() == before


def test_a_preset_is_told_by_its_first_sentence() -> None:
    from labtui.tui.screens.new import _first_comment

    for name in preset_names():
        told = _first_comment(read_preset(name))
        assert told
        assert told[-1] not in ",;:."
    assert (
        _first_comment("# Two lines,\n# one sentence. And more\nx = 1\n# no\n") == "Two lines, one sentence"
    )
    assert _first_comment("x = 1\n") == ""
