"""The terminal's input and output, as an app wants them that runs for weeks: no byte, no size and no loss of
it is fatal.

Textual's driver decodes its input strictly, ends with the first byte that is not UTF-8 and with a key code
that is no character, believes any size that it is told, and waits for ever on a terminal that takes nothing
more. Here what cannot be read is left out, sizes have bounds, and writing to a terminal that is gone is no
error."""

from __future__ import annotations

import codecs
import os
import selectors
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.keys import Keys
from textual.message import Message

from labtui.tui.terminal.bursts import Bursts

if TYPE_CHECKING:
    from textual.app import App

MAX_WIDTH, MAX_HEIGHT = 1000, 500
"""Cells that a terminal is believed to have: one that says more (in-band, or by stty) would cost gigabytes.
"""
FAR = 1_000_000
"""A mouse is nowhere beyond this."""


class LabDriver(LinuxDriver):
    """Textual's driver on stdin and stdout."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        if self._size is None:
            self._size = self._get_terminal_size()
        self._file = Output()  # type: ignore[assignment]

    def _get_terminal_size(self) -> tuple[int, int]:
        width, height = super()._get_terminal_size()
        return bounded(width, height)

    def process_message(self, message: Message) -> None:
        if isinstance(message, events.Resize):
            size = Size(*bounded(*message.size))
            message = events.Resize(size, size, size, message.pixel_size)
        super().process_message(message)

    def run_input_thread(self) -> None:
        """Wait for input and hand it on, until the app ends or nobody is at the other end any more."""
        parser = Parser(self._debug)
        bursts = Bursts(self.process_message)
        decode = codecs.getincrementaldecoder("utf-8")(errors="ignore").decode
        plain = False  # nothing of an escape sequence came last
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(0.1):
                    try:
                        data = os.read(self.fileno, 4096)
                    except OSError:
                        data = b""
                    if not data:  # hung up: labtui.tui.terminal.hangup ends the app
                        self.exit_event.wait(0.5)
                        continue
                    text = decode(data)
                    was_plain, plain = plain, "\x1b" not in text
                    if plain and was_plain and bursts.flooded(time.monotonic()):
                        bursts.flood(text)
                    elif text:
                        bursts.take(parser.feed(text), time.monotonic())
                bursts.take(parser.tick(), time.monotonic())
                bursts.flush()


class Parser(XTermParser):
    """Textual's, which leaves out what stands for no key and no place."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        try:
            keys = list(super()._sequence_to_key_events(sequence, alt))
        except (ValueError, OverflowError):  # a code that is no character
            return [events.Key(Keys.Ignore, sequence)]
        return [events.Key(Keys.Ignore, sequence) if _no_text(key.character) else key for key in keys]

    def parse_mouse_code(self, code: str) -> Message | None:
        try:
            found = super().parse_mouse_code(code)
        except (ValueError, OverflowError, ZeroDivisionError):  # a terminal that told a size of nothing
            return None
        if isinstance(found, events.MouseEvent) and max(abs(found.x), abs(found.y)) > FAR:
            return None
        return found


def _no_text(character: str | None) -> bool:
    """Half of a pair of UTF-16: it can be a key code, and nothing could be done with it."""
    return character is not None and any("\ud800" <= c <= "\udfff" for c in character)


def bounded(width: int, height: int) -> tuple[int, int]:
    """A size that can be drawn."""
    return max(1, min(MAX_WIDTH, width)), max(1, min(MAX_HEIGHT, height))


class Output:
    """Stdout as Textual's writer thread uses it; a terminal that is gone takes everything, silently."""

    def __init__(self) -> None:
        stream = sys.__stdout__
        self._fd = stream.fileno() if stream is not None else 1
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._gone = False

    def write(self, text: str) -> None:
        data = memoryview(text.encode(self._encoding, "replace"))
        while data and not self._gone:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                time.sleep(0.01)  # somebody else made it non-blocking; this thread has nothing else to do
            except OSError:
                self._gone = True

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd
