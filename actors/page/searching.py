"""Finding by what a person has: an id, a learnt key, a field, an event or a stream."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..control.instances import Found, instance_page
from ..store import InvalidName

if TYPE_CHECKING:
    from ..control.face import Face

__all__ = ["Hit", "by_field", "by_name"]

MOST_HITS = 20
"""Instances of one process manager that have the same learnt key, and are listed."""


class Hit(NamedTuple):
    """Something that was found.

    Attributes:
        kind: ``"instance"``, ``"event"`` or ``"stream"``
        name: its id
        process: of an instance
        how: by what it was found

    """

    kind: str
    name: str
    process: str | None
    how: str


def by_name(face: Face, said: str) -> list[Hit]:
    """What has this id, and the instances that know this key; nothing is scanned for it.

    Args:
        face: where to look
        said: what was typed

    """
    found: list[Hit] = []
    for process in face.processes():
        with suppress(InvalidName):
            store = face.log_of(process, said).store
            if (
                store.last_transition(process, said) is not None
                or store.block_of(process, said) is not None
            ):
                found.append(Hit("instance", said, process, "its id"))
    for process, field in face.indexed_fields():
        with suppress(InvalidName):
            keyed = face.log_of_key(said).store.scan_index(process, field, said)
            found += [Hit("instance", one, process, field) for one in islice(keyed, MOST_HITS)]
    with suppress(InvalidName):
        if any(log.store.position_of(said) for log in face.logs):
            found.append(Hit("event", said, None, "its id"))
    with suppress(InvalidName):
        if face.log_of_stream(said).store.last_version(said):
            found.append(Hit("stream", said, None, "its name"))
    return found


def by_field(face: Face, process: str | None, field: str, value: str) -> list[tuple[str, Found]]:
    """The instances whose field has a value, a first part of each process manager's.

    Args:
        face: where to look
        process: only of this one
        field: the field's name
        value: as JSON or as text

    """
    names = face.processes() if process is None else [face.known(process)]
    return [(name, instance_page(face, name, where={field: value}, limit=20)) for name in names]
