"""Looking up from long work: whether somebody wants it abandoned.

Work that may take seconds (a step of a large model, an evaluation, data of millions of sequences) calls
:func:`check_interrupt` at moments when leaving harms nothing but that work. Who runs it under a
:class:`Listener` gets :class:`Interrupted` from there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from time import monotonic

EVERY_S = 0.05
"""A listener asks this often at most: small models look up every few microseconds."""


class Interrupted(Exception):  # noqa: N818 - says what happened
    """The work was abandoned where it looked up."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class Listener:
    """A context in which work of this thread may be interrupted;
    it may be entered again and again, not within itself.

    Args:
        asked: whether the work is to be abandoned. None: nothing within is, whatever holds around it.
    """

    def __init__(self, asked: Callable[[], bool] | None) -> None:
        self._asked = asked
        self._next = 0.0
        self._outer: Token[Listener | None] | None = None

    def __enter__(self) -> None:
        self._outer = _listener.set(self)

    def __exit__(self, *_: object) -> None:
        assert self._outer is not None
        _listener.reset(self._outer)

    def hear(self) -> None:
        """Ask, if it is time to.

        Raises:
            Interrupted: yes.
        """
        if self._asked is None or monotonic() < self._next:
            return
        self._next = monotonic() + EVERY_S
        if self._asked():
            raise Interrupted


def check_interrupt() -> None:
    """A moment at which the work around may be abandoned.

    Raises:
        Interrupted: somebody wants that.
    """
    listener = _listener.get()
    if listener is not None:
        listener.hear()
