"""The supervisor's writes on probes and their trials: begun or continued, how far, and ended once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runners.verdict import Outcome, Undecided, probe_verdict
from store import curves
from store.errors import Illegal, LabError
from store.rows import Curve
from store.write.tx import Tx, Verdict, finite, least

_TRIAL = (
    "SELECT trial.outcome, trial.probe_id, trial.job_id, probe.state, probe.epoch, probe.attempt "
    "FROM trial JOIN probe ON probe.id = trial.probe_id WHERE trial.id = :trial"
)
_PROGRESS = (
    "UPDATE trial SET steps = :steps, best_loss = :best, best_step = :at, last_loss = :last, "
    "wall_s = COALESCE(:wall, wall_s) WHERE id = :trial AND outcome = 'running'"
)
_END = (
    "UPDATE trial SET outcome = :outcome, steps = :steps, best_loss = :best, best_step = :at, "
    "last_loss = :last, "
    "wall_s = :wall, generalisation = :general WHERE id = :trial"
)
_CURVE = (
    "INSERT INTO curve (trial_id, points) VALUES (:trial, :points) "
    "ON CONFLICT (trial_id) DO UPDATE SET points = excluded.points"
)
NEW_PROBE = {
    "state": "running",
    "verdict": None,
    "turn": None,
    "ended_at": None,
    "wall_s": 0.0,
    "device_s": 0.0,
    "member_steps": 0,
    "trials_ended": 0,
    "step": 0,
    "fraction": 0.0,
    "best_loss": None,
    "seeds": 0,
    "successes": 0,
    "checkpoint": None,
    "checkpoint_step": 0,
    "plan": "",
}
NEW_TRIAL = {
    "outcome": "running",
    "best_loss": None,
    "best_step": 0,
    "last_loss": None,
    "steps": 0,
    "wall_s": 0.0,
    "generalisation": None,
}
"""What a row begins with, as ``store.schema`` says (a test holds them together)."""
LEAST_LOSS = (
    "best_loss = CASE WHEN :loss IS NULL THEN best_loss ELSE min(COALESCE(best_loss, :loss), :loss) END"
)


@dataclass(frozen=True)
class Begun:
    """A probe that may train now."""

    probe_id: int
    trial_ids: tuple[int, ...]
    """In the order of the members."""
    resumed: bool
    checkpoint: str | None
    """Where an interrupted run of it left off."""
    plan: str
    """JSON of the plan it began with; "" where there is none."""
    ended: tuple[bool, ...]
    """Which members had ended before the interruption; their ends are stored."""
    steps: tuple[int, ...] = ()
    """Of each member, from earlier runs of the probe."""
    walls: tuple[float, ...] = ()
    """Seconds of each member, from earlier runs."""
    wall_s: float = 0.0
    device_s: float = 0.0
    """What earlier runs of the probe have taken."""


def digest(members: Sequence[tuple[float, int]]) -> str:
    """A short name for a set of (learning rate, seed)."""
    text = json.dumps(sorted([float(lr), int(seed)] for lr, seed in members))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kind_of(device: str | None) -> str:
    """cpu, cuda: what a checkpoint can be moved between."""
    return (device or "").rpartition("/")[2].split(":")[0]


# Long: the refusals come before the first write, in one reading order; a third of it is the contract.
def begin_probe(
    tx: Tx,
    job_id: int,
    n: int,
    members: Sequence[tuple[float, int]],
    *,
    device: str,
    slot: str,
    attempt: int,
    speculative: bool = False,
    fresh: bool = False,
) -> Begun:
    """Begin a candidate N, or go on with it where an earlier run left it.

    An unfinished probe of the same N and members is continued under its own rows, so that no trial is
    counted twice. On another kind of device, or with ``fresh``, it is marked lost with all its trials,
    and a new one begins.

    Raises:
        Illegal: the job is not running under this attempt, or the probe is finished or running already.
    """
    job = tx.rows("SELECT state, attempt, epoch FROM job WHERE id = :job", job=job_id)
    if job != [("running", attempt, tx.epoch)]:
        raise Illegal(
            f"job {job_id} does not run as attempt {attempt} of this supervisor; no probe of it can begin"
        )
    key = digest(members)
    if len(set(members)) < len(members) or not members:
        raise Illegal(
            f"a probe of job {job_id} has no member, or one twice; expected distinct (learning rate, seed)"
        )
    same = (
        "SELECT * FROM probe WHERE job_id = :job AND n = :n AND members = :key ORDER BY ordinal DESC LIMIT 1"
    )
    begun = None
    earlier = tx.rows(same, job=job_id, n=n, key=key)
    if earlier:
        found = earlier[0]
        if found.state == "done":
            raise Illegal(
                f"job {job_id} has finished N = {n} with these members; "
                "a finished probe is never trained again"
            )
        if found.state == "running" and found.epoch == tx.epoch and found.attempt == attempt:
            raise Illegal(f"job {job_id} is training N = {n} with these members already")
        if fresh or kind_of(found.device) != kind_of(device):
            drop_probe(tx, found.id, "lost")
        else:
            begun = _continue(tx, found, members, device, slot, attempt, speculative)
    if begun is None:
        begun = _begin(tx, job_id, n, key, members, device, slot, attempt, speculative)
    if not speculative:
        tx.run(
            "UPDATE job SET current_n = :n, progress = 0, device = :device WHERE id = :job",
            n=n,
            device=device,
            job=job_id,
        )
    tx.event(
        "probe.resumed" if begun.resumed else "probe.begun",
        f"N = {n} {'goes on' if begun.resumed else 'begins'} on {device}"
        + (", ahead of its turn" if speculative else ""),
        job_id=job_id,
        probe_id=begun.probe_id,
        data={"n": n, "device": device, "slot": slot, "attempt": attempt},
    )
    return begun


def _begin(
    tx: Tx,
    job_id: int,
    n: int,
    key: str,
    members: Sequence[tuple[float, int]],
    device: str,
    slot: str,
    attempt: int,
    ahead: bool,
) -> Begun:
    ordinal = tx.rows("SELECT COALESCE(max(ordinal), 0) + 1 FROM probe WHERE job_id = :job", job=job_id)[0][0]
    probe = {
        "job_id": job_id,
        "ordinal": ordinal,
        "n": n,
        "members": key,
        "speculative": ahead,
        "epoch": tx.epoch or 0,
        "attempt": attempt,
        "device": device,
        "slot": slot,
        "started_at": tx.now,
        "trials": len(members),
    }
    probe_id = tx.put("probe", NEW_PROBE | probe)
    trial = NEW_TRIAL | {"probe_id": probe_id, "job_id": job_id, "n": n}
    tx.put("trial", *(trial | {"lr": float(lr), "seed": int(seed)} for lr, seed in members))
    ids = {(row.lr, row.seed): row.id for row in _trials_of(tx, probe_id)}
    return Begun(
        probe_id,
        tuple(ids[float(lr), int(s)] for lr, s in members),
        False,
        None,
        "",
        (False,) * len(members),
    )


def _continue(
    tx: Tx,
    found: Any,
    members: Sequence[tuple[float, int]],
    device: str,
    slot: str,
    attempt: int,
    ahead: bool,
) -> Begun:
    if found.state in ("cancelled", "lost"):
        # their trials were cut short by us, not by a success
        tx.run(
            "UPDATE trial SET outcome = 'running' WHERE probe_id = :probe AND outcome IN ('superseded', "
            "'lost')",
            probe=found.id,
        )
    rows = {(row.lr, row.seed): row for row in _trials_of(tx, found.id)}
    trials = [rows[float(lr), int(s)] for lr, s in members]
    ended = tuple(row.outcome != "running" for row in trials)
    tx.change(
        "probe",
        found.id,
        state="running",
        epoch=tx.epoch or 0,
        attempt=attempt,
        device=device,
        slot=slot,
        speculative=ahead,
        ended_at=None,
        trials_ended=sum(ended),
    )
    return Begun(
        found.id,
        tuple(row.id for row in trials),
        True,
        found.checkpoint,
        found.plan,
        ended,
        tuple(row.steps for row in trials),
        tuple(row.wall_s for row in trials),
        found.wall_s,
        found.device_s,
    )


def _trials_of(tx: Tx, probe_id: int) -> list[Any]:
    return tx.rows(
        "SELECT id, lr, seed, outcome, steps, wall_s FROM trial WHERE probe_id = :probe ORDER BY id",
        probe=probe_id,
    )


def wins(tx: Tx, job_id: int) -> dict[tuple[float, int], int]:
    """How many finished probes of a job each (learning rate, seed) has succeeded in."""
    found = tx.rows(
        "SELECT trial.lr, trial.seed, count(*) FROM probe JOIN trial ON trial.probe_id = probe.id "
        "WHERE probe.job_id = :job AND probe.state = 'done' AND trial.outcome = 'success' GROUP BY "
        "trial.lr, trial.seed",
        job=job_id,
    )
    return {(lr, seed): count for lr, seed, count in found}


def set_plan(tx: Tx, probe_id: int, plan_json: str) -> None:
    """Store the engine's plan with the probe."""
    tx.change("probe", probe_id, plan=plan_json)


def checkpointed(tx: Tx, probe_id: int, path: str, step: int) -> None:
    """A checkpoint is on disk; a newer one than before is progress,
    which resets the job's ``crashes``.
    """
    moved = tx.run(
        "UPDATE probe SET checkpoint = :path, checkpoint_step = :step WHERE id = :probe AND "
        "checkpoint_step < :step",
        path=path,
        step=step,
        probe=probe_id,
    )
    if moved:
        tx.run(
            "UPDATE job SET crashes = 0 WHERE id = (SELECT job_id FROM probe WHERE id = :probe)",
            probe=probe_id,
        )
    else:
        tx.run("UPDATE probe SET checkpoint = :path WHERE id = :probe", path=path, probe=probe_id)


def progress(
    tx: Tx,
    probe_id: int,
    *,
    step: int,
    fraction: float,
    best_loss: float | None = None,
    member_steps: int | None = None,
    wall_s: float | None = None,
    device_s: float | None = None,
) -> None:
    """Store how far a running probe is.

    Args:
        fraction: 0..1 of its grid's work; shown with its job unless it runs ahead of its turn.
        wall_s: so far, earlier runs included; device_s and member_steps alike.
    """
    part = min(1.0, max(0.0, fraction))
    tx.run(
        f"UPDATE probe SET step = :step, fraction = :part, {LEAST_LOSS}, "
        "member_steps = COALESCE(:steps, member_steps), wall_s = COALESCE(:wall, wall_s), "
        "device_s = COALESCE(:device, device_s) "
        "WHERE id = :probe AND state = 'running'",
        step=step,
        part=part,
        loss=finite(best_loss),
        steps=member_steps,
        wall=wall_s,
        device=device_s,
        probe=probe_id,
    )
    tx.run(
        "UPDATE job SET progress = :part WHERE state = 'running' AND id = "
        "(SELECT job_id FROM probe WHERE id = :probe AND state = 'running' AND NOT speculative)",
        part=part,
        probe=probe_id,
    )


# Long: one verdict is written to probe, job and event together; a third of it is the contract.
def end_probe(
    tx: Tx,
    probe_id: int,
    *,
    attempt: int,
    epoch: int | None = None,
    wall_s: float = 0.0,
    device_s: float = 0.0,
    verdict: bool | None = None,
    speculative: bool | None = None,
) -> Verdict | None:
    """Store the verdict of a probe whose trials have all ended, read from their rows.

    Args:
        verdict: what the caller believes it to be.
        speculative: True: it is no evidence until :func:`consume`; None: as it was begun.

    Returns:
        None, and nothing changed, where the run that tells it is dead or the probe has ended before.

    Raises:
        Illegal: a trial still runs, none decides the verdict, or ``verdict`` is another.
    """
    row = tx.row("SELECT * FROM probe WHERE id = :probe", probe=probe_id)
    if row is None:
        raise LabError(f"there is no probe {probe_id}")
    told_by = tx.epoch if epoch is None else epoch
    if row.state != "running" or row.attempt != attempt or row.epoch != (told_by or 0):
        _late(tx, row.job_id, probe_id, f"the end of N = {row.n}", attempt, told_by)
        return None
    trials = tx.rows(
        "SELECT seed, outcome, best_loss, steps, generalisation FROM trial "
        "WHERE probe_id = :probe ORDER BY id",
        probe=probe_id,
    )
    try:
        found = probe_verdict([(t.seed, t.outcome) for t in trials])
    except Undecided as error:
        raise Illegal(f"probe {probe_id} (N = {row.n}) has {error}") from None
    success = found.success
    if verdict is not None and verdict != success:
        raise Illegal(
            f"probe {probe_id} (N = {row.n}) is said to be a {_word(verdict)}, "
            f"its trials say {_word(success)}"
        )
    best = None
    for t in trials:
        best = least(best, t.best_loss)
    ahead = bool(row.speculative if speculative is None else speculative)
    steps = sum(t.steps for t in trials)
    tx.change(
        "probe",
        probe_id,
        state="done",
        verdict=success,
        speculative=ahead,
        turn=None if ahead else _next_turn(tx, row.job_id),
        ended_at=tx.now,
        wall_s=wall_s or row.wall_s,
        device_s=device_s,
        member_steps=steps,
        seeds=found.seeds,
        successes=found.successes,
        best_loss=best,
        fraction=1.0,
        checkpoint=None,
    )
    tx.run(
        "UPDATE job SET candidates = candidates + :one, crashes = 0, wall_s = wall_s + :wall, "
        "device_s = device_s + :device, member_steps = member_steps + :steps WHERE id = :job",
        one=int(not ahead),
        wall=wall_s or row.wall_s,
        device=device_s,
        steps=steps,
        job=row.job_id,
    )
    if not ahead:
        tx.run(
            "UPDATE job SET current_n = NULL, progress = 0 WHERE id = :job AND current_n = :n",
            job=row.job_id,
            n=row.n,
        )
    _generalisation(tx, row.job_id, row.n, trials)
    tx.event(
        "probe.done",
        f"N = {row.n}: {'all trials diverged' if found.diverged else _word(success)}"
        + (", ahead of its turn" if ahead else ""),
        job_id=row.job_id,
        probe_id=probe_id,
        data={"n": row.n, "verdict": success, "best_loss": best, "successes": found.successes},
    )
    seeds = tuple(sorted({t.seed for t in trials}))
    return Verdict(probe_id, row.n, success, found.seeds, found.successes, best, seeds, found.diverged)


def consume(tx: Tx, probe_id: int) -> None:
    """A verdict reached ahead of its turn is asked for: it becomes the next piece of evidence.

    Raises:
        Illegal: the probe is not finished, or is evidence already.
    """
    row = tx.row("SELECT job_id, state, turn FROM probe WHERE id = :probe", probe=probe_id)
    if row is None or row.state != "done" or row.turn is not None:
        raise Illegal(f"probe {probe_id} cannot become evidence; expected a finished one that is not")
    turn = _next_turn(tx, row.job_id)
    tx.run("UPDATE probe SET speculative = 0, turn = :turn WHERE id = :probe", turn=turn, probe=probe_id)
    tx.run("UPDATE job SET candidates = candidates + 1 WHERE id = :job", job=row.job_id)


def wanted_now(tx: Tx, probe_id: int) -> None:
    """A running probe that was begun ahead of its turn is asked for now."""
    tx.run("UPDATE probe SET speculative = 0 WHERE id = :probe AND state = 'running'", probe=probe_id)
    tx.run(
        "UPDATE job SET current_n = (SELECT n FROM probe WHERE id = :probe) "
        "WHERE id = (SELECT job_id FROM probe WHERE id = :probe)",
        probe=probe_id,
    )


def drop_probe(tx: Tx, probe_id: int, state: Literal["interrupted", "cancelled", "lost"]) -> bool:
    """A probe ends without a verdict: to go on later, not needed after all,
    or without a checkpoint to go on from.

    The trials of a cancelled one that still ran become superseded; all trials of a lost one are lost:
    they will be trained anew and must not count twice. A finished probe is left alone (False).
    """
    row = tx.row("SELECT job_id, n, state FROM probe WHERE id = :probe", probe=probe_id)
    if row is None or row.state == "done":
        return False
    if state == "cancelled":
        tx.run(
            "UPDATE trial SET outcome = 'superseded' WHERE probe_id = :probe AND outcome = 'running'",
            probe=probe_id,
        )
    elif state == "lost":
        tx.run("UPDATE trial SET outcome = 'lost' WHERE probe_id = :probe", probe=probe_id)
    tx.run(
        "UPDATE probe SET state = :state, ended_at = :now, speculative = speculative OR :ahead, "
        "checkpoint = CASE WHEN :state = 'lost' THEN NULL ELSE checkpoint END WHERE id = :probe",
        state=state,
        now=tx.now,
        ahead=int(state == "cancelled"),
        probe=probe_id,
    )
    tx.run(
        "UPDATE job SET current_n = NULL, progress = 0 WHERE id = :job AND current_n = :n",
        job=row.job_id,
        n=row.n,
    )
    tx.event(
        f"probe.{state}", f"N = {row.n}: {state}", job_id=row.job_id, probe_id=probe_id, data={"n": row.n}
    )
    return True


def trial_progress(
    tx: Tx,
    trial_id: int,
    *,
    steps: int,
    best_loss: float | None,
    best_step: int,
    last_loss: float | None,
    wall_s: float | None = None,
    curve: Curve | None = None,
) -> None:
    """Store how far a running trial is, for the screen; one that has ended is left alone."""
    changed = tx.run(
        _PROGRESS,
        trial=trial_id,
        steps=steps,
        best=finite(best_loss),
        at=best_step,
        last=finite(last_loss),
        wall=wall_s,
    )
    if changed and curve is not None and curve.steps:
        tx.run(_CURVE, trial=trial_id, points=curves.encode(curve))


def end_trial(
    tx: Tx,
    trial_id: int,
    outcome: str,
    *,
    attempt: int,
    epoch: int | None = None,
    steps: int,
    best_loss: float | None,
    best_step: int,
    last_loss: float | None,
    wall_s: float = 0.0,
    generalisation: float | None = None,
    curve: Curve | None = None,
) -> bool:
    """A trial is over.

    Returns:
        False, and nothing changed, where it had ended before (a resumed engine tells it again) or where
        the run that tells it is dead (``attempt`` or ``epoch`` is not the probe's; an event says so).

    Raises:
        LabError: there is no such trial or outcome.
    """
    if outcome not in tuple(Outcome):
        raise LabError(f"outcome is {outcome!r}; expected one of: {', '.join(Outcome)}")
    found = tx.rows(_TRIAL, trial=trial_id)
    if not found:
        raise LabError(f"there is no trial {trial_id}")
    row = found[0]
    told_by = tx.epoch if epoch is None else epoch
    if row.state != "running" or row.attempt != attempt or row.epoch != (told_by or 0):
        _late(tx, row.job_id, row.probe_id, f"the end of trial {trial_id}", attempt, told_by)
        return False
    if row.outcome != "running":
        return False
    loss = finite(best_loss)
    tx.run(
        _END,
        trial=trial_id,
        outcome=outcome,
        steps=steps,
        best=loss,
        at=best_step,
        last=finite(last_loss),
        wall=wall_s,
        general=finite(generalisation),
    )
    if curve is not None and curve.steps:
        tx.run(_CURVE, trial=trial_id, points=curves.encode(curve))
    tx.run(
        "UPDATE probe SET trials_ended = trials_ended + 1, step = max(step, :step), "
        f"{LEAST_LOSS} WHERE id = :probe",
        step=steps,
        loss=loss,
        probe=row.probe_id,
    )
    return True


def _late(tx: Tx, job_id: int, probe_id: int, what: str, attempt: int, epoch: int | None) -> None:
    tx.event(
        "late",
        f"{what} came from a run that is over (attempt {attempt}, supervisor {epoch}); it is not counted",
        level="warning",
        job_id=job_id,
        probe_id=probe_id,
    )


def _next_turn(tx: Tx, job_id: int) -> int:
    return int(tx.rows("SELECT COALESCE(max(turn), 0) + 1 FROM probe WHERE job_id = :job", job=job_id)[0][0])


def _generalisation(tx: Tx, job_id: int, n: int, trials: list[Any]) -> None:
    tested = [t for t in trials if t.generalisation is not None and t.best_loss is not None]
    if tested:
        best = min(tested, key=lambda t: float(t.best_loss))
        tx.run(
            "UPDATE job SET generalisation = :value "
            "WHERE id = :job AND n_max = :n AND generalisation IS NULL",
            value=best.generalisation,
            job=job_id,
            n=n,
        )


def _word(success: bool) -> str:
    return "success" if success else "failure"
