"""Which columns say what people told, and whose they are: what a payload codec encodes.

Positions, versions, ids, types and times are no content, and neither are names. What is here of a
row is what `erasing` takes from it, but for digests, which say nothing that could be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .identifiers import category_of, id_in_stream
from .personal import Said, owner_of_person

if TYPE_CHECKING:
    from collections.abc import Callable

    from .records import ErasureRecord

__all__ = [
    "CONTENT",
    "Change",
    "owner_of_documents",
    "owner_of_erasure",
    "owner_of_instance",
    "owner_of_stream",
    "parts",
]


def owner_of_stream(stream: str) -> str:
    """Of events, a snapshot, and commands from outside for the stream."""
    return stream


def owner_of_instance(process: str, instance: str) -> str:
    """Of what an instance knew, and what it issued."""
    # No name has a NUL in it, so no stream is called so.
    return f"{process}\0{instance}"


def owner_of_documents(projection: str) -> str:
    """Of all that a projection keeps in the store: a document comes of events of many."""
    # No instance is called "".
    return f"{projection}\0"


def owner_of_erasure(erasure: ErasureRecord) -> str:
    """Whose content an erasure takes."""
    if erasure.kind == "instance":
        return owner_of_instance(erasure.name, erasure.id)
    if erasure.kind == "stream":
        return owner_of_stream(erasure.id)
    return owner_of_person(erasure.id)


class Change(Protocol):
    """What is done to each column; None stays None."""

    def payload(self, owner: str, content: Any) -> Any:
        """Of bytes."""
        ...

    def fields(self, owner: str, content: Any, said: Said) -> Any:
        """Of bytes that have fields, some of which may be personal."""
        ...

    def text(self, owner: str, content: Any) -> Any:
        """Of a text."""
        ...


def _event(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = owner_of_stream(row[1])
    row[4] = change.fields(owner, row[4], Said("message", row[0], id_in_stream(row[1])))
    row[8] = change.payload(owner, row[8])


def _transition(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = owner_of_instance(row[0], row[1])
    row[9] = change.fields(owner, row[9], Said("state", row[0], row[1]))
    row[18] = change.payload(owner, row[18])
    row[10] = _issued(owner, row[1], row[10], change)
    row[12] = change.text(owner, row[12])


def _issued(owner: str, instance: str, commands: list[Any], change: Change) -> list[Any]:
    return [
        [command_id, kind, change.fields(owner, data, Said("message", kind, instance))]
        for command_id, kind, data in commands
    ]


def _owner_of_command(row: list[Any]) -> str:
    # The history of the instance that issued it says the same.
    return owner_of_stream(row[2]) if row[7] is None else owner_of_instance(row[7], row[8])


def _command(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = _owner_of_command(row)
    row[4] = change.fields(owner, row[4], Said("message", row[1], id_in_stream(row[2])))
    row[11] = change.payload(owner, row[11])


def _result(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = owner_of_stream(row[4])
    row[2], row[8] = change.text(owner, row[2]), change.payload(owner, row[8])


def _parked(key: bytes, row: list[Any], change: Change) -> None:
    command, decision = row[8], row[13]
    is_of_command = not row[1] and command is not None
    owner = _owner_of_command(command) if is_of_command else owner_of_instance(row[0], row[1])
    row[4] = change.text(owner, row[4])
    if command is not None:
        _command(key, command, change)
    if decision is not None:
        row[13] = [*decision[:2], change.text(owner, decision[2])]


def _block(key: bytes, row: list[Any], change: Change) -> None:
    process, instance, _ = key.split(b"\0", 2)
    row[8] = change.payload(owner_of_instance(process.decode(), instance.decode()), row[8])


def _timer(key: bytes, row: list[Any], change: Change) -> None:
    if row[4] is not None:
        _command(key, row[4], change)
    row[6] = change.payload(owner_of_instance(row[0], row[1]), row[6])


def _refusal(key: bytes, row: list[Any], change: Change) -> None:
    owner = _owner_of_command(row[0])
    _command(key, row[0], change)
    row[1] = change.text(owner, row[1])


def _message(key: bytes, row: list[Any], change: Change) -> None:
    # As where it comes in: `None` is what is not sent, or has no content.
    for place, part in ((0, _event), (3, _command), (4, _refusal)):
        if row[place] is not None:
            part(key, row[place], change)


def _effect(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = owner_of_instance(row[0], row[1])
    row[5] = _issued(owner, row[1], row[5], change)


def _snapshot(key: bytes, row: list[Any], change: Change) -> None:
    stream = key.decode()
    said = Said("snapshot", category_of(stream), id_in_stream(stream))
    row[1] = change.fields(owner_of_stream(stream), row[1], said)


def _document(key: bytes, row: list[Any], change: Change) -> None:
    projection, _, _ = key.partition(b"\0")
    row[0] = change.payload(owner_of_documents(projection.decode()), row[0])


CONTENT: dict[str, Callable[[bytes, list[Any], Change], None]] = {
    "log": _event,
    "transitions": _transition,
    "queue": _command,
    "command_ids": _result,
    "parked": _parked,
    "decided": _parked,
    "waiting": _block,
    "timers": _timer,
    "refusals": _refusal,
    "effects": _effect,
    "snapshots": _snapshot,
    "outgoing": _message,
    "documents": _document,
}
"""By table: changes the content of one of the `parts` of a row, a list of columns, where it is."""


def parts(table: str, row: list[Any]) -> list[list[Any]]:
    """What of a row has content of its own: each message of those sent together, or the row."""
    return row if table == "outgoing" else [row]
