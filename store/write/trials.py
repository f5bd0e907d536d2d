"""The supervisor's writes on trials: how far they are, and their end, once."""

from __future__ import annotations

from runners.verdict import Outcome
from store import curves
from store.errors import LabError
from store.rows import Curve
from store.write.base import TxBase, finite

_TRIAL = (
    "SELECT trial.outcome, trial.probe_id, trial.job_id, probe.state, probe.epoch, probe.attempt "
    "FROM trial JOIN probe ON probe.id = trial.probe_id WHERE trial.id = :trial"
)
_PROGRESS = (
    "UPDATE trial SET steps = :steps, best_loss = :best, best_step = :at, last_loss = :last "
    "WHERE id = :trial AND outcome = 'running'"
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
LEAST_LOSS = (
    "best_loss = CASE WHEN :loss IS NULL THEN best_loss ELSE min(COALESCE(best_loss, :loss), :loss) END"
)


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
        changed = self.run(
            _PROGRESS,
            trial=trial_id,
            steps=steps,
            best=finite(best_loss),
            at=best_step,
            last=finite(last_loss),
        )
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
            False, and nothing changed, where it had ended before (a resumed engine tells it again) or where
            the run that tells it is dead (``attempt`` or ``epoch`` is not the probe's; an event says so).

        Raises:
            LabError: there is no such trial or outcome.
        """
        if outcome not in tuple(Outcome):
            raise LabError(f"outcome is {outcome!r}; expected one of: {', '.join(Outcome)}")
        found = self.rows(_TRIAL, trial=trial_id)
        if not found:
            raise LabError(f"there is no trial {trial_id}")
        row = found[0]
        told_by = self.epoch if epoch is None else epoch
        if row.state != "running" or row.attempt != attempt or row.epoch != (told_by or 0):
            self._late(row.job_id, row.probe_id, f"the end of trial {trial_id}", attempt, told_by)
            return False
        if row.outcome != "running":
            return False
        loss = finite(best_loss)
        self.run(
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
            self.run(_CURVE, trial=trial_id, points=curves.encode(curve))
        self.run(
            "UPDATE probe SET trials_ended = trials_ended + 1, step = max(step, :step), "
            f"{LEAST_LOSS} WHERE id = :probe",
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
