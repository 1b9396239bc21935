"""LMDB's list of free pages, read from the file as it lies there.

LMDB may count a page that it allocated and gave back within one commit: the page is in the list of
free ones, its header counts it, and it was never written. So a sound file may end before the last
page that its header speaks of. The list is read without the memory map, since touching a page
beyond the end of the file would end the process.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["are_free"]

# As in LMDB 0.9: of a page, of a header behind that, and of an entry.
_PAGE = struct.Struct("<QHHHH")
_HEADER = struct.Struct("<IIQQ48s48sQQ")
_TABLE = struct.Struct("<IHHQQQQQ")
_ENTRY = struct.Struct("<HHHH")
_NUMBER = struct.Struct("<Q")

BRANCH, LEAF = 0x01, 0x02
ELSEWHERE = 0x01
"""Of an entry: what it holds is on pages of its own."""

NONE = (1 << 64) - 1
DEEPEST = 32


class _Unreadable(Exception):
    """The list does not lie there as LMDB writes it."""


def are_free(fd: int, page_size: int, pages: range) -> bool:
    """Whether all these pages are in the list of free ones of the newest commit.

    Args:
        fd: of the file; nothing is written to it meanwhile
        page_size: bytes of a page
        pages: by number

    """
    missing = set(pages)
    try:
        for one in _free_pages(fd, page_size):
            missing.discard(one)
            if not missing:
                return True
    except (_Unreadable, struct.error):
        # It is damaged, or beyond the end of the file as well.
        return False
    return not missing


def _free_pages(fd: int, page_size: int) -> Iterator[int]:
    headers = [_HEADER.unpack_from(_read(fd, page_size, one, 1), _PAGE.size) for one in (0, 1)]
    newest = max(headers, key=lambda header: header[-1])
    root: int = _TABLE.unpack(newest[4])[-1]
    if root != NONE:
        yield from _listed(fd, page_size, root, DEEPEST)


def _listed(fd: int, page_size: int, number: int, depth: int) -> Iterator[int]:
    page = _read(fd, page_size, number, 1)
    _, _, flags, lower, upper = _PAGE.unpack_from(page)
    if not (depth and _PAGE.size <= lower <= upper <= page_size):
        raise _Unreadable
    for at in struct.unpack_from(f"<{(lower - _PAGE.size) // 2}H", page, _PAGE.size):
        low, high, mark, key_size = _ENTRY.unpack_from(page, at)
        if flags & BRANCH:
            yield from _listed(fd, page_size, low | high << 16 | mark << 32, depth - 1)
        elif flags & LEAF:
            held = at + _ENTRY.size + key_size
            size = low | high << 16
            if mark & ELSEWHERE:
                [first] = _NUMBER.unpack_from(page, held)
                count = -(-(_PAGE.size + size) // page_size)
                held, data = _PAGE.size, _read(fd, page_size, first, count)
            else:
                data = page
            [listed] = _NUMBER.unpack_from(data, held)
            if (listed + 1) * _NUMBER.size > size:
                raise _Unreadable
            yield from struct.unpack_from(f"<{listed}Q", data, held + _NUMBER.size)
        else:
            raise _Unreadable


def _read(fd: int, page_size: int, number: int, count: int) -> bytes:
    data = os.pread(fd, count * page_size, number * page_size)
    if len(data) < count * page_size:
        raise _Unreadable
    return data
