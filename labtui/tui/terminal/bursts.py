"""What a hand types and what no hand types: keys that come all at once are marked, floods become one paste.

A terminal without bracketed paste sends a pasted text as keys. ``Dy`` among it would delete a search, so a
key that came together with others says so (:func:`in_burst`), and what changes the lab asks before it obeys
such a one. Nothing is lost by that: a hand on a slow link, whose keys come together as well, is asked once. A
held key repeats, and is typing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from textual import events
from textual.message import Message

TOGETHER_S = 0.02
"""Keys nearer than this are one burst: a held key repeats every 30 ms, fast fingers need 50."""
MOST = 256
"""Different keys of one burst that are still keys: a path that somebody typed or pasted while the link stood
still.
"""
REPEATS = 1_000
"""Repeats of one key in a burst that still count."""


class Bursts:
    """Sorts messages as they are read; hands them on in their order."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._last = float("-inf")
        self._key = ""
        self._keys = self._repeats = 0
        self._flood: list[str] = []

    def take(self, messages: Iterable[Message], now: float) -> None:
        """Messages that were read at once. Several of them, or some soon after others, are a burst."""
        found = list(messages)
        if not found:
            return
        if now - self._last > TOGETHER_S:
            self.flush()
            self._key, self._keys, self._repeats = "", 0, 0
        self._last = now
        several = len({m.key for m in found if isinstance(m, events.Key)}) > 1
        for message in found:
            if isinstance(message, events.Key):
                self._take_key(message, several)
            else:
                self._send(message)

    def _take_key(self, key: events.Key, several: bool) -> None:
        if key.key == self._key:
            self._repeats += 1
        else:
            self._key, self._keys = key.key, self._keys + 1
        if self._keys > MOST:
            if key.character:
                self._flood.append(key.character)
        elif self._repeats <= REPEATS:
            if several or self._keys > 1:
                key.burst = True  # type: ignore[attr-defined]
            self._send(key)

    def flooded(self, now: float) -> bool:
        """Whether what comes now goes on with a flood: it need not be taken apart into keys."""
        return self._keys > MOST and now - self._last <= TOGETHER_S

    def flood(self, text: str) -> None:
        """Take more of a flood."""
        self._last = time.monotonic()
        self._flood.append(text)

    def flush(self) -> None:
        """Send what of a flood has come so far, as one paste."""
        if self._flood:
            self._send(events.Paste("".join(self._flood)))
            self._flood.clear()


def in_burst(event: events.Key) -> bool:
    """Whether a key came together with others, as no hand types."""
    return getattr(event, "burst", False)
