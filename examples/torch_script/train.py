"""Fit a small network to noisy circles of N points, with checkpoints: an ordinary PyTorch script.

labtui's part is three lines: the folder, the report, and SIGTERM.
"""

import argparse
import os
import signal
from pathlib import Path

import torch

import labtui

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, required=True)
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--steps", type=int, default=400)
args = parser.parse_args()

torch.manual_seed(args.seed)
torch.set_num_threads(1)
device = "cuda" if torch.cuda.is_available() else "cpu"
folder = Path(os.environ.get("LABTUI_CHECKPOINT", "."))  # outlives a pause
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))  # keep what you can, and end


def circles(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """n points; the label says which of two rings a point lies on."""
    label = torch.randint(0, 2, (n,), generator=generator)
    angle = torch.rand(n, generator=generator) * 6.2831853
    radius = 1.0 + label + 0.15 * torch.randn(n, generator=generator)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), label


x, y = (t.to(device) for t in circles(args.n, torch.Generator().manual_seed(args.seed)))
test_x, test_y = (t.to(device) for t in circles(1000, torch.Generator().manual_seed(10_000)))
model = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)).to(device)
adam = torch.optim.Adam(model.parameters(), lr=args.lr)
first = 0
if (folder / "last.pt").exists():
    kept = torch.load(folder / "last.pt", weights_only=True)
    model.load_state_dict(kept["model"])
    adam.load_state_dict(kept["adam"])
    first = kept["step"]

for step in range(first + 1, args.steps + 1):
    adam.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    adam.step()
    if step % 20 == 0 or step == args.steps:
        with torch.no_grad():
            accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
        labtui.report(step=step, accuracy=accuracy)
    if stopped:
        torch.save({"model": model.state_dict(), "adam": adam.state_dict(), "step": step}, folder / "new.pt")
        (folder / "new.pt").rename(folder / "last.pt")
        break
