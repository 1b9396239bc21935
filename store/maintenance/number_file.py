"""Numbers that stand under numbers, in a file that is mapped: eight bytes for each."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Self

from ..lmdb.private_files import create_file, open_file
from .rewriting import AT_ONCE, gone_on_failure, refusals_of_the_disk

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NumberFile"]

_SIZE = 8


class NumberFile:
    """A file of its own for numbers by numbers from 0 on; 0 stands where none was put.

    Args:
        file: is made, and removed at the end
        last: the highest number under which one may stand

    Attributes:
        numbers: those that stand there, to be read and written by who has many

    """

    def __init__(self, file: Path, last: int) -> None:
        self._file = file
        self._last = last
        with refusals_of_the_disk(file):
            file.unlink(missing_ok=True)
            os.close(create_file(file))
            with gone_on_failure(file):
                self._map = _mapped(file, (last + 1) * _SIZE)
        self.numbers = memoryview(self._map).cast("Q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.numbers.release()
        self._map.close()
        self._file.unlink(missing_ok=True)

    def put(self, at: int, number: int) -> None:
        """Have a number stand under another one."""
        self.numbers[at] = number

    def get(self, at: int) -> int:
        """The number under another one, or 0."""
        return self.numbers[at] if 0 <= at <= self._last else 0


def _mapped(file: Path, size: int) -> mmap.mmap:
    # All of it is written first: a disk that is full while it is mapped ends the process.
    with os.fdopen(open_file(file, os.O_RDWR), "r+b") as opened:
        opened.writelines(bytes(min(AT_ONCE, size - place)) for place in range(0, size, AT_ONCE))
        opened.flush()
        return mmap.mmap(opened.fileno(), size)
