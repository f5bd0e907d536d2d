"""What a checkpoint holds of a run, and going on from one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from runners.engine import checkpoint
from runners.engine.device import kind
from runners.engine.fused_batch import Rows
from runners.engine.trials import Ledger
from runners.engine.types import Member, Note, Plan, shape_key
from runners.spec import Job

if TYPE_CHECKING:
    from runners.engine.schedule import Schedule

VERSION = 1
_TENSORS = ("params", "mean", "square", "loss")


@dataclass(frozen=True)
class Saved:
    """A checkpoint that fits the run; its book-keeping is in the run's ledger already."""

    plan: Plan
    batch: int
    lanes: tuple[Rows, ...]
    path: str

    def unfinished(self, ledger: Ledger) -> set[int]:
        """Trials that are decided and not ended: a stop came while one of them was tested at
        twice the length.
        """
        found = {
            slot for rows in self.lanes for slot, live in zip(rows.slots, rows.live, strict=True) if live
        }
        return {i for i in found if not ledger.trials[i].live}


def identity(job: Job, members: Sequence[Member]) -> str:
    """What a checkpoint must agree on to be gone on from;
    the probes' names do not count, only who belongs together.
    """
    names = list(dict.fromkeys(m.probe for m in members))
    rows = [{**asdict(m), "probe": names.index(m.probe)} for m in members]
    return hashlib.sha256(json.dumps([shape_key(job), rows], sort_keys=True).encode()).hexdigest()


def snapshot(
    identity: str, plan: Plan, ledger: Ledger, schedule: Schedule, *, copy: bool = True
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The whole state of a run, on the host.

    Args:
        copy: False: what lies on the host already is handed out as it is, for training has ended.
    """
    rows = schedule.rows()
    state = {
        "version": VERSION,
        "identity": identity,
        "kind": kind(schedule.device),
        "plan": asdict(plan),
        "batch": schedule.batch,
        "ledger": ledger.dump(),
        "lanes": [{"slots": r.slots, "live": r.live, "steps": r.steps, "marks": r.marks} for r in rows],
    }
    tensors = {
        f"{i}.{name}": getattr(r, name).detach().to("cpu", copy=copy).contiguous()
        for i, r in enumerate(rows)
        for name in _TENSORS
    }
    return state, tensors


def latest(folder: Path | None, wanted: str, device: str, ledger: Ledger) -> tuple[Saved | None, list[Note]]:
    """The newest checkpoint that is whole and fits; its book-keeping is loaded into ``ledger``.

    Returns:
        None where there is none, and in words what was passed over and why.
    """
    notes = []
    for path in checkpoint.files(folder) if folder is not None else []:
        try:
            state, tensors = checkpoint.read(path)
            _check(state, wanted, device)
            lanes = tuple(_rows(lane, i, tensors, device) for i, lane in enumerate(state["lanes"]))
            saved = Saved(Plan(**state["plan"]), int(state["batch"]), lanes, str(path))
            ledger.load(state["ledger"])
        except checkpoint.CheckpointError as error:
            notes.append(Note(f"the checkpoint {path.name} {error} and is passed over", "warning"))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            notes.append(Note(f"the checkpoint {path.name} cannot be used ({why})", "warning"))
        else:
            return saved, notes
    return None, [*notes, Note("no checkpoint to go on from: training begins afresh", "warning")]


def _check(state: dict[str, Any], wanted: str, device: str) -> None:
    if state["version"] != VERSION:
        raise checkpoint.CheckpointError(f"has the format {state['version']!r:.40}, not {VERSION},")
    if state["identity"] != wanted:
        raise checkpoint.CheckpointError("belongs to another job or other trials")
    if state["kind"] != kind(device):
        raise checkpoint.CheckpointError(f"was made on {state['kind']!r:.40}, not on {kind(device)},")


def _rows(lane: dict[str, Any], i: int, tensors: dict[str, Tensor], device: str) -> Rows:
    held = [tensors[f"{i}.{name}"].to(device, copy=True) for name in _TENSORS]
    params, mean, square, loss = held
    slots = tuple(int(s) for s in lane["slots"])
    if len({len(slots), len(params), len(mean), len(square), len(loss)}) != 1 or loss.dtype != torch.float64:
        raise ValueError("its tensors do not agree with its members")
    return Rows(
        slots,
        tuple(bool(v) for v in lane["live"]),
        tuple(int(v) for v in lane["steps"]),
        tuple(int(v) for v in lane["marks"]),
        params,
        mean,
        square,
        loss,
    )
