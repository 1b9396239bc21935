"""What a process wrote to its store, in order, and the files that a power cut could leave of it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

_RECORD = struct.Struct("=QQQ")


class Moment(NamedTuple):
    """One record; see `recorder.c`."""

    kind: str
    offset: int
    data: bytes


def recorded(file: Path) -> list[Moment]:
    """All that was recorded, in order; a record that was cut off is left out."""
    found: list[Moment] = []
    raw, at = file.read_bytes(), 0
    while at + _RECORD.size <= len(raw):
        kind, offset, length = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        if at + length > len(raw):
            break
        found.append(Moment(chr(kind), offset, raw[at : at + length]))
        at += length
    return found


class Image(NamedTuple):
    """What a power cut leaves.

    Attributes:
        data: the bytes of `data.mdb`
        lines: what the process had said by then
        torn: how many writes are there in part
        lost: how many are not there at all

    """

    data: bytes
    lines: list[str]
    torn: int
    lost: int


def images(moments: list[Moment], chance: random.Random, count: int) -> Iterator[Image]:
    """Files that power cuts at random moments leave, in the order of these moments.

    What was not synced by then is there, is missing, or is there in some of its sectors, each
    write by chance; later ones may be there without earlier ones.

    Args:
        moments: of one process, from the making of its store
        chance: decides
        count: how many

    """
    # Each while something is under way to the disk, or has just come there.
    places = [number for number, one in enumerate(moments, 1) if one.kind != "A"]
    cuts = sorted(chance.sample(places, min(count, len(places))))
    durable = bytearray()
    pending: list[Moment] = []
    lines: list[str] = []
    for number, moment in enumerate(moments, 1):
        match moment.kind:
            case "W":
                pending.append(moment)
            case "D":
                _lay(durable, moment.offset, moment.data)
                # It was noted before it was made, too.
                pending = [one for one in pending if one[1:] != moment[1:]]
            case "S":
                for one in pending:
                    _lay(durable, one.offset, one.data)
                pending.clear()
            case "A":
                lines += moment.data.decode().splitlines()
        while cuts and cuts[0] == number:
            cuts.pop(0)
            yield _image(durable, pending, lines, chance)


def _image(
    durable: bytearray, pending: list[Moment], lines: list[str], chance: random.Random
) -> Image:
    data = bytearray(durable)
    torn = lost = 0
    for one in pending:
        kept = chance.choice(("all", "none", "some"))
        if kept == "all":
            _lay(data, one.offset, one.data)
        elif kept == "none":
            lost += 1
        else:
            torn += 1
            for start in range(0, len(one.data), SECTOR):
                if chance.random() < 0.5:
                    _lay(data, one.offset + start, one.data[start : start + SECTOR])
    return Image(bytes(data), list(lines), torn, lost)


def _lay(file: bytearray, offset: int, data: bytes) -> None:
    if len(file) < offset:
        file.extend(bytes(offset - len(file)))
    file[offset : offset + len(data)] = data
