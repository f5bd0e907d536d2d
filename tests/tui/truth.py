"""What a screen says, claim by claim, against what the store holds at that moment."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from labtui.analysis.kappa import Kappa, kappa
from labtui.views import numbers
from labtui.views.kappa import name
from store.read import open_lab
from store.rows import CellRow, JobRow, NStar
from tests.tui.ptys import Terminal

ALLOWED_S = 1.0
SIGNS = {"▶": "running", "○": "queued", "‖": "paused", "✓": "done", "✗": "failed", "⊘": "cancelled"}
OVER = ("done", "failed", "cancelled")
SHORT = ("memory", "device", "lost", "stale", "no")
"""A failed job's words in the Queue's narrow column."""


class Probe(NamedTuple):
    """A candidate as it is stored."""

    state: str
    verdict: bool | None
    speculative: bool
    seeds: int
    successes: int


@dataclass
class Moment:
    """The store from one look of the witness to the next."""

    since: float
    until: float
    alive: bool
    jobs: dict[int, JobRow]
    cells: tuple[CellRow, ...]
    probes: dict[tuple[int, int], list[Probe]]
    """(job, N) -> its candidates: with fresh seeds one N may be asked again."""
    trials: dict[int, tuple[int, str]]
    """id -> job, outcome."""
    ended: Counter[tuple[int, int]]
    """(job, N) -> trials that ended of themselves."""
    stopped: Counter[tuple[int, int]]
    """(job, N) -> trials that were stopped because a sibling had decided."""

    def counts(self) -> dict[str, int]:
        return dict(Counter(job.state for job in self.jobs.values()))

    def word(self, job_id: int) -> str:
        """The state that a screen may tell: nothing runs without a supervisor."""
        job = self.jobs.get(job_id)
        if job is None:
            return ""
        return "stopped" if job.state == "running" and not self.alive else job.state


class Witness(threading.Thread):
    """Looks at the store again and again, and keeps what it held in the last ten seconds."""

    EACH_S = 0.05

    def __init__(self, lab: Path) -> None:
        super().__init__(daemon=True)
        self.lab = lab
        self.moments: deque[Moment] = deque()
        self.ever: set[tuple[int, str]] = set()
        """(job, state) that was ever seen."""
        self.problem: Exception | None = None
        self._lag: deque[tuple[float, float]] = deque(maxlen=200)
        self._end = threading.Event()

    def run(self) -> None:
        try:
            with open_lab(self.lab) as opened:
                raw = sqlite3.connect(f"file:{self.lab}?mode=ro", uri=True)
                before = time.monotonic()
                while not self._end.is_set():
                    started = time.monotonic()
                    self._lag.append((started, started - before))
                    with opened.consistent():
                        row = opened.supervisor()
                        jobs = {job.id: job for job in opened.jobs()}
                        cells = tuple(opened.cells())
                    probes: dict[tuple[int, int], list[Probe]] = {}
                    for job, n, state, verdict, ahead, seeds, successes in raw.execute(
                        "SELECT job_id, n, state, verdict, speculative, seeds, successes FROM probe"
                    ):
                        judged = None if verdict is None else bool(verdict)
                        probe = Probe(state, judged, bool(ahead), seeds, successes)
                        probes.setdefault((job, n), []).append(probe)
                    trials, ended = {}, Counter[tuple[int, int]]()
                    stopped = Counter[tuple[int, int]]()
                    for id, job, n, outcome in raw.execute(
                        "SELECT t.id, p.job_id, p.n, t.outcome FROM trial t JOIN probe p ON p.id = t.probe_id"
                    ):
                        trials[id] = (job, outcome)
                        ended[job, n] += outcome in ("success", "failure", "diverged")
                        stopped[job, n] += outcome == "superseded"
                    alive = row is not None and row.alive
                    now = time.monotonic()
                    if self.moments:
                        self.moments[-1].until = now
                    self.moments.append(
                        Moment(started, now, alive, jobs, cells, probes, trials, ended, stopped)
                    )
                    self.ever |= {(job.id, job.state) for job in jobs.values()}
                    while self.moments[0].until < now - 30:
                        self.moments.popleft()
                    before = time.monotonic()
                    self._end.wait(self.EACH_S)
        except Exception as error:  # told by the test, whose thread this is not
            self.problem = error

    def stop(self) -> None:
        self._end.set()
        self.join(10)

    def allowed(self) -> float:
        """A second, and as much more as this machine keeps even this thread waiting."""
        now = time.monotonic()
        return ALLOWED_S + 4 * max((lag for at, lag in list(self._lag) if at > now - 5), default=0.0)

    def during(self, since: float) -> list[Moment]:
        return [m for m in list(self.moments) if m.until >= since]


@dataclass(frozen=True)
class Claim:
    """One sentence of a screen, and whether a moment of the store bears it out."""

    says: str
    holds: Callable[[Moment], bool] = field(compare=False)


def claims(text: str, witness: Witness) -> Iterator[Claim]:
    """Every claim of a screen of 120 columns."""
    lines = text.splitlines()
    if len(lines) < 20 or "labtui" not in lines[0]:
        return
    yield _header(lines[0])
    banner = lines[3].strip()
    if "no supervisor" in banner:
        waits = int(banner.split()[0].replace(",", ""))
        yield Claim(
            f"banner: {banner}", lambda m: not m.alive and waits in (_waiting(m), m.counts().get("queued", 0))
        )
    yield from _footer(lines[-1])
    body = lines[3:-1]
    if any(line.startswith("  job  state") for line in body):
        yield from _queue(body, lines[-1])
    elif any("candidates ──" in line for line in body):
        yield from _job(body, lines[-1])
    elif any("κ = Σ" in line for line in body):
        yield from _kappa(body)
    elif any(line.lstrip(" ").startswith("trial") and "outcome" in line for line in body):
        yield from _trials(body)
    elif "Since your last visit" in text or any("job  what" in line for line in body):
        yield from _events(body, witness)
    elif any(re.match(r" spec ─+ \d+ differ, ", line) for line in body):
        yield from _compare(body)


def _header(line: str) -> Claim:
    told = {
        word: (sign, int(n.replace(",", ""))) for sign, n, word in re.findall(r"(\S) ([\d,]+) (\w+)", line)
    }
    word = next((w for w in ("no supervisor", "at work", "idle", "holding", "waiting") if w in line), "")

    def holds(m: Moment) -> bool:
        counts = m.counts()
        if not m.alive:
            counts["stopped"] = counts.pop("running", 0)
        for sign, state in (*SIGNS.items(), ("‖", "stopped")):
            if state != "cancelled" and told.get(state, (sign, 0)) != (sign, counts.get(state, 0)):
                return False
        if word in ("at work", "idle"):
            return m.alive and (word == "idle") == (not counts.get("running"))
        return word != "no supervisor" or not m.alive

    return Claim(f"header: {' '.join(line.split())}", holds)


def _waiting(m: Moment) -> int:
    return sum(job.state in ("queued", "running") for job in m.jobs.values())


def _footer(line: str) -> Iterator[Claim]:
    """What just ended, as the footer tells it."""
    found = re.search(r"✓ job (\d+), .*?: N\* (> [\d.]+\w?|[^ ]+)", line)
    if found:
        job, n = int(found[1]), found[2]
        yield Claim(
            f"message: {found[0]}",
            lambda m: m.jobs[job].state == "done" and _same(numbers.nstar(m.jobs[job]), n, m.jobs[job]),
        )
    found = re.search(r"✗ job (\d+)", line)
    if found:
        failed = int(found[1])
        yield Claim(f"message: {found[0]}", lambda m: m.jobs[failed].state == "failed")


def _same(short: str, told: str, job: JobRow) -> bool:
    return told.rstrip("…") in (short, numbers.nstar_exact(job)) or short.startswith(told.rstrip("…"))


def _queue(body: list[str], footer: str) -> Iterator[Claim]:
    top = next(i for i, line in enumerate(body) if line.startswith("  job  state"))
    found = re.search(r"(all|rest) done in", "\n".join(body[:top]))
    told = found[1] if found else ""
    yield Claim(
        f"queue: '{told} done in' is {'there' if told else 'not there'}",
        lambda m: told == _done_in(m),
    )
    for line in body[:top]:
        found = re.search(r"(\S+) [━╸─]+ (\d+)/(\d+)  ", line)
        if found and "cpu" not in line:
            yield Claim(
                f"queue: study {found[0].strip()}", partial(_study, over=int(found[2]), total=int(found[3]))
            )
    marked: list[int] = []
    chosen: int | None = None
    for line in body[top + 1 :]:
        found = re.match(r"[▸•  ]+(\d+)  ([▶○‖✓✗⊘]) (\S+)", line)
        if found:
            yield _row(line, int(found[1]), found[2], found[3])
            if "•" in line[:3]:
                marked.append(int(found[1]))
            if line.startswith("▸"):
                chosen = int(found[1])
    found = re.search(r"training N = ([\d,]+)", body[-1])
    yield from _keys(footer, marked or [x for x in (chosen,) if x is not None])
    if found and chosen is not None:
        n = int(found[1].replace(",", ""))
        yield Claim(
            f"queue: job {chosen} trains N = {n}", lambda m: m.alive and m.jobs[chosen].current_n == n
        )


def _done_in(m: Moment) -> str:
    if not m.alive or not m.counts().get("running"):
        return ""
    return "rest" if m.counts().get("paused") else "all"


def _study(m: Moment, over: int, total: int) -> bool:
    return total == len(m.jobs) and over == sum(j.state in OVER for j in m.jobs.values())


def _row(line: str, job_id: int, sign: str, word: str) -> Claim:
    def holds(m: Moment) -> bool:
        job = m.jobs.get(job_id)
        if job is None:
            return False
        state = m.word(job_id)
        if state == "stopped":
            good = sign == "‖" and word == "stopped"
        else:
            good = SIGNS[sign] == state and (word == state or word.endswith("%") or word in SHORT)
        if not good or numbers.nstar(job) not in line:
            return False
        if state in ("done", "failed", "cancelled"):
            return "~" not in line and (not job.wall_s or line.rstrip(" │▐").endswith(_took(job)))
        return state != "stopped" or "~" not in line

    return Claim(f"queue: {' '.join(line.split())}", holds)


def _took(job: JobRow) -> str:
    return numbers.duration(job.wall_s)


KEYS = {
    "p pause": ("running", "queued"),
    "r resume": ("paused",),
    "R retry": ("failed", "cancelled"),
    "x cancel": ("running", "queued", "paused"),
}


def _keys(footer: str, job_ids: list[int]) -> Iterator[Claim]:
    """A key is promised where it acts on one of these."""
    for key, states in KEYS.items():
        if f" {key}" in footer:
            yield Claim(f"footer: {key} on {job_ids}", partial(_in, job_ids=job_ids, states=states))


def _in(m: Moment, job_ids: list[int], states: tuple[str, ...]) -> bool:
    return any(m.jobs[i].state in states for i in job_ids)


def _job(body: list[str], footer: str) -> Iterator[Claim]:
    named = re.compile(r" (\d+)  \S .+?   ([▶○‖✓✗⊘]) (\w+)")
    at, head = next((i, found) for i, line in enumerate(body) if (found := named.match(line)))
    job_id = int(head[1])
    yield Claim(f"job {job_id}: {head[3]}", partial(_word, job_id=job_id, word=head[3]))
    yield from _keys(footer, [job_id])
    line = next(x for x in body[at:] if x.startswith(" N* "))
    eta = re.search(r"ETA [~\d]", line) is not None
    yield Claim(f"job {job_id}: {' '.join(line.split())}", partial(_known, job_id=job_id, line=line))
    yield Claim(f"job {job_id}: ETA {'told' if eta else 'not told'}", partial(_timed, job_id=job_id, eta=eta))
    yield from _stopped(job_id, body)
    known = re.search(r"90 % in (\[.*?\])", line)
    drawn = [f[1] for row in body[at:] if (f := re.match(r" [▸ ] *[\d,]+  .{,50}?(\[.*?\])", row))]
    if known and drawn:  # the chart ends with what stands above it
        yield Claim(f"job {job_id}: {drawn} is {known[1]}", lambda _: drawn == [known[1]])
    seeds = any(re.match(r" candidates ─+ seeds ", row) for row in body)
    for row in body[at:]:
        found = re.match(r" [▸ ] *([\d,]+)  (.{10,60}?)\s(\d+)/(\d+)\s", row)
        signs = re.findall(r"[✓✗∞●○]", found[2]) if found else []
        if found and len(signs) == 1:
            n, told = int(found[1].replace(",", "")), (int(found[3]), int(found[4]))
            yield _seeded(job_id, n, signs[0], told) if seeds else _candidate(job_id, n, signs[0], told[0])


def _known(m: Moment, job_id: int, line: str) -> bool:
    """What stands of N*, and how many candidates were tried."""
    job = m.jobs[job_id]
    told = numbers.nstar_exact(job) if job.hi is not None or job.estimate else ""
    told = f"> {numbers.exact(job.n_max)}" if job.status == "censored" else told
    bracket = "so far" in line or "not known" in line or numbers.left_open(job) in line
    tried = re.search(r"([\d,]+) tried", line)
    count = tried is None or int(tried[1].replace(",", "")) == job.candidates
    return told in line and bracket and count


def _timed(m: Moment, job_id: int, eta: bool) -> bool:
    """A time to come is told while something brings it nearer, and only then."""
    job = m.jobs[job_id]
    if job.state in OVER or (job.state == "running" and not m.alive):
        return not eta
    return eta or not job.candidates or job.state != "running"


def _candidate(job_id: int, n: int, sign: str, ended: int) -> Claim:
    def told(m: Moment, p: Probe) -> bool:
        if sign == "●":
            return p.state == "running" and m.word(job_id) == "running"
        if sign == "○":
            return p.verdict is None or p.speculative
        return _judged(p, sign) and m.ended[job_id, n] == ended

    return Claim(
        f"job {job_id}: N = {n} {sign} {ended} ended",
        lambda m: any(told(m, p) for p in m.probes.get((job_id, n), ())),
    )


def _seeded(job_id: int, n: int, sign: str, counts: tuple[int, int]) -> Claim:
    """Where seeds are fresh: how many of them learned."""
    return Claim(
        f"job {job_id}: N = {n} {sign} {counts[0]} of {counts[1]} seeds",
        lambda m: any(
            _judged(p, sign) and (p.successes, p.seeds) == counts for p in m.probes.get((job_id, n), ())
        ),
    )


def _stopped(job_id: int, body: list[str]) -> Iterator[Claim]:
    """How many trials of the candidate in sight were stopped early."""
    grid = next((f for row in body if (f := re.search(r" grid N = ([\d,]+) ─", row))), None)
    told = next((f for row in body if (f := re.search(r"stopped early, once decided: (\d+) of", row))), None)
    if grid and told:
        n, early = int(grid[1].replace(",", "")), int(told[1])
        yield Claim(f"job {job_id}: {early} stopped early", lambda m: m.stopped[job_id, n] == early)


def _judged(p: Probe, sign: str) -> bool:
    return p.state == "done" and p.verdict == (sign == "✓") and not p.speculative


def _kappa(body: list[str]) -> Iterator[Claim]:
    for line in body:
        found = re.match(r" [▲■●] (\S.*?\.\.\d+(?: s2l)?)\s+(\d+)/(\d+) ", line)
        if found:
            told = (int(found[2]), int(found[3]))
            yield Claim(f"kappa: {' '.join(found[0].split())}", partial(_pending, label=found[1], told=told))
    named = re.compile(r" (\S.*?\.\.\d+(?: s2l)?) ─+ κ (.+)$")
    at, head = next(((i, found) for i, x in enumerate(body) if (found := named.match(x))), (0, None))
    if head is None:
        return
    label, text = head[1], head[2].strip()
    yield Claim(f"kappa: {label} κ {text}", partial(_value, label=label, told=text))
    for line in body[at:]:
        found = re.match(r" +(n=\d+|joint) +(\S.*?)  +([▶○‖✓✗⊘]) (\w+)", line)
        if found:
            yield Claim(
                f"kappa: {label} {' '.join(found[0].split())}",
                partial(_part, label=label, part=found[1], told=found[2], word=found[4]),
            )


def _named(m: Moment, label: str) -> list[CellRow]:
    return [cell for cell in m.cells if name(cell) == label]


def _value(m: Moment, label: str, told: str) -> bool:
    return any(told == _told_kappa(kappa(cell)) for cell in _named(m, label))


def _told_kappa(k: Kappa) -> str:
    """A kappa with what its interval is of."""
    kind = {"resolution": f", {numbers.SCATTER}", "credible": " 90 %", "mixed": " 90 % in part"}
    return f"{k.text()}{kind.get(k.interval, '')}"


def _pending(m: Moment, label: str, told: tuple[int, int]) -> bool:
    return any(
        told == (sum(p.status in ("bracket", "censored") for p in (*c.parts, c.joint)), len(c.parts) + 1)
        for c in _named(m, label)
    )


def _part(m: Moment, label: str, part: str, told: str, word: str) -> bool:
    for cell in _named(m, label):
        row: NStar = ({f"n={p.n}": p for p in cell.parts} | {"joint": cell.joint})[part]
        value = numbers.nstar(row) if row.status == "open" else numbers.nstar_exact(row)
        ends = numbers.count_ends(row.estimate) if row.estimate is not None else ""
        half = numbers.count_interval(row.n50).partition(" ")[0] if row.n50 is not None else ""
        stored = [x for x in (value, ends, half) if x]
        if row.job_id is not None and m.word(row.job_id) == word and re.split(r"  +", told) == stored:
            return True
    return False


def _trials(body: list[str]) -> Iterator[Claim]:
    found = next((f for x in body if (f := re.match(r" ([\d,]+) trials", x))), None)
    if found:
        total = int(found[1].replace(",", ""))
        yield Claim(f"trials: {total} trials", lambda m: len(m.trials) == total)
    for line in body:
        row = re.match(r"[▸ ] *(\d+)  [▶✓✗∞·?‖] (\w+) +(\d+) ", line)
        if row:
            told = (int(row[3]), row[2])
            yield Claim(f"trials: {' '.join(row[0].split())}", partial(_trial, id=int(row[1]), told=told))


def _trial(m: Moment, id: int, told: tuple[int, str]) -> bool:
    return m.trials.get(id) == (told[0], "running" if told[1] == "interrupted" else told[1]) and (
        (told[1] == "running") <= (m.word(told[0]) == "running")
    )


def _events(body: list[str], witness: Witness) -> Iterator[Claim]:
    row = re.compile(r"\d\d:\d\d:\d\d +(\d+)  [▶○‖✓✗⊘] (done|failed|cancelled|paused)(?:  N\* (\S+))?")
    for line in body:
        if found := row.search(line):
            yield Claim(
                f"events: {' '.join(line.split())}",
                partial(_event, ever=witness.ever, job_id=int(found[1]), state=found[2], n=found[3]),
            )


def _event(m: Moment, ever: set[tuple[int, str]], job_id: int, state: str, n: str | None) -> bool:
    job = m.jobs[job_id]
    return (job_id, state) in ever and (n is None or job.state != "done" or _same(numbers.nstar(job), n, job))


def _compare(body: list[str]) -> Iterator[Claim]:
    named = re.compile(r"(?:^ |   )(\d+)  (?:dense_ssm|transformer|lstm) ")
    ids = [int(i) for line in body for i in named.findall(line)][:2]
    line = next((x for x in body if " N* " in x), "")
    for job_id, (sign, word) in zip(ids, re.findall(r"[▲■●] ([▶○‖✓✗⊘]) (\w+)", line), strict=False):
        yield Claim(f"compare: job {job_id} {sign} {word}", partial(_word, job_id=job_id, word=word))


def _word(m: Moment, job_id: int, word: str) -> bool:
    return m.word(job_id) == word


@dataclass
class Watch:
    """A terminal that is read twice a second, its claims held against the store."""

    terminal: Terminal
    witness: Witness
    looks: int = 0
    claims: Counter[str] = field(default_factory=Counter)
    """How many of each kind were held against the store: a test that reads nothing finds nothing."""
    false: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Read for half a second, then judge; what is false must still stand there a moment later."""
        self.terminal.read(0.5)
        self.looks += 1
        wrong = self._wrong(count=True)
        if wrong:
            until = time.monotonic() + 0.5
            while wrong and time.monotonic() < until:
                self.terminal.read(0.1)
                wrong &= self._wrong()
        for claim in wrong:
            self.false.append(f"look {self.looks}: {claim.says}\n{self.terminal.text()}")

    def _wrong(self, count: bool = False) -> set[Claim]:
        assert self.witness.problem is None, self.witness.problem
        now = time.monotonic()
        found = list(claims(self.terminal.text(), self.witness))
        if count:
            self.claims.update(claim.says.replace(":", " ").split()[0] for claim in found)
        moments = self.witness.during(now - self.witness.allowed())
        return {claim for claim in found if not any(claim.holds(m) for m in moments)}
