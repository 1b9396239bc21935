"""LMDB's table of readers, `lock.mdb`: places that dead processes left are cleared in it.

LMDB does so by itself for other processes while it is open, yet takes a place with its own
process id for its own. In a container the writer is process 1 in every life: what an earlier life
left would keep the pages of that time for ever. And a table that is full of the dead cannot be
opened at all.

A process that has the file open holds a lock on the byte whose number is its id, and it takes that
lock only while it opens the file. So a process that gets that lock, and keeps others from opening
meanwhile, knows that the places with that id are of a dead process. `file_swap.opening` keeps them
from it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from ..errors import TooManyReaders
from .private_files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["MAX_READERS", "clear_dead", "processes_in", "processes_listed", "too_many"]

MAX_READERS = 1024
"""Places in a new table. A reader takes one for as long as one of its transactions lasts."""

# A transaction's number, the process, and its thread; LMDB pads it to a line of the cache.
PLACE = struct.Struct("=Qi4sQ40s")
PROCESS_AT = 8
FREE = bytes(4)
# What comes before the places differs between machines, and is whole lines of the cache.
SHORTEST_HEADER, LONGEST_HEADER = 128, 1024


def _places(fd: int) -> dict[int, list[int]]:
    """Where the places of each process are; none if the table is of another make."""
    found: dict[int, list[int]] = defaultdict(list)
    size = os.fstat(fd).st_size
    header = size - MAX_READERS * PLACE.size
    if not SHORTEST_HEADER <= header <= LONGEST_HEADER or header % PLACE.size:
        return found
    table = os.pread(fd, size - header, header)
    for number, (_, process, pad, _, rest) in enumerate(PLACE.iter_unpack(table)):
        if process > 0 and not any(pad) and not any(rest):
            found[process].append(header + number * PLACE.size)
    return found


def clear_dead(table: Path) -> None:
    """Clear the places of processes that have died, this one's earlier lives among them.

    Only while no other process opens the store, and this one does not have it open: to close the
    file takes away all locks on it that LMDB has in this process.

    Args:
        table: the file

    Raises:
        OSError: it cannot be opened

    """
    try:
        with _open(table, os.O_RDWR) as fd:
            _clear_dead(fd)
    except OSError as error:
        # There is none yet, or it cannot be written to; LMDB will say what is the matter with it.
        if error.errno not in {errno.ENOENT, errno.EROFS, errno.EACCES}:
            raise


def _clear_dead(fd: int) -> None:
    for process in _places(fd):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, process)
        except BlockingIOError:
            continue
        # Looked at again: it may have given them back and ended just now.
        for place in _places(fd).get(process, ()):
            os.pwrite(fd, FREE, place + PROCESS_AT)


def processes_in(table: Path) -> Mapping[int, int]:
    """How many places each process has; not while this process has the store open."""
    try:
        with _open(table, os.O_RDONLY) as fd:
            return {process: len(places) for process, places in _places(fd).items()}
    except FileNotFoundError:
        return {}


def processes_listed(listing: str) -> Mapping[int, int]:
    """The same, of what LMDB lists of an open environment."""
    rows = (line.split() for line in listing.splitlines())
    return Counter(int(row[0]) for row in rows if row and row[0].isdigit())


def too_many(path: Path, processes: Mapping[int, int]) -> TooManyReaders:
    """What to say when there is no place left."""
    shown = ", ".join(
        f"{process} (has {count:,})"
        for process, count in sorted(processes.items(), key=lambda one: (-one[1], one[0]))[:10]
    )
    more = f" and {len(processes) - 10} more" if len(processes) > 10 else ""
    error = TooManyReaders(
        f"all {sum(processes.values()):,} places for readers of the store at {path} are taken, by "
        f"process {shown}{more}: have those read less at once, or end them. What a dead process "
        f"had is given back by itself"
    )
    error.processes = processes
    return error


@contextlib.contextmanager
def _open(table: Path, flags: int) -> Iterator[int]:
    fd = open_file(table, flags)
    try:
        yield fd
    finally:
        os.close(fd)
