"""The command queue: brings commands to their aggregates, from callers and from disk."""

from __future__ import annotations

from collections import defaultdict, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ..core.failures import parked_command, parked_sequence
from ..core.stimuli import CommandRefused
from ..errors import IdReused, UnknownMessage
from ..model.plans import AggregatePlan
from ..store import FROM_OUTSIDE, CorruptRecord, Step, StoreError, category_of
from .aggregate_actor import AggregateActor, AggregateShare, CommandMessage
from .failure_log import Failure
from .given_ids import answer_before
from .instance_actor import InstanceMessage
from .pooled_actor import PooledActor
from .replaying import replayed

if TYPE_CHECKING:
    from collections.abc import Callable

    import pykka

    from ..core.carry_out import CommandDecision, CommandDelivered
    from ..messages.reply import Reply
    from ..messages.types import Event
    from ..store import CommandRecord, CommandResult
    from .ahead_reads import AheadReads
    from .instance_actor import Deliver
    from .lanes import Lanes
    from .residency import Sending
    from .services import Services

__all__ = ["CommandQueue"]

PAGE = 256
"""Issued commands that are taken in one turn, at most."""

NEW = 64
"""Commands from outside that are taken at once, so that their chains end together."""

COME = 2 * NEW
"""Messages of other partitions for which so many commands from outside may be taken.

Otherwise a partition that is behind would work only for those that are ahead, and these would wait
for what it has not begun.
"""

MOST_COME = 4 * NEW
"""Messages that count, at most: what came while nothing was told makes no room for what is."""


class _Lane:
    """One of the queue's two lanes: how far it was taken, and what of it is in memory."""

    def __init__(self, first: int) -> None:
        self.taken = first
        self.newest = first
        self.fresh: deque[CommandRecord] = deque()

    def next_fresh(self, limit: int) -> list[CommandRecord]:
        """Commands that need not be read, because the lane was followed without a gap."""
        fresh = self.fresh
        found: list[CommandRecord] = []
        if fresh and fresh[0].sequence == self.taken + 1:
            size = min(limit, len(fresh))
            if fresh[size - 1].sequence == self.taken + size:
                self.taken += size
                return [fresh.popleft() for _ in range(size)]
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

    A command that was just handed over goes on in memory while the command queue keeps up; it
    reads the queue only when it is behind.

    Args:
        services: of the engine
        reads: the log with all that was handed over
        deliver: gives an instance a message
        make_actor: of an aggregate
        max_in_flight: most commands from the queue that are under way at once

    """

    is_part = True

    def __init__(
        self,
        services: Services,
        reads: AheadReads,
        deliver: Deliver,
        make_actor: Callable[[AggregateShare, str], AggregateActor],
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(services.dispatcher)
        self._services = services
        self.registry = services.registry
        self._store = services.store
        self._journal = services.journal
        self._deliver = deliver
        self.wakers: dict[str, Callable[[str], AggregateActor]] = {
            definition.category: partial(
                make_actor,
                AggregateShare(services, AggregatePlan(definition, services.registry), reads, self),
            )
            for definition in services.registry.aggregates.values()
        }
        self._max_in_flight = max_in_flight
        self.lanes: Lanes | None = None
        """Of a divided store, what goes to other partitions; set when it is made."""
        self._asked: deque[CommandMessage] = deque()
        """Commands of waiting callers that came while a lane was full, or in front of a trip."""
        self.is_closed = False
        # No `Counter`, whose assignments take many times as long.
        self.counts: dict[str, int] = defaultdict(int)
        self.start_over()

    # Called by the engine

    def start_over(self) -> None:
        """Take up what is in the queue; with the journal's lock held, if anything runs."""
        self._issued, self._told = _Lane(0), _Lane(FROM_OUTSIDE)
        self._issued.newest, self._told.newest = self._store.last_sequences()
        # The number of the commit in which commands from outside were taken last.
        self._took_new_in = 0
        # Messages of other partitions for which no command from outside was taken yet.
        self._come = 0
        self.in_flight = 0
        """Commands from the queue that are under way."""

    def ask(
        self, record: CommandRecord, reply: pykka.Future[Reply[Event]], *, is_remembered: bool
    ) -> None:
        """Bring one command, for which a caller waits, to its aggregate.

        Args:
            record: the command
            reply: where the caller waits
            is_remembered: whether its id is; then it may be answered at once

        """
        try:
            self._ask(record, reply, is_remembered=is_remembered)
        except Exception:  # noqa: BLE001 - it is raised where the reply is awaited
            reply.set_exception()

    def _ask(
        self, record: CommandRecord, reply: pykka.Future[Reply[Event]], *, is_remembered: bool
    ) -> None:
        before: CommandResult | IdReused | None = None
        if is_remembered:
            first = self._store.given_command(record.command_id)
            before = answer_before(self.registry, first, record)
        if isinstance(before, IdReused):
            reply.set_exception((IdReused, before, None))
        elif before is not None:
            self.answer(reply, before, record.command_id)
        else:
            message = CommandMessage(record, is_remembered, reply)
            if not self._store.is_remote and not self._is_held_back:
                self.send(message)
                return
            self._asked.append(message)
            if self._store.is_remote:
                # Those that come while a commit is under way share the trip for what they need.
                self._services.dispatcher.nudge()

    def send(self, message: CommandMessage) -> None:
        """Bring one command to its aggregate."""
        stream = message.record.stream
        category = category_of(stream)
        sending = ((category, stream), self.wakers[category], message)
        self._services.residency.send([sending], is_urgent=True)

    def answer(
        self, future: pykka.Future[Reply[Event]], result: CommandResult, command_id: str
    ) -> None:
        """Reply with what came of a command when it was carried out before."""
        try:
            future.set(replayed(self._store, self.registry, result, command_id))
        except Exception:  # noqa: BLE001 - it is raised where the reply is awaited
            future.set_exception()

    # Called when something is handed over, with the journal's lock

    def done(self, delivered: CommandDelivered, decision: CommandDecision) -> None:
        """A command is carried out, refused or parked."""
        if delivered.record.sequence:
            self.counts["commands"] += 1
            self.in_flight -= 1
            if self.in_flight == self._max_in_flight - 1:
                self._go_on()
        if not decision.outcome:
            return
        self.counts[decision.outcome] += 1
        extras = decision.step.extras
        if extras is not None and extras.refusal is not None:
            refusal = extras.refusal
            issuer = refusal.command
            message = InstanceMessage(CommandRefused(refusal))
            self._deliver(issuer.process or "", issuer.instance or "", message)

    def discard(self, delivered: CommandDelivered) -> None:
        """Take a command off the queue that was carried out under its id before."""
        self._journal.lay(Step(take=delivered.record.sequence))

    def queued(self, commands: list[CommandRecord]) -> None:
        """Commands that were just handed over for the queue."""
        lane = self._told if commands[0].process is None else self._issued
        lane.newest = commands[-1].sequence
        if len(lane.fresh) < self._max_in_flight:
            lane.fresh.extend(commands)
        if not self.scheduled and self.has_work():
            self.wake()

    def published(self, stream: str) -> None:
        """A caller wrote to a stream: its aggregate reads it before it decides again."""
        category = category_of(stream)
        if category in self.wakers:
            self._services.residency.make_stale(category, stream)

    def has_come(self, count: int) -> None:
        """So many messages came from another partition, and are on their way through this one."""
        self._come = min(self._come + count, MOST_COME)
        self._go_on()

    def _go_on(self) -> None:
        """There is room again, or it is time for what is new."""
        if not self.scheduled and self.has_work():
            self.wake()

    # In its turn

    def has_work(self) -> bool:
        """Whether there is a command to take in a turn of the run queue, and room for it."""
        # Asked many times for each wave, so with few calls; as below.
        issued, told = self._issued, self._told
        return (
            self.in_flight < self._max_in_flight
            and not self.is_closed
            and (issued.taken < issued.newest or (told.taken < told.newest and self._is_late))
        )

    @property
    def has_new(self) -> bool:
        """Whether there is a command from outside that may be begun."""
        told = self._told
        has_told = told.taken < told.newest and self.in_flight < self._max_in_flight
        return (bool(self._asked) or has_told) and not (self.is_closed or self._is_held_back)

    @property
    def _is_held_back(self) -> bool:
        """Whether another partition has so much to take that nothing new is begun for it."""
        return self.lanes is not None and self.lanes.is_full

    @property
    def _is_late(self) -> bool:
        """Whether much was done since commands from outside were taken, and any may be."""
        is_late = self._come >= COME or self._journal.number > self._took_new_in
        return is_late and not self._is_held_back

    def work(self) -> None:
        """Take as many commands as may be under way, those of running processes first."""
        if self._journal.commits_first():
            return
        with self._journal.lock:
            self._take_lane(self._issued, PAGE)
            if self._is_late:
                # Running processes always have something to do; what is new must not wait for it.
                self._take_new()

    def take_new(self) -> bool:
        """Take commands from outside, when the run queue is empty.

        Chains that run are at their ends then. So a commit that closes before the next look holds
        whole chains, whose rows lie side by side.

        Returns:
            whether there was any that was told

        """
        self._take_asked()
        with self._journal.lock:
            return self._take_new()

    def _take_asked(self) -> None:
        """Bring to their aggregates what waiting callers have asked."""
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        if self._store.is_remote:
            is_awake = self._services.residency.is_awake
            wanted = [
                message.record
                for message in asked
                if message.is_from_outside
                or not is_awake(category_of(message.record.stream), message.record.stream)
            ]
            with self._journal.lock:
                self._gather(wanted)
        for message in asked:
            self.send(message)

    def _gather(self, commands: list[CommandRecord]) -> None:
        """Ask at once for what a wave of commands is to be checked against."""
        # Where it fails, each aggregate reads by itself, and its caller hears of what it meets.
        with suppress(StoreError):
            ahead = self._store.ahead
            if not self._store.is_remote:
                ahead.gather_commands(commands)
                return
            # And for what the aggregates that sleep are to be made of.
            is_awake = self._services.residency.is_awake
            streams = dict.fromkeys(one.stream for one in commands)
            asleep = [one for one in streams if not is_awake(category_of(one), one)]
            ahead.gather_commands(commands, asleep)
            ahead.gather_streams(asleep)

    def _take_new(self) -> bool:
        self._took_new_in = self._journal.number
        self._come = max(0, self._come - COME)
        return self._take_lane(self._told, NEW)

    def _take_lane(self, lane: _Lane, most: int) -> bool:
        room = min(most, self._max_in_flight - self.in_flight)
        took = False
        while room > 0 and lane.taken < lane.newest and not self.is_closed:
            commands = lane.next_fresh(room)
            if not commands:
                commands = self._read_queue(lane, room)
                lane.look_beyond(commands)
            self.in_flight += len(commands)
            self._gather(commands)
            self._services.residency.send(self._take(commands))
            room -= len(commands)
            took = True
        return took

    def _read_queue(self, lane: _Lane, room: int) -> list[CommandRecord]:
        """The next commands of a lane; one that cannot be read is set aside on the way."""
        limit = room
        while True:
            try:
                return self._store.ahead.read_queue(lane.taken, limit)
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
                    self.in_flight += 1
                    self._park(None, sequence, error)

    def _take(self, commands: list[CommandRecord]) -> list[Sending]:
        sending: list[Sending] = []
        wakers = self.wakers
        for command in commands:
            stream = command.stream
            category = category_of(stream)
            wake = wakers.get(category)
            if wake is None:
                error = UnknownMessage(
                    f"no aggregate of this runtime has the stream {command.stream!r}; register "
                    f"the one that takes {command.type}, and retry"
                )
                self._park(command, command.sequence, error)
            else:
                message = CommandMessage(command, command.process is None)
                sending.append(((category, stream), wake, message))
        return sending

    def _park(self, command: CommandRecord | None, sequence: int, error: Exception) -> None:
        """Set a queued command aside that no aggregate here takes, or that cannot be read."""
        now = self._services.now()
        if command is None:
            parked = parked_sequence(error, sequence, now)
        else:
            parked = parked_command(error, command, now)
        stream = "" if command is None else command.stream
        failure = Failure(
            error=error,
            handler="the command queue" if command is None else command.type,
            event=parked.cause,
            process=category_of(stream),
            instance=stream,
            # What is said of it is the store's, or was made here.
            text=str(error),
        )
        self._services.failures.tell(failure)
        self._journal.lay(Step(take=sequence, park=parked))
        self.counts["commands"] += 1
        self.in_flight -= 1
