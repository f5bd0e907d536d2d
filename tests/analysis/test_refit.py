"""N* at another eps from what is stored: what decides, what does not, and the search that it gives."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labtui.analysis.refit import IN_PART, STOPPED, THINNED, answer_of, refit, verdict_of
from labtui.analysis.stored import stored_job
from runners.search import replay
from runners.spec import DenseSSM, Grid, Job, Lengths, ModularAddition, Search, Training
from runners.verdict import Thoroughness
from store import curves
from store.read import Lab, open_lab
from store.rows import Curve, JobRow, ProbeRow, TrialRow
from tests.cli.conftest import Labtui, lab, labtui, made

__all__ = ["lab", "labtui", "made"]


def job(**training: Any) -> Job:
    fields = {"steps": 300, "eval_every": 100, "batch_size": 32, "validation_size": 240} | training
    return Job(
        task=ModularAddition(m=3),
        format="acot",
        lengths=Lengths(distribution="fixed", length=6),
        model=DenseSSM(hidden=8),
        grid=Grid(learning_rates=(1e-2,), seeds=(1, 2)),
        training=Training(**fields),
        search=Search(eps=1e-2),
    )


def trial(outcome: Any, best: float | None, n: int = 64, **other: Any) -> TrialRow:
    fields = {"id": 1, "probe_id": 1, "job_id": 1, "n": n, "lr": 1e-2, "seed": 1, "outcome": outcome,
              "best_loss": best, "best_step": 100, "last_loss": best, "steps": 300, "wall_s": 1.0,
              "generalisation": None}  # fmt: skip
    return TrialRow(**(fields | other))


def curve(*losses: float) -> Curve:
    return Curve(tuple(100 * (i + 1) for i in range(len(losses))), losses, losses)


@pytest.mark.parametrize(
    ("outcome", "best", "eps", "below", "why"),
    [
        ("success", 0.009, 0.1, True, ""),
        ("success", 0.009, 0.01, True, ""),
        ("success", 0.0009, 0.001, True, ""),
        ("success", 0.009, 0.001, None, STOPPED),
        ("superseded", 0.05, 0.1, True, ""),
        ("superseded", 0.05, 0.01, None, STOPPED),
        ("superseded", None, 0.1, None, STOPPED),
        ("failure", 0.05, 0.1, True, ""),
        ("failure", 0.05, 0.02, False, ""),
        ("failure", 0.05, 0.001, False, ""),
        ("diverged", 0.5, 0.1, False, ""),
        ("running", 0.5, 0.1, None, "not at its end"),
    ],
)
def test_what_a_trial_says_where_every_evaluation_was_exact(
    outcome: str, best: float | None, eps: float, below: bool | None, why: str
) -> None:
    assert answer_of(trial(outcome, best), job(), eps, None) == (below, why)


def test_an_evaluation_in_part_is_certain_only_where_its_part_is() -> None:
    """32 of 240 sequences: a first part of 0.9 leaves at least 0.12 for the whole, one of 0.4 only 0.05."""
    here = job(eval_every=25, steps=75)
    assert Thoroughness.of(116, 32, 25).every > 1  # 116: a fifth of the sequences of length 6
    short = trial("failure", 0.9, steps=75)
    assert answer_of(short, here, 0.1, curve(0.9, 0.95, 0.9)) == (False, "")
    assert answer_of(short, here, 0.5, curve(0.9, 0.95, 0.9)) == (None, IN_PART)
    assert answer_of(short, here, 0.1, curve(0.9, 0.2, 0.9)) == (None, IN_PART)
    assert answer_of(short, here, 0.1, curve(0.9, 0.9)) == (None, THINNED)
    assert answer_of(short, here, 0.1, None) == (None, THINNED)
    assert answer_of(short, here, 0.001, None) == (False, "")


def reread(found: Lab, number: int, eps: float | None = None) -> Any:
    row = found.job(number)
    spec = stored_job(found.job_spec(number))
    assert spec is not None
    return refit(
        row, spec, eps or row.eps, found.probes(number), found.trials(number), found.curve, replay
    )  # fmt: skip


def test_at_its_own_eps_a_search_is_what_is_stored(lab: Path) -> None:
    with open_lab(lab, read_only=True) as found:
        done = [row for row in found.jobs() if row.state == "done"]
        assert len(done) > 20
        for row in done:
            again = reread(found, row.id)
            assert (again.status, again.lo, again.hi, again.flags) == (row.status, row.lo, row.hi, row.flags)
            assert not again.lacks


def test_a_larger_eps_asks_no_more_and_a_smaller_one_says_what_is_missing(lab: Path) -> None:
    with open_lab(lab, read_only=True) as found:
        done = [row.id for row in found.jobs() if row.state == "done" and row.status == "bracket"]
        for number in done:
            row = found.job(number)
            wide = reread(found, number, 5.0)  # above every loss of the made-up curves
            assert wide.hi is not None
            assert wide.hi <= (row.hi or 0)
            tight = reread(found, number, 1e-9)
            assert tight.missing == {STOPPED: tight.missing[STOPPED]}
            assert tight.next_n is not None or tight.status != "open"


def test_seeds_that_are_not_decided_count_both_ways() -> None:
    spec = job(eval_every=25, steps=75)
    spec = spec.model_copy(update={"search": Search(strategy="adaptive", eps=1e-2)})
    fields = dict.fromkeys(JobRow.__dataclass_fields__)
    row = JobRow(**(fields | {"id": 1, "n_max": spec.n_max, "flags": (), "eps": 1e-2}))  # type: ignore[arg-type]
    probes, trials = [], []
    for i, (n, won) in enumerate([(584, 8), (100, 4), (25, 0)]):
        empty = dict.fromkeys(ProbeRow.__dataclass_fields__)
        probes.append(ProbeRow(**(empty | {"id": i, "n": n, "verdict": won > 0, "speculative": False})))  # type: ignore[arg-type]
        for s in range(8):
            one = trial("success" if s < won else "failure", 0.005 if s < won else 0.9, n, id=10 * i + s)
            trials.append(replace(one, probe_id=i, seed=10 * i + s, steps=75))
    sure = refit(row, spec, 0.02, probes, trials, lambda _: curve(0.9, 0.9, 0.9), replay)
    both = refit(row, spec, 0.02, probes, trials, lambda _: curve(0.9, 0.03, 0.9), replay)
    assert not sure.missing
    assert both.missing == {IN_PART: 12}
    assert both.estimate is not None
    assert sure.estimate is not None
    assert both.estimate[1] < sure.estimate[1] <= sure.estimate[0] <= sure.estimate[2] == both.estimate[2]


def test_the_command_has_a_column_for_each_eps(lab: Path, labtui: Labtui) -> None:
    said = labtui("refit", "--eps", "1e-1,1e-3", "--lab", str(lab))
    assert said.code == 0
    head = said.out.splitlines()[0]
    assert "at 0.1" in head
    assert "at 1e-3" in head
    data = labtui("refit", "1", "--eps", "1e-3", "--lab", str(lab), "--json").json
    assert (data[0]["job"], data[0]["eps"], data[0]["missing"]) == (1, 1e-3, {})
    with sqlite3.connect(lab) as connection:
        hi = connection.execute("SELECT hi FROM job WHERE id = 1").fetchone()[0]
    connection.close()
    assert data[0]["hi"] == hi


@pytest.mark.parametrize(
    ("words", "told"), [("x", "'x'"), ("0", "'0'"), ("1e-3,-1", "'-1'"), ("nan", "'nan'")]
)
def test_no_eps_is_one_sentence(words: str, told: str, lab: Path, labtui: Labtui) -> None:
    said = labtui("refit", f"--eps={words}", "--lab", str(lab))
    assert said.code == 2
    assert f"--eps has {told}; expected numbers above 0" in said.err


REAL = """
[job]
m = 3
format = "acot"
lengths = {{ distribution = "fixed", length = 6 }}
model = {{ kind = "dense_ssm", hidden = 8 }}
grid = {{ learning_rates = [1e-2, 3e-3], seeds = [10, 20] }}
training = {{ steps = 300, eval_every = 20, batch_size = 32, validation_size = 240, threads = 1 }}
search = {{ strategy = "log", eps = {eps} }}
"""


@pytest.mark.slow
def test_what_is_decided_is_what_training_at_that_eps_gives(labtui: Labtui, tmp_path: Path) -> None:
    """The same search trained at three eps: each verdict read off another's losses is the trained one."""
    values = (0.1, 0.02, 0.004)
    for eps in values:
        (tmp_path / "job.toml").write_text(REAL.format(eps=eps))
        assert labtui("submit", "job.toml").code == 0
    assert labtui("run", "--slots", "1").code == 0
    compared = {True: 0, False: 0}
    undecided = 0
    with open_lab(tmp_path / "lab.db", read_only=True) as found:
        trained = {eps: {p.n: p.verdict for p in found.probes(i + 1)} for i, eps in enumerate(values)}
        for number in (1, 2, 3):
            spec = stored_job(found.job_spec(number))
            assert spec is not None
            for probe in found.probes(number):
                mine = [t for t in found.trials(number) if t.probe_id == probe.id]
                for eps in values:
                    told = verdict_of(probe, mine, spec, eps, found.curve)
                    if told.evidence.success or not told.undecided:
                        if probe.n in trained[eps]:
                            compared[told.evidence.success] += 1
                            assert told.evidence.success == trained[eps][probe.n], (number, probe.n, eps)
                    else:
                        undecided += 1
    assert min(compared.values()) >= 3
    assert undecided > 0


def test_a_curve_is_stored_as_it_is_read_here() -> None:
    """Thinning keeps 32 points; a job with more evaluations is told apart by their number."""
    many = Curve(tuple(range(25, 1025, 25)), (0.9,) * 40, (0.9,) * 40)
    stored = curves.decode(curves.encode(many))
    assert stored is not None
    assert len(stored.steps) == 32
    long = trial("failure", 0.9, steps=1000)
    assert answer_of(long, job(eval_every=25, steps=1000), 0.1, stored) == (None, THINNED)
