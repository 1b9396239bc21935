"""Services outside a simulated runtime: they are told of events, and answer what they please."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .clients import Client
from .program import checked_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from ...messages.types import Event
    from ...queries.views import StoredEvent
    from .clients import Clients
    from .program import Item
    from .world import World

__all__ = ["Service", "Services"]

MOST_WAITS = 4
"""How often the clock moves, at most, before a late answer."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service outside, which is asked by an event and answers with what a program may hold.

    It is asked once by each event of the class, when the event is durable. Its answer is a list of
    events, commands, `Publish(...)`, `Tell(...)` and times that pass before the next of them. With
    ``"service"`` among the faults some answers are late, break off, or never come.

    Attributes:
        name: what the run log calls it
        to: what asks it
        answer: is given the event; returns or yields the answer

    """

    name: str
    to: type[Event]
    answer: Callable[[Any], Iterable[Item]]


class _Answering(Client):
    """One answer of a service, in order, as a client brings a list.

    Attributes:
        late: how often the clock is still to move before it begins

    """

    is_of_program = False

    def __init__(self, name: str, who: str, items: Sequence[Item], late: int) -> None:
        super().__init__(name, items)
        self.who = who
        self.late = late

    @property
    def is_ready(self) -> bool:
        return not self.late and super().is_ready


class Services:
    """The services of a run, and their answers that are under way.

    Args:
        services: all of them
        world: whose events ask them
        clients: which bring what the services answer as they bring a program

    Raises:
        UnknownMessage: no domain knows the event that asks one of them

    """

    def __init__(self, services: Iterable[Service], world: World, clients: Clients) -> None:
        self._services = [(one, _base(world.first.name_of(one.to))) for one in services]
        self._world = world
        self._clients = clients
        self._seen = [store.last_position() for store in world.stores]
        self._asked = 0
        self._answering: list[_Answering] = []

    @property
    def ready(self) -> list[Client]:
        """The answers of which the next part can come now."""
        if self._services:
            self._look()
        return [one for one in self._answering if one.is_ready]

    @property
    def waking_times(self) -> list[datetime]:
        """The moments for which answers wait."""
        return [one.wakes_at for one in self._answering if one.wakes_at is not None]

    def wake(self, moment: datetime) -> bool:
        """Have answers go on that wait for a time up to it; returns whether there were any."""
        are_awake = False
        for one in self._answering:
            if one.late:
                one.late -= 1
                are_awake = are_awake or not one.late
            elif one.wakes_at is not None and one.wakes_at <= moment:
                one.done()
                are_awake = True
        return are_awake

    def hurry(self) -> bool:
        """Have late answers come, since the clock will not move; returns whether there were any."""
        late = [one for one in self._answering if one.late]
        for one in late:
            one.late = 0
        return bool(late)

    def _look(self) -> None:
        """Have events ask that have become durable."""
        self._answering = [one for one in self._answering if one.item is not None]
        for partition, store in enumerate(self._world.stores):
            last = store.last_position()
            # A power cut may have taken some back.
            seen = min(self._seen[partition], last)
            if last > seen:
                for event in self._world.readers[partition].events(None, seen):
                    self._ask(event)
            self._seen[partition] = last

    def _ask(self, stored: StoredEvent) -> None:
        for service, asks in self._services:
            if _base(stored.type) == asks:
                self._asked += 1
                items = checked_items(service.answer(stored.event))
                self._clients.check(items)
                items, late = self._deviating(service.name, items)
                name = f"{service.name}.{self._asked}"
                self._answering.append(_Answering(name, service.name, items, late))

    def _deviating(self, name: str, items: list[Item]) -> tuple[list[Item], int]:
        """What comes of an answer as a deviation has it, and how often the clock moves before."""
        messages = [place for place, item in enumerate(items) if not isinstance(item, timedelta)]
        faults = self._world.faults
        one = faults.deviations.take(*_possible(len(messages)))
        if one is None:
            return items, 0
        if one.name == "answers_late":
            faults.note(f"{name} is late with its answer")
            return items, 1 + one.which % MOST_WAITS
        if one.name == "answers_half":
            faults.note(f"{name} breaks off its answer")
            return items[: messages[1 + one.which % (len(messages) - 1)]], 0
        faults.note(f"{name} never answers")
        return [], 0


def _base(wire_name: str) -> str:
    """A wire name without its version."""
    return wire_name.rpartition(".")[0]


def _possible(messages: int) -> Iterator[str]:
    """What can deviate in an answer of so many messages."""
    if messages:
        yield from ("answers_late", "answers_never")
    if messages > 1:
        yield "answers_half"
