"""What comes from outside in a simulated run: a program, in words and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from ...messages.codec import dump, dump_headers, load_headers
from ...messages.types import Command, Event
from ...store import EventRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ...model.registry import Registry

__all__ = [
    "Item",
    "Message",
    "Program",
    "Publish",
    "Tell",
    "checked_items",
    "given_id",
    "in_words",
    "lists_of",
    "program_from",
    "program_to",
]


@dataclass(frozen=True, slots=True)
class Publish:
    """An event that a client publishes from outside.

    Attributes:
        event: what happened
        stream: where it belongs; when it is not given, a stream made for the program
        event_id: its id; two with one id are one event
        headers: plain values for the handlers of the event
        as_import: whether the event is of the past of the aggregate whose stream it is

    """

    event: Event
    stream: str | None = None
    event_id: str | None = None
    headers: Mapping[str, Any] | None = None
    as_import: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """A command that a client has carried out later.

    Attributes:
        command: what to do
        command_id: its id; two with one id are one command, and another one under it is refused
        headers: plain values that go along with all that comes of it

    """

    command: Command
    command_id: str | None = None
    headers: Mapping[str, Any] | None = None


Message: TypeAlias = Command | Event | Publish | Tell
Item: TypeAlias = Message | timedelta
Program: TypeAlias = Sequence[object]
"""Items, or lists of items. Of a list that holds several kinds, a type checker knows no more."""


def lists_of(program: Any) -> dict[str, list[Item]]:
    """The lists of a program by the client that brings each; a plain list has one client.

    Raises:
        TypeError: something in it is no command, event or time
        ValueError: a time in it is negative

    """
    if isinstance(program, str | bytes) or not isinstance(program, Sequence):
        raise TypeError(f"a program is a list, not {program!r}")
    if not (program and all(isinstance(one, Sequence) for one in program)):
        return {"client": checked_items(program)}
    return {f"client{number}": checked_items(items) for number, items in enumerate(program, 1)}


def checked_items(items: Iterable[Any]) -> list[Item]:
    """What a service answers, if a program may hold it.

    Raises:
        TypeError: something in it is no command, event or time
        ValueError: a time in it is negative

    """
    return [_checked(item) for item in items]


def _checked(item: Any) -> Item:
    if not isinstance(item, Command | Event | Publish | Tell | timedelta):
        raise TypeError(
            f"a program holds commands, events, Tell(command, ...), Publish(event, ...) and "
            f"timedeltas, not {item!r}"
        )
    if isinstance(item, timedelta) and item < timedelta(0):
        raise ValueError(f"{item!r} in a program is negative; time only goes forward")
    return item


def in_words(item: Message) -> str:
    """What a client does when it brings a message, as the run log has it."""
    if isinstance(item, Tell):
        item = item.command
    if isinstance(item, Command):
        return f"tell {item!r}"
    return f"publish {item.event if isinstance(item, Publish) else item!r}"


def given_id(item: Message) -> str | None:
    """The id that a program gives a message; None if it is left to the client."""
    if isinstance(item, Tell):
        return item.command_id
    return item.event_id if isinstance(item, Publish) else None


# So that the word that pins a run can hold what a strategy made


def program_to(registry: Registry, program: Program) -> list[Any]:
    """The program as MessagePack has it."""
    return [
        program_to(registry, one) if isinstance(one, Sequence) else _item_to(registry, one)
        for one in program
    ]


def program_from(registry: Registry, packed: list[Any]) -> list[Any]:
    """The program that `program_to` packed."""
    return [
        program_from(registry, one) if isinstance(one, list) else _item_from(registry, one)
        for one in packed
    ]


def _item_to(registry: Registry, item: Any) -> dict[str, Any]:
    if isinstance(item, timedelta):
        return {"wait": item // timedelta(microseconds=1)}
    if isinstance(item, Command):
        item = Tell(item)
    if isinstance(item, Tell):
        told = {"tell": registry.name_of(type(item.command)), "data": dump(item.command)[0]}
        return told | _given(id=item.command_id, headers=dump_headers(item.headers))
    if not isinstance(item, Publish):
        item = Publish(item)
    packed: dict[str, Any] = {
        "publish": registry.name_of(type(item.event)),
        "data": dump(item.event)[0],
    }
    return packed | _given(
        **{"import": item.as_import or None},
        stream=item.stream,
        id=item.event_id,
        headers=dump_headers(item.headers),
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _item_from(registry: Registry, packed: dict[str, Any]) -> Item:
    if "wait" in packed:
        return timedelta(microseconds=packed["wait"])
    headers = packed.get("headers")
    headers = None if headers is None else load_headers(headers)
    if "tell" in packed:
        command = registry.load_command(packed["tell"], packed["data"])
        if "id" in packed or headers is not None:
            return Tell(command, packed.get("id"), headers)
        return command
    record = EventRecord(packed["publish"], "packed-1", 1, 0, packed["data"], "", "")
    return Publish(
        registry.load_event(record),
        packed.get("stream"),
        packed.get("id"),
        headers,
        packed.get("import", False),
    )
