"""What comes from outside in a simulated run: a program, brought by clients that try again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from ..messages.types import Command, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..engine.command_queue import CommandQueue
    from ..store import ProcessionError

__all__ = ["Answer", "Client", "Item", "Message", "Program", "Publish", "clients_of", "told_of"]


@dataclass(frozen=True, slots=True)
class Publish:
    """An event that somebody outside publishes.

    Attributes:
        event: what happened
        stream: where it belongs; when it is not given, a stream made for the program
        event_id: its id; two with one id are one event
        headers: plain values for whoever handles it

    """

    event: Event
    stream: str | None = None
    event_id: str | None = None
    headers: Mapping[str, Any] | None = None


Message: TypeAlias = Command | Event | Publish
Item: TypeAlias = Message | timedelta
Program: TypeAlias = Sequence[object]
"""Items, or lists of items. Of a list that holds several kinds, a type checker knows no more."""


class Answer:
    """What one waits for who gave the journal, or an aggregate, something to do.

    Args:
        command queue: as receipts have it
        then: called when it is there

    """

    def __init__(
        self, command_queue: CommandQueue, then: Callable[[Answer], None] | None = None
    ) -> None:
        self.command_queue = command_queue
        self._then = then
        self.is_there = False
        self.error: BaseException | None = None
        self.value: Any = None

    # As `Receipts`

    def count(self, error: ProcessionError | None = None) -> None:
        self.error = error
        self._come()

    # As a future

    def set(self, value: Any = None) -> None:
        self.value = value
        self._come()

    def set_exception(self, exc_info: tuple[Any, BaseException, Any] | None = None) -> None:
        self.error = sys.exception() if exc_info is None else exc_info[1]
        self._come()

    def _come(self) -> None:
        self.is_there = True
        if self._then is not None:
            self._then(self)


class Client:
    """Brings one list of things, in order, each when the one before is durable.

    It gives each an id of its own, and brings it again under that id when no answer came.
    """

    def __init__(self, name: str, items: Sequence[Item]) -> None:
        self.name = name
        self.items = items
        self._next = 0
        self.wakes_at: int | None = None
        """When it goes on, in microseconds since 1970, if it waits for a time."""
        self.answer: Answer | None = None
        self.has_tried = False

    @property
    def item(self) -> Item | None:
        """What it brings next; None if that was all."""
        return self.items[self._next] if self._next < len(self.items) else None

    @property
    def item_id(self) -> str:
        return f"{self.name}.{self._next + 1}"

    @property
    def is_through(self) -> bool:
        return self.item is None

    def done(self) -> None:
        """The one in hand is durable, or the wait is over."""
        self._next += 1
        self.answer = self.wakes_at = None
        self.has_tried = False


def clients_of(program: Any) -> list[Client]:
    """A client for each list of the program, or one if it is a plain list.

    Raises:
        TypeError: something in it is no command, event or time

    """
    if isinstance(program, str | bytes) or not isinstance(program, Sequence):
        raise TypeError(f"a program is a list, not {program!r}")
    nested = bool(program) and all(isinstance(one, Sequence) for one in program)
    lists: Sequence[Any] = program if nested else [program]
    clients = []
    for number, items in enumerate(lists, 1):
        for item in items:
            if not isinstance(item, Command | Event | Publish | timedelta):
                raise TypeError(
                    f"a program holds commands, events, Publish(event, ...) and timedeltas, "
                    f"not {item!r}"
                )
            if isinstance(item, timedelta) and item < timedelta(0):
                raise ValueError(f"{item!r} in a program is negative; time only goes forward")
        clients.append(Client(f"client{number}" if nested else "client", list(items)))
    return clients


def told_of(item: Message) -> str:
    """What comes, in words."""
    if isinstance(item, Command):
        return f"tell {item!r}"
    event = item.event if isinstance(item, Publish) else item
    return f"publish {event!r}"
