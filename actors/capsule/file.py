"""The file of a capsule: a ZIP archive of rows, with a page that says what they are.

``capsule.json`` says the version, what the capsule is of, and of each other member its size and
checksum. The others are the rows of one table each, ``<partition>/<table>``: a MessagePack array
of pairs, key and value, in the order of the keys. What comes from elsewhere is opened with limits.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..store import DictionaryEngine, family_of, write_excerpt
from .errors import CapsuleError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MOST_BYTES",
    "VERSION",
    "Capsule",
    "Contents",
    "Failure",
    "Masked",
    "is_capsule",
    "write",
]

VERSION = 1
"""Of the file's format."""

CONTENTS = "capsule.json"

MOST_BYTES = 1 << 30
"""Bytes that the rows of a capsule may come to when they are unpacked."""

MOST_MEMBERS = 4_096 * 32
"""Members that a file may have."""

LARGEST_CONTENTS = 16 << 20
"""Bytes of the page that says what is in a capsule."""

_MEMBER = re.compile(r"(?P<partition>\d{1,4})/(?P<table>[a-z_]{1,32})")

_decode_rows = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]]).decode
_encode = msgspec.msgpack.Encoder().encode


class Failure(msgspec.Struct, frozen=True):
    """What failed, and is parked or tried again.

    Attributes:
        process: the process manager's name; empty of a command from outside
        instance: whose step it would have been; empty if the event could not be correlated
        cause: the id of the event or the command, or ``timeout:<name>``
        handler: the method that failed; empty if none did
        error_type: the exception's class; empty of one that is tried again, which is not kept
        error_text: its text
        place: where in the code it was raised

    """

    process: str
    instance: str
    cause: str
    handler: str
    error_type: str
    error_text: str
    place: str

    def __str__(self) -> str:
        who = f"{self.process} {self.instance}".strip() or "a command from outside"
        where = f" in {self.handler}" if self.handler else ""
        at = f" at {self.place}" if self.place else ""
        return f"{who}, {self.cause}{where}: {self.error_type}: {self.error_text}{at}"


class Member(msgspec.Struct, frozen=True):
    """One table of one partition: how many rows, how many bytes, and their SHA-256."""

    rows: int
    bytes: int
    checksum: str


class Code(msgspec.Struct, frozen=True):
    """One version of a process manager's code, by which instances in the capsule were decided."""

    process: str
    python: str
    fingerprint: str


class Masked(msgspec.Struct, frozen=True):
    """What was masked of one field.

    Attributes:
        values: how many
        kept: how many stayed as they are, since they are ids
        short: how many of those that were masked are too short to be looked for elsewhere

    """

    values: int
    kept: int
    short: int


class Contents(msgspec.Struct, frozen=True):
    """What a capsule says of itself.

    Attributes:
        version: of the file's format
        procession: the version that made it
        made: when, as text
        newest: the time of the newest record in it, in microseconds
        process: the process manager
        instance: the id
        partitions: of the store that it was taken from
        events: how many there are
        transitions: how many there are
        codes: the code that decided them
        failures: what is parked or tried again
        masked: what was masked, by ``Type.field``
        masks_ids: whether ids were masked too
        members: the tables

    """

    version: int
    procession: str
    made: str
    newest: int
    process: str
    instance: str
    partitions: int
    events: int
    transitions: int
    codes: list[Code]
    failures: list[Failure]
    masked: dict[str, Masked]
    masks_ids: bool
    members: dict[str, Member]


class _Version(msgspec.Struct):
    version: int


def write(path: str | os.PathLike[str], contents: Contents, partitions: Sequence[Any]) -> Contents:
    """Write a capsule; its file can be read by its owner only.

    Args:
        path: of the file, which is missing
        contents: what it says of itself, without members
        partitions: the rows by table, of each partition

    Raises:
        CapsuleError: there is such a file, or the disk refused

    """
    members: dict[str, Member] = {}
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CapsuleError(f"{os.fspath(path)} cannot be made: {error.strerror}") from error
    try:
        with (
            os.fdopen(fd, "wb") as opened,
            zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for place, tables in enumerate(partitions):
                for table, rows in tables.items():
                    if rows:
                        packed = _encode(rows)
                        checksum = sha256(packed).hexdigest()
                        members[f"{place}/{table}"] = Member(len(rows), len(packed), checksum)
                        archive.writestr(f"{place}/{table}", packed)
            contents = msgspec.structs.replace(contents, members=members)
            archive.writestr(CONTENTS, msgspec.json.format(msgspec.json.encode(contents)))
    except BaseException as error:
        Path(path).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CapsuleError(f"{os.fspath(path)} cannot be written: {error}") from error
        raise
    return contents


def is_capsule(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file at a place, and no folder: a store has a folder."""
    return Path(path).is_file()


class Capsule:
    """A capsule that was read, of whose tables each is read when it is asked for.

    Args:
        path: the file

    Raises:
        CapsuleError: it is no capsule, was damaged, is larger than allowed, or a newer version of
            Procession made it

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        with self._opened() as archive:
            self.contents = self._read_contents(archive)
            self._check_members(archive)

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            raise CapsuleError(f"{self._path} is no capsule, or not all of one: {error}") from error

    def _read_contents(self, archive: zipfile.ZipFile) -> Contents:
        raw = self._read(archive, CONTENTS, LARGEST_CONTENTS)
        try:
            version = msgspec.json.decode(raw, type=_Version).version
            if version == VERSION:
                return msgspec.json.decode(raw, type=Contents)
        except msgspec.DecodeError as error:
            raise self._damaged(f"{CONTENTS} cannot be read: {error}") from error
        raise CapsuleError(
            f"{self._path} has version {version} of the capsule's format, and this version of "
            f"Procession knows version {VERSION}; open it with the version that made it"
        )

    def _check_members(self, archive: zipfile.ZipFile) -> None:
        names = archive.namelist()
        members = self.contents.members
        if len(names) > MOST_MEMBERS or sorted(names) != sorted([CONTENTS, *members]):
            raise self._damaged("it has other members than it says")
        total = 0
        for name, member in members.items():
            found = _MEMBER.fullmatch(name)
            if found is None or int(found["partition"]) >= self.contents.partitions:
                raise self._damaged(f"{name!r} is no table of a store")
            if member.bytes != archive.getinfo(name).file_size:
                raise self._damaged(f"{name} has another size than it says")
            total += member.bytes
        if total > MOST_BYTES:
            raise CapsuleError(
                f"{self._path} has {total:,} bytes of rows, and at most {MOST_BYTES:,} are opened"
            )

    def _read(self, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
        try:
            info = archive.getinfo(name)
            if info.file_size > most or info.compress_type not in {
                zipfile.ZIP_DEFLATED,
                zipfile.ZIP_STORED,
            }:
                raise self._damaged(f"{name} is larger than allowed, or packed in another way")
            with archive.open(info) as member:
                return member.read(most + 1)
        except (KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise self._damaged(f"{name} cannot be read: {error}") from error

    def _damaged(self, what: str) -> CapsuleError:
        return CapsuleError(f"{self._path} is no capsule, or was damaged: {what}")

    @property
    def is_divided(self) -> bool:
        """Whether it is of a divided store."""
        return self.contents.partitions > 1

    def tables(self, partition: int = 0) -> dict[str, list[tuple[bytes, bytes]]]:
        """The rows of one partition, by table, after their checksums were compared.

        Raises:
            CapsuleError: some are not as they were written

        """
        found: dict[str, list[tuple[bytes, bytes]]] = {}
        with self._opened() as archive:
            for name, member in self.contents.members.items():
                place, _, table = name.partition("/")
                if int(place) != partition:
                    continue
                packed = self._read(archive, name, member.bytes)
                if sha256(packed).hexdigest() != member.checksum:
                    raise self._damaged(f"{name} does not match its checksum")
                try:
                    found[table] = _decode_rows(packed)
                except msgspec.DecodeError as error:
                    raise self._damaged(f"{name} cannot be read: {error}") from error
        return found

    def open_in(self, folder: str | os.PathLike[str]) -> None:
        """Make a store of it, which all commands and a `Runtime` can open.

        Args:
            folder: which is missing or empty

        Raises:
            CapsuleError: a member was damaged
            StoreError: the folder holds something, or the disk refused

        """
        write_excerpt(folder, [self.tables(place) for place in range(self.contents.partitions)])

    def in_memory(self) -> tuple[list[DictionaryEngine], str]:
        """Its tables in memory, for a simulation: those of each partition, and their family.

        Raises:
            CapsuleError: a member was damaged

        """
        partitions = [self.tables(place) for place in range(self.contents.partitions)]
        engines = [DictionaryEngine() for _ in partitions]
        for engine, tables in zip(engines, partitions, strict=True):
            engine.commit({table: dict(rows) for table, rows in tables.items()}, {})
        return engines, family_of(partitions[0])
