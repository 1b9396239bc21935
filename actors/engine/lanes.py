"""Takes in what other partitions have sent to this one, and tells them when there is more.

A partition writes what is for another into a lane of its own. The other reads it once it is
durable, and in one step moves its cursor and writes what came into its own log and queue. So each
is taken exactly once, whatever ends where, and no chain crosses partitions in memory.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from ..core.stimuli import CommandRefused, Reload
from ..store import COMMITTED, Arrival, DamagedStore, Step, StepExtras, StoreError, Taken
from .failure_log import Failure
from .instance_actor import InstanceMessage
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..store import CommandRecord, EventRecord, SentRecord
    from .instance_actor import Deliver
    from .services import Services

__all__ = ["Lanes", "Neighbour"]

PAGE = 256
"""What is taken of one lane in a step, at most."""

STRIDE = 1_024
"""What a lane holds that was taken, before its sender drops it."""

MOST_DROPPED = 2 * STRIDE
"""Rows that its sender drops at once; those that are left go with the next."""

LONGEST = 100_000
"""What a lane holds that was not taken, before its sender takes no new commands from outside."""


class Neighbour(Protocol):
    """Another partition of the same store, as far as this one needs it."""

    def read_lane(self, target: int, after: int, limit: int) -> list[SentRecord]:
        """What it has sent to a partition, in order, as far as it is durable."""
        ...

    def last_sent(self, target: int) -> int:
        """The sequence of the newest of these, or 0."""
        ...

    def has_sent(self, target: int, sequence: int) -> bool:
        """Whether it has sent a partition as much as up to a sequence."""
        ...

    def may_have_more(self, target: int, after: int) -> bool:
        """Whether its lane to a partition that begins to run is to be read from a sequence on.

        If not, the partition is nudged as soon as there is more.
        """
        ...

    def cursor_of(self, source: int) -> int:
        """The sequence up to which it has taken the lane from a partition, durably."""
        ...

    def nudge(self, source: int) -> None:
        """Tell it that there is more in the lane from a partition; any thread may call this."""
        ...


class Lanes(PooledActor):
    """Brings what came from other partitions to where it belongs.

    Args:
        services: of the engine
        neighbours: the other partitions by number
        published: is told of events that were written to the log
        queued: is told of commands that were written to the queue
        deliver: gives an instance a message
        has_come: is told how much came of a lane, so that what is new has its share of the turns

    Raises:
        DamagedStore: another partition has sent less than was taken: one of the two is from an
            older backup

    """

    is_part = True

    def __init__(
        self,
        services: Services,
        neighbours: Mapping[int, Neighbour],
        published: Callable[[list[EventRecord]], None],
        queued: Callable[[list[CommandRecord]], None],
        deliver: Deliver,
        has_come: Callable[[int], None],
    ) -> None:
        super().__init__(services.dispatcher)
        _store, partition = services.store, services.store.partition
        assert partition is not None
        self._own = partition.number
        self._services = services
        self._neighbours = neighbours
        self._published = published
        self._queued = queued
        self._deliver = deliver
        self._has_come = has_come
        # Told by other threads.
        self._told: deque[int] = deque()
        # Partitions that have something to drop, once it is durable that it was taken.
        self._to_drop: set[int] = set()
        # The sequence of the last row that was dropped, by the partition that it was for.
        self._dropped: dict[int, int] = {}
        self.is_closed = False
        self.damage: dict[int, str] = {}
        """Why nothing can be taken from a lane, by the partition that it comes from."""
        self._cursors = self._durable_cursors()
        # Partitions whose lanes may have more.
        self._ahead: dict[int, None] = {}
        for source, cursor in self._cursors.items():
            neighbour = neighbours[source]
            if cursor and not neighbour.has_sent(self._own, cursor):
                raise _older(source, neighbour.last_sent(self._own), cursor)
            if neighbour.may_have_more(self._own, cursor):
                self._ahead[source] = None

    def _durable_cursors(self) -> dict[int, int]:
        # Without a look: a database may be away just now.
        cursors = self._services.store.ahead.counters.cursors
        return {source: cursors.get(source, 0) for source in self._neighbours}

    def start_over(self) -> None:
        """Go on from what is durable; with the journal's lock held."""
        before, self._cursors = self._cursors, self._durable_cursors()
        self._dropped.clear()
        # What was taken and is not durable is taken again. Of the other lanes nothing was lost.
        for source, cursor in self._cursors.items():
            if cursor != before[source]:
                self._ahead[source] = None

    def on_start(self) -> None:
        """Tell others what is durable for them: a crash may have come before they were told."""
        for target in self._services.store.ahead.counters.sent:
            self._neighbours[target].nudge(self._own)

    # From outside

    def nudge(self, source: int) -> None:
        """There is more in the lane from a partition; any thread may call this."""
        self._told.append(source)
        self.dispatcher.schedule_from_outside(self)

    def try_again(self) -> None:
        """Look at lanes once more that could not be read; any thread may call this."""
        for source in list(self.damage):
            self.nudge(source)

    def look_after_commit(self) -> None:
        """Tell other partitions what is durable for them; called with the journal's lock held."""
        sending = self._services.store.ahead.sending
        targets, sending.targets = sending.targets, set()
        targets |= self._to_drop
        self._to_drop = set()
        for target in targets:
            self._neighbours[target].nudge(self._own)

    @property
    def is_full(self) -> bool:
        """Whether a lane from here holds so much that nothing new is to be begun."""
        counters = self._services.store.ahead.counters
        # The watch looks as well, while something is sent to a partition for the first time.
        sent = counters.sent.copy()
        return any(last - counters.taken.get(target, 0) > LONGEST for target, last in sent.items())

    def longest(self) -> tuple[int, int]:
        """The partition that has not taken most of what was sent to it, and how much that is."""
        counters = self._services.store.ahead.counters
        # As long as it is known to be: what was taken is dropped in strides.
        sizes = {
            target: last - counters.taken.get(target, 0)
            for target, last in counters.sent.copy().items()
        }
        longest = max(sizes, key=lambda one: sizes[one], default=0)
        return longest, sizes.get(longest, 0)

    @property
    def is_empty(self) -> bool:
        """Whether all that was sent here, and is durable there, was taken here, durably."""
        store = self._services.store
        return all(
            neighbour.last_sent(self._own) == store.cursor_of(source)
            for source, neighbour in self._neighbours.items()
        )

    # In its turn

    def has_work(self) -> bool:
        """Whether a lane may have more."""
        return bool(self._told or self._ahead) and not self.is_closed

    def work(self) -> None:
        """Take a page of each lane that may have more."""
        if self.is_closed:
            return
        while self._told:
            self._ahead[self._told.popleft()] = None
        for source in list(self._ahead):
            self._take(source)
        self._drop_taken()

    def _take(self, source: int) -> None:
        journal, generation = self._services.journal, self._services.journal.generation
        first = self._cursors[source] + 1
        try:
            page = self._neighbours[source].read_lane(self._own, first - 1, PAGE)
            _refuse_gap(source, first, page)
        except StoreError as error:
            # It stands still until more is told of, and others go on.
            self._ahead.pop(source, None)
            self.damage[source] = str(error)
            self._tell(source, error)
            return
        self.damage.pop(source, None)
        if not page:
            with journal.lock:
                # Otherwise what was looked at is not what is durable.
                if generation == journal.generation:
                    self._ahead.pop(source, None)
            return
        step, arrived = _step_of(source, page)
        with journal.lock:
            if generation != journal.generation:
                return
            if journal.lay(step) is not COMMITTED:
                self._cursors[source] = self._services.store.ahead.counters.cursors.get(source, 0)
                return
            if (first - 1) // STRIDE != arrived.last // STRIDE:
                self._to_drop.add(source)
            self._cursors[source] = arrived.last
            self._bring(step, arrived)
            self._has_come(len(page))
        if len(page) < PAGE:
            self._ahead.pop(source, None)

    def _bring(self, step: Step, arrived: Arrival) -> None:
        """Bring on its way what was written; with the journal's lock held."""
        if step.enqueue:
            self._queued(step.enqueue)
        if arrived.events:
            self._published(arrived.events)
        for process, instance in arrived.met:
            self._deliver(process, instance, InstanceMessage(Reload()))
        for refusal in arrived.refusals:
            issuer = refusal.command
            message = InstanceMessage(CommandRefused(refusal))
            self._deliver(issuer.process or "", issuer.instance or "", message)

    def _drop_taken(self) -> None:
        """Drop of each lane from here what its target has taken, once it is much."""
        journal, store = self._services.journal, self._services.store
        counters = store.ahead.counters
        for target, last in list(counters.sent.items()):
            if last - counters.taken.get(target, 0) < STRIDE:
                continue
            try:
                taken = self._neighbours[target].cursor_of(self._own)
                # Here, since a step that is laid in is not to read.
                rows = store.rows_sent(target, self._dropped.get(target, 0), taken, MOST_DROPPED)
            except StoreError as error:
                self._tell(target, error)
                continue
            if taken > counters.taken.get(target, 0):
                with journal.lock:
                    journal.lay(Step(extras=StepExtras(taken=Taken(target, taken, rows))))
                    # The newest row stays.
                    gone = [one for one in rows if one < last]
                    self._dropped[target] = max(gone, default=self._dropped.get(target, 0))

    def _tell(self, partition: int, error: StoreError) -> None:
        failure = Failure(error=error, handler=f"the lane from partition {partition}")
        self._services.failures.tell(failure)

    def close(self) -> None:
        """Take nothing any more."""
        self.is_closed = True


def _step_of(source: int, page: list[SentRecord]) -> tuple[Step, Arrival]:
    """What writes a page of a lane."""
    arrived = Arrival(source, page[0].sequence, page[-1].sequence)
    commands: list[CommandRecord] = []
    for sent in page:
        if sent.event is not None:
            arrived.events.append(sent.event)
        elif sent.command is not None:
            commands.append(sent.command)
        elif sent.refusal is not None:
            # It is back where it came from.
            sent.refusal.command.origin = None
            arrived.refusals.append(sent.refusal)
        elif sent.learnt is not None:
            arrived.learnt.append(sent.learnt)
    return Step(enqueue=commands or None, extras=StepExtras(arrived=arrived)), arrived


def _refuse_gap(source: int, first: int, page: list[SentRecord]) -> None:
    for expected, sent in enumerate(page, first):
        if sent.sequence != expected:
            raise DamagedStore(
                f"the lane from partition {source} goes on with {sent.sequence}, and {expected} is "
                f"missing: one of the two partitions was damaged, or is from another backup"
            )


def _older(source: int, last: int, cursor: int) -> DamagedStore:
    return DamagedStore(
        f"partition {source} has sent {last} messages to this one, which has taken {cursor}: "
        f"partition {source} is from an older backup; go back to the same backup with both"
    )
