# %% [markdown]
# How many examples does my function need? Cells of a notebook (Jupyter, VS Code), or a plain script.

# %%
import sys
from pathlib import Path

from labtui import Lab, program


# %% What is measured: a function of the sample size and a seed, with all that it imports inside.
def train(n: int, seed: int, noise: float) -> float:
    """Fit a line through n noisy points; how far its slope is off."""
    import random

    draw = random.Random(seed)
    x = [draw.random() for _ in range(n)]
    y = [2.0 * v + draw.gauss(0.0, noise) for v in x]
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((v - mean_x) ** 2 for v in x)
    slope = sum((v - mean_x) * (w - mean_y) for v, w in zip(x, y, strict=True)) / spread if spread else 0.0
    return abs(slope - 2.0)


# %% Its source goes into a file of its own; the spec names it, and its digest is part of the hash.
SEEDS = int(sys.argv[2]) if len(sys.argv) > 2 else 60
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "notebook_lab")
spec = {
    "name": "slope",
    "program": program(train, folder) | {"metric": "error", "goal": "min", "threshold": 0.2},
    "sweep": [{"noise": [0.1, 0.2, 0.4]}],
    "grid": {"seed": [1]},
    "search": {"strategy": "adaptive", "n_max": 2000, "seed_budget": SEEDS},
}

# %% ``allow``: this very function may run on this machine.
with Lab(folder / "lab.db", read_only=False, frames="rows") as lab:
    lab.submit(spec, allow=True)
    lab.run()
    for job in lab.jobs():
        print(f"{job.name}: N* {job.nstar} in [{job.nstar_low}, {job.nstar_high}]")
