"""One BLAS thread for the numbers on screens: their matrices are small, the cores belong to the trials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Load numpy and scipy in here: BLAS reads its number of threads once, when it is loaded.

    The environment is put back, so that a supervisor started later gets the person's own.
    """
    before = {name: os.environ.get(name) for name in _LIBRARIES}
    os.environ.update(dict.fromkeys(_LIBRARIES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
