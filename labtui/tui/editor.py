"""The person's own editor on a text: what is wrong with it is a sentence, and it does not outlive the
terminal.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from labtui.text import clean
from labtui.tui.terminal import hangup

LOOK_S = 0.3
"""How often the terminal is looked at while an editor has it."""
GRACE_S = 1.0
"""How long an editor may take to save what it has, once the terminal is gone."""


class EditorError(Exception):
    """Why the text is as it was, in one sentence."""


def command(env: Mapping[str, str]) -> list[str]:
    """The words of ``$VISUAL``, else ``$EDITOR``, else ``vi``.

    Raises:
        EditorError: they cannot be read as words, or there is no such program.
    """
    name = next((n for n in ("VISUAL", "EDITOR") if env.get(n, "").strip()), "")
    text = env[name] if name else "vi"
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise EditorError(
            f"{name} is {clean(text)!r}, which cannot be read ({error}); expected a command"
        ) from None
    if not words:
        raise EditorError(f"{name} is {clean(text)!r}; expected a command")
    if shutil.which(words[0], path=env.get("PATH")) is None:
        if not name:
            raise EditorError(
                "no editor: EDITOR is not set and there is no vi here; expected EDITOR=nano or the like"
            )
        raise EditorError(f"{name} is {clean(text)!r}, and there is no program {clean(words[0])!r} here")
    return words


def edit(text: str, suspend: Callable[[], AbstractContextManager[None]], *, suffix: str = ".toml") -> str:
    """Open the editor on a text and wait for it; returns what it left.

    Args:
        suspend: gives the terminal away while it is entered. Nothing may be raised inside: Textual's does not
        come back.

    Raises:
        EditorError: no editor, it failed, or what it left is no text.
    """
    words = command(os.environ)
    with tempfile.TemporaryDirectory(prefix="labtui-") as folder:
        path = Path(folder) / f"spec{suffix}"
        path.write_text(text, "utf-8", newline="")
        with suspend():
            problem = _run([*words, str(path)])
        if problem:
            raise EditorError(f"the editor {clean(words[0])} {problem}; nothing was changed")
        try:
            if not path.is_file():  # a pipe or a device would be read for ever
                raise OSError(0, "it is no file")
            return path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise EditorError(f"what the editor left cannot be read ({what}); nothing was changed") from None


def _run(words: list[str]) -> str:
    """Run it to its end, or to that of the terminal; returns what went wrong, never raises."""
    try:
        process = subprocess.Popen(words)
    except (OSError, ValueError) as error:
        return f"did not start ({getattr(error, 'strerror', None) or error})"
    while True:
        try:
            code = process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            if hangup.alive():
                continue
            _end(process)
            return "lost its terminal"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}" if code else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Tell it and what it started that the terminal is gone; what does not listen is killed."""
    import psutil

    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.Error:
        return
    for name in (signal.SIGHUP, signal.SIGKILL):
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.send_signal(name)
        family = psutil.wait_procs(family, timeout=GRACE_S)[1]
