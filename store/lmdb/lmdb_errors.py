"""Our errors for those of LMDB and of the file system below it."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

import lmdb

from ..errors import DamagedStore, FailingDisk, InvalidName, StoreError, StoreFull

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DATA_FILE", "error_for", "is_room_wanted"]

DATA_FILE = "data.mdb"

# With less than this left, a disk is full.
SCARCE = 1 << 20

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

BEFORE_IT_IS_OPEN = frozenset({"looking for a store", "locking", "opening"})

DISK = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE})

RULED = {
    errno.EMFILE: "this process has too many open files: raise its limit (ulimit -n)",
    errno.ENFILE: "the machine has too many open files: raise its limit (fs.file-max)",
    errno.EACCES: "this user may not open it: run as the owner, or change the rights",
    errno.EPERM: "this user may not open it: run as the owner, or change the rights",
    errno.EROFS: "the file system is read-only: mount it for writing, or open with read_only=True",
    errno.ENOMEM: "there is no memory, or no address space, left: raise the limit (ulimit -v)",
    errno.EAGAIN: "another process with this one's id, in another container, has it open: have the "
    "containers share their process ids",
}

DAMAGE = (
    lmdb.BadDbiError,
    lmdb.CorruptedError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.NotFoundError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)


def error_for(error: lmdb.Error | OSError, doing: str, path: Path) -> StoreError:
    """Our error for one of LMDB's or of the operating system's.

    Args:
        error: which
        doing: what was done meanwhile, as ``"reading"``
        path: the store's folder

    """
    code = getattr(error, "code", None) or getattr(error, "errno", None) or 0
    if is_room_wanted(code) or (code == errno.EIO and _is_full(path)):
        # A write that only a part found room for is an input/output error to LMDB.
        return StoreFull(
            f"no room on the disk while {doing} at {path}; nothing of it was kept: "
            f"free some space and try again ({error})"
        )
    if isinstance(error, lmdb.PanicError | lmdb.DiskError) or code in DISK:
        if doing in BEFORE_IT_IS_OPEN:
            then = "Open it again when the disk works"
        else:
            then = "The store is opened again by itself as soon as the disk works"
        return FailingDisk(
            f"the disk failed while {doing} at {path}; nothing of it was kept. {then} ({error})"
        )
    if code in RULED:
        return StoreError(f"{RULED[code]} ({error}, while {doing} at {path})")
    if isinstance(error, lmdb.BadValsizeError):
        return InvalidName(
            f"a name is empty or too long, which was seen while {doing} at {path}: {error}"
        )
    if isinstance(error, DAMAGE):
        return DamagedStore(
            f"{path / DATA_FILE} cannot be read: {error}. It was changed or damaged, or the disk "
            f"fails; go back to a backup"
        )
    who = "LMDB failed" if isinstance(error, lmdb.Error) else "the operating system refused"
    return StoreError(f"{who} while {doing} at {path}: {error}")


def is_room_wanted(code: int) -> bool:
    """Whether a number of an error says that a disk, or a quota or limit on it, is full."""
    return code in NO_ROOM


def _is_full(path: Path) -> bool:
    try:
        file_system = os.statvfs(path)
        size = (path / DATA_FILE).stat().st_size
    except OSError:
        return False
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return file_system.f_bavail * file_system.f_frsize < SCARCE or (
        largest != resource.RLIM_INFINITY and size >= largest
    )
