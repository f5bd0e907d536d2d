"""Coverage-guided fuzzing of the same contracts: ``python -m tests.fuzz.atheris_fuzz TARGET
[libFuzzer options]``.

Needs the package atheris, which nothing else does; pytest does not collect this. ``-max_total_time=180``
bounds a run, and a folder as last word keeps what was found worth trying. Stops at the first input that
breaks a promise and writes it to a file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed; expected: pip install atheris")

with atheris.instrument_imports(
    include=[
        "runners.spec",
        "runners.pool.protocol",
        "runners.pool.state",
        "labtui",
        "store",
        "tomllib",
        "json",
    ]
):
    from tests.fuzz import contracts, test_files, test_texts
    from tests.support.fakelab import LONE, SPEC, small_lab

from runners.pool.protocol import encode

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def _lab() -> bytes:
    return small_lab(_FOLDER / "seed.db").read_bytes()


TARGETS: dict[str, tuple[contracts.Contract, Any]] = {
    "spec": (contracts.spec, lambda: [text.encode() for text in (SPEC, LONE, test_texts.TASKS)]),
    "message": (contracts.message, lambda: [encode(said) for said in test_texts.SAID]),
    "stored": (
        contracts.stored,
        lambda: [
            test_texts.lone().job.to_json().encode(),
            b'{"members": [["7", 4, 1e-3, 1, 1e-3, "probe", false]]}',
        ],
    ),
    "settings": (contracts.settings, lambda: [test_texts.SETTINGS]),
    "checkpoint": (
        lambda data, folder: contracts.saved(contracts.sign(data), folder),
        lambda: [test_files.checkpoint_file(test_files.content())],
    ),
    "lab": (contracts.lab, lambda: [_lab()]),
}
"""Name -> (contract, valid inputs to begin from)."""


def main(argv: list[str]) -> None:
    if len(argv) < 2 or argv[1] not in TARGETS:
        sys.exit(f"{argv[1:2]} is no target; expected one of: {', '.join(TARGETS)}")
    contract, seeds = TARGETS[argv[1]]
    corpus = _FOLDER / "corpus"
    corpus.mkdir()
    folder = _FOLDER / "work"
    folder.mkdir()
    longest = 0
    for number, seed in enumerate(seeds()):
        (corpus / str(number)).write_bytes(seed)
        longest = max(longest, 2 * len(seed))
        contracts.quietly(contract, seed, folder)
    options = [f"-max_len={longest}", *argv[2:], str(corpus)]
    atheris.Setup([argv[0], *options], lambda data: contract(data, folder))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
