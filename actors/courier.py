"""The courier: brings commands to their aggregates, from callers and from the queue on disk."""

from __future__ import annotations

import logging
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

from store import Step

from .aggregate_actor import AggregateActor, Request
from .dispatcher import PooledActor
from .errors import Rejected, UnknownMessage
from .parking import parked_command

if TYPE_CHECKING:
    from collections.abc import Callable

    import pykka
    from store import CommandRecord, CommandResult, Outcome, Store, StoreError

    from .catalog import Catalog
    from .clock import Clock
    from .dispatcher import Dispatcher
    from .journal import Journal
    from .messages import Event
    from .population import Population

__all__ = ["Courier"]

logger = logging.getLogger("procession")

PAGE = 256


class Courier(PooledActor):
    """Takes commands from the queue in order, so that a backlog waits on disk.

    A command that was just committed is handed over in memory while the courier keeps up; it
    reads the queue only when it is behind.

    Args:
        max_in_flight: most commands from the queue that are under way at once

    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        journal: Journal,
        store: Store,
        catalog: Catalog,
        clock: Clock,
        population: Population,
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(dispatcher)
        self.journal = journal
        self.store = store
        self.catalog = catalog
        self.clock = clock
        self.population = population
        self._wakers: dict[str, Callable[[str], AggregateActor]] = {
            definition.category: partial(AggregateActor, self, definition)
            for definition in catalog.aggregates.values()
        }
        self._max_in_flight = max_in_flight
        self._fresh: deque[CommandRecord] = deque()
        # The ticket of the newest command taken over, and of the newest one on disk.
        self._taken = 0
        self._newest = 0
        self._sent = 0
        self.finished = 0
        self.is_closed = False
        self.counts: Counter[str] = Counter()

    # Called by the runtime

    def resume(self) -> None:
        """Take up what an earlier run left in the queue."""
        self._newest = self.store.last_ticket()
        self.wake()

    def send(self, request: Request) -> None:
        """Bring one command to its aggregate; any thread may call this."""
        stream = request.command.stream
        category = stream.partition("-")[0]
        self.population.send(category, stream, self._wakers[category], request)

    def _replay(self, result: CommandResult) -> list[Event]:
        if result.refusal is not None:
            raise Rejected(result.refusal)
        if not result.events:
            return []
        page = self.store.read_log(result.first_position - 1, result.events)
        return [self.catalog.load_event(record) for record in page]

    def answer(self, future: pykka.Future[list[Event]], result: CommandResult) -> None:
        """Reply with what came of a command when it was carried out before."""
        try:
            future.set(self._replay(result))
        except Exception:  # noqa: BLE001 - it is raised where the reply is awaited
            future.set_exception()

    # Called by the journal

    def queued(self, commands: list[CommandRecord]) -> None:
        """Commands that were just committed to the queue."""
        self._newest = commands[-1].ticket
        if len(self._fresh) < self._max_in_flight:
            self._fresh.extend(commands)
        self.wake()

    # In its turn

    def has_work(self) -> bool:
        """Whether there is a command to take and room for it."""
        return (
            self._taken < self._newest
            and self._sent - self.finished < self._max_in_flight
            and not self.is_closed
        )

    def work(self) -> None:
        """Take as many commands as may be under way."""
        room = min(PAGE, self._max_in_flight - (self._sent - self.finished))
        fresh = self._fresh
        while room > 0 and self._taken < self._newest and not self.is_closed:
            while fresh and fresh[0].ticket <= self._taken:
                fresh.popleft()
            if fresh and fresh[0].ticket == self._taken + 1:
                self._take(fresh.popleft())
                room -= 1
                continue
            page = self.store.read_queue(self._taken, room)
            if not page:
                self._taken = self._newest
            for command in page:
                self._take(command)
                room -= 1

    def _take(self, command: CommandRecord) -> None:
        self._taken = command.ticket
        self._sent += 1
        if command.stream.partition("-")[0] in self._wakers:
            self.send(Request(command, is_from_outside=command.process is None))
        else:
            self.journal.add(_Stray(self, command))


class _Stray:
    """A queued command whose aggregate is in no domain of this runtime: it is parked."""

    def __init__(self, courier: Courier, command: CommandRecord) -> None:
        self._courier = courier
        error = UnknownMessage(
            f"no aggregate of this runtime has the stream {command.stream!r}; register the one "
            f"that takes {command.type}, and retry"
        )
        logger.warning("command %s was parked: %s", command.command_id, error)
        self.step = Step(
            take=command.ticket, park=parked_command(error, command, courier.clock.now())
        )

    def committed(self, outcome: Outcome) -> None:
        del outcome
        self._courier.finished += 1
        self._courier.wake()

    def failed(self, error: StoreError) -> None:
        del error
        self._courier.journal.add(self)
