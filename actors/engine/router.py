"""The router of one process manager: which instances an event is for, in order of position."""

from __future__ import annotations

from collections import defaultdict, deque
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from ..clock import from_micros
from ..core.failures import parked_event
from ..core.ports import UNREADABLE
from ..core.stimuli import EventDelivered
from ..errors import EarlyEvent, Erased
from ..messages.identifiers import is_plain_id
from ..store import (
    COMMITTED,
    EventRecord,
    SentRecord,
    Step,
    StepExtras,
    StoreError,
    UnmatchedRecord,
)
from .crossing import Crossing
from .failure_log import Failure
from .instance_actor import InstanceActor, InstanceMessage, InstanceShare
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from ..clock import Clock
    from ..core.decision import Decision
    from ..messages.types import Event
    from ..model.plans import ProcessPlan
    from ..model.subscriptions import LearntKey, Shortcut
    from ..store import CommandRecord
    from .ahead_reads import AheadReads
    from .residency import Sending
    from .services import Services
    from .timers import TimerService

    _Delivery: TypeAlias = tuple[str, EventDelivered]

__all__ = ["SENT", "Router"]

PAGE = 256
"""Most events and deliveries of one turn, so that the others have theirs."""

NOTHING, ROOM, TEACHERS, ALL = "nothing", "room", "teachers", "all"
"""What a router waits for before it takes more."""

MOST_HELD = 10_000
"""Events that a process manager holds for who learns their keys; more are skipped."""

NEVER = (1 << 63) - 1

SENT = "sent:"
"""What stands before the name of the checkpoint up to which all was sent to other partitions."""

STRIDE = 10_000
"""Events that may pass a router by before it has its checkpoint written for their sake."""


class Router(PooledActor):
    """Pulls events from the log and hands them to instance actors, never waiting for one.

    Its inbox is the log: it takes as many events as may be under way and leaves the rest there. An
    event reaches the inboxes of its instances after every event before it. Events are handled in
    any order; `done_up_to` is the position up to which all are, and is what is stored.

    Args:
        plan: of the process manager
        services: of the engine
        reads: the log with all that was handed over
        timers: brings timeouts to the instances
        enqueue: takes the commands that instances issue
        make_actor: of an instance
        clock: rings when events were held for long enough
        max_in_flight: most deliveries that are under way at once

    """

    is_part = True

    def __init__(
        self,
        plan: ProcessPlan,
        services: Services,
        reads: AheadReads,
        timers: TimerService,
        enqueue: Callable[[list[CommandRecord]], None],
        make_actor: Callable[[InstanceShare, str], InstanceActor],
        clock: Clock,
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(services.dispatcher)
        self.plan = plan
        self.counts: dict[str, int] = defaultdict(int)
        self._services = services
        self._journal = services.journal
        partition = services.store.partition
        self._crossing = None if partition is None else Crossing(plan, partition)
        self._reads = reads
        self._timers = timers
        self._events = services.event_buffer
        self._max_in_flight = max_in_flight
        share = InstanceShare(services, plan, reads, timers, enqueue, self.counts)
        self.wake_instance: Callable[[str], InstanceActor] = partial(make_actor, share)
        definition = plan.definition
        self._learns = any(one.learnt for one in definition.correlations.values())
        # Counted only where some are left out, so that others pay nothing.
        self._is_restricted = plan.subscription.is_restricted
        self._shortcuts = _Shortcuts(plan, is_off=self._learns)
        self._alarm = clock.alarm(_Bell(self))
        self.is_closed = False
        store = services.store
        sent_up_to = store.checkpoint(f"{SENT}{plan.name}")
        self.start_over(max(store.checkpoint(plan.name), plan.begun_at), sent_up_to)

    def start_over(self, position: int, sent_up_to: int) -> None:
        """Forget what is under way, and go on behind a position.

        Called with the journal's lock held, if anything runs.

        Args:
            position: up to which all is done
            sent_up_to: up to which all was sent on that is for other partitions

        """
        self._position = position
        if self._crossing is not None:
            self._crossing.sent_up_to = sent_up_to
        # Positions under way, in order, and in how many instances each is still to be handled.
        self._under_way: dict[int, int] = {}
        # Positions under way whose handlers may teach an instance a key.
        self._teaching: set[int] = set()
        self._in_hand = 0
        # What is left of an event for more instances than there was room for.
        self._rest: deque[Sending] = deque()
        # What was read of the log and not taken yet, in order.
        self._read: deque[EventRecord] = deque()
        # Whether it takes nothing until there is room, until no event under way may teach an
        # instance a key, or until none is under way.
        self._waits_for = NOTHING
        self._asked_for = position
        # The position that what is due waits for, or 0.
        self._awaited = 0
        # The end of the log when the time of what is held was up: an event that was stored before
        # may teach its key, and is handled first. None while nothing is to be let go.
        self._lets_go_at: int | None = self._events.last if self._learns else None
        self._rings_at = NEVER

    @property
    def done_up_to(self) -> int:
        """The position up to which everything was handed over; exact with the journal's lock."""
        for position in self._under_way:
            return position - 1
        return self._position

    def checkpoints(self) -> dict[str, int]:
        """How far it is; exact with the journal's lock."""
        name, crossing = self.plan.name, self._crossing
        if crossing is None:
            return {name: self.done_up_to}
        return {name: self.done_up_to, f"{SENT}{name}": crossing.sent_up_to}

    @property
    def backlog(self) -> int:
        """Events that are not handed over to all whom they are for; any thread may look."""
        return max(0, self._events.last - self.oldest + 1)

    @property
    def oldest(self) -> int:
        """The position of the first of them, which may be yet to come; any thread may look."""
        # In one step, since the router goes on meanwhile.
        under_way = list(self._under_way)
        return under_way[0] if under_way else self._position + 1

    @property
    def routed_up_to(self) -> int:
        """The position up to which everything is in the inboxes of the instances that it is for."""
        # What is left of an event is of the newest that was taken.
        return self._position - bool(self._rest)

    def has_routed(self, position: int) -> bool:
        """Whether all up to a position is routed; when not, the timers hear once it is."""
        if self.routed_up_to >= position:
            return True
        self._awaited = self._awaited or position
        # It may have come there before it could see that it is waited for.
        return self.routed_up_to >= position

    def has_work(self) -> bool:
        """Whether there are new events and room for them."""
        return (
            (self._position < self._events.last or bool(self._rest))
            and self._waits_for is NOTHING
            and not self.is_closed
        ) or (
            self._lets_go_at is not None
            and not self._under_way
            and self._position >= self._lets_go_at
            and not self.is_closed
        )

    def work(self) -> None:
        """Take what there is room for, and send it to the instances that it is for."""
        if self.is_closed or self._journal.commits_first():
            return
        if self._lets_go_at is not None:
            self._let_go()
        generation = self._journal.generation
        room = min(PAGE, self._max_in_flight - self._in_hand)
        if room <= 0:
            with self._journal.lock:
                self._wait_for(ROOM)
            return
        taken = self._take_rest(room) if self._rest else self._take_events(room)
        messages = taken.messages
        residency = self._services.residency
        asleep = residency.asleep([one[0] for one in messages])
        if asleep:
            self._reads.gather_instances(asleep)
        with self._journal.lock:
            if generation != self._journal.generation:
                self._read.clear()
                return
            if taken.held and not self._hold(taken.held):
                self._read.clear()
                return
            for record, error in taken.unreadable:
                self._set_aside(record, error)
            self._under_way.update(taken.under_way)
            self._teaching.update(taken.teaching)
            self._in_hand += len(messages)
            self._rest.extend(taken.rest)
            self._position = taken.position
            self._journal.has_notes = True
            if self._crossing is not None:
                self._send_on(self._crossing, taken)
            residency.send(messages)
            self._wait_for(taken.waits_for)
        if self._awaited and self.routed_up_to >= self._awaited:
            self._awaited = 0
            self._timers.ring()
        if taken.held:
            self._ring_at(taken.held[0].until)
        if self._position >= self._asked_for + STRIDE:
            # No other commit may come for a long time, and these need not be looked at again.
            self._asked_for = self._position
            self._journal.nudge_checkpoints()

    def _send_on(self, crossing: Crossing, taken: _Taken) -> None:
        """Have what is for other partitions sent, in the commit that says so."""
        if taken.away:
            self._journal.lay(Step(process=self.plan.name, send=taken.away))
        crossing.sent_up_to = max(crossing.sent_up_to, taken.position)

    def _wait_for(self, what: str) -> None:
        """Take nothing until that is so, unless it is so by now; with the journal's lock."""
        self._waits_for = NOTHING if self._is_so(what) else what

    def _is_so(self, what: str) -> bool:
        if what is ROOM:
            # Not for one at a time.
            return self._in_hand <= self._max_in_flight // 2
        return not (self._teaching if what is TEACHERS else self._under_way)

    @property
    def in_flight(self) -> int:
        """Deliveries that are under way."""
        return self._in_hand

    def send(self, instance: str, message: InstanceMessage) -> None:
        """Give a message to an instance; any thread may call this, and nudges afterwards."""
        residency = self._services.residency
        residency.send([((self.plan.name, instance), self.wake_instance, message)])

    def find_again(self, record: EventRecord) -> list[str]:
        """The instances that an event is for by now, which was parked as one for none.

        Raises:
            EarlyEvent: it names a learnt key that no instance has yet
            Exception: it cannot be read or correlated

        """
        found = self._find(record)
        if found.missing is not None and not found.named:
            raise self._early(record, found.missing, "retry it when one has learnt it, or skip it")
        return found.named

    def _find(self, record: EventRecord) -> _Found:
        """What an event is to be delivered as, with the instances that it is for.

        Raises:
            Exception: it cannot be read or correlated

        """
        subscription, read_index = self.plan.subscription, self._reads.read_index
        if record.sent_to is not None:
            return self._found_elsewhere(record, record.sent_to)
        event = subscription.load(record)
        named, learnt = subscription.route(record, event, read_index)
        here, away, crossing = named, list[SentRecord](), self._crossing
        if crossing is not None:
            here, away = crossing.split(record, named, learnt)
            learnt = crossing.values_here(learnt)
        missing: LearntKey | None = None
        if learnt is not None and (len(learnt[1]) > 1 or not named):
            field, values = learnt
            unknown = values
            if named:
                unknown = [one for one in values if not read_index(self.plan.name, field, one)]
            missing = (field, unknown) if unknown else None
        if len(here) == 1:
            deliveries = [(here[0], EventDelivered(record, event, learnt))]
        else:
            # One instance may change what is inside its copy; the others have their own.
            is_shared = event is not record.message
            deliveries = [
                (instance, EventDelivered(record, event, learnt, is_shared=is_shared))
                for instance in here
            ]
        return _Found(named, deliveries, missing, away)

    def _found_elsewhere(self, record: EventRecord, instances: list[str]) -> _Found:
        """A copy for instances that another partition has found: they take it in its turn."""
        subscription, learnt = self.plan.subscription, None
        event = None
        if subscription.handler_of(record) is not None:
            event = subscription.load(record)
            learnt = subscription.learnt_of(event)
        is_shared = event is not None and len(instances) > 1
        deliveries = [
            (instance, EventDelivered(record, event, learnt, is_shared=is_shared))
            for instance in instances
        ]
        return _Found(instances, deliveries, None, [])

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """What an instance made of an event was handed over; with the journal's lock."""
        del decision
        stimulus = message.stimulus
        assert type(stimulus) is EventDelivered
        position = stimulus.record.position
        under_way = self._under_way
        left = under_way[position] - 1
        if left:
            under_way[position] = left
        else:
            del under_way[position]
            self._teaching.discard(position)
        self._in_hand -= 1
        if self._waits_for is not NOTHING and self._is_so(self._waits_for):
            self._waits_for = NOTHING
            self.wake()
        if self._lets_go_at is not None and self.done_up_to >= self._lets_go_at:
            self.wake()

    # In its turn

    def _take_rest(self, room: int) -> _Taken:
        """Go on with an event that is for many; those behind it wait."""
        taken = _Taken(self._position)
        while self._rest and room:
            room -= 1
            taken.messages.append(self._rest.popleft())
        return taken

    def _take_events(self, room: int) -> _Taken:
        taken = _Taken(self._position)
        listens_to, shortcuts = self.plan.subscription.listens_to, self._shortcuts
        messages, under_way, read = taken.messages, taken.under_way, self._read
        crossing = self._crossing
        kind, wake = self.plan.name, self.wake_instance
        if not read:
            read.extend(self._events.after(self._position, room))
            if self._learns and self._services.store.is_remote:
                self._gather_learnt(read)
        while read and len(messages) < room:
            record = read[0]
            shortcut = shortcuts[record.type]
            if shortcut is not None:
                event = record.message
                if event is None:
                    # From disk, or from another partition.
                    event = self._loaded(record)
                if type(event) is shortcut.cls:
                    name = getattr(event, shortcut.field)
                    if (
                        type(name) is str
                        and is_plain_id(name)
                        # Not a copy that is for another class, or for instances found elsewhere.
                        and (
                            crossing is None
                            or (record.sent_to is None and record.sent_for in ("", kind))
                        )
                    ):
                        # As `_route` comes to, for nearly all events.
                        taken.position = position = record.position
                        if crossing is None or (target := crossing.target_of(name)) is None:
                            under_way[position] = 1
                            message = InstanceMessage(EventDelivered(record, event), self)
                            messages.append(((kind, name), wake, message))
                        elif not record.sent_for and position > crossing.sent_up_to:
                            # As `Crossing.split` comes to.
                            taken.away.append(SentRecord(target, record, kind))
                        read.popleft()
                        continue
            if record.type == UNREADABLE:
                # The router cannot tell for whom it is.
                taken.unreadable.append((record, record.message))
            elif crossing is not None and not crossing.concerns(record):
                pass
            elif listens_to(record) or record.sent_to is not None:
                if self._learns:
                    taken.waits_for = self._what_to_wait_for(record, taken)
                    if taken.waits_for is not NOTHING:
                        break
                self._route(record, taken)
            elif self._is_restricted and self.plan.subscription.leaves_out(record):
                self.counts["not_in_streams"] += 1
            elif crossing is not None:
                self._send_for_effects(crossing, record, taken)
            taken.position = record.position
            read.popleft()
        taken.rest = messages[room:]
        del messages[room:]
        return taken

    def _loaded(self, record: EventRecord) -> Event | None:
        try:
            return self.plan.subscription.load(record)
        except Exception:  # noqa: BLE001 - it is routed, and parked there
            return None

    def _gather_learnt(self, records: Iterable[EventRecord]) -> None:
        """Ask at once for the instances that events find by learnt keys."""
        subscription = self.plan.subscription
        keys: list[tuple[str, str]] = []
        for record in records:
            if record.type != UNREADABLE and subscription.finds_by_learnt_key(record):
                # It is routed, and parked there.
                with suppress(Exception):
                    field, values = subscription.learnt_of(subscription.load(record)) or ("", ())
                    keys += [(field, one) for one in values]
        # Where it fails, each is looked for when it is routed.
        with suppress(StoreError):
            self._reads.gather_index(self.plan.name, keys)

    def _send_for_effects(self, crossing: Crossing, record: EventRecord, taken: _Taken) -> None:
        """Send on an event that is not handled, after which instances elsewhere act."""
        # What cannot be read or correlated is met by the feed of the after-effects, which parks it.
        with suppress(Exception):
            taken.away += crossing.after_effects(record, self._reads.read_index)

    def _route(self, record: EventRecord, taken: _Taken) -> None:
        try:
            found = self._find(record)
            deliveries, missing = found.deliveries, found.missing
            if missing is not None:
                self._take_unmatched(record, found, missing, taken)
        except Erased:
            # It is for no instance any more.
            self.counts["not_for_us"] += 1
            return
        except BaseException as error:  # noqa: BLE001 - a person must see it, whatever it is
            taken.unreadable.append((record, error))
            return
        taken.away += found.away
        if not deliveries:
            if missing is None and not found.away:
                self.counts["not_for_us"] += 1
            return
        taken.under_way[record.position] = len(deliveries)
        if type(deliveries[0][1].event) in self.plan.definition.teachers:
            taken.teaching.add(record.position)
        name, wake = self.plan.name, self.wake_instance
        taken.messages += [
            ((name, instance), wake, InstanceMessage(delivered, self))
            for instance, delivered in deliveries
        ]

    # Events whose learnt key no instance has yet

    def _take_unmatched(
        self,
        record: EventRecord,
        found: _Found,
        missing: LearntKey,
        taken: _Taken,
    ) -> None:
        """What becomes of an event that names a learnt key which no instance has.

        Raises:
            EarlyEvent: it is parked

        """
        name, policy = self.plan.name, self.plan.definition.unmatched
        if policy == "hold":
            if self._reads.count_unmatched(name) + len(taken.held) < MOST_HELD:
                field, values = missing
                hold_for = self.plan.definition.hold_for // timedelta(microseconds=1)
                until = self._services.now() + hold_for
                held = UnmatchedRecord(name, record.position, field, values, until, found.named)
                taken.held.append(held)
                return
        elif policy == "park" and not found.named:
            raise self._early(record, missing, "retry it when one has learnt it, or skip it")
        if not found.named:
            self._refuse_skipping(record, missing)
            self.counts["skipped_unmatched"] += 1

    def _refuse_skipping(self, record: EventRecord, missing: LearntKey) -> None:
        """An instance that is held up may be the one that would know the key by now."""
        if self._reads.any_blocked(self.plan.name):
            raise self._early(
                record,
                missing,
                "one that is suspended or waits to try again may come to know it; retry it when "
                "that has gone on, or skip it",
            )

    def _early(self, record: EventRecord, missing: LearntKey, what_to_do: str) -> EarlyEvent:
        field, values = missing
        return EarlyEvent(
            f"no instance of {self.plan.name} has {field!r} = {' or '.join(map(repr, values))}, "
            f"which this {record.type} names: {what_to_do}"
        )

    def _hold(self, all_held: list[UnmatchedRecord]) -> bool:
        """Keep events for who learns their keys; with the journal's lock.

        Returns:
            false if a key was learnt since it was looked for, so that all is to be found anew

        """
        read_index = self._services.store.ahead.read_index
        for held in all_held:
            if any(read_index(held.process, held.field, value) for value in held.values):
                # By a timeout, a refusal or an operator, for which no event waits.
                return False
        for held in all_held:
            self._journal.lay(Step(process=held.process, extras=StepExtras(hold=held)))
        self.counts["held"] += len(all_held)
        return True

    def ring(self) -> None:
        """Events may have been held for long enough."""
        self._rings_at = NEVER
        self._lets_go_at = self._events.last
        self.wake()

    def _ring_at(self, moment: int) -> None:
        """Have the alarm ring then, unless it rings before."""
        if moment < self._rings_at:
            self._rings_at = moment
            self._alarm.set(from_micros(moment))

    def _let_go(self) -> None:
        """Go on without what was held for long enough, once all is done that was stored by then."""
        name, now = self.plan.name, self._services.now()
        generation = self._journal.generation
        with self._journal.lock:
            if self._lets_go_at is None or self.done_up_to < self._lets_go_at:
                return
        held = self._reads.unmatched(name, PAGE)
        due = list(takewhile(lambda one: one.until <= now, held))
        steps = [self._letting_go(one, now) for one in due]
        with self._journal.lock:
            if generation != self._journal.generation:
                return
            for step in steps:
                # One whose key was learnt meanwhile waits for its instance.
                if self._journal.lay(step) is COMMITTED:
                    self.counts["parked" if step.park else "skipped_unmatched"] += 1
            if len(due) < PAGE:
                self._lets_go_at = None
        if len(due) < len(held):
            self._ring_at(held[len(due)].until)

    def _letting_go(self, held: UnmatchedRecord, now: int) -> Step:
        step = Step(process=held.process, extras=StepExtras(let_go=held.position))
        if not held.taken:
            record = self._reads.event_at(held.position)
            try:
                self._refuse_skipping(record, (held.field, held.values))
            except EarlyEvent as error:
                step.park = parked_event(error, held.process, "", record, now)
        return step

    def close(self) -> None:
        """Take nothing any more."""
        self.is_closed = True
        self._alarm.close()

    def _what_to_wait_for(self, record: EventRecord, taken: _Taken) -> str:
        """Whether an instance may be about to learn the key that this event names.

        An event that finds its instances by a learnt key waits until those before it that may
        teach one are handed over. One that finds no instance waits for all: not every way of
        setting a field can be seen in the code.
        """
        if not (self._under_way or taken.under_way):
            return NOTHING
        try:
            event = self.plan.subscription.load(record)
            if self.plan.subscription.learnt_of(event) is None:
                return NOTHING
            if self._teaching or taken.teaching:
                return TEACHERS
            return NOTHING if self._find(record).missing is None else ALL
        except Exception:  # noqa: BLE001 - it is routed, and parked there
            return NOTHING

    def _set_aside(self, record: EventRecord, error: BaseException) -> None:
        """Park an event that cannot be read or correlated; it delays no other."""
        name = self.plan.name
        failure = Failure(error=error, handler="correlate", event=record.event_id, process=name)
        self._services.failures.tell(failure)
        self.counts["parked"] += 1
        parked = parked_event(error, name, "", record, self._services.now())
        self._journal.lay(Step(park=parked))


class _Bell:
    """What the alarm calls; it tells a clock that people move what it rings for."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self) -> None:
        self._router.ring()

    def __str__(self) -> str:
        return f"the events that {self._router.plan.name} holds"


class _Shortcuts(dict[str, "Shortcut | None"]):
    """By type of event, each found when the first of them comes."""

    def __init__(self, plan: ProcessPlan, *, is_off: bool) -> None:
        super().__init__()
        self._subscription = plan.subscription
        self._is_off = is_off

    def __missing__(self, wire_type: str) -> Shortcut | None:
        found = None if self._is_off else self._subscription.shortcut(wire_type)
        self[wire_type] = found
        return found


class _Found(NamedTuple):
    """The instances that an event is for."""

    named: list[str]
    """All of them, as far as they are known here."""
    deliveries: list[_Delivery]
    """To those that are in this partition."""
    missing: LearntKey | None
    """The learnt key by which it finds them, with the values that no instance has, if any."""
    away: list[SentRecord]
    """What is for other partitions."""


class _Taken:
    """What one turn takes from the log."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.messages: list[Sending] = []
        self.rest: list[Sending] = []
        self.under_way: dict[int, int] = {}
        self.teaching: set[int] = set()
        self.unreadable: list[tuple[EventRecord, BaseException]] = []
        self.held: list[UnmatchedRecord] = []
        self.away: list[SentRecord] = []
        self.waits_for = NOTHING
