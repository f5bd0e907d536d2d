"""One search as it closes, as a moving picture: ``python -m benchmarks.closing [FILE]`` draws the Job screen
once for each candidate of the lab that comes with labtui, as it stood then, into one SVG. Nothing is trained.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.tour import DEMO, PICTURES, _open, _telling_job, _until, dotted
from runners import verdict
from store.rows import Curve, JobRow, ProbeRow, SupervisorRow, TrialRow

FRAME_S = 1.2
LAST_S = 4.0


class Then:
    """A lab as it was when the first ``n`` candidates of a job had their verdicts: the next one is half-way
    through its training.
    """

    def __init__(self, lab: Any, job_id: int, n: int) -> None:
        self._lab, self._job, self._n = lab, job_id, n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lab, name)

    def _training(self) -> ProbeRow | None:
        """The candidate that trains; None: the search is over."""
        every: list[ProbeRow] = self._lab.probes(self._job)
        return every[self._n] if self._n < len(every) else None

    def probes(self, job_id: int) -> list[ProbeRow]:
        every: list[ProbeRow] = self._lab.probes(job_id)
        training = self._training()
        if job_id != self._job or training is None:
            return every
        best = min((c.validation[-1] for c in self.curves(training.id).values()), default=None)
        half = replace(
            training, state="running", verdict=None, step=training.step // 2, best_loss=best, trials_ended=0,
            wall_s=training.wall_s / 2,
        )  # fmt: skip
        return [*every[: self._n], half]

    def trials(self, job_id: int | None = None, probe_id: int | None = None) -> list[TrialRow]:
        found: list[TrialRow] = self._lab.trials(job_id, probe_id)
        training = self._training()
        if training is None:
            return found
        begun = [t for t in found if t.probe_id <= training.id]
        return [self._half(t) if t.probe_id == training.id else t for t in begun]

    def _half(self, trial: TrialRow) -> TrialRow:
        curve = self.curves(trial.probe_id).get(trial.id)
        seen = curve.validation if curve is not None else ()
        best = min((loss for loss in seen if loss == loss), default=None)
        return replace(trial, outcome="running", best_loss=best, steps=trial.steps // 2, generalisation=None)

    def curves(self, probe_id: int) -> dict[int, Curve]:
        found: dict[int, Curve] = self._lab.curves(probe_id)
        training = self._training()
        if training is None or probe_id != training.id:
            return found
        return {i: _begun(c) for i, c in found.items() if len(c.steps) > 1}

    def counts(self) -> dict[str, int]:
        """The jobs before it are done, those behind it wait."""
        every: dict[str, int] = self._lab.counts()
        if self._training() is None:
            return every
        whole = sum(every.values())
        return {"done": self._job - 1, "running": 1, "queued": whole - self._job}

    def supervisor(self) -> SupervisorRow | None:
        row: SupervisorRow | None = self._lab.supervisor()
        return None if row is None else replace(row, alive=True, state="running", message="")

    def job(self, reference: Any) -> JobRow:
        job: JobRow = self._lab.job(reference)
        every = self._lab.probes(job.id)
        if job.id != self._job or self._n >= len(every):
            return job
        lo, hi = 0, None
        for bracket in verdict.brackets([(p.n, p.verdict) for p in every[: self._n]]):
            lo, hi = bracket.lo, bracket.hi
        return replace(
            job, state="running", status="open", lo=lo, hi=hi, candidates=self._n, current_n=every[self._n].n,
            progress=0.5, finished_at=None, flags=(),
        )  # fmt: skip


def _begun(curve: Curve) -> Curve:
    """The first half of a training's evaluations."""
    n = len(curve.steps) // 2
    exact = curve.exact[:n]
    return replace(
        curve, steps=curve.steps[:n], train=curve.train[:n], validation=curve.validation[:n], exact=exact
    )


def _then(job: int, n: int) -> Any:
    return Then(_open(DEMO, True), job, n)


def _is_read(app: Any) -> bool:
    return app.front.key == "job" and app.front.data is not None


async def frames(size: tuple[int, int]) -> list[str]:
    """The Job screen once for each candidate, and once more when N* is known."""
    from labtui.config import Settings
    from labtui.tui.app import LabApp

    job = _telling_job(DEMO)
    with _open(DEMO, True) as lab:
        count = len(lab.probes(job))
    out = []
    for n in range(count + 1):
        app = LabApp(
            DEMO,
            read_only=True,
            settings=Settings(theme="labtui-dark"),
            job=job,
            open_lab=partial(_then, job, n),
        )
        app.machine.look = lambda: None  # type: ignore[method-assign]
        app.lab_path = f"docs/labs/{DEMO.name}"
        async with app.run_test(size=size) as pilot:
            await _until(partial(_is_read, app), pilot.pause)
            app.front.redraw()
            await pilot.pause(0.2)
            out.append(app.export_screenshot(title="labtui", simplify=True))
    return out


def moving(pictures: Sequence[str]) -> str:
    """Pictures of one size as one SVG that shows each in its turn, the last one longest."""
    whole = FRAME_S * (len(pictures) - 1) + LAST_S
    head = re.match(r"<svg [^>]*>", pictures[0])
    assert head is not None
    parts = [head[0].replace("<svg ", '<svg xml:space="preserve" ', 1)]
    for i, picture in enumerate(pictures):
        body = re.sub(r"terminal-(\d+-)?", f"f{i}-", picture)
        body = dotted(body)
        body = body[body.index(">") + 1 : body.rindex("</svg>")]
        start = i * FRAME_S / whole
        end = 1.0 if i == len(pictures) - 1 else (i + 1) * FRAME_S / whole
        times = f"0;{start:.4f};{end:.4f};1" if start else f"0;{end:.4f};1"
        shown = "hidden;visible;hidden;hidden" if start else "visible;hidden;hidden"
        if end == 1.0:
            times, shown = f"0;{start:.4f};1", "hidden;visible;visible"
        parts.append(
            f'<g visibility="{"visible" if i == len(pictures) - 1 else "hidden"}">'
            f'<animate attributeName="visibility" calcMode="discrete" values="{shown}" keyTimes="{times}" '
            f'dur="{whole:.1f}s" repeatCount="indefinite"/>{body}</g>'
        )
    return "".join([*parts, "</svg>"])


def main(arguments: Sequence[str]) -> int:
    file = Path(arguments[0]) if arguments else PICTURES / "closing.svg"
    os.environ.update(
        LABTUI_NO_SUPERVISOR="1", LANG="C.UTF-8", TERM="xterm-256color", COLORTERM="truecolor", TZ="UTC"
    )
    for name in ("NO_COLOR", "LC_ALL"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_STATE_HOME"] = place
        svg = moving(asyncio.run(frames((112, 34))))
    file.write_text(svg, "utf-8")
    print(file, f"{len(svg) // 1024} KiB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
