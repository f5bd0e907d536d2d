"""A picture of what N* and N_50 are: ``python -m benchmarks.curve`` prints the plot of docs/science.md."""

from __future__ import annotations

import math
import sys

N_50, SLOPE = 60.0, 2.5
"""Of the curve that is drawn: q(N) = 1 / (1 + (N_50 / N)^SLOPE)."""
SEEDS = 5
FROM, TO, WIDTH, HEIGHT = 10.0, 300.0, 66, 11


def share(n: float) -> float:
    """P(a fresh seed succeeds) with N = n sequences."""
    return 1 / (1 + math.pow(N_50 / n, SLOPE))


def crossing(q: float) -> float:
    """The N at which a share q of the seeds succeeds."""
    return N_50 * math.pow(q / (1 - q), 1 / SLOPE)


def picture() -> str:
    """The curve with the N at which a grid of SEEDS, and of one seed, has an even chance."""
    q_star = 1 - 2 ** (-1 / SEEDS)
    marks = {"N*": crossing(q_star), "N_50": N_50}

    def column(n: float) -> int:
        return round(math.log(n / FROM) / math.log(TO / FROM) * (WIDTH - 1))

    rows = [[" "] * WIDTH for _ in range(HEIGHT + 1)]
    for n in marks.values():
        for row in range(round((1 - share(n)) * HEIGHT), HEIGHT + 1):
            rows[row][column(n)] = ":"
    for x in range(WIDTH):
        q = share(FROM * (TO / FROM) ** (x / (WIDTH - 1)))
        rows[round((1 - q) * HEIGHT)][x] = "*"
    ticks = {
        0: "1.0",
        round(0.5 * HEIGHT): "0.5",
        round((1 - q_star) * HEIGHT): f"{q_star:.2f}",
        HEIGHT: "0.0",
    }
    lines = [f"{ticks.get(i, ''):>5} |{''.join(row).rstrip()}" for i, row in enumerate(rows)]
    foot = [" "] * (WIDTH + 6)
    for name, n in marks.items():
        text = f"{name} = {n:.0f}"
        at = column(n) - len(text) // 2
        foot[at : at + len(text)] = list(text)
    return "\n".join(
        [
            f"share q of the seeds that succeed; a grid of {SEEDS} has its N* where q = {q_star:.2f}",
            *lines,
            "      +" + "-" * WIDTH,
            "       " + "".join(foot).rstrip() + "   (N, log scale)",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(picture() + "\n")
