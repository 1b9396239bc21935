"""Where the socket of a store is: in its folder, or else in the runtime folder of its owner.

A store in a database has no folder. Several processes may have it in common, each with a socket.

The process that owns the store and those that call it look in the same places, so that they find
each other even where nothing can be written beside the store.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..store import Address, located

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "LONGEST_PATH",
    "POINTER",
    "UnfitFolder",
    "folders_for",
    "new_shared_socket_in",
    "private_folder",
    "shared_sockets_in",
    "socket_in",
    "sockets_of",
]

LONGEST_PATH = 100
"""Bytes of a socket's path: the operating systems take 103 or 107."""

POINTER = "control.where"
"""The file in a store's folder that says where the socket is, if it is not in there."""

PRIVATE_FOLDER = 0o700

_FOLDER = "control"
_SOCKET = "socket"


class UnfitFolder(OSError):
    """A folder is not this user's alone, so that no socket belongs into it."""


def folders_for(store: Path | Address) -> Iterator[Path]:
    """The folders that a store's socket may be in, the best first."""
    if isinstance(store, Address):
        said = store.identity
    else:
        yield store / _FOLDER
        said = os.path.realpath(store)
    name = hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()[:16]
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if given.is_absolute():
        yield given / f"procession-{name}"
    yield Path(tempfile.gettempdir()) / f"procession-{os.geteuid()}-{name}"


def socket_in(folder: Path) -> Path:
    """The socket's path in one of these folders."""
    return folder / _SOCKET


def new_shared_socket_in(folder: Path) -> Path:
    """A path for the socket of one of several processes that have a store in common."""
    return folder / f"{_SOCKET}-{secrets.token_hex(4)}"


def shared_sockets_in(folder: Path) -> list[Path]:
    """The sockets of processes that have a store in common; some may be left by ones that died."""
    return sorted(folder.glob(f"{_SOCKET}-*"))


def sockets_of(store: str | os.PathLike[str]) -> list[Path]:
    """The sockets at which a store's owner may answer, the likeliest first.

    Those in folders of other users than this one and the store's owner are left out: any user may
    make a folder among temporary files.
    """
    place = located(store)
    found = list[Path]()
    for folder in folders_for(place):
        found += [socket_in(folder), *shared_sockets_in(folder)]
    owners: set[int | None] = {os.geteuid()}
    if isinstance(place, Path):
        owners |= {_owner_of(place)}
        with suppress(OSError, UnicodeDecodeError):
            found.insert(0, Path((place / POINTER).read_text().strip()))
    return [one for one in found if _owner_of(one.parent) in owners]


def _owner_of(folder: Path) -> int | None:
    try:
        return os.lstat(folder).st_uid
    except (OSError, ValueError):
        return None


def private_folder(folder: Path) -> None:
    """Make a folder that is this user's alone.

    A socket is open to all by its own rights, under the usual umask, so the folder keeps others
    out.

    Raises:
        UnfitFolder: there is one that is another user's, or something else of that name
        OSError: it cannot be made

    """
    with suppress(FileExistsError):
        folder.mkdir(mode=PRIVATE_FOLDER)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UnfitFolder(f"{folder} is no folder of this user's")
    if stat.S_IMODE(found.st_mode) != PRIVATE_FOLDER:
        folder.chmod(PRIVATE_FOLDER)
