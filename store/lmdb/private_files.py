"""The files of a store: their owner's alone when they are made, and never another file's name.

A symbolic link in the place of one would have us lock, write or remove what is another user's.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from ..errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "PRIVATE_FILE",
    "PRIVATE_FOLDER",
    "create_file",
    "narrow",
    "open_file",
    "refuse_link",
    "take_rights",
]

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def refuse_link(file: Path) -> None:
    """Refuse a file that is a symbolic link.

    Raises:
        StoreError: it is

    """
    if file.is_symlink():
        raise StoreError(
            f"{file} is a symbolic link, which is not followed: put the file itself there, or open "
            f"the folder that it is in"
        )


def open_file(file: Path, flags: int) -> int:
    """Open a store's file; one that is made is its owner's alone.

    Args:
        file: which
        flags: as for `os.open`

    Returns:
        the descriptor, which does not outlive an `exec`

    Raises:
        StoreError: it is a symbolic link
        OSError: it cannot be opened

    """
    try:
        return os.open(file, flags | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EEXIST}:
            refuse_link(file)
        raise


def create_file(file: Path) -> int:
    """As `open_file`, for a file that must be missing and is to be written."""
    return open_file(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def take_rights(file: Path, old: Path) -> None:
    """Give a new file the owner and the rights of the one whose place it is to take.

    A process that may not give it away keeps it, without rights for others.
    """
    wanted = old.stat()
    fd = open_file(file, os.O_RDONLY)
    try:
        rights = stat.S_IMODE(wanted.st_mode)
        found = os.fstat(fd)
        if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
            try:
                os.fchown(fd, wanted.st_uid, wanted.st_gid)
            except PermissionError:
                rights &= stat.S_IRWXU
        os.fchmod(fd, rights)
    finally:
        os.close(fd)


def narrow(lock_file: Path, data: Path) -> None:
    """Take from a lock's file the rights of those who may not write the data.

    They could hold the lock for ever otherwise, for which it is enough to read the file.
    """
    try:
        found, rights = lock_file.lstat(), data.stat().st_mode
    except FileNotFoundError:
        return
    allowed = PRIVATE_FILE
    for reads_and_writes, writes in (0o060, 0o020), (0o006, 0o002):
        if rights & writes:
            allowed |= reads_and_writes
    has = stat.S_IMODE(found.st_mode)
    if has & ~allowed and found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode):
        lock_file.chmod(has & allowed)
