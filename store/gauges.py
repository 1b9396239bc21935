"""What an operator asks of a store: a few numbers, none of which takes longer as the log grows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Self

from msgspec import Struct

__all__ = [
    "MOST_OVERDUE",
    "LastBackup",
    "OldestReader",
    "StoreGauges",
    "last_backup_from",
    "last_backup_to",
]

MOST_OVERDUE = 1_000
"""Overdue timers that are counted, at most."""


class OldestReader(Struct, frozen=True):
    """The reader that keeps the most freed pages from being used again.

    Attributes:
        process: its process id
        commits_behind: how many commits there were since the moment that it reads

    """

    process: int
    commits_behind: int


class LastBackup(Struct, frozen=True):
    """The newest backup of a store that it was told of.

    Attributes:
        time: of the moment that it shows, in microseconds since 1970
        path: its folder

    """

    time: int
    path: str

    @classmethod
    def at(cls, target: str | os.PathLike[str], time: int) -> Self:
        """A backup in this folder."""
        # What is no UTF-8 in a path cannot be stored as text.
        return cls(time, os.fsencode(Path(target).absolute()).decode(errors="backslashreplace"))


def last_backup_to(backup: LastBackup) -> str:
    """As it is stored."""
    return f"{backup.time} {backup.path}"


def last_backup_from(said: str) -> LastBackup | None:
    """As it was before it was stored; None of what is no such thing."""
    time, _, path = said.partition(" ")
    return LastBackup(int(time), path) if re.fullmatch(r"\d{1,18}", time) and path else None


class StoreGauges(Struct, frozen=True):
    """Numbers of one moment.

    Attributes:
        parked: what was parked and is not decided
        suspended: instances that take nothing until an operator decides
        overdue: timers that are due and not done with, at most `MOST_OVERDUE`
        oldest_due: when the oldest of them was due, in microseconds; 0 without any
        map_size: bytes of the file that may be used before the map grows; 0 without a file
        map_used: bytes of it that are used
        oldest_reader: None without a file, or while none is behind
        last_backup: None if there was none

    """

    parked: int = 0
    suspended: int = 0
    overdue: int = 0
    oldest_due: int = 0
    map_size: int = 0
    map_used: int = 0
    oldest_reader: OldestReader | None = None
    last_backup: LastBackup | None = None
