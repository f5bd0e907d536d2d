"""The supervisor's writes on trials: how far they are, and their end, once."""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from store import curves
from store.errors import LabError
from store.rows import Curve
from store.write.base import PROBE, TRIAL, TxBase, finite

OUTCOMES = ("success", "failure", "diverged", "superseded")
_TRIAL_AND_PROBE = select(
    TRIAL.c.outcome, TRIAL.c.probe_id, TRIAL.c.job_id, PROBE.c.state, PROBE.c.epoch, PROBE.c.attempt
).join_from(TRIAL, PROBE, PROBE.c.id == TRIAL.c.probe_id)
_ONE_TRIAL = _TRIAL_AND_PROBE.where(TRIAL.c.id == bindparam("trial"))
_UPDATE_TRIAL = update(TRIAL).where(TRIAL.c.id == bindparam("trial"))
_CURVE = (
    "INSERT INTO curve (trial_id, points) VALUES (:trial, :points) "
    "ON CONFLICT (trial_id) DO UPDATE SET points = excluded.points"
)
LEAST_LOSS = "best_loss = CASE WHEN :loss IS NULL THEN best_loss ELSE min(COALESCE(best_loss, :loss), :loss) END"


class TrialWrites(TxBase):
    """Part of :class:`store.write.Tx`."""

    def trial_progress(
        self,
        trial_id: int,
        *,
        steps: int,
        best_loss: float | None,
        best_step: int,
        last_loss: float | None,
        curve: Curve | None = None,
    ) -> None:
        """How far a running trial is, for the screen; one that has ended is left alone."""
        changed = self.c.execute(
            _UPDATE_TRIAL.where(TRIAL.c.outcome == "running").values(
                steps=bindparam("v_steps"),
                best_loss=bindparam("v_best"),
                best_step=bindparam("v_at"),
                last_loss=bindparam("v_last"),
            ),
            {
                "trial": trial_id,
                "v_steps": steps,
                "v_best": finite(best_loss),
                "v_at": best_step,
                "v_last": finite(last_loss),
            },
        ).rowcount
        if changed and curve is not None and curve.steps:
            self.run(_CURVE, trial=trial_id, points=curves.encode(curve))

    def trial(
        self,
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
            False, and nothing changed, where it had ended before (a resumed engine tells it again) or where the run that
            tells it is dead (``attempt`` or ``epoch`` is not the probe's; an event says so).

        Raises:
            LabError: there is no such trial or outcome.
        """
        if outcome not in OUTCOMES:
            raise LabError(f"outcome is {outcome!r}; expected one of: {', '.join(OUTCOMES)}")
        row = self.c.execute(_ONE_TRIAL, {"trial": trial_id}).one_or_none()
        if row is None:
            raise LabError(f"there is no trial {trial_id}")
        told_by = self.epoch if epoch is None else epoch
        if row.state != "running" or row.attempt != attempt or row.epoch != (told_by or 0):
            self._late(row.job_id, row.probe_id, f"the end of trial {trial_id}", attempt, told_by)
            return False
        if row.outcome != "running":
            return False
        loss = finite(best_loss)
        self.c.execute(
            _UPDATE_TRIAL.values(
                outcome=bindparam("v_outcome"),
                steps=bindparam("v_steps"),
                best_loss=bindparam("v_best"),
                best_step=bindparam("v_at"),
                last_loss=bindparam("v_last"),
                wall_s=bindparam("v_wall"),
                generalisation=bindparam("v_general"),
            ),
            {
                "trial": trial_id,
                "v_outcome": outcome,
                "v_steps": steps,
                "v_best": loss,
                "v_at": best_step,
                "v_last": finite(last_loss),
                "v_wall": wall_s,
                "v_general": finite(generalisation),
            },
        )
        if curve is not None and curve.steps:
            self.run(_CURVE, trial=trial_id, points=curves.encode(curve))
        self.run(
            f"UPDATE probe SET trials_ended = trials_ended + 1, step = max(step, :step), {LEAST_LOSS} WHERE id = :probe",
            step=steps,
            loss=loss,
            probe=row.probe_id,
        )
        return True

    def _late(self, job_id: int, probe_id: int, what: str, attempt: int, epoch: int | None) -> None:
        self.event(
            "late",
            f"{what} came from a run that is over (attempt {attempt}, supervisor {epoch}); it is not counted",
            level="warning",
            job_id=job_id,
            probe_id=probe_id,
        )
