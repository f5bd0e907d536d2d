"""What the study should find, without labtui: how many of many seeds reach 95 %, on a dense ladder of N.

python examples/digits/truth.py --seeds 100
"""

import argparse

import numpy as np
from train import CLASSIFIERS, accuracy

parser = argparse.ArgumentParser()
parser.add_argument("--seeds", type=int, default=100)
parser.add_argument("--threshold", type=float, default=0.95)
args = parser.parse_args()

for name in CLASSIFIERS:
    last = 0.0
    for n in (int(x) for x in np.geomspace(100, 1297, 24)):
        won = [accuracy(n, 1_000_000 + seed, name) >= args.threshold for seed in range(args.seeds)]
        share = float(np.mean(won))
        if share >= 0.5 > last:
            print(f"{name}: half of {args.seeds} seeds reach {args.threshold:.0%} at N = {n} ({share:.0%})")
            break
        last = share
        print(f"{name} {n} {share:.2f}", flush=True)
    else:
        print(f"{name}: fewer than half of the seeds reach it with all 1,297 ({last:.0%})")
