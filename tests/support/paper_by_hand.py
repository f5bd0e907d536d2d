"""The paper's statements a second time: plain SQL and arithmetic on a lab file, no code of the project.

``python -m tests.support.paper_by_hand LAB`` prints number and verdict of each.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

T95 = {1: 6.31, 2: 2.92, 3: 2.35, 4: 2.13, 5: 2.02, 6: 1.94, 7: 1.89, 8: 1.86, 9: 1.83, 10: 1.81, 11: 1.80,
       12: 1.78, 13: 1.77, 14: 1.76, 15: 1.75, 16: 1.75}  # fmt: skip
"""95 % points of Student's t by degrees of freedom."""
R = ("lstm", "dense_ssm")
QUERY = """
SELECT j.id, j.state, j.status, j.lo, j.hi, j.n_max, j.estimate, j.generalisation, j.flags, t.spec
FROM job AS j JOIN job_text AS t ON t.job_id = j.id
"""
Ends = tuple[float, float] | None


def verdicts(path: Path) -> dict[str, str]:
    """Number of each statement -> confirmed, contradicted, open or not measured."""
    lab = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    jobs = {row[0]: job(*row) for row in lab.execute(QUERY)}
    cells = [
        {"joint": jobs[joint], "parts": [jobs[i] for (i,) in lab.execute(
            "SELECT job_id FROM cell_part WHERE cell_id = ? ORDER BY n", (cell,))], "id": cell}
        for cell, joint in lab.execute("SELECT id, joint_job_id FROM cell ORDER BY id")
    ]  # fmt: skip
    seeds: dict[int, dict[int, float]] = defaultdict(dict)
    for number, seed, value in lab.execute(
        "SELECT t.job_id, t.seed, t.generalisation FROM trial AS t JOIN job AS j ON j.id = t.job_id "
        "WHERE t.n = j.n_max AND t.generalisation NOT NULL AND t.best_loss NOT NULL ORDER BY t.best_loss DESC"
    ):
        seeds[number][seed] = value
    for number, of_seed in seeds.items():
        jobs[number]["by_seed"] = list(of_seed.values())
    lab.close()
    joints = list({c["joint"]["id"]: c["joint"] for c in cells if c["joint"]["in"]}.values())
    singles = [p for c in cells for p in c["parts"] if p["in"]]
    singles += [j for j in joints if j["distribution"] == "fixed"]
    kappas = [c for c in cells if c["parts"] and all(p["in"] for p in [c["joint"], *c["parts"]])
              and c["joint"]["distribution"] == "uniform"]  # fmt: skip
    answers: dict[str, dict[str, list[bool | None]]] = defaultdict(lambda: defaultdict(list))
    for a in joints:
        for b in joints:
            pair(answers, a, b)
        for b in {s["id"]: s for s in singles}.values():
            shape = a["format"], b["format"], a["distribution"]
            if same(a, b, "model", "task", "L") and a["kind"] in R and shape == ("acot", "acot", "uniform"):
                answers["3.4a"][f"{a['kind']} f<u"].append(less(b["ends"], a["ends"]))
    for c in kappas:
        sharing(answers, c)
    slopes(answers, joints)
    accuracy(answers, joints, kappas)
    needed = {"3.1": 1, "3.2": 2, "3.3": 2, "3.4a": 4, "3.4b": 3, "3.5": 2, "4.1": 3, "4.2": 1, "4.3": 6,
              "4.4": 1, "4.5": 8}  # fmt: skip
    return {number: answer(answers[number], parts) for number, parts in needed.items()}


def answer(found: dict[str, list[bool | None]], parts: int) -> str:
    """One verdict from what each part's comparisons say."""
    said = [holds for holdings in found.values() for holds in holdings]
    if not said:
        return "not measured"
    if False in said:
        return "contradicted"
    return "confirmed" if sum(True in holdings for holdings in found.values()) == parts else "open"


def job(number: int, state: str, status: str, lo: int, hi: int | None, n_max: int, estimate: str | None,
        accuracy_2l: float | None, flags: str, text: str) -> dict[str, Any]:  # fmt: skip
    """What the statements need of one job."""
    spec = json.loads(text)
    lengths, search, training = spec["lengths"], spec["search"], spec["training"]
    k = len(spec["grid"]["seeds"])
    how = {"strategy", "n_max", "multiplier", "max_candidates", "rtol", "stop_rule", "relative_width",
           "seed_budget", "ladder"}  # fmt: skip
    equal = json.dumps([training, spec["grid"]["learning_rates"], k, sorted(
        (key, str(value)) for key, value in search.items() if key not in how)], sort_keys=True)  # fmt: skip
    fixed = lengths["distribution"] == "fixed"
    lost = status == "censored" and "diverged" in json.loads(flags)
    ends: Ends = None
    if estimate is not None:
        _, low, high = json.loads(estimate)
        ends = (low, math.inf if status == "censored" else high)
    elif status == "censored" and not lost and search["strategy"] in ("log", "adaptive"):
        each, failed, n = (k if search["strategy"] == "log" else max(3, k)), 0, 2.0 * n_max
        while 0.5 ** (failed / k) > 0.1:
            failed, n = failed + each, n / 2
        ends = (n, math.inf) if n >= n_max / 8 else None
    return {
        "id": number, "in": state == "done" and status != "open" and not lost, "status": status, "lo": lo,
        "hi": hi, "n_max": n_max, "estimate": json.loads(estimate) if estimate else None, "ends": ends,
        "accuracy": accuracy_2l, "equal": equal, "kind": spec["model"]["kind"], "format": spec["format"],
        "model": json.dumps(spec["model"]), "task": json.dumps(spec["task"]),
        "m": spec["task"].get("m"), "states": spec["task"].get("m") or math.factorial(spec["task"]["k"]),
        "distribution": lengths["distribution"], "L": lengths["length"],
        "low": lengths["length"] if fixed else lengths["min_length"],
    }  # fmt: skip


def same(a: dict[str, Any], b: dict[str, Any], *keys: str) -> bool:
    """Both have the same settings and the same values of these keys."""
    return a["equal"] == b["equal"] and all(a[key] == b[key] for key in keys)


def less(a: Ends, b: Ends) -> bool | None:
    """a lies below b; None where that is not decided."""
    if a is None or b is None:
        return None
    return True if a[1] < b[0] else False if b[1] < a[0] else None


def pair(answers: Any, a: dict[str, Any], b: dict[str, Any]) -> None:
    """3.1, 3.2, 3.3, the second half of 3.4a, 3.5."""
    where = same(a, b, "task", "L", "low")
    shape = (a["kind"], a["format"], a["distribution"]), (b["kind"], b["format"], b["distribution"])
    held = less(a["ends"], b["ends"])
    if not where:
        return
    if a["model"] == b["model"]:
        if shape == (("transformer", "cot", "uniform"), ("transformer", "acot", "uniform")):
            answers["3.1"]["t"].append(held)
        for r in R:
            if shape == ((r, "acot", "uniform"), (r, "cot", "uniform")):
                answers["3.2"][r].append(held)
            if shape == ((r, "acot", "uniform"), (r, "acot", "short_to_long")):
                answers["3.4a"][f"{r} u<s"].append(held)
            if shape == ((r, "outcome", "short_to_long"), (r, "outcome", "uniform")):
                answers["3.5"][r].append(held)
    for r in R:
        if shape == ((r, "outcome", "uniform"), ("transformer", "outcome", "uniform")):
            answers["3.3"][r].append(held)


def kappa_ends(c: dict[str, Any]) -> Ends:
    """kappa's 90 % interval by a Monte Carlo of its own; a wide one where something is censored."""
    all_of_it = [*c["parts"], c["joint"]]
    if any(j["ends"] is None for j in all_of_it):
        return None
    if any(j["status"] == "censored" for j in all_of_it):
        low, high = (sum(p["ends"][i] for p in c["parts"]) for i in (0, 1))
        return low / c["joint"]["ends"][1], high / c["joint"]["ends"][0]
    rng = random.Random(1)

    def draw(j: dict[str, Any]) -> float:
        value, low, high = j["estimate"]
        z = rng.gauss(0, 1)
        return float(
            math.exp(
                math.log(value) + z * math.log((high if z > 0 else value) / (value if z > 0 else low)) / 1.645
            )
        )

    ratios = sorted(sum(map(draw, c["parts"])) / draw(c["joint"]) for _ in range(4000))
    return ratios[200], ratios[3799]


def within(ends: Ends, low: float, high: float) -> bool | None:
    """All of the interval inside, none of it, or neither."""
    if ends is None:
        return None
    return True if low <= ends[0] and ends[1] <= high else False if ends[1] < low or ends[0] > high else None


def sharing(answers: Any, c: dict[str, Any]) -> None:
    """4.1, 4.2, 4.3."""
    kind, form, ends = c["joint"]["kind"], c["joint"]["format"], kappa_ends(c)
    if kind == "transformer":
        answers["4.1"][form].append(within(ends, 0, 1.25))
        if form == "cot":
            answers["4.2"][form].append(within(ends, 0, 0.5))
    elif kind in R:
        region = (0.8, 1.25) if form == "cot" else (2.0, math.inf)
        answers["4.3"][f"{kind} {form}"].append(within(ends, *region))


def slopes(answers: Any, joints: list[dict[str, Any]]) -> None:
    """3.4b, 4.4: least squares of ln N* on ln L (and ln m), with Student's t."""
    groups = defaultdict(list)
    for j in joints:
        form = "cot" if j["kind"] == "transformer" else "acot"
        if (j["distribution"], j["format"]) == ("uniform", form):
            family = "Z" if j["m"] else j["task"]
            groups[j["kind"], j["model"], family, j["low"], j["equal"]].append(j)
    for (kind, *_), group in groups.items():
        if len({j["L"] for j in group}) < 2:
            continue
        ends = exponent(group) if len({j["L"] for j in group}) >= 3 else None
        falls = None if ends is None or ends[0] <= 0 <= ends[1] else ends[1] < 0
        part = f"{kind} falls" if kind in R else "t"
        answers["3.4b"][part].append(falls if kind in R or falls is None else not falls)
        if kind == "dense_ssm":
            answers["4.4"][part].append(falls)


def exponent(group: list[dict[str, Any]]) -> Ends:
    """The 90 % interval of the exponent of L; the effect of m is taken out by its means."""
    if any(j["hi"] is None for j in group):
        return None
    by_m = defaultdict(list)
    for j in group:
        middle = j["estimate"][0] if j["estimate"] else math.sqrt(max(j["lo"], 0.5) * j["hi"])
        by_m[j["m"]].append((math.log(j["L"]), math.log(middle)))
    x, y = [], []
    for points in by_m.values():
        mean_x, mean_y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
        x += [p[0] - mean_x for p in points]
        y += [p[1] - mean_y for p in points]
    left = len(x) - 1 - len(by_m)
    if left < 1:
        return None
    slope = sum(a * b for a, b in zip(x, y, strict=True)) / sum(a * a for a in x)
    rest = sum((b - slope * a) ** 2 for a, b in zip(x, y, strict=True)) / left
    half = T95.get(left, 1.70) * math.sqrt(rest / sum(a * a for a in x))
    return slope - half, slope + half


def accuracy(answers: Any, joints: list[dict[str, Any]], kappas: list[dict[str, Any]]) -> None:
    """4.5."""
    points = []
    for c in kappas:
        everything = [*c["parts"], c["joint"]]
        if c["joint"]["accuracy"] is not None and all(j["status"] == "bracket" for j in everything):
            stars = [j["estimate"][0] if j["estimate"] else j["hi"] for j in everything]
            points.append((sum(stars[:-1]) / stars[-1], c["joint"]["accuracy"]))
    if points:
        rho = rank_correlation(points)
        significant = rho is not None and p_value(rho, len(points)) < 0.1
        answers["4.5"]["rank"].append(rho > 0 if significant and rho is not None else None)
    for j in joints:
        if j["accuracy"] is None or j["distribution"] != "uniform":
            continue
        good = j["kind"] in R and j["format"] == "acot"
        if not good and j["kind"] in R and j["format"] == "outcome":
            continue
        region = (0.8, math.inf) if good else (-math.inf, 0.2)
        said = [within(score(value, 1 / j["states"]), *region) for value in j.get("by_seed", [])]
        agreed = said[0] if len(said) > 1 and len(set(said)) == 1 else None
        answers["4.5"][f"{j['kind']} {j['format']}"].append(agreed)


def score(value: float, chance: float) -> tuple[float, float]:
    """Wilson's 90 % interval over 2,000 sequences of an accuracy that is rescaled to chance = 0."""
    n, z2 = 2000, 1.645**2
    p = min(1.0, max(0.0, value * (1 - chance) + chance))
    middle, half = p + z2 / 2 / n, 1.645 * math.sqrt(p * (1 - p) / n + z2 / 4 / n / n)
    low, high = ((x / (1 + z2 / n) - chance) / (1 - chance) for x in (middle - half, middle + half))
    return low, high


def rank_correlation(points: list[tuple[float, float]]) -> float | None:
    """Spearman's, ties at their mean rank."""
    if len(points) < 3:
        return None

    def ranks(values: list[float]) -> list[float]:
        return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]

    x, y = (ranks([p[i] for p in points]) for i in (0, 1))
    mean = (len(points) + 1) / 2
    above = sum((a - mean) * (b - mean) for a, b in zip(x, y, strict=True))
    below = math.sqrt(sum((a - mean) ** 2 for a in x) * sum((b - mean) ** 2 for b in y))
    return above / below if below else None


def p_value(rho: float, n: int) -> float:
    """Two-sided, by Student's t with n - 2 degrees of freedom, integrated by Simpson's rule."""
    if abs(rho) >= 1:
        return 0.0
    nu = n - 2
    t = abs(rho) * math.sqrt(nu / (1 - rho * rho))
    height = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(nu * math.pi)
    steps = 2000
    total = sum(
        (1 if i in (0, steps) else 4 if i % 2 else 2) * (1 + (t * i / steps) ** 2 / nu) ** (-(nu + 1) / 2)
        for i in range(steps + 1)
    )
    return float(max(0.0, 1 - 2 * height * total * t / steps / 3))


if __name__ == "__main__":
    for number, verdict in verdicts(Path(sys.argv[1])).items():
        print(number, verdict)
