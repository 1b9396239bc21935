"""The running parts, put together: dispatcher, journal, command queue, routers, residency."""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING

from ..clock import SystemClock, stopwatch
from ..model.beginnings import BEGIN, beginnings
from ..model.code_ages import number_of_code
from ..model.plans import ProcessPlan, ProjectionPlan
from ..store import ClosedError, StoreError
from .aggregate_actor import AggregateActor, AggregateShare
from .ahead_reads import AheadReads
from .command_queue import CommandQueue
from .crossing import Sender
from .dispatcher import Dispatcher
from .effect_executor import EffectExecutor
from .effect_feed import EffectFeeds
from .event_buffer import EventBuffer
from .failure_log import FailureLog
from .health import HealthWatch
from .instance_actor import InstanceActor, InstanceShare
from .instance_watches import InstanceWatches
from .journal import Journal
from .lanes import Lanes
from .pending_replies import PendingReplies, ReplyFuture
from .projection_feeds import ProjectionFeeds
from .projection_rebuild import ProjectionProgress, ProjectionRebuild
from .pruning import Pruner
from .recovery import Recovery
from .residency import Residency
from .router import SENT, Router
from .services import Services
from .timers import TimerService

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from ..clock import Clock
    from ..model.registry import Registry
    from ..store import ErasureRecord, EventRecord, Store
    from .archive import Archive
    from .instance_actor import InstanceMessage
    from .lanes import Neighbour
    from .leader_watch import LeaderWatch
    from .pooled_actor import PooledActor
    from .scrubber import Scrubber

__all__ = ["GRACE", "Engine", "Options", "Parts"]

logger = logging.getLogger("procession")

LOOK = 0.1
"""Seconds between looks whether the disk refuses, while the engine is closed."""

GRACE = 1.0
"""Seconds that threads have to end when the closing thread waits for handlers no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much an engine may use.

    Attributes:
        workers: threads that may be in a handler at once; while these are blocked in handlers,
            up to sixteen times as many help out. With 1 there is only ever one
        max_awake: most instances and aggregates kept in memory; more are for as long as they
            have work
        idle_timeout: how long one stays in memory when nothing happens to it
        max_in_flight: most events that one process manager, and most queued commands that all
            aggregates together, have in hand at once; the rest wait on disk
        largest_commit: most steps in one transaction
        max_chain: the longest chain of events that make one another by commands
        effect_threads: most after-effects that run at once, besides those that are ``async def``
        effect_tasks: most of those that are ``async def`` that run at once
        after_effects: whether after-effects run at all
        id_retention: how long ids, and tombstones of what was pruned, stay; None for ever
        archive: takes what is pruned before it goes; None to keep it nowhere

    """

    workers: int = 4
    max_awake: int = 10_000
    idle_timeout: timedelta = timedelta(minutes=1)
    max_in_flight: int = 1_024
    largest_commit: int = 4_096
    max_chain: int = 1_000
    effect_threads: int = 4
    effect_tasks: int = 100
    after_effects: bool = True
    id_retention: timedelta | None = None
    archive: Archive | None = None

    def __post_init__(self) -> None:
        for name in (
            "workers",
            "max_awake",
            "max_in_flight",
            "largest_commit",
            "max_chain",
            "effect_threads",
            "effect_tasks",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r}; give a whole number from 1")
        idle: object = self.idle_timeout
        if not isinstance(idle, timedelta) or idle <= timedelta(0):
            raise ValueError(f"idle_timeout={self.idle_timeout!r}; give a timedelta above 0")
        kept: object = self.id_retention
        if kept is not None and (not isinstance(kept, timedelta) or kept < timedelta(0)):
            raise ValueError(
                f"id_retention={kept!r}; give a timedelta, or None to keep ids for ever"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a simulation, or tracing, puts in the place of the engine's own.

    Attributes:
        dispatcher: gives actors their turns
        instance_actor: makes the actor of an instance
        aggregate_actor: makes the actor of an aggregate
        journal: makes the writer
        timers: makes what brings timeouts
        effects: makes what runs after-effects
        has_threads: whether after-effects have threads, and the journal waits before it tries
            again what the disk refused

    """

    dispatcher: type[Dispatcher] = Dispatcher
    instance_actor: Callable[[InstanceShare, str], InstanceActor] = InstanceActor
    aggregate_actor: Callable[[AggregateShare, str], AggregateActor] = AggregateActor
    journal: Callable[..., Journal] = Journal
    timers: Callable[..., TimerService] = TimerService
    effects: Callable[..., EffectExecutor] = EffectExecutor
    has_threads: bool = True


class Engine:
    """Everything that runs while a runtime is open for writing.

    Args:
        store: durable state
        registry: all classes
        clock: where the time comes from
        options: how much it may use
        parts: what stands in the place of the engine's own
        scrubber: reads the store while the engine runs, if it is to be read
        neighbours: of a divided store, its other partitions by number
        watch: looks after the leaders of several engines; one of its own if it is not given

    Raises:
        BeginUndecided: a process manager is new to the store, and does not say where it begins

    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        options: Options,
        parts: Parts | None = None,
        scrubber: Scrubber | None = None,
        neighbours: Mapping[int, Neighbour] | None = None,
        watch: LeaderWatch | None = None,
    ) -> None:
        parts = parts or Parts()
        now = stopwatch(clock)
        # First, since there is nothing to close when it is refused.
        begun = beginnings(store, registry, now())
        self._begun = {f"{BEGIN}{name}": position for name, position in begun.items()}
        self._clock = clock
        self._is_attached = False
        self._passivating: deque[tuple[str, str, ReplyFuture[bool]]] = deque()
        self._stopped: BaseException | None = None
        self.is_closing = False
        self._is_hurried = False
        failures = FailureLog(now)
        self._sender = _sender_of(store, registry)
        self.dispatcher = parts.dispatcher(
            options.workers,
            on_idle=self._flush,
            on_error=self._report,
            has_more=self._has_more,
            watch=watch,
        )
        self.journal = parts.journal(
            store,
            self.dispatcher,
            largest_commit=options.largest_commit,
            waits=parts.has_threads,
            failures=failures,
            now=now,
            published=self._publish,
            checkpoints=self._checkpoints,
            durable=self._look_after_commit,
            start_over=self._start_over,
            sender=self._sender,
            partitions=1 + len(neighbours or ()),
        )
        self.residency = Residency(
            self.dispatcher, clock, max_awake=options.max_awake, idle_timeout=options.idle_timeout
        )
        reads = AheadReads(store, self.journal)
        most = options.max_in_flight
        self.services = services = Services(
            registry,
            store,
            self.dispatcher,
            self.journal,
            self.residency,
            EventBuffer(reads, max(most, options.largest_commit), store.last_position()),
            PendingReplies(),
            now,
            failures,
            InstanceWatches(),
        )
        self.command_queue = CommandQueue(
            services, reads, self.deliver, parts.aggregate_actor, max_in_flight=most
        )
        enqueue = self.command_queue.queued
        self.timers = parts.timers(
            services, reads, clock, self.deliver, self._has_routed, enqueue, max_in_flight=most
        )
        # A clock that tests move has attempts at times that can be known before.
        has_jitter = isinstance(clock, SystemClock)
        plans = [
            ProcessPlan(definition, registry, max_chain=options.max_chain, has_jitter=has_jitter)
            for definition in registry.processes.values()
        ]
        for plan in plans:
            plan.code = number_of_code(store, plan.definition)
            plan.begun_at = begun[plan.name]
            plan.partition = store.partition
            # Where a key may be forgotten, a change would stand on a state that became another.
            plan.stores_changes = store.codec is None or not plan.definition.state.personal
        self.routers = [
            Router(
                plan,
                services,
                reads,
                self.timers,
                enqueue,
                parts.instance_actor,
                clock,
                max_in_flight=most,
            )
            for plan in plans
        ]
        self.router_of = {router.plan.name: router for router in self.routers}
        self.recovery = Recovery(services, reads, self.deliver, max_in_flight=most)
        self.effects = parts.effects(
            services,
            clock,
            enqueue,
            threads=options.effect_threads if parts.has_threads else 0,
            tasks=options.effect_tasks,
        )
        self.effect_feeds = EffectFeeds(
            plans if options.after_effects else [],
            services,
            self.effects,
            self._gate,
            self.deliver,
            max_in_flight=most,
        )

        self.projections = ProjectionFeeds(
            [
                ProjectionPlan(definition, registry, has_jitter=has_jitter)
                for definition in registry.projections.values()
            ],
            services,
            self.timers,
            clock,
            has_threads=parts.has_threads,
            has_changed=self._look_at_health,
            renew=self._renew,
            is_divided=bool(neighbours),
        )
        self.pruner = Pruner(
            services,
            plans,
            clock,
            self._lowest_checkpoint,
            self._all_done_up_to,
            id_retention=options.id_retention,
            archive=options.archive,
        )
        self.lanes: Lanes | None = None
        if neighbours:
            self.lanes = Lanes(
                services,
                neighbours,
                self._publish,
                enqueue,
                self.deliver,
                self.command_queue.has_come,
            )
            self.command_queue.lanes = self.lanes
        self._scrubber = scrubber
        self.health = HealthWatch(
            services, self.routers, self.effect_feeds, self.projections, scrubber, self.lanes
        )
        self._forgets = False
        # What keeps copies elsewhere: called with what is erased, before that counts as done, and
        # again if it is cut off.
        self.when_erasing: list[Callable[[ErasureRecord], None]] = [self.projections.erase]
        self._counters = [self.command_queue.counts, *(router.counts for router in self.routers)]
        self._durable_counts = [counts.copy() for counts in self._counters]
        self.journal.done_up_to = self._checkpoints()
        self._standing: list[PooledActor] = [
            self.journal.intake,
            self.command_queue,
            self.timers,
            self.recovery,
            self.pruner,
            *self.routers,
            *([] if self.lanes is None else [self.lanes]),
        ]

    def deliver(self, process: str, instance: str, message: InstanceMessage) -> bool:
        """Give a message to an instance; any thread may call this, and nudges afterwards.

        Returns:
            whether a process manager of that name runs here, and has the instance here; or a
            projection, whose streams stand for instances

        """
        router = self.router_of.get(process)
        if router is None:
            return self.projections.take(process, instance, message)
        if not (self._sender is None or self._sender.is_here(process, instance)):
            return False
        router.send(instance, message)
        return True

    def done_up_to(self, process: str) -> int:
        """The position up to which a process manager's instances were given all that is theirs."""
        with self.journal.lock:
            return self.router_of[process].done_up_to

    def forget(self) -> None:
        """Have all that is in memory of the store read anew, once what was handed over is durable.

        What is decided meanwhile stands on what is forgotten, and is decided again.
        """
        with self.journal.lock:
            self._forgets = self.journal.has_notes = True
        self.dispatcher.nudge()

    def passivate(self, kind: str, name: str) -> ReplyFuture[bool]:
        """Drop an actor from memory once it has done all that it was sent.

        Args:
            kind: the process manager's name, or the aggregate's category
            name: the id within it

        Returns:
            a future of whether it was awake

        """
        reply: ReplyFuture[bool] = ReplyFuture.within(self.services.replies)
        # The leader looks, since it is the one who knows when the actor is done.
        self._passivating.append((kind, name, reply))
        self.dispatcher.nudge()
        return reply

    def _passivate_asked(self) -> bool:
        """Passivate what callers asked for and is done; returns whether there was any."""
        found = False
        # Callers add to it meanwhile.
        for _ in range(len(self._passivating)):
            kind, name, reply = self._passivating.popleft()
            was_dropped = self.residency.passivate(kind, name)
            if was_dropped is False:
                self._passivating.append((kind, name, reply))
            else:
                reply.set(was_dropped is True)
                found = True
        return found

    def start(self) -> None:
        """Take up where the last run stopped."""
        for actor in self._standing:
            actor.on_start()
        self.effect_feeds.start()
        self.dispatcher.start()
        self.projections.start()
        self.command_queue.wake()
        self.recovery.wake()
        for router in self.routers:
            router.wake()
        self.timers.wake()
        self.pruner.begin()
        if self.lanes is not None:
            self.lanes.wake()
        self._clock.attach(self.catch_up)
        self._is_attached = True
        if self._scrubber is not None:
            self._scrubber.start(self.health.look)

    def settle(self, timeout: float | None) -> bool:
        """Wait until nothing is undelivered and nothing in flight; False if time ran out.

        Raises:
            ClosedError: it was closed meanwhile
            StoreError: something stopped, since the store cannot be read

        """
        return self._settled(is_quiet=self.dispatcher.wait_quiet(timeout))

    async def settle_in_loop(self, timeout: float | None) -> bool:
        """As `settle`, in a coroutine."""
        loops = self.services.replies.loops
        return self._settled(is_quiet=await self.dispatcher.wait_quiet_in_loop(loops, timeout))

    def _settled(self, *, is_quiet: bool) -> bool:
        if self.is_closing:
            raise ClosedError(
                "the runtime was closed while settle() waited; what is undelivered is taken up "
                "when it is opened again"
            )
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            raise StoreError(
                f"not everything could be delivered: {stopped}. The log of the process says more"
            ) from stopped
        return is_quiet

    def catch_up(self, timeout: float) -> bool:
        """As `settle`, for the clock; a handler that moves the clock does not wait for itself."""
        if self.dispatcher.is_worker or self.effects.is_inside:
            return True
        return self.dispatcher.wait_quiet(timeout) or self.is_closing

    def close(self, timeout: float | None) -> None:
        """Finish what is in hand, write how far it got, and stop all threads.

        Whatever interrupts it, nothing is written and no caller waits when it is over.

        Args:
            timeout: most seconds to wait for handlers and after-effects that run, or None for
                as long as they take

        """
        left: float | None = 0.0
        try:
            self.take_no_more()
            left = self._drain(timeout)
        finally:
            self._end(left if left is None else max(left, GRACE), timeout)

    def hurry(self) -> None:
        """Have `close`, which is under way or comes, wait for no handler any more."""
        self._is_hurried = True

    def take_no_more(self) -> None:
        """Begin nothing any more; what was begun goes on, and `close` waits for it."""
        self.is_closing = True
        if self._is_attached:
            self._clock.detach(self.catch_up)
        self.residency.close()
        self.timers.close()
        self.pruner.close()
        self.effects.close()
        self.projections.close()
        self.command_queue.is_closed = self.recovery.is_closed = True
        for router in self.routers:
            router.close()
        if self.lanes is not None:
            self.lanes.close()
        self.journal.hurry()
        self.dispatcher.send_away()
        # A thread that was about to say that it has something to do may have been interrupted.
        self.dispatcher.nudge()

    def _drain(self, timeout: float | None) -> float | None:
        """Wait for what is in hand; returns how many of the seconds are left."""
        looks = math.inf if timeout is None else math.ceil(timeout / LOOK)
        while looks > 0 and not self.dispatcher.drain(LOOK):
            if self._is_hurried:
                return 0.0
            if self.journal.has_given_up:
                break
            looks -= 1
        return None if timeout is None else looks * LOOK

    def _end(self, patience: float | None, timeout: float | None) -> None:
        if self._scrubber is not None:
            self._scrubber.end()
        # It may have been interrupted before.
        self.effects.close()
        self.projections.close()
        late = self.dispatcher.stop(patience)
        late += self.effects.stop(GRACE if late else patience)
        late += self.projections.stop(GRACE if late else patience)
        if late:
            self.residency.abandon()
            self._tell_late(late, timeout)
        self.journal.abandon()
        self.services.replies.close()
        self.residency.let_go()
        for actor in self._standing:
            actor.on_stop()
        self.services.failures.close()
        if not (late or self.journal.has_given_up):
            self.journal.write_checkpoints()
        if self._scrubber is not None:
            self._scrubber.wait()

    def _tell_late(self, late: list[threading.Thread], timeout: float | None) -> None:
        for where in chain.from_iterable(self.effects.places(thread) for thread in late):
            logger.error(
                "closed without waiting any longer (timeout=%s) for %s. What that makes from here "
                "on is not kept; it is done again when the store is opened next",
                timeout,
                where,
            )

    def stats(self) -> dict[str, int]:
        """Counters since the start, and gauges."""
        counts = Counter(self.command_queue.counts)
        for router in self.routers:
            counts.update(dict(router.counts))
        counts.update(self.effects.counts)
        statuses = Counter[str]()
        for of, names, count in self.services.store.read_counts():
            if of == "instance":
                statuses[names[1]] += count
        return {
            "running": statuses["running"],
            "complete": statuses["complete"],
            "suspended": statuses["suspended"],
            "transitions": counts["transitions"],
            "skipped_early": counts["skipped_early"],
            "skipped_complete": counts["skipped_complete"],
            "skipped_unmatched": counts["skipped_unmatched"],
            "not_for_us": counts["not_for_us"],
            "not_in_streams": counts["not_in_streams"],
            "seen_again": counts["seen_again"],
            "parked": counts["parked"],
            "waiting": counts["waiting"],
            "held": counts["held"],
            "retries": counts["retries"],
            "skipped_error": counts["skipped_error"],
            "effects": counts["effects"],
            "effects_retried": counts["effects_retried"],
            "effects_parked": counts["effects_parked"],
            "projected": sum(feed.counts["projected"] for feed in self.projections),
            "projections_retried": sum(feed.counts["retries"] for feed in self.projections),
            "projections_parked": sum(feed.counts["parked"] for feed in self.projections),
            "commands": counts["commands"],
            "rejected": counts["rejected"],
            "passivated": self.residency.passivated,
            "commits": self.journal.counts.commits,
            "commit_microseconds": self.journal.counts.microseconds,
            "steps": self.journal.counts.steps,
            "events": self.services.event_buffer.last,
            "pruned_instances": self.pruner.pruned.instances,
            "pruned_events": self.pruner.pruned.events,
            "awake": len(self.residency),
            "in_flight": self.command_queue.in_flight + sum(one.in_flight for one in self.routers),
        }

    @property
    def wants_idle(self) -> bool:
        """Whether a worker with nothing else to do would find something."""
        return self.journal.has_work or self.effect_feeds.has_work() or self.command_queue.has_new

    def _has_more(self) -> bool:
        return self.wants_idle

    def _flush(self) -> bool:
        if (
            self.command_queue.has_new
            and not self.journal.is_nearly_due
            and self.command_queue.take_new()
        ):
            return True
        if self.services.replies.tell_together(self.journal.flush):
            self.health.look_after_commit()
            return True
        self.projections.look_after_alarm()
        # Looked at last, when it is known what is durable.
        return self.effect_feeds.look() or self._passivate_asked()

    def _has_routed(self, process: str, position: int) -> bool:
        router = self.router_of.get(process)
        return router is None or router.has_routed(position)

    # Called by the journal

    def _publish(self, events: list[EventRecord]) -> None:
        """Events were handed over, which the routers take from now on."""
        self.services.event_buffer.extend(events)
        for router in self.routers:
            if not router.scheduled and router.has_work():
                router.wake()

    def _look_after_commit(self) -> None:
        """All that was handed over is durable."""
        self._durable_counts = [counts.copy() for counts in self._counters]
        self.services.watches.committed()
        if self._forgets:
            self._forgets = False
            self.journal.generation += 1
            self._start_over()
        if not self.command_queue.scheduled and self.command_queue.has_work():
            self.command_queue.wake()
        self.timers.look_after_commit()
        self.pruner.look_after_commit()
        if self.lanes is not None:
            self.lanes.look_after_commit()
        if self.projections:
            self.projections.look_after_commit(self.services.store.last_position())
        self.effect_feeds.look()
        try:
            self.services.store.look_after(self.services.now())
        except StoreError as error:
            # The commit is on disk all the same; it is tried again with the next one.
            self.services.failures.tell_fault("the places of dead readers were not cleared", error)

    def _start_over(self) -> None:
        """A commit was not kept: go on from what is durable, as if the store was just opened."""
        for counts, durable in zip(self._counters, self._durable_counts, strict=True):
            counts.clear()
            counts.update(durable)
        self.services.event_buffer.start_over(self.services.store.last_position())
        done = self.journal.done_up_to
        # That may be behind what is durable, if the answer to a commit was lost. What was sent on
        # is not to be sent again.
        sent = self.services.store.ahead.counters.checkpoints
        for router in self.routers:
            name = router.plan.name
            router.start_over(done[name], sent.get(f"{SENT}{name}", 0))
        if self.lanes is not None:
            self.lanes.start_over()
        self.command_queue.start_over()
        self.timers.start_over()
        self.recovery.start_over()
        self.residency.start_over()
        for actor in self._standing:
            if actor.has_work():
                actor.wake()

    def _gate(self) -> int:
        """The position up to which every process manager is done, durably, and every projection.

        A projection that is late for longer than it may be does not count.
        """
        done = self.journal.done_up_to
        gate = min(done[router.plan.name] for router in self.routers)
        return self.projections.up_to(gate) if self.projections else gate

    def _lowest_checkpoint(self) -> int:
        """The position that all readers of the log are done with, durably.

        What comes to read it is to be added here, or events are pruned before it has seen them.
        """
        done = [self._all_done_up_to(one.plan.name) for one in self.routers]
        done += [feed.position for feed in self.projections]
        return min(done, default=self.services.store.last_position())

    def _all_done_up_to(self, process: str) -> int:
        """The position that a process manager's router and its after-effects are done with.

        As it is stored, which is what they would begin from after a crash.
        """
        names = [*self.router_of[process].checkpoints(), *self.effect_feeds.names_of(process)]
        return min(self.services.store.checkpoint(name) for name in names)

    def _checkpoints(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for router in self.routers:
            found |= router.checkpoints()
        found |= self.effect_feeds.checkpoints()
        if self.projections:
            found |= self.projections.checkpoints()
        # They stay as they are, and are written with the first commit: nothing that comes later is
        # history then.
        found |= self._begun
        return found

    def _renew(self, projection: str) -> None:
        """Make the tables of a projection anew, which another version of its class made."""

        def go_on(progress: ProjectionProgress) -> None:
            del progress
            if self.is_closing:
                raise ClosedError("the runtime was closed; the tables are made on from there")

        feed = self.projections.feed_of(projection)
        assert feed is not None
        ProjectionRebuild([feed], None, go_on).run()

    def _look_at_health(self) -> None:
        """Something has changed that an operator is to hear of."""
        with suppress(ClosedError):
            self.health.look()

    def _report(self, actor: PooledActor, error: BaseException) -> None:
        if not isinstance(error, ClosedError):
            self._stopped = error
            actor.on_failure(type(error), error, error.__traceback__)
            self.services.failures.tell_fault(f"{actor} stopped in the middle of its turn", error)


def _sender_of(store: Store, registry: Registry) -> Sender | None:
    """What sends to other partitions, if the store is divided."""
    if store.partition is None:
        return None
    stateless = [one.name for one in registry.processes.values() if one.stateless]
    # A stream is where its events are.
    stateless += [one.name for one in registry.projections.values()]
    # Of what was handed over as well; the journal calls it with its lock held.
    return Sender(store.partition, stateless, store.ahead.event_at)
