"""Which columns say what people told, and whose they are: what a payload codec encodes.

Positions, versions, ids, types and times are no content, and neither are names. What is here of a
row is what `erasing` takes from it, but for digests, which say nothing that could be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from .records import ErasureRecord

__all__ = ["CONTENT", "Change", "owner_of_erasure", "owner_of_instance", "owner_of_stream"]


def owner_of_stream(stream: str) -> str:
    """Of events, a snapshot, and commands from outside for the stream."""
    return stream


def owner_of_instance(process: str, instance: str) -> str:
    """Of what an instance knew, and what it issued."""
    # No name has a NUL in it, so no stream is called so.
    return f"{process}\0{instance}"


def owner_of_erasure(erasure: ErasureRecord) -> str | None:
    """Whose content an erasure takes whole; None of one that takes fields only."""
    if erasure.kind == "instance":
        return owner_of_instance(erasure.name, erasure.id)
    return owner_of_stream(erasure.id) if erasure.kind == "stream" else None


class Change(Protocol):
    """What is done to each column; None stays None."""

    def payload(self, owner: str, content: Any) -> Any:
        """Of bytes."""
        ...

    def text(self, owner: str, content: Any) -> Any:
        """Of a text."""
        ...


def _event(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = owner_of_stream(row[1])
    row[4], row[8] = change.payload(owner, row[4]), change.payload(owner, row[8])


def _transition(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = owner_of_instance(row[0], row[1])
    row[9], row[18] = change.payload(owner, row[9]), change.payload(owner, row[18])
    row[10] = [[one[0], one[1], change.payload(owner, one[2])] for one in row[10]]
    row[12] = change.text(owner, row[12])


def _owner_of_command(row: list[Any]) -> str:
    # The history of the instance that issued it says the same.
    return owner_of_stream(row[2]) if row[7] is None else owner_of_instance(row[7], row[8])


def _command(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = _owner_of_command(row)
    row[4], row[11] = change.payload(owner, row[4]), change.payload(owner, row[11])


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


def _sent(key: bytes, row: list[Any], change: Change) -> None:
    # As where it comes in: `None` is what is not sent, or has no content.
    for place, part in ((0, _event), (3, _command), (4, _refusal)):
        if row[place] is not None:
            part(key, row[place], change)


def _effect(key: bytes, row: list[Any], change: Change) -> None:
    del key
    owner = owner_of_instance(row[0], row[1])
    row[5] = [[one[0], one[1], change.payload(owner, one[2])] for one in row[5]]


def _snapshot(key: bytes, row: list[Any], change: Change) -> None:
    row[1] = change.payload(owner_of_stream(key.decode()), row[1])


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
    "outgoing": _sent,
}
"""By table: changes the content of a row, which is a list of columns, where it is."""
