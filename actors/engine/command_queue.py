"""The command queue: brings commands to their aggregates, from callers and from disk."""

from __future__ import annotations

import logging
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

from ..clock import stopwatch
from ..core.failures import parked_command, parked_sequence
from ..core.stimuli import CommandRefused
from ..errors import Rejected, UnknownMessage
from ..store import FROM_OUTSIDE, CorruptRecord, Step, category_of
from .aggregate_actor import AggregateActor, Request
from .dispatcher import PooledActor
from .pending_replies import PendingReplies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pykka

    from ..clock import Clock
    from ..messages.types import Event
    from ..model.registry import Registry
    from ..store import (
        CommandRecord,
        CommandResult,
        Outcome,
        RefusalRecord,
        Store,
        StoreError,
    )
    from .dispatcher import Dispatcher
    from .journal import Journal
    from .residency import Residency, Sending
    from .router import Router

__all__ = ["CommandQueue"]

logger = logging.getLogger("procession")

PAGE = 256


class _Lane:
    """One of the queue's two lanes: how far it was taken, and what of it is in memory."""

    def __init__(self, first: int) -> None:
        self.taken = first
        self.newest = first
        self.fresh: deque[CommandRecord] = deque()

    @property
    def has_more(self) -> bool:
        return self.taken < self.newest

    def next_fresh(self, limit: int) -> list[CommandRecord]:
        """Commands that need not be read, because the lane was followed without a gap."""
        fresh = self.fresh
        found: list[CommandRecord] = []
        while fresh and len(found) < limit:
            sequence = fresh[0].sequence
            if sequence <= self.taken:
                fresh.popleft()
            elif sequence == self.taken + 1:
                self.taken = sequence
                found.append(fresh.popleft())
            else:
                break
        return found

    def look_beyond(self, commands: list[CommandRecord]) -> None:
        """Note what was read; where there was nothing, there is nothing up to the newest."""
        beyond = [command for command in commands if command.sequence > self.newest]
        del commands[len(commands) - len(beyond) :]
        self.taken = commands[-1].sequence if commands else self.newest


class CommandQueue(PooledActor):
    """Takes commands from the queue in order, so that a backlog waits on disk.

    A command that was just committed is handed over in memory while the command queue keeps up; it
    reads the queue only when it is behind.

    Args:
        max_in_flight: most commands from the queue that are under way at once

    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        journal: Journal,
        store: Store,
        registry: Registry,
        clock: Clock,
        residency: Residency,
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(dispatcher)
        self.journal = journal
        self.store = store
        self.registry = registry
        self.now = stopwatch(clock)
        self.residency = residency
        self._wakers: dict[str, Callable[[str], AggregateActor]] = {
            definition.category: partial(AggregateActor, self, definition)
            for definition in registry.aggregates.values()
        }
        self._max_in_flight = max_in_flight
        self.router_of: dict[str, Router] = {}
        """The routers by the names of their process managers."""
        self._issued = _Lane(0)
        self._told = _Lane(FROM_OUTSIDE)
        self._sent = 0
        self.finished = 0
        self.is_closed = False
        self.waiting = PendingReplies()
        self.counts: Counter[str] = Counter()

    # Called by the runtime

    def resume(self) -> None:
        """Take up what an earlier run left in the queue."""
        self._issued.newest, self._told.newest = self.store.last_sequences()
        self.wake()

    def send(self, request: Request) -> None:
        """Bring one command to its aggregate; any thread may call this."""
        self.residency.send([self._addressed(request)])

    def _addressed(self, request: Request) -> Sending:
        stream = request.command.stream
        category = category_of(stream)
        return category, stream, self._wakers[category], request

    def _replay(self, result: CommandResult) -> list[Event]:
        if result.refusal is not None:
            raise Rejected(result.refusal)
        if not result.events:
            return []
        page = self.store.read_log(result.first_position - 1, result.events)
        return [self.registry.load_event(record) for record in page]

    def answer(self, future: pykka.Future[list[Event]], result: CommandResult) -> None:
        """Reply with what came of a command when it was carried out before."""
        try:
            future.set(self._replay(result))
        except Exception:  # noqa: BLE001 - it is raised where the reply is awaited
            future.set_exception()

    def listens_to_refusal(self, command: CommandRecord) -> bool:
        """Whether the instance that issued a command wants to know that it was refused."""
        definition = self.registry.process_named(command.process or "")
        if definition is None:
            return False
        name = self.registry.name_today(command.type)
        return any(self.registry.name_of(one) == name for one in definition.rejections)

    def tell_refusal(self, refusal: RefusalRecord) -> None:
        """Tell the instance that issued a command that it was refused."""
        router = self.router_of.get(refusal.command.process or "")
        if router is not None:
            router.send(refusal.command.instance or "", CommandRefused(refusal=refusal))

    def discard(self, command: CommandRecord) -> None:
        """Take a command off the queue that was carried out under its id before."""
        self.journal.add(_Discard(self.journal, command))

    # Called by the journal

    def queued(self, commands: list[CommandRecord]) -> None:
        """Commands that were just committed to the queue."""
        lane = self._told if commands[0].process is None else self._issued
        lane.newest = commands[-1].sequence
        if len(lane.fresh) < self._max_in_flight:
            lane.fresh.extend(commands)

    def published(self, stream: str) -> None:
        """Somebody else wrote to a stream: its aggregate reads it before it decides again."""
        category = category_of(stream)
        if category in self._wakers:
            self.residency.make_stale(category, stream)

    @property
    def in_flight(self) -> int:
        """Commands from the queue that are under way."""
        return self._sent - self.finished

    # In its turn

    def has_work(self) -> bool:
        """Whether there is a command to take and room for it."""
        return (
            (self._issued.has_more or self._told.has_more)
            and self.in_flight < self._max_in_flight
            and not self.is_closed
        )

    def work(self) -> None:
        """Take as many commands as may be under way, those of running processes first."""
        room = min(PAGE, self._max_in_flight - self.in_flight)
        for lane in (self._issued, self._told):
            while room > 0 and lane.has_more and not self.is_closed:
                commands = lane.next_fresh(room)
                if not commands:
                    commands = self._read_queue(lane, room)
                    lane.look_beyond(commands)
                self._sent += len(commands)
                self.residency.send(list(self._take(commands)))
                room -= len(commands)

    def _read_queue(self, lane: _Lane, room: int) -> list[CommandRecord]:
        """The next commands of a lane; one that cannot be read is set aside on the way."""
        limit = room
        while True:
            try:
                return self.store.read_queue(lane.taken, limit)
            except CorruptRecord as error:
                sequence = int.from_bytes(error.key, "big")
                if limit > 1:
                    # One by one, up to the one that is damaged.
                    limit = 1
                elif sequence > lane.newest:
                    # Of the other lane, or of this one's next look.
                    return []
                else:
                    limit, lane.taken = room, sequence
                    self._sent += 1
                    self.journal.add(_Stray(self, None, sequence, error))

    def _take(self, commands: list[CommandRecord]) -> Iterator[Sending]:
        for command in commands:
            stream = command.stream
            category = category_of(stream)
            wake = self._wakers.get(category)
            if wake is None:
                error = UnknownMessage(
                    f"no aggregate of this runtime has the stream {command.stream!r}; register "
                    f"the one that takes {command.type}, and retry"
                )
                self.journal.add(_Stray(self, command, command.sequence, error))
            else:
                request = Request(command=command, is_from_outside=command.process is None)
                yield category, stream, wake, request


class _Discard:
    """A queued command that has nothing left to do."""

    def __init__(self, journal: Journal, command: CommandRecord) -> None:
        self._journal = journal
        self.step = Step(take=command.sequence)

    def committed(self, outcome: Outcome) -> None:
        """Nobody waits for it."""

    def failed(self, error: StoreError) -> None:
        del error
        self._journal.add(self)


class _Stray:
    """A queued command that is parked, since no aggregate here takes it, or nobody can read it."""

    def __init__(
        self,
        command_queue: CommandQueue,
        command: CommandRecord | None,
        sequence: int,
        error: Exception,
    ) -> None:
        self._command_queue = command_queue
        now = command_queue.now()
        if command is None:
            parked = parked_sequence(error, sequence, now)
        else:
            parked = parked_command(error, command, now)
        logger.warning("command %s was parked: %s", parked.cause, error)
        self.step = Step(take=sequence, park=parked)

    def committed(self, outcome: Outcome) -> None:
        del outcome
        self._command_queue.finished += 1

    def failed(self, error: StoreError) -> None:
        del error
        self._command_queue.journal.add(self)
