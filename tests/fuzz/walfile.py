"""A WAL whose checksums agree with what was spoilt in it: else SQLite ignores it, and nothing is tried.

The format is SQLite's (https://www.sqlite.org/fileformat2.html#the_write_ahead_log): a head of 32 bytes, then
frames of 24 bytes and one page; each checksum goes on from the one before, over the first 8 bytes of a
frame's head and its page.
"""

from __future__ import annotations

import struct

_HEAD, _FRAME = 32, 24


def sign(wal: bytes) -> bytes:
    """The same WAL with every checksum and salt right; what is no whole frame stays as it is."""
    if len(wal) < _HEAD:
        return wal
    data = bytearray(wal)
    data[:4] = struct.pack(">I", 0x377F0682)  # checksums over little-endian words
    page = int.from_bytes(data[8:12], "big") or 4096
    page = page if 512 <= page <= 65536 and page & (page - 1) == 0 else 4096
    state = _checksum(data[:24], (0, 0))
    data[24:32] = struct.pack(">II", *state)
    for at in range(_HEAD, len(data) - _FRAME - page + 1, _FRAME + page):
        data[at + 8 : at + 16] = data[16:24]
        state = _checksum(data[at : at + 8], state)
        state = _checksum(data[at + _FRAME : at + _FRAME + page], state)
        data[at + 16 : at + 24] = struct.pack(">II", *state)
    return bytes(data)


def _checksum(part: bytes | bytearray, state: tuple[int, int]) -> tuple[int, int]:
    a, b = state
    words = struct.unpack(f"<{len(part) // 4}I", part[: len(part) // 4 * 4])
    for first, second in zip(words[::2], words[1::2], strict=False):
        a = (a + first + b) & 0xFFFFFFFF
        b = (b + second + a) & 0xFFFFFFFF
    return a, b
