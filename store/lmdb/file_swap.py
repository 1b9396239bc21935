"""Putting another file in the place of `data.mdb`, while no process has it open or opens it.

A process that had the old file and LMDB's table of readers of the new one would ruin both. So
a process that opens a store has a lock on the file meanwhile, and so has a replacement. Who has it
may also clear LMDB's table of readers; see `reader_table`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from ..errors import LockedStore
from .private_files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["READERS_FILE", "alone", "opening", "sync_folder"]

READERS_FILE = "lock.mdb"
"""LMDB's table of readers."""


@contextlib.contextmanager
def opening(data: Path) -> Iterator[None]:
    """Until the block ends, the file stays, and no other process opens it."""
    while True:
        try:
            fd = open_file(data, os.O_RDONLY)
        except OSError:
            # There is none yet, or LMDB will say better what is the matter with it.
            yield
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # It may have been replaced while we waited.
            if _is_still(fd, data):
                yield
                return
        finally:
            os.close(fd)


def _is_still(fd: int, data: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), data.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def alone(data: Path) -> Iterator[None]:
    """Until the block ends, no process has the file open; this one must have closed it.

    Raises:
        LockedStore: a process has it open, or is opening it

    """
    with contextlib.ExitStack() as held:
        file = open_file(data, os.O_RDONLY)
        held.callback(os.close, file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # LMDB holds a shared lock on the first byte of its table for as long as it is open.
            with contextlib.suppress(FileNotFoundError):
                readers = open_file(data.with_name(READERS_FILE), os.O_RDWR)
                held.callback(os.close, readers)
                fcntl.lockf(readers, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except BlockingIOError:
            raise LockedStore(
                f"the store at {data.parent} is open for reading in another process: end that "
                f"one first, or compact the store into another folder"
            ) from None
        yield


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
