"""Names of files as a person types them into a line of the screen: whatever they are, an OSError at most."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 1 << 20


def typed_path(name: str) -> Path:
    """The file that was meant, ``~`` resolved.

    Raises:
        OSError: no file can have that name.
    """
    try:
        path = Path(name.strip()).expanduser()
        os.fsencode(path)
    except (RuntimeError, ValueError) as error:  # a user that is not there; letters that are none
        raise OSError(errno.EINVAL, str(error).rstrip("."), name) from None
    if "\0" in name:
        raise OSError(errno.EINVAL, "no name of a file", name)
    return path


def read_typed(name: str) -> str:
    """Read the text of a small file.

    Raises:
        OSError: it cannot be read, or is no file of text.
    """
    path = typed_path(name)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a file; expected a TOML file", name)
        if found.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"is larger than {MAX_BYTES} bytes; expected a TOML file", name)
        data = file.read(MAX_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "is not UTF-8 text; expected a TOML file", name) from None
