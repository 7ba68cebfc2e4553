"""The fragments of an MP4 file whose writing was ended in the middle of one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct(">I4s")
_LONG_SIZE = struct.Struct(">Q")


def cut_torn_fragment(path: Path) -> int:
    """Cut off a last fragment that is not whole; how many bytes that were.

    A fragment says how many frames it has before it has them, and players believe it.
    """
    with path.open("r+b") as file:
        length = file.seek(0, 2)
        whole = 0
        for kind, end in _boxes(file, length):
            if end > length:
                break
            if kind != b"moof":  # the head of a fragment; its pictures follow
                whole = end
        if whole:
            file.truncate(whole)
        return length - whole if whole else 0


def _boxes(file: BinaryIO, length: int) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each box of the file, of the last one the end that it says."""
    begin = 0
    while begin + _HEAD.size <= length:
        file.seek(begin)
        size, kind = _HEAD.unpack(file.read(_HEAD.size))
        if size == 1:
            long_size = file.read(_LONG_SIZE.size)
            size = _LONG_SIZE.unpack(long_size)[0] if len(long_size) == _LONG_SIZE.size else 1 << 63
        if size < _HEAD.size:  # up to the end of the file, or no box at all
            size = length - begin
        yield kind, begin + size
        begin += size
