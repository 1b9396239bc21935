"""What is pruned, kept elsewhere before it goes: a file of lines, or what a service does with them.

A line is an event or a transition, as JSON. A step that fails is tried again, so a line may come
twice: each has its position or its number.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from ..clock import from_micros
from ..messages.plain import as_json, plain
from ..store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..store import EventRecord, Partition, TransitionRecord

__all__ = ["Archive", "ArchiveFile", "Line", "line_of_event", "line_of_transition", "opened"]

Line: TypeAlias = dict[str, Any]
"""One event or transition: plain values, as JSON has them."""

Archive: TypeAlias = "Callable[[Sequence[Line]], object]"
"""Takes lines, and returns when they are durable."""

CHUNK = 1 << 20

_load = msgspec.msgpack.Decoder(strict=False).decode


def opened(
    archive: str | os.PathLike[str] | Archive | None, partition: Partition | None
) -> Archive | None:
    """What takes the lines: a call, as it is given, or the file of that name.

    Args:
        archive: as it was given
        partition: of a divided store, the one whose lines they are; its file has its number

    Raises:
        ModuleNotFoundError: the file is to be packed by Zstandard, which is not installed
        StoreError: the file is there, and no archive
        OSError: the file cannot be opened

    """
    if archive is None or callable(archive):
        return archive
    path = Path(archive)
    if partition is not None:
        stem, dot, endings = path.name.partition(".")
        path = path.with_name(f"{stem}-{partition.number:04}{dot}{endings}")
    return ArchiveFile(path).write


class ArchiveFile:
    """Lines of JSON at the end of a file, each batch of them durable before it is answered.

    A file whose name ends in ``.gz`` or ``.zst`` is packed, a frame for each batch. What a crash
    has cut off in the middle is removed when the file is opened again.

    Args:
        path: of the file, which is made when it is missing

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pack, make_unpacker = _packing(path.suffix)
        with path.open("a+b") as file:
            whole = _whole(file, make_unpacker, path)
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def write(self, lines: Sequence[Line]) -> None:
        """Add lines.

        Raises:
            OSError: the disk refused

        """
        text = "".join(f"{as_json(line)}\n" for line in lines)
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write(self._pack(text.encode()))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # Nothing may come behind the half of a frame.
                file.truncate(end)
                raise


def _packing(suffix: str) -> tuple[Callable[[bytes], bytes], Callable[[], Any] | None]:
    """What packs a batch, and what makes an unpacker of one; None where lines stay as they are."""
    if suffix == ".gz":
        return gzip.compress, lambda: zlib.decompressobj(wbits=31)
    if suffix == ".zst":
        try:
            import zstandard  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "an archive that ends in .zst is packed by zstandard, which is not installed: "
                'pip install "procession[archive]", or let its name end in .gz'
            ) from error
        return zstandard.compress, lambda: zstandard.ZstdDecompressor().decompressobj()
    return bytes, None


def _whole(file: Any, make_unpacker: Callable[[], Any] | None, path: Path) -> int:
    """How many bytes of a file are whole lines, or whole frames."""
    file.seek(0)
    if make_unpacker is None:
        whole = at = 0
        while chunk := file.read(CHUNK):
            if b"\n" in chunk:
                whole = at + chunk.rindex(b"\n") + 1
            at += len(chunk)
        return whole
    whole = at = 0
    unpacker, rest = make_unpacker(), b""
    try:
        while chunk := rest or file.read(CHUNK):
            unpacker.decompress(chunk)
            at += len(chunk)
            rest = b""
            if unpacker.eof:
                rest = unpacker.unused_data
                at -= len(rest)
                whole, unpacker = at, make_unpacker()
    except Exception as error:
        raise StoreError(
            f"{path} is there and is no archive, or is damaged behind byte {whole:,} ({error}); "
            f"give another name"
        ) from error
    return whole


def line_of_event(record: EventRecord) -> Line:
    """An event, as a line."""
    return {
        "kind": "event",
        "position": record.position,
        "type": record.type,
        "stream": record.stream,
        "version": record.version,
        "time": from_micros(record.time).isoformat(),
        "event_id": record.event_id,
        "correlation_id": record.correlation_id,
        "causation_id": record.causation_id,
        "headers": _said(record.headers),
        "data": _said(record.data),
    }


def line_of_transition(process: str, instance: str, number: int, record: TransitionRecord) -> Line:
    """A transition, as a line; of a large state it has what changed since version `base`."""
    return {
        "kind": "transition",
        "number": number,
        "process": process,
        "instance": instance,
        "version": record.version,
        "time": from_micros(record.time).isoformat(),
        "handler": record.handler,
        "is_complete": record.is_complete,
        "cause": record.cause,
        "position": record.position,
        "correlation_id": record.correlation_id,
        "note": record.note,
        "headers": _said(record.headers),
        "commands": [
            {"command_id": command_id, "type": kind, "data": _said(data)}
            for command_id, kind, data in record.commands
        ],
        "base": record.base,
        "state": _said(record.state),
    }


def _said(packed: bytes | None) -> Any:
    return plain(_load(packed)) if packed else {}
