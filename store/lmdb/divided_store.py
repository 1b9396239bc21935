"""Where the partitions of a divided store are: a folder for each, and a file that says how many."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ..coded import AS_STORED
from ..errors import StoreError, WrongPartition
from ..partitions import Partition
from .environment import DATA_FILE
from .file_swap import sync_folder
from .private_files import PRIVATE_FOLDER, create_file
from .store import LmdbStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..coded import AsStored, PayloadCodec

__all__ = ["DividedStore", "divided_at", "make_divided", "mark_divided"]

FILE = "partitions.json"


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says."""

    partitions: int
    family: str


class DividedStore(Struct, frozen=True):
    """One divided store in a folder. Satisfies `Divided`.

    Attributes:
        folder: absolute
        count: how many partitions it has, for ever
        family: what tells its partitions from those of another store

    """

    folder: Path
    count: int
    family: str

    @property
    def place(self) -> Path:
        """The folder, as for any divided store."""
        return self.folder

    def folder_of(self, number: int) -> Path:
        """Where a partition is."""
        return self.folder / f"partition-{number:04}"

    def partitions(self) -> Iterator[Partition]:
        """All of them, in order."""
        return (Partition(number, self.count) for number in range(self.count))

    def open(
        self,
        number: int,
        *,
        read_only: bool = False,
        codec: PayloadCodec | AsStored | None = None,
    ) -> LmdbStore:
        """Open a partition; in one process, to be written to before it is opened to be read.

        Raises:
            LockedStore: another process has it open for writing
            WrongPartition: another store's partition is in its folder
            WrongCodec: another codec wrote it, or none

        """
        return LmdbStore(
            self.folder_of(number),
            read_only=read_only,
            partition=Partition(number, self.count),
            family=self.family,
            codec=codec,
        )


def divided_at(path: str | os.PathLike[str]) -> DividedStore | None:
    """The divided store in a folder; None if there is none.

    Raises:
        StoreError: the file that says how many partitions there are cannot be read

    """
    folder = Path(path).absolute()
    try:
        raw = (folder / FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # A path that no file system has is refused where the store is opened.
        return None
    except OSError as error:
        raise StoreError(f"{folder / FILE} cannot be read: {error}") from error
    try:
        said = msgspec.json.decode(raw, type=_Written)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"{folder / FILE} does not say how many partitions the store has: {error}; restore it "
            f"from a backup"
        ) from error
    return DividedStore(folder, said.partitions, said.family)


def make_divided(
    path: str | os.PathLike[str], count: int, *, codec: PayloadCodec | None = None
) -> DividedStore:
    """The divided store in a folder, with all its partitions; made where it is missing.

    Args:
        path: the folder
        count: of partitions
        codec: what encodes payloads, states and texts

    Raises:
        WrongPartition: the store that is there has another number of partitions, or is not divided
        WrongCodec: the store that is there was written with another codec, or with none
        StoreError: the number is none, or the disk refused

    """
    folder = Path(path).absolute()
    Partition(0, count).check()
    if (folder / DATA_FILE).exists():
        raise WrongPartition(
            f"the store at {folder} is not divided, and was opened with partitions={count}: open "
            f"it without, or copy it into a new folder with `procession copy`"
        )
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        _write_once(folder / FILE, _Written(count, secrets.token_hex(16)))
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}") from error
    found = divided_at(folder)
    if found is None:
        raise StoreError(f"{folder / FILE} was removed when it had just been made")
    if found.count != count:
        raise WrongPartition(
            f"the store at {folder} has {found.count} partitions, and was opened with "
            f"partitions={count}: the number is fixed when a store is made"
        )
    missing = [one for one in found.partitions() if not _is_made(found.folder_of(one.number))]
    if len(missing) < found.count:
        # One that was not made whole gets the rest as the first ones are, or nothing.
        made = next(one for one in found.partitions() if one not in missing)
        found.open(made.number, read_only=True, codec=codec).close()
    for partition in missing:
        _make_partition(found, partition, codec)
    return found


def mark_divided(divided: DividedStore) -> None:
    """Have its folder say that it is a divided store.

    Raises:
        StoreError: the disk refused

    """
    file = divided.folder / FILE
    try:
        _write_once(file, _Written(divided.count, divided.family))
        sync_folder(divided.folder)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error}") from error


def _write_once(file: Path, said: _Written) -> None:
    """Write the file unless it is there; whole, or not at all."""
    if file.exists():
        return
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    fd = create_file(partial)
    try:
        with os.fdopen(fd, "wb") as opened:
            opened.write(msgspec.json.encode(said))
            opened.flush()
            os.fsync(opened.fileno())
        # Unlike a rename, this leaves in place what another process was quicker to make.
        if not file.exists():
            os.link(partial, file)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def _is_made(folder: Path) -> bool:
    """Whether a partition is there, as far as its neighbours need it."""
    # What is damaged is told of when it is opened to be written to.
    with suppress(StoreError), LmdbStore(folder, read_only=True, codec=AS_STORED) as store:
        return store.partition is not None
    return False


def _make_partition(
    divided: DividedStore, partition: Partition, codec: PayloadCodec | None
) -> None:
    """Make an empty partition, so that its neighbours can read it."""
    with divided.open(partition.number, codec=codec) as store:
        store.close_commit()
