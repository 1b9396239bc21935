"""What comes from outside in a simulated run: clients bring a program, and try again."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from ...engine.ingress import Receipt
from ...errors import IdReused
from ...messages.types import Command, Event
from ...store import Step
from .answer import Answer
from .program import Publish, Tell, given_id, in_words, lists_of
from .wording import elapsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from .answer import Then
    from .program import Item, Message, Program
    from .running import Running
    from .world import World

__all__ = ["Client", "Clients"]


class Client:
    """Brings one list of things, in order, each when the one before is durable.

    It gives each an id of its own, and brings it again under that id when no answer came.
    """

    is_of_program: ClassVar[bool] = True
    """Whether the list is one of the program's, and not what a service answers."""
    who = "outside"
    """What the run log calls it."""

    def __init__(self, name: str, items: Sequence[Item]) -> None:
        self.name = name
        self.items = items
        self.place = 0
        """How many of its items are durable, or over if they are times."""
        self.wakes_at: datetime | None = None
        """When it goes on, if it waits for a time."""
        self.is_waiting = False
        """Whether it waits for an answer."""
        self.has_tried = False

    @property
    def item(self) -> Item | None:
        """What it brings next; None if that was all."""
        return self.items[self.place] if self.place < len(self.items) else None

    @property
    def is_ready(self) -> bool:
        """Whether it has something to bring, and waits for nothing."""
        return self.item is not None and not self.is_waiting and self.wakes_at is None

    @property
    def has_messages(self) -> bool:
        """Whether it has a message that it has not brought yet."""
        left = self.items[self.place + self.has_tried :]
        return any(not isinstance(item, timedelta) for item in left)

    def done(self) -> None:
        """Go on to the next: the one in hand is durable, or the wait is over."""
        self.place += 1
        self.wakes_at = None
        self.is_waiting = self.has_tried = False


class Clients:
    """All clients of a run, and what they brought.

    Args:
        program: what comes from outside
        world: to which they bring it
        stream: of the events in the program that name none
        order: in which the clients bring their messages, by their places in the program; without
            one, each brings its next as soon as it can

    Attributes:
        came: the clients, by their places, in the order in which what they brought was answered

    Raises:
        TypeError: something in the program is no command, event or time
        InvalidMessage: a field of a message does not fit its annotation

    """

    def __init__(
        self, program: Program, world: World, stream: str | None, order: Sequence[int] = ()
    ) -> None:
        self._world = world
        self._stream = stream
        self._order = order
        self._place = 0
        """How much of the order was brought."""
        self._unanswered: list[Client] = []
        self.came: list[int] = []
        self._brought: list[tuple[Message, str]] = []
        self._resent = 0
        self.all = [Client(name, items) for name, items in lists_of(program).items()]
        for client in self.all:
            # What does not fit is refused before anything runs.
            self.check(client.items)

    def check(self, items: Iterable[Item]) -> None:
        """Refuse what the runtime would not take from outside.

        Raises:
            InvalidMessage: a field of a message does not fit its annotation

        """
        for item in items:
            if not isinstance(item, timedelta):
                self._receipt(item, "checked")

    @property
    def are_through(self) -> bool:
        """Whether everything in the program was brought."""
        return all(client.item is None for client in self.all)

    @property
    def ready(self) -> list[Client]:
        """The clients that have something to bring now."""
        ready = [client for client in self.all if client.is_ready]
        if not self._order:
            return ready
        # What was brought and is not answered comes again before what is next by the order.
        again = [client for client in self._unanswered if client.is_ready]
        turn = again[0] if again else self._turn()
        # A wait begins by itself.
        return [one for one in ready if one is turn or isinstance(one.item, timedelta)]

    def _turn(self) -> Client | None:
        """The client that brings the next message by the order, or the first that has one left."""
        for place in self._order[self._place :]:
            if place < len(self.all) and self.all[place].has_messages:
                return self.all[place]
            self._place += 1
        return next((client for client in self.all if client.has_messages), None)

    @property
    def waking_times(self) -> list[datetime]:
        """The moments for which clients wait."""
        return [client.wakes_at for client in self.all if client.wakes_at is not None]

    def wake(self, moment: datetime) -> bool:
        """Have clients that wait for a time up to it go on; returns whether there were any."""
        woken = [one for one in self.all if one.wakes_at is not None and one.wakes_at <= moment]
        for client in woken:
            client.done()
        return bool(woken)

    def bring(self, client: Client) -> None:
        """Have a client bring its next item, or begin to wait if that is a time."""
        item, log = client.item, self._world.log
        assert item is not None
        if isinstance(item, timedelta):
            client.wakes_at = self._world.clock.steady + item
            log.note(f"{client.name} waits for {elapsed(item // timedelta(microseconds=1))}", True)
            return
        name = self._world.own_id(f"{client.name}.{client.place + 1}")
        if client.is_of_program and not client.has_tried:
            if client is self._turn():
                self._place += 1
            self._unanswered.append(client)
        log.note(f"{client.who}: {in_words(item)}" + (", again" if client.has_tried else ""))
        client.is_waiting = client.has_tried = True

        def then(error: BaseException | None) -> None:
            if error is None:
                self.note_durable(item, name)
                self._done(client)
            elif isinstance(error, IdReused):
                # It would be refused however often it came.
                log.note(f"{client.name} is refused: {error}")
                self._done(client)
            else:
                client.is_waiting = False

        self.send(item, name, then)

    def _done(self, client: Client) -> None:
        if client.is_of_program:
            self.came.append(self.all.index(client))
            self._unanswered.remove(client)
        client.done()

    def send(self, item: Message, name: str, then: Then | None = None) -> Answer:
        """Give the journal a message from outside.

        Args:
            item: the message
            name: its id, unless it has one of its own
            then: is called with the answer

        """
        receipt = self._receipt(item, name)
        part = self._world.of_stream(_stream_of(receipt))
        assert part is not None
        if part.ingress is not self._world.ingress:
            receipt = self._receipt(item, name, part)
        receipt.receipts = answer = Answer(part.engine, then)
        part.engine.journal.add(receipt)
        return answer

    def can_bring(self, client: Client) -> bool:
        """Whether what takes the next item of a client is there."""
        return client.item is None or self.can_send(client.item)

    def can_send(self, item: Item) -> bool:
        """Whether what takes an item is there; a wait begins by itself."""
        if not self._world.is_divided or isinstance(item, timedelta):
            return True
        return self._world.of_stream(_stream_of(self._receipt(item, "asked"))) is not None

    def note_durable(self, item: Message, name: str) -> None:
        """Note that a message is durable, so that it may come again."""
        self._brought.append((item, name))

    def bring_again(self) -> bool:
        """Have a message that is durable come again, if a deviation says so."""
        brought, faults = self._brought, self._world.faults
        take = faults.deviations.take
        if brought and (one := take("repeat_outside")) is not None:
            item, name = brought[-1 - one.which % len(brought)]
            faults.note(f"outside: {in_words(item)} comes again, under the same id")
            if self.can_send(item):
                self.send(item, name)
            return True
        # One that was given an id is sent by who has ids.
        without = [(item, name) for item, name in brought if given_id(item) is None]
        if without and (one := take("resend")) is not None:
            item, name = without[-1 - one.which % len(without)]
            self._resent += 1
            faults.note(f"outside: {in_words(item)} comes again, under another id")
            if self.can_send(item):
                self.send(item, f"{name}.again{self._resent}")
            return True
        return False

    def _receipt(self, item: Message, name: str, part: Running | None = None) -> Receipt:
        """The step that stores what comes from outside, under an id of its own."""
        ingress = self._world.ingress if part is None else part.ingress
        today = partial(self._world.today, part=part)
        if isinstance(item, Command):
            item = Tell(item)
        if isinstance(item, Tell):
            given = ingress.command(today(item.command), item.command_id or name, item.headers)
            return Receipt(Step(enqueue=[given], given=given))
        if isinstance(item, Event):
            item = Publish(item)
        stream = item.stream or self._stream
        if stream is None:
            domain = self._world.first.name_of(type(item.event)).partition(".")[0]
            stream = f"{domain}::outside-1"
        return ingress.publication(
            today(item.event), stream, item.event_id or name, item.headers, as_import=item.as_import
        )


def _stream_of(receipt: Receipt) -> str:
    """The stream that a message from outside is for."""
    step = receipt.step
    if step.append is not None:
        return step.append.stream
    assert step.given is not None
    return step.given.stream
