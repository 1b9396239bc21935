"""Which after-effects are due: a feed for each process manager reads the log behind the routers.

Threads run them, for each instance in order. How far all effects are done is stored as a router's
position is, so a crash makes those behind it run again: at least once, never before the commit.

Where the event is set aside for an instance, the feed goes past it: the step in which the instance
is done with it writes that its effect is owed, and the feed looks for what is owed. So does the
step of an event that found its instance by a learnt key, which others may have when the feed comes.
"""

from __future__ import annotations

import inspect
from collections import deque
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..authoring.cause import Cause
from ..authoring.context import Context
from ..authoring.decorators import is_async
from ..authoring.process_manager import EFFECT_IS_OVER, seal
from ..core.effects import effect_step, version_for
from ..core.failures import parked_effect
from ..core.ports import UNREADABLE
from ..core.stimuli import Reload
from ..errors import Erased, UnknownMessage
from ..store import DatabaseRefused, Step, StoreError
from ..store.interrupts import Latch
from .ahead_reads import AheadReads, event_at
from .crossing import Crossing
from .effect_executor import EffectExecutor, EffectJob
from .failure_log import Failure
from .instance_actor import InstanceMessage
from .journal import PendingWrite
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from datetime import timedelta
    from typing import TypeAlias

    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from ..model.plans import ProcessPlan
    from ..store import EventRecord, Outcome, ParkedRecord, Store, TransitionRecord
    from .instance_actor import Deliver
    from .services import Services

    Verdict: TypeAlias = tuple[str, int, str | None]

__all__ = ["EffectFeed", "EffectFeeds", "processes_with_effects"]

AWAY = 0.1
"""Seconds between two looks whether a database answers again."""

PAGE = 256

STRIDE = 10_000
"""Events without effects that may pass before the position is written for their sake."""


SINCE = "since:"
"""What stands before the name of the checkpoint which says that there ever were effects."""


def processes_with_effects(store: Store) -> Iterator[str]:
    """The names of the process managers that had after-effects in a store."""
    for name, _ in store.scan_checkpoints():
        if name.startswith(SINCE):
            yield name.removeprefix(SINCE)


class _SetAside(NamedTuple):
    """What is set aside of some events, and where their effects are owed."""

    instances: dict[int, list[str] | BaseException]
    """Of each that no instance says it is done with, by position: those it is for, or an error."""
    acted: set[tuple[int, str]]
    """Positions and instances in which the effect has sent commands on their way."""
    aside: set[tuple[str, int]]
    """Instances and positions that are set aside there; no instance where none could be found."""
    owed: dict[int, dict[str, int]]
    """By position, the instances in which the effect is owed, with their versions."""


class EffectFeed(PooledActor):
    """Reads the log behind the routers, and says which effects of one process manager are due.

    It stands to its effects as a router does to its instances: `done` is the position up to which
    all are, and is what is stored.
    """

    is_part = True

    def __init__(
        self,
        plan: ProcessPlan,
        services: Services,
        executor: EffectExecutor,
        gate: Callable[[], int],
        deliver: Deliver,
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(services.dispatcher)
        self._plan = plan
        self.definition = plan.definition
        self._reads = AheadReads(services.store, services.journal)
        self._subscription = plan.after_effects
        self._services = services
        self._store = services.store
        self._events = services.event_buffer
        self._executor = executor
        self._gate = gate
        self._deliver = deliver
        self._max_in_flight = max_in_flight
        self._ended: deque[EffectJob] = deque()
        # Positions under way, in order, and how many effects each still has in hand.
        self._under_way: dict[int, int] = {}
        self._in_hand = 0
        # What is owed and in hand, by position and instance. Its row stands until it is done, so
        # that `done_up_to` need not wait for it.
        self._owed: set[tuple[int, str]] = set()
        # What the store said when all was last looked at that is owed.
        self._owed_so_far = 0
        partition = services.store.partition
        self._crossing = None if partition is None else Crossing(plan, partition)
        self.name = f"after:{plan.name}"
        self._since_name = f"{SINCE}{plan.name}"
        self._since = self._store.checkpoint(self._since_name)
        if self._since:
            self.done_up_to = self._store.checkpoint(self.name)
        else:
            # It has not had effects before. They are for what is handled from now on: no
            # customer wants letters about years of old orders because a letter was added today.
            self.done_up_to = max(self._store.checkpoint(plan.name), plan.begun_at)
            self._since = self.done_up_to + 1
        self._position = self._asked_for = self.done_up_to
        # Up to here a run before this one may have acted.
        self._stored_before = self._events.last

    def checkpoints(self) -> dict[str, int]:
        """How far it got, and from where it began; the latter also says that it ever did."""
        return {self.name: self.done_up_to, self._since_name: self._since}

    def pass_over(self, position: int) -> None:
        """Have no effect run of events up to a position, which were imported."""
        self.done_up_to = self._position = self._asked_for = max(self._position, position)

    @property
    def backlog(self) -> int:
        """Events that every process manager is done with and the effects are not."""
        return max(0, self._gate() - self.done_up_to)

    def retry(self, record: ParkedRecord, event: EventRecord, verdict: Verdict) -> None:
        """Have an effect that was parked run again; as `EffectFeeds.retry`."""
        instances = [record.instance]
        if not record.instance:
            now, later = self._effects_of(event)
            for job in later:
                self._let_wait(job, is_counted=False)
            # What is owed runs by itself.
            instances = [job.instance for job in now if job.owed is None]
        self._executor.rerun(self, event, instances, record, verdict)

    def acts_after(self, record: EventRecord) -> bool:
        """Whether there is an effect for an event."""
        return self._subscription.listens_to(record) and record.sent_for in {"", self._plan.name}

    def failure(self, job: EffectJob, error: BaseException, due: int | None) -> Failure:
        """For the log; it is tried again at that time, or parked."""
        return Failure(
            error=error,
            handler=self._handler_of(job.record).name,
            event=job.record.event_id,
            process=self.definition.name,
            instance=job.instance,
            attempt=job.attempt,
            outcome="parked" if due is None else "retried",
            next_try=due,
        )

    def wait(self, job: EffectJob) -> timedelta | None:
        """How long until another attempt; None if there is none."""
        retry = self.definition.retry
        if retry is None:
            return None
        cause = f"{self._handler_of(job.record).name}:{job.record.event_id}"
        return self._plan.wait(retry, job.instance, cause, job.attempt)

    def parked(self, job: EffectJob, error: BaseException) -> ParkedRecord:
        """What is set aside."""
        method = self._handler_of(job.record).name
        return parked_effect(
            error,
            self.definition.name,
            job.instance,
            job.record,
            method,
            job.attempt,
            self._services.now(),
        )

    def _instances_of(self, record: EventRecord) -> list[str]:
        named = self._subscription.instances_of(record, self._store.read_index)
        crossing = self._crossing
        return named if crossing is None else crossing.those_here(named)

    def _handler_of(self, record: EventRecord) -> Handler:
        handler = self._subscription.handler_of(record)
        assert handler is not None
        return handler

    # On the effects' threads

    def run(self, job: EffectJob) -> bool:
        """Carry one out; False if the instance does not exist."""
        if self.is_async(job):
            # Of a simulation, or where no more threads can be started.
            from .effect_loop import run_to_end  # noqa: PLC0415 - it imports asyncio

            return run_to_end(self.run_in_loop(job))
        is_there = False
        with closing(self._run(job)) as calls:
            for call in calls:
                is_there = True
                call()
        return is_there

    async def run_in_loop(self, job: EffectJob) -> bool:
        """As `run`, of a method that is ``async def``."""
        is_there = False
        with closing(self._run(job)) as calls:
            for call in calls:
                is_there = True
                done = call()
                # A decorator may have awaited it.
                if inspect.isawaitable(done):
                    await done
        return is_there

    def is_async(self, job: EffectJob) -> bool:
        """Whether the method is ``async def``."""
        handler = self._subscription.handler_of(job.record)
        return handler is not None and is_async(handler.function)

    def method_of(self, job: EffectJob) -> str:
        """The name of its method; empty if that was removed since."""
        handler = self._subscription.handler_of(job.record)
        return "" if handler is None else handler.name

    def _run(self, job: EffectJob) -> Generator[Callable[[], object], None, bool]:
        """Carry one out; False if the instance does not exist.

        Yields:
            what calls the method, and is to be called

        """
        record, plan, reads = job.record, self._plan, self._reads
        job.step = None
        if not self.acts_after(record):
            # It is owed, and its method was removed since.
            return False
        handler = self._handler_of(record)
        last = self._store.last_transition(plan.name, job.instance)
        if last is None and not self.definition.stateless:
            return False
        version = 0
        if last is not None:
            version = version_for(plan, job.instance, record, last, job.owed, reads)
        try:
            process, event = self._restored(job.instance, last), self._subscription.load(record)
        except Erased:
            # Nothing is there any more that it could act upon.
            return False
        unit = process._unit  # noqa: SLF001 - a friend: it gives the object its event
        unit.effect, unit.cause = handler.name, Cause.of_event(record)
        unit.now = now = self._services.now()
        context = Context.of(record, now, job.attempt)
        # The same at each attempt, so that what is outside can tell that it is one.
        unit.context = context.at(unit.name, job.instance, handler.name, record.position)
        seal(process)
        try:
            yield partial(handler.function, process, event)
        finally:
            seal(process, EFFECT_IS_OVER)
        job.step = effect_step(plan, process, handler, record, version, reads)
        return True

    def _restored(self, instance: str, last: TransitionRecord | None) -> ProcessManager:
        definition = self.definition
        if definition.stateless or last is None:
            made: ProcessManager = definition.cls(instance)
            made._unit.name = definition.name  # noqa: SLF001 - a friend
            return made
        return definition.restore(instance, last.version, last.state, last.state_version)

    def undone(self, event: EventRecord, instances: list[str]) -> list[str]:
        """Those instances whose effect after an event has sent no commands on their way."""
        position = event.position
        acted = self._store.acted_in(self._plan.name, [(position, one) for one in instances])
        return [one for one in instances if (position, one) not in acted]

    def finish(self, job: EffectJob) -> None:
        """One is done, or durably parked; any thread may call this."""
        self._ended.append(job)
        self.wake()

    # In its turn

    def has_work(self) -> bool:
        """Whether effects ended, or more may run and there is room for them."""
        return bool(self._ended) or (
            not self._executor.is_closed
            and self._in_hand < self._max_in_flight
            and (self._position < self._gate() or self._may_owe())
        )

    def work(self) -> None:
        """Note what is done, then take more."""
        has_acted = bool(self._ended)
        while self._ended:
            self._note_ended(self._ended.popleft())
        if not self._executor.is_closed:
            # Looked at first, so that all is seen that was owed when the events up to it were
            # handled: the effects of an instance are in order.
            gate = self._gate()
            if self._take_owed():
                self._take_more(gate)
        before = self.done_up_to
        self.done_up_to = next(iter(self._under_way)) - 1 if self._under_way else self._position
        # Other commits take the position along. But no other commit may come for a long time, and
        # what was done in the world should not be done again for that.
        if (has_acted and self.done_up_to > before) or self.done_up_to >= self._asked_for + STRIDE:
            self._asked_for = self.done_up_to
            self._services.journal.nudge_checkpoints()

    def _note_ended(self, job: EffectJob) -> None:
        position = job.record.position
        self._in_hand -= 1
        if job.owed is not None:
            self._owed.discard((position, job.instance))
            return
        left = self._under_way[position] - 1
        if left:
            self._under_way[position] = left
        else:
            del self._under_way[position]

    def _may_owe(self) -> bool:
        """Whether something may be owed that was not looked at."""
        return self._owed_so_far != self._store.owed_so_far()

    def _take_owed(self) -> bool:
        """Have effects run that are owed; false if there may be more than there is room for."""
        if not self._may_owe():
            return True
        store, so_far = self._store, self._store.owed_so_far()
        room, is_whole = min(PAGE, self._max_in_flight - self._in_hand), True
        jobs: list[EffectJob] = []
        for position, instance, version in store.scan_owed(self._plan.name):
            if position > self._position:
                # It is taken when the feed comes there, since others may not be done with it.
                break
            if (position, instance) in self._owed:
                continue
            record = event_at(store, position)
            if record.type == UNREADABLE:
                # It was read when it was handled; `verify` tells of the damage.
                continue
            if len(jobs) >= room:
                is_whole = False
                break
            jobs.append(EffectJob(self, record, instance, owed=version))
        if is_whole:
            self._owed_so_far = so_far
        if jobs:
            self._note_owed(jobs)
            self._executor.add(jobs)
        return is_whole

    def _take_more(self, gate: int) -> None:
        room = min(PAGE, self._max_in_flight - self._in_hand, gate - self._position)
        if room <= 0:
            return
        records = self._events.after(self._position, room)
        # The router has parked what cannot be read.
        acted = [one for one in records if one.type != UNREADABLE and self.acts_after(one)]
        found = self._gathered(acted)
        jobs = [job for one in acted for job in self._jobs_of(one, found)]
        if records:
            self._position = records[-1].position
        if jobs:
            self._executor.add(jobs)

    def _gathered(self, records: list[EventRecord]) -> _SetAside | None:
        """What is set aside of a page of events; None if each is to look by itself."""
        try:
            return self._set_aside_of(records) if self._store.may_set_aside() else None
        except StoreError:
            # The one that it is about is told of it, or waits until the database is there.
            return None

    def _jobs_of(self, record: EventRecord, found: _SetAside | None) -> list[EffectJob]:
        try:
            jobs, later = self._effects_found(record, found)
        except Erased:
            return []
        except BaseException as error:  # noqa: BLE001 - a person must see it, whatever it is
            job = EffectJob(self, record, "")
            self._services.failures.tell(self.failure(job, error, None))
            self._note_taken(record, 1)
            # What is owed there is not taken here.
            self._owed_so_far = 0
            self._executor.write(job, Step(park=self.parked(job, error)))
            return []
        owed = [job for job in jobs if job.owed is not None]
        self._note_owed(owed)
        counted = len(jobs) - len(owed) + len(later)
        if counted:
            self._note_taken(record, counted)
        for job in later:
            self._let_wait(job, is_counted=True)
        return jobs

    def _effects_found(
        self, record: EventRecord, found: _SetAside | None
    ) -> tuple[list[EffectJob], list[EffectJob]]:
        """As `_effects_of`; it waits while a database is away, which makes no event unreadable."""
        while True:
            try:
                return self._effects_of(record, found)
            except DatabaseRefused:
                if self._executor.is_closed:
                    raise
            Latch().wait(AWAY)

    def _effects_of(
        self, record: EventRecord, found: _SetAside | None = None
    ) -> tuple[list[EffectJob], list[EffectJob]]:
        """The effects of an event in the instances for which it is not set aside.

        Args:
            record: the event
            found: what is set aside of events, this one among them, where that was looked up

        Returns:
            those that are to run now, and those of an event that is not handled, in instances that
            are to handle others before it

        Raises:
            Exception: it cannot be read or correlated

        """
        store, name, position = self._store, self._plan.name, record.position
        if not store.may_set_aside():
            if self._is_told(record):
                return [], []
            instances = self._instances_of(record)
            if position <= self._stored_before:
                # A run before this one may have been cut off before it wrote how far it got.
                instances = self.undone(record, instances)
            return [EffectJob(self, record, instance) for instance in instances], []
        if found is None:
            found = self._set_aside_of([record])
        owed = found.owed.get(position, {})
        if self._is_told(record):
            return [EffectJob(self, record, one, owed=owed[one]) for one in owed], []
        if ("", position) in found.aside:
            # The router could not find its instances.
            return [], []
        named = found.instances[position]
        if isinstance(named, BaseException):
            raise named
        is_handled = self._plan.subscription.listens_to(record)
        now: list[EffectJob] = []
        later: list[EffectJob] = []
        for instance in dict.fromkeys([*named, *owed]):
            if (instance, position) in found.aside:
                continue
            if instance not in owed and (position, instance) in found.acted:
                continue
            job = EffectJob(self, record, instance, owed=owed.get(instance))
            waits = job.owed is None and not is_handled and store.waits(name, instance)
            (later if waits else now).append(job)
        return now, later

    def _is_told(self, record: EventRecord) -> bool:
        """Whether each instance that was done with an event has said so, by what is owed.

        Of the others none is concerned.
        """
        return record.sent_to is not None or (
            self._plan.subscription.listens_to(record)
            and self._subscription.finds_by_learnt_key(record)
        )

    def _set_aside_of(self, records: list[EventRecord]) -> _SetAside:
        """What is set aside of events, in as many looks for many as for one."""
        store, name = self._store, self._plan.name
        instances: dict[int, list[str] | BaseException] = {}
        for record in records:
            if not self._is_told(record):
                try:
                    instances[record.position] = self._instances_of(record)
                except DatabaseRefused:
                    raise
                except BaseException as error:  # noqa: BLE001 - raised again in its turn
                    instances[record.position] = error
        named = [
            (position, one)
            for position, found in instances.items()
            if not isinstance(found, BaseException)
            for one in found
        ]
        acted = store.acted_in(name, named)
        # No commit closes in between.
        with self._services.journal.lock:
            owed: dict[int, dict[str, int]] = {}
            if records:
                owed = store.owed_between(name, records[0].position, records[-1].position)
            concerned = [
                *((one, position) for position, one in named),
                *((one, position) for position, those in owed.items() for one in those),
                *(("", position) for position in instances),
            ]
            return _SetAside(instances, acted, store.all_set_aside(name, concerned), owed)

    def _let_wait(self, job: EffectJob, *, is_counted: bool) -> None:
        """Have an event wait in its instance, whose next steps its effect is not to overtake."""
        name, instance = job.line

        def look(outcome: Outcome) -> None:
            del outcome
            # It may have gone on meanwhile.
            if self._deliver(name, instance, InstanceMessage(Reload())):
                self._services.dispatcher.nudge()
            if is_counted:
                self.finish(job)

        step = Step(process=name, instance=instance, wait=job.record.position)
        self._services.journal.add(PendingWrite(step, look))

    def _note_taken(self, record: EventRecord, count: int) -> None:
        self._under_way[record.position] = count
        self._in_hand += count

    def _note_owed(self, jobs: list[EffectJob]) -> None:
        self._owed.update((job.record.position, job.instance) for job in jobs)
        self._in_hand += len(jobs)


class EffectFeeds:
    """Those of all process managers that act after events.

    Args:
        plans: of all process managers
        services: of the engine
        executor: runs the effects
        gate: tells the position up to which every process manager is done
        deliver: gives an instance a message
        max_in_flight: most effects of one process manager in memory; the rest wait in the log

    """

    def __init__(
        self,
        plans: Iterable[ProcessPlan],
        services: Services,
        executor: EffectExecutor,
        gate: Callable[[], int],
        deliver: Deliver,
        *,
        max_in_flight: int,
    ) -> None:
        self._store = services.store
        self._executor = executor
        self._feeds = {
            plan.name: EffectFeed(
                plan, services, executor, gate, deliver, max_in_flight=max_in_flight
            )
            for plan in plans
            if plan.definition.effects
        }

    def start(self) -> None:
        """Take up where the last run stopped; before anything else runs."""
        if self._feeds:
            self._executor.start()
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

    def checkpoints(self) -> dict[str, int]:
        """What is to be written along with the routers' positions."""
        found: dict[str, int] = {}
        for feed in self._feeds.values():
            found |= feed.checkpoints()
        return found

    def pass_over(self, position: int) -> None:
        """Have no effect run of events up to a position, which were imported."""
        for feed in self._feeds.values():
            feed.pass_over(position)

    def names_of(self, process: str) -> list[str]:
        """The names of the checkpoints up to which the effects of a process manager are done."""
        feed = self._feeds.get(process)
        return [] if feed is None else [feed.name]

    def backlog(self) -> dict[str, int]:
        """Events that the effects are not done with, by process manager; any thread may look."""
        return {name: feed.backlog for name, feed in self._feeds.items()}

    def retry(self, record: ParkedRecord, verdict: Verdict) -> None:
        """Run an effect that was parked again; it is parked again if it fails.

        It returns before the effect has run.

        Args:
            record: what was parked
            verdict: what an operator decided, recorded when the effect has come to an end

        Raises:
            UnknownMessage: no process manager here has an effect for that event
            Exception: what the process manager's `correlate` raised, if it was parked for that

        """
        feed = self._feeds.get(record.process)
        event = self._store.event_at(record.position)
        if feed is None or event is None or not feed.acts_after(event):
            raise UnknownMessage(
                f"{record.process} has no @after method for event {record.cause} in this runtime, "
                f"where {record.effect!r} was parked; register one, or skip this"
            )
        feed.retry(record, event, verdict)
