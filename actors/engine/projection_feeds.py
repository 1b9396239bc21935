"""The projections of one engine: who gives them their turns, and how long after-effects wait.

A handler of a projection blocks on a database, so each projection has a thread of its own.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..clock import from_micros
from ..store.interrupts import start_thread
from .pooled_actor import PooledActor
from .projection_checkpoint import PREFIX
from .projection_feed import ProjectionFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..clock import Alarm, Clock
    from ..model.plans import ProjectionPlan
    from ..store import ErasureRecord
    from .instance_actor import InstanceMessage
    from .pooled_actor import Scheduler
    from .services import Services
    from .timers import TimerService

__all__ = ["Gate", "ProjectionFeeds", "is_in_projection"]


_threads = threading.local()
"""Says of a thread whether it is a projection's."""


def is_in_projection() -> bool:
    """Whether the calling thread is in a handler of a projection, of whichever runtime."""
    return getattr(_threads, "is_inside", False)


class Turns(Protocol):
    """What has a projection work."""

    feed: ProjectionFeed

    def call(self) -> None:
        """Have it work, if it has something to do; any thread may call this."""
        ...

    def close(self) -> None:
        """Begin nothing more."""
        ...

    def wait_for_end(self, timeout: float | None) -> threading.Thread | None:
        """Wait until it has ended; returns the thread that has not."""
        ...


class ProjectionThread:
    """A thread that works for one projection, when there is something to do."""

    def __init__(self, feed: ProjectionFeed, services: Services) -> None:
        self.feed = feed
        self._dispatcher = services.dispatcher
        # It may be held when one of the dispatcher's locks is taken, never the other way round.
        self._condition = threading.Condition()
        self._is_busy = False
        self._thread = threading.Thread(
            target=self._run, name=f"procession-projection-{feed.name}", daemon=True
        )
        self._has_ended = True

    def start(self) -> None:
        """Start the thread.

        Raises:
            NoThread: the operating system starts none

        """
        self._has_ended = False
        start_thread(self._thread)

    def call(self) -> None:
        with self._condition:
            self._note(is_busy=self.feed.has_work())
            self._condition.notify()

    def close(self) -> None:
        with self._condition:
            self.feed.is_closed = True
            self._condition.notify()

    def wait_for_end(self, timeout: float | None) -> threading.Thread | None:
        with self._condition:
            self._condition.wait_for(lambda: self._has_ended, timeout)
            if not self._has_ended:
                return self._thread
        if self._thread.ident is not None:
            self._thread.join()
        return None

    def _run(self) -> None:
        _threads.is_inside = True
        try:
            while self._wait():
                self.feed.work()
        finally:
            self.feed.end_here()
            with self._condition:
                self._note(is_busy=False)
                self._has_ended = True
                self._condition.notify_all()

    def _wait(self) -> bool:
        """Wait until there is something to do; false when it is over."""
        with self._condition:
            while not self.feed.is_closed:
                has_work = self.feed.has_work()
                self._note(is_busy=has_work)
                if has_work:
                    return True
                self._condition.wait()
            return False

    def _note(self, *, is_busy: bool) -> None:
        """Tell who waits for quiet; called with the lock held."""
        if is_busy != self._is_busy and not self._has_ended:
            self._is_busy = is_busy
            self._dispatcher.note_outside(self, is_busy=is_busy)


class ProjectionTurns(PooledActor):
    """Turns among the actors, in the place of a thread; for simulations."""

    is_part = True

    def __init__(self, feed: ProjectionFeed, dispatcher: Scheduler) -> None:
        super().__init__(dispatcher)
        self.feed = feed

    def has_work(self) -> bool:
        """Whether the projection has something to do."""
        return self.feed.has_work()

    def work(self) -> None:
        """Have it do one thing."""
        if self.feed.has_work():
            self.feed.work()

    def call(self) -> None:
        if not self.scheduled and self.feed.has_work():
            self.wake()

    def close(self) -> None:
        self.feed.is_closed = True

    def wait_for_end(self, timeout: float | None) -> threading.Thread | None:
        del timeout
        self.feed.end_here()
        return None


class Gate:
    """How far one projection lets after-effects go.

    They wait for it, and no longer than its class says: where its database fails, or hangs, they go
    on without it.
    """

    def __init__(self, feed: ProjectionFeed) -> None:
        self._feed = feed
        self._longest = feed.definition.gate.total_seconds() * 1_000_000
        # The position that it was to come to, and since when, in microseconds.
        self._behind: tuple[int, int] | None = None

    def up_to(self, position: int, now: Callable[[], int]) -> int:
        """The position up to which after-effects may go, of those up to a position.

        Args:
            position: up to which they may go otherwise
            now: tells the time, in microseconds

        """
        own = self._feed.position
        if own >= position and not self._feed.is_outdated:
            self._behind = None
            return position
        behind = self._behind
        if behind is None or (own >= behind[0] and not self._feed.is_outdated):
            self._behind = behind = position, now()
        return position if now() - behind[1] >= self._longest else min(own, position)

    @property
    def due(self) -> int | None:
        """When after-effects wait no longer, in microseconds; None if none waits."""
        behind = self._behind
        return None if behind is None else behind[1] + round(self._longest)

    def is_open(self, now: int) -> bool:
        """Whether after-effects go on without the projection."""
        due = self.due
        return due is not None and due <= now and self._feed.backlog > 0


class ProjectionFeeds:
    """Those of all projections.

    Args:
        plans: of all projections
        services: of the engine
        timers: brings retries when they are due
        clock: rings when a database is tried again, and when after-effects wait no longer
        has_threads: whether each has a thread; otherwise they have turns among the actors
        has_changed: told when a database fails, or does no more, or after-effects go on without it
        renew: makes the tables anew, of the projection of a name, that another version of its class
            made
        is_divided: whether other partitions have projections as well

    """

    def __init__(
        self,
        plans: Iterable[ProjectionPlan],
        services: Services,
        timers: TimerService,
        clock: Clock,
        *,
        has_threads: bool,
        has_changed: Callable[[], object],
        renew: Callable[[str], object],
        is_divided: bool,
    ) -> None:
        self._renew = renew
        self._is_divided = is_divided
        self._services = services
        self._has_changed = has_changed
        self._has_rung = False
        self._clock = clock
        self._alarm: Alarm | None = None
        self._lock = threading.Lock()
        self._turns: dict[str, Turns] = {}
        self._gates: dict[str, Gate] = {}
        self._was_open: set[str] = set()
        for plan in plans:
            self._add(plan, services, timers, has_threads=has_threads)

    def _add(
        self, plan: ProjectionPlan, services: Services, timers: TimerService, *, has_threads: bool
    ) -> None:
        name = plan.name

        def call() -> None:
            self._turns[name].call()

        feed = ProjectionFeed(
            plan,
            services,
            timers,
            call,
            self._note_moved,
            partial(self._renew, name) if self._may_renew(plan) else None,
        )
        self._gates[name] = Gate(feed)
        self._turns[name] = (
            ProjectionThread(feed, services)
            if has_threads
            else ProjectionTurns(feed, services.dispatcher)
        )

    def _may_renew(self, plan: ProjectionPlan) -> bool:
        """Whether the tables that another version made are this engine's to make anew.

        Of a divided store, all partitions have tables in common, and each has its own documents.
        """
        return not self._is_divided or plan.definition.documents is not None

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __iter__(self) -> Iterator[ProjectionFeed]:
        return (turns.feed for turns in self._turns.values())

    def feed_of(self, name: str) -> ProjectionFeed | None:
        """That of the projection of a name."""
        turns = self._turns.get(name)
        return None if turns is None else turns.feed

    def start(self) -> None:
        """Take up where the last run stopped.

        Raises:
            NoThread: the operating system starts no thread

        """
        if not self._turns:
            return
        self._alarm = self._clock.alarm(self._ring)
        for turns in self._turns.values():
            if isinstance(turns, ProjectionThread):
                turns.start()
            turns.call()

    def take(self, name: str, stream: str, message: InstanceMessage) -> bool:
        """Have a stream of a projection looked at; false if there is no such projection here."""
        feed = self.feed_of(name)
        if feed is None:
            return False
        feed.take(stream, message)
        return True

    def erase(self, record: ErasureRecord) -> None:
        """Take out of all tables what was erased; on the thread that erases.

        Raises:
            Exception: what a database said

        """
        for feed in self:
            feed.erase(record.kind, record.name, record.id)

    def look_after_commit(self, last: int) -> None:
        """All events up to a position are durable."""
        for turns in self._turns.values():
            if turns.feed.end != last:
                turns.feed.end = last
                turns.call()

    def checkpoints(self) -> dict[str, int]:
        """What is to be written along with the routers' positions."""
        return {f"{PREFIX}{name}": turns.feed.position for name, turns in self._turns.items()}

    # The gate of after-effects

    def up_to(self, position: int) -> int:
        """The position up to which after-effects may go, of those up to a position."""
        now = self._services.now
        for gate in self._gates.values():
            before = gate.due
            position = gate.up_to(position, now)
            if gate.due != before:
                self._set_alarm()
        return position

    def open_gates(self) -> list[str]:
        """The projections without which after-effects go on."""
        now = self._services.now()
        return [name for name, gate in self._gates.items() if gate.is_open(now)]

    def _note_moved(self) -> None:
        """A projection is further, or its database fails or does no more."""
        self._set_alarm()
        # The leader looks whether after-effects may go.
        self._services.dispatcher.nudge()
        self._tell()

    def _tell(self) -> None:
        failing = {feed.name for feed in self if feed.failing_since is not None or feed.is_outdated}
        troubled = failing | set(self.open_gates())
        if troubled != self._was_open:
            self._was_open = troubled
            self._has_changed()

    def _set_alarm(self) -> None:
        """Have it ring when something is due next."""
        now = self._services.now()
        due = [gate.due for gate in self._gates.values()]
        due += [feed.again_at for feed in self]
        coming = [one for one in due if one is not None and one > now]
        if coming and self._alarm is not None:
            with self._lock:
                self._alarm.set(from_micros(min(coming)))

    def _ring(self) -> None:
        """A database is to be tried again, or after-effects wait no longer."""
        for turns in self._turns.values():
            turns.call()
        # The leader looks at what that changes: it may take trips, and other alarms wait for this.
        self._has_rung = True
        self._services.dispatcher.nudge()
        self._set_alarm()

    def look_after_alarm(self) -> None:
        """Tell what has changed by the time; called by the leader."""
        if self._has_rung:
            self._has_rung = False
            self._tell()

    # The end

    def close(self) -> None:
        """Begin nothing more; what is in hand is finished."""
        for turns in self._turns.values():
            turns.close()

    def abandon(self) -> None:
        """Let go of all databases, as when the process ends; where there are no threads."""
        for turns in self._turns.values():
            turns.close()
            turns.feed.end_here()

    def stop(self, timeout: float | None) -> list[threading.Thread]:
        """Wait until all have ended.

        Args:
            timeout: most seconds to wait, or None for as long as it takes

        Returns:
            the threads whose handlers are not over

        """
        found = [turns.wait_for_end(timeout) for turns in self._turns.values()]
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()
        return [thread for thread in found if thread is not None]
