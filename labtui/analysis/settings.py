"""Which jobs were measured at the paper's settings, and what differs where they were not."""

from __future__ import annotations

from labtui.analysis.published import PAPER
from runners.spec import LSTM, DenseSSM, Job, ModularAddition, PermutationComposition, Transformer


def differences(job: Job) -> tuple[str, ...]:
    """What of ``job`` is not as in the paper, in words; empty: measured at the paper's settings.

    The strategies ``log`` and ``adaptive`` ask for the same N* with another resolution,
    so they are no difference; nor is the single length of an N*_n.
    """
    found = []

    def check(what: str, value: object, expected: object) -> None:
        if value != expected:
            found.append(f"{what} {_text(value)} (paper: {_text(expected)})")

    t, s, g = job.training, job.search, job.grid
    match job.model:
        case Transformer(layers=layers, d=d):
            if layers not in PAPER.transformer_layers:
                check("layers", layers, PAPER.transformer_layers[0])
            check("d", d, PAPER.transformer_d)
        case LSTM(hidden=hidden):
            if hidden not in PAPER.lstm_hidden:
                check("hidden", hidden, PAPER.lstm_hidden[0])
        case DenseSSM(hidden=hidden):
            check("hidden", hidden, PAPER.dense_ssm_hidden)
        case other:
            found.append(f"model {other.label} (not in the paper)")
    match job.task:
        case ModularAddition(m=m):
            if m not in PAPER.moduli:
                found.append(f"m {m} (not in the paper)")
        case PermutationComposition(k=5):
            pass
        case task:
            found.append(f"task {task.label} (not in the paper)")
    if job.lengths.distribution != "fixed":
        check("min_length", job.lengths.min_length, PAPER.min_length)
        if job.lengths.length not in PAPER.lengths:
            found.append(f"L {job.lengths.length} (not in the paper)")
    check("steps", t.steps, PAPER.steps)
    check("batch size", t.batch_size, PAPER.batch_size)
    check("evaluation every", t.eval_every, PAPER.eval_every)
    check("validation sequences", t.validation_size, PAPER.validation_size)
    check("precision", t.precision, "fp32")
    check("learning rates", tuple(sorted(g.learning_rates)), tuple(sorted(PAPER.learning_rates)))
    check("seeds", len(g.seeds), PAPER.seeds)
    check("eps", s.eps, PAPER.eps)
    check("criterion", s.criterion, "loss")
    check("weight decay", t.weight_decay, 0.0)
    check("clipping", t.clip or 0.0, 0.0)
    check("schedule", t.schedule, "constant")
    check("warm-up", t.warmup, 0.0)
    check("N_max asked for", job.n_max_asked, PAPER.n_max)
    return tuple(found)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(_text(v) for v in value)
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    )
