"""After-effects: `after(Evt)` methods, run on threads of their own once all handlers are done.

A feed for each process manager reads the log behind the routers and says which effects are to run;
threads run them, for each instance in order. How far all effects are done is stored as a router's
position is, so a crash makes those behind it run again: at least once, never before the commit.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

from ..authoring.context import Context
from ..clock import from_micros
from ..core.failures import parked_effect
from ..errors import UnknownMessage
from ..model.upcasting import split
from ..store import Committed, Step, StepExtras, category_of
from .dispatcher import PooledActor
from .event_buffer import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from ..clock import Alarm, Clock
    from ..messages.types import Event
    from ..model.process_definition import ProcessDefinition
    from ..store import EventRecord, Outcome, ParkedRecord, StoreError
    from .command_queue import CommandQueue
    from .event_buffer import EventBuffer
    from .router import Router

    Decision: TypeAlias = tuple[str, int, str | None]

__all__ = ["Effects"]

logger = logging.getLogger("procession")

PAGE = 256

STRIDE = 10_000
"""Events without effects that may pass before the position is written for their sake."""


class _Again:
    """A decision to run what was parked again; the record goes with the last outcome."""

    __slots__ = ("decision", "left", "number")

    def __init__(self, number: int, decision: Decision | None, left: int) -> None:
        self.number = number
        self.decision = decision
        self.left = left


class _Job:
    """One effect of one event in one instance."""

    __slots__ = ("again", "attempt", "feed", "instance", "record")

    def __init__(
        self,
        feed: _Feed,
        record: EventRecord,
        instance: str,
        attempt: int = 1,
        again: _Again | None = None,
    ) -> None:
        self.feed = feed
        self.record = record
        self.instance = instance
        self.attempt = attempt
        self.again = again

    @property
    def line(self) -> tuple[str, str]:
        """Those with the same line run one after the other."""
        return self.feed.definition.name, self.instance


class Effects:
    """Runs the effects of all process managers, never two of one instance at once.

    Args:
        command queue: has what is shared
        tail: where events come from
        clock: tells when to try again
        routers: an event's effects run when all of these are done with it
        threads: most effects that run at once
        max_in_flight: most effects of one process manager in memory; the rest wait in the log

    """

    def __init__(
        self,
        command_queue: CommandQueue,
        event_buffer: EventBuffer,
        clock: Clock,
        routers: Sequence[Router],
        *,
        threads: int,
        max_in_flight: int,
    ) -> None:
        self.command_queue = command_queue
        self.event_buffer = event_buffer
        self.max_in_flight = max_in_flight
        # All keys from the start, since others look at it from their threads.
        self.counts: Counter[str] = Counter(effects=0, effects_retried=0, effects_parked=0)
        self._routers = routers
        self._feeds = {
            router.definition.name: _Feed(self, router.definition)
            for router in routers
            if router.definition.effects
        }
        self._clock = clock
        self._alarm: Alarm | None = None
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._alive: set[threading.Thread] = set()
        self._inside = threading.local()
        # Everything below is guarded by this. It may be held when one of the dispatcher's locks
        # is taken, never the other way round.
        self._condition = threading.Condition()
        # The head of a line is ready, running, or waits for its next attempt.
        self._lines: dict[tuple[str, str], deque[_Job]] = {}
        self._ready: deque[tuple[str, str]] = deque()
        self._waiting: list[tuple[int, int, tuple[str, str]]] = []
        self._numbers = 0
        self._running = 0
        self._free = 0
        self._is_busy = False
        self._again: set[int] = set()
        self.is_closed = False

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread runs an effect, and so cannot wait for all effects."""
        return getattr(self._inside, "is_inside", False)

    # For the engine

    def start(self) -> None:
        """Take up where the last run stopped; before anything else runs."""
        if self._feeds:
            # An alarm is a thread: only who needs one has one.
            self._alarm = self._clock.alarm(self._ring)
            self.look()

    def has_work(self) -> bool:
        """Whether some feed has work and is not at it."""
        return any(not feed.scheduled and feed.has_work() for feed in self._feeds.values())

    def look(self) -> bool:
        """Wake the feeds for which there is work; returns whether any was."""
        found = False
        for feed in self._feeds.values():
            # One that is having its turn looks by itself when that is over.
            if not feed.scheduled and feed.has_work():
                feed.wake()
                found = True
        return found

    def gate(self) -> int:
        """The position up to which every process manager is done."""
        return min(router.done for router in self._routers)

    def checkpoints(self) -> dict[str, int]:
        """What is to be written along with the routers' positions."""
        found: dict[str, int] = {}
        for feed in self._feeds.values():
            found |= feed.checkpoints()
        return found

    def retry(self, record: ParkedRecord, decision: Decision | None = None) -> None:
        """Run an effect that was parked again; it is parked again if it fails.

        It returns before the effect has run.

        Args:
            record: what was parked
            decision: recorded when the effect has come to an end, in the step that takes the
                record away, so that a crash before that leaves it parked. Without it, the record
                must have been taken away already

        Raises:
            UnknownMessage: no process manager here has an effect for that event
            Exception: what the process manager's `correlate` raised, if it was parked for that

        """
        feed = self._feeds.get(record.process)
        page = self.command_queue.store.read_log(record.position - 1, 1)
        if feed is None or not page or not feed.acts_after(page[0]):
            raise UnknownMessage(
                f"{record.process} has no @after method for event {record.cause} in this runtime, "
                f"where {record.effect!r} was parked; register one, or skip this"
            )
        event = page[0]
        instances = [record.instance] if record.instance else feed.instances_of(event)
        with self._condition:
            if record.number in self._again or self.is_closed:
                return
            self._again.add(record.number)
        again = _Again(record.number, decision, len(instances))
        if instances:
            self.add(_Job(feed, event, one, record.attempts + 1, again) for one in instances)
        else:
            with self._condition:
                again.left = 1
                self._end(_Job(feed, event, "", 1, again), None)

    def close(self) -> None:
        """Start no more effects; those that run are finished."""
        with self._condition:
            self.is_closed = True
            self._ready.clear()
            self._waiting.clear()
            self._condition.notify_all()
            self._note_busy()
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()

    def stop(self, timeout: float | None = None) -> list[threading.Thread]:
        """Wait until the threads have ended.

        Args:
            timeout: most seconds to wait, or None for as long as it takes

        Returns:
            the threads whose effects are not over; each ends when its effect is

        """
        with self._condition:
            self._condition.wait_for(lambda: not self._alive, timeout)
            late = [thread for thread in self._threads if thread in self._alive]
        for thread in self._threads:
            if thread not in late:
                thread.join()
        return late

    # For feeds

    def add(self, jobs: Iterable[_Job]) -> None:
        """Have effects run, those of one instance in this order."""
        with self._condition:
            if self.is_closed:
                return
            for job in jobs:
                line = self._lines.setdefault(job.line, deque())
                line.append(job)
                if len(line) == 1:
                    self._ready.append(job.line)
            self._call()

    # The threads

    def _call(self) -> None:
        """Have what is ready run; called with the lock held."""
        self._note_busy()
        while self._free < len(self._ready) and len(self._threads) < self._most:
            name = f"procession-effects-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            self._alive.add(thread)
            self._free += 1
            thread.start()
        self._condition.notify(len(self._ready))

    def _note_busy(self) -> None:
        """Tell who waits for quiet; an effect that waits for its time is none of it."""
        is_busy = bool(self._ready or self._running)
        if is_busy != self._is_busy:
            self._is_busy = is_busy
            self.command_queue.dispatcher.note_outside(is_busy=is_busy)

    def _work(self) -> None:
        self._inside.is_inside = True
        while True:
            with self._condition:
                while not self._ready and not self.is_closed:
                    self._condition.wait()
                if self.is_closed:
                    self._alive.discard(threading.current_thread())
                    self._condition.notify_all()
                    return
                job = self._take()
            self._carry_out(job)

    def run_next(self, run: Callable[[_Job], bool]) -> _Job:
        """Run one effect that is ready on the caller's thread; for simulations.

        Args:
            run: carries it out; false if the instance does not exist

        """
        with self._condition:
            job = self._take()
        self._carry_out(job, run)
        return job

    def _take(self) -> _Job:
        """The next one that is ready; called with the lock held."""
        job = self._lines[self._ready.popleft()][0]
        self._free -= 1
        self._running += 1
        return job

    def _carry_out(self, job: _Job, run: Callable[[_Job], bool] | None = None) -> None:
        error: BaseException | None = None
        is_there = False
        try:
            is_there = job.feed.run(job) if run is None else run(job)
        except BaseException as raised:  # noqa: BLE001 - a person must see it, whatever it is
            error = raised
        with self._condition:
            self._running -= 1
            self._free += 1
            self._answer(job, error, is_there=is_there)
            self._note_busy()

    def _answer(self, job: _Job, error: BaseException | None, *, is_there: bool) -> None:
        """An attempt is over; called with the lock held, before it counts as quiet."""
        if error is not None:
            if self.is_closed:
                # It may have failed because of that; the next run tries it anew.
                return
            retry = job.feed.definition.retry
            if retry is not None and isinstance(error, Exception):
                wait = retry.wait(job.attempt)
                if wait is not None:
                    self.counts["effects_retried"] += 1
                    self._try_later(job, round(wait.total_seconds() * 1_000_000))
                    return
            logger.warning("%s was parked", job.feed.describe(job), exc_info=error)
        elif is_there:
            self.counts["effects"] += 1
        line = self._lines[job.line]
        line.popleft()
        if not line:
            del self._lines[job.line]
        elif not self.is_closed:
            self._ready.append(job.line)
        self._end(job, error)

    def _end(self, job: _Job, error: BaseException | None) -> None:
        """There are no more attempts; called with the lock held."""
        step: Step | None = None
        if error is not None:
            step = Step(park=job.feed.parked(job, error))
        again = job.again
        if again is not None:
            again.left -= 1
            if not again.left:
                self._again.discard(again.number)
                if again.decision is not None:
                    step = step or Step()
                    step.extras = StepExtras(unpark=again.number, decision=again.decision)
        if step is not None:
            self.command_queue.journal.add(_Ended(self, job, step))
        elif again is None:
            job.feed.finish(job)

    def _try_later(self, job: _Job, wait: int) -> None:
        job.attempt += 1
        due = self.command_queue.now() + wait
        self._numbers += 1
        heapq.heappush(self._waiting, (due, self._numbers, job.line))
        self._set_alarm()

    def _ring(self) -> None:
        with self._condition:
            if not self.is_closed:
                self._set_alarm()

    def _set_alarm(self) -> None:
        """Take up what is due, and have it ring for what is not; called with the lock held."""
        while self._waiting:
            if self._waiting[0][0] <= self.command_queue.now():
                self._ready.append(heapq.heappop(self._waiting)[-1])
                continue
            assert self._alarm is not None
            due = self._waiting[0][0]
            self._alarm.set(from_micros(due))
            # A clock that was moved before the alarm was set does not ring for it.
            if due > self.command_queue.now():
                break
        self._call()


class _Ended:
    """The last word about an effect that was parked, or that a person had run again."""

    def __init__(self, effects: Effects, job: _Job, step: Step) -> None:
        self._effects = effects
        self._job = job
        self.step = step

    def committed(self, outcome: Outcome) -> None:
        # Otherwise a run before this one parked it, and crashed before it wrote how far it got.
        if self.step.park is not None and isinstance(outcome, Committed):
            self._effects.counts["effects_parked"] += 1
        if self._job.again is None:
            self._job.feed.finish(self._job)

    def failed(self, error: StoreError) -> None:
        del error
        if not self._effects.is_closed:
            self._effects.command_queue.journal.add(self)


class _Feed(PooledActor):
    """Reads the log behind the routers, and says which effects of one process manager are due.

    It stands to its effects as a router does to its instances: `done` is the position up to which
    all are, and is what is stored.
    """

    def __init__(self, effects: Effects, definition: ProcessDefinition) -> None:
        super().__init__(effects.command_queue.dispatcher)
        self.definition = definition
        self._effects = effects
        self._event_buffer = effects.event_buffer
        self._journal = effects.command_queue.journal
        self._store = effects.command_queue.store
        self._now = effects.command_queue.now
        registry = effects.command_queue.registry
        self._categories = registry.categories_of(definition)
        self._readers = registry.readers_of(definition, definition.effects)
        # By wire names, and by wire names without their versions.
        self._handlers: dict[str, Handler] = {}
        for event, handler in definition.effects.items():
            name = registry.name_of(event, definition)
            self._handlers[name] = self._handlers[split(name)[0]] = handler
        self._ended: deque[_Job] = deque()
        # Positions under way, in order, and how many effects each still has in hand.
        self._under_way: dict[int, int] = {}
        self._in_hand = 0
        self._name = f"after:{definition.name}"
        self._since_name = f"since:{definition.name}"
        self._since = self._store.checkpoint(self._since_name)
        if self._since:
            self.done = self._store.checkpoint(self._name)
        else:
            # It has not had effects before. They are for what is handled from now on: nobody
            # wants letters about years of old orders because a letter was added today.
            self.done = self._store.checkpoint(definition.name)
            self._since = self.done + 1
        self._position = self._asked_for = self.done

    def checkpoints(self) -> dict[str, int]:
        """How far it got, and from where it began; the latter also says that it ever did."""
        return {self._name: self.done, self._since_name: self._since}

    def acts_after(self, record: EventRecord) -> bool:
        """Whether there is an effect for an event."""
        return self._readers[record.type] is not None and (
            self._categories is None or category_of(record.stream) in self._categories
        )

    def instances_of(self, record: EventRecord) -> list[str]:
        """The instances that an event is for."""
        if self.definition.stateless:
            return [record.event_id]
        event = self._load(record)
        correlation = self.definition.correlations[type(event)]
        named = correlation.ids(event)
        if not correlation.learnt:
            return named
        read, name, field = self._store.read_index, self.definition.name, correlation.learnt
        return list(dict.fromkeys(one for value in named for one in read(name, field, value)))

    def describe(self, job: _Job) -> str:
        """In words, for the log."""
        method = self._handler_of(job.record).name
        return f"{self.definition.name}.{method} after {job.record.event_id} ({job.instance!r})"

    def parked(self, job: _Job, error: BaseException) -> ParkedRecord:
        """What is set aside."""
        method = self._handler_of(job.record).name
        return parked_effect(
            error, self.definition.name, job.instance, job.record, method, job.attempt, self._now()
        )

    def _load(self, record: EventRecord) -> Event:
        reader = self._readers[record.type]
        assert reader is not None
        return reader.load(record.data)

    def _handler_of(self, record: EventRecord) -> Handler:
        return self._handlers.get(record.type) or self._handlers[split(record.type)[0]]

    # On the effects' threads

    def run(self, job: _Job) -> bool:
        """Carry one out; False if the instance does not exist."""
        handler = self._handler_of(job.record)
        process = self._restored(job.instance)
        if process is None:
            return False
        unit = process._unit  # noqa: SLF001 - a friend: it gives the object its event
        unit.effect = handler.name
        unit.now = self._now()
        unit.context = Context.of(job.record, job.attempt)
        handler.function(process, self._load(job.record))
        return True

    def _restored(self, instance: str) -> ProcessManager | None:
        definition = self.definition
        if definition.stateless:
            made: ProcessManager = definition.cls(instance)
            made._unit.name = definition.name  # noqa: SLF001 - a friend
            return made
        last = self._store.last_transition(definition.name, instance)
        if last is None:
            return None
        return definition.restore(instance, last.version, last.state, last.state_version)

    def finish(self, job: _Job) -> None:
        """One is done, or durably parked; any thread may call this."""
        self._ended.append(job)
        self.wake()

    # In its turn

    def has_work(self) -> bool:
        """Whether effects ended, or more may run and there is room for them."""
        return bool(self._ended) or (
            not self._effects.is_closed
            and self._in_hand < self._effects.max_in_flight
            and self._position < self._effects.gate()
        )

    def work(self) -> None:
        """Note what is done, then take more."""
        has_acted = bool(self._ended)
        while self._ended:
            self._note_ended(self._ended.popleft().record.position)
        if not self._effects.is_closed:
            self._take_more()
        before = self.done
        self.done = next(iter(self._under_way)) - 1 if self._under_way else self._position
        # Other commits take the position along. But nobody else may commit for a long time, and
        # what was done in the world should not be done again for that.
        if (has_acted and self.done > before) or self.done >= self._asked_for + STRIDE:
            self._asked_for = self.done
            self._journal.nudge_checkpoints()

    def _note_ended(self, position: int) -> None:
        self._in_hand -= 1
        left = self._under_way[position] - 1
        if left:
            self._under_way[position] = left
        else:
            del self._under_way[position]

    def _take_more(self) -> None:
        room = min(
            PAGE,
            self._effects.max_in_flight - self._in_hand,
            self._effects.gate() - self._position,
        )
        if room <= 0:
            return
        jobs: list[_Job] = []
        for record in self._event_buffer.after(self._position, room):
            # The router has parked what cannot be read.
            if record.type != UNREADABLE and self.acts_after(record):
                jobs += self._jobs_of(record)
            self._position = record.position
        if jobs:
            self._effects.add(jobs)

    def _jobs_of(self, record: EventRecord) -> list[_Job]:
        try:
            jobs = [_Job(self, record, instance) for instance in self.instances_of(record)]
        except BaseException as error:
            job = _Job(self, record, "")
            logger.warning("%s was parked", self.describe(job), exc_info=error)
            self._note_taken(record, 1)
            self._journal.add(_Ended(self._effects, job, Step(park=self.parked(job, error))))
            return []
        if jobs:
            self._note_taken(record, len(jobs))
        return jobs

    def _note_taken(self, record: EventRecord, count: int) -> None:
        self._under_way[record.position] = count
        self._in_hand += count
