"""History, handled as it would have been: events with their own times drive the clock.

Before an event goes to its instances, all has fired that was due before it, in order of time. That
takes no commit for each moment: what is due fires in the open commit, since nothing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..clock import LATEST, from_micros, to_micros
from ..engine.effect_feed import processes_with_effects
from ..engine.engine import Engine, Options, Parts
from ..engine.given_ids import judged
from ..engine.ingress import Ingress
from ..errors import IdReused, InvalidMessage, shown
from ..model.registry import Registry
from ..model.stored_names import check_stored_names, retired_names
from ..store import (
    Append,
    ClosedError,
    Duplicate,
    IdTaken,
    ProcessionError,
    Step,
    StepExtras,
    StoreError,
    open_store,
)
from ..store.interrupts import uninterrupted
from .clock import FARTHEST, HistoryClock
from .due import DueTimers
from .turns import Turns

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..messages.types import Event
    from ..model.domain import Domain
    from ..store import Durability, EventRecord, PayloadCodec, Store
    from .source import SourceProgress

__all__ = ["PAGE", "Backtest", "BacktestCounts"]

E = TypeVar("E", bound="Event")

PAGE = 256
"""Events that are looked at together before the first of them is handled."""

DROPPED = 4_096
"""What is dropped in one commit when the store goes live."""

FOR_EVER = timedelta(days=365_000)
"""Instances do not sleep because time passes, which it does fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestCounts:
    """What came of a backtest since it was opened.

    Attributes:
        events: that were stored
        known: that were stored before under the same ids, and left as they are
        transitions: that instances made
        parked: what could not be handled, and waits for a person

    """

    events: int
    known: int
    transitions: int
    parked: int


class Backtest:
    """A store that is filled with history; a context manager.

    Handlers run as they would have, with the times of the events; what they issue, set and would do
    afterwards stays in the store. A service cannot open it before `go_live` says from when that may
    leave; looking needs no more than `Runtime(path, ..., read_only=True)`.

    Opened again, it goes on: events that were stored before are told by their ids.

    Args:
        path: the store's folder or address, which is new, or was filled by a backtest
        domains: whose classes to run
        durability: as for `Runtime`
        codec: as for `Runtime`
        max_awake: most instances kept in memory
        largest_commit: most steps in one transaction

    Raises:
        StoreError: a service has worked on the store, or it is divided
        LockedStore: the store is open elsewhere
        DefinitionError: the domains do not fit together, or not to the store

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *domains: Domain,
        durability: Durability = "fsync",
        codec: PayloadCodec | None = None,
        max_awake: int = 10_000,
        largest_commit: int = 4_096,
    ) -> None:
        options = Options(
            workers=1,
            max_awake=max_awake,
            idle_timeout=FOR_EVER,
            largest_commit=largest_commit,
        )
        self._registry = Registry(domains)
        self._is_closed = False
        self.source: SourceProgress | None = None
        """How far the source of events is, which is written with what is told of."""
        self._known = self._events = 0
        self._store: Store = uninterrupted(
            lambda: open_store(path, durability=durability, codec=codec),
            "procession-opening",
            undo=lambda store: store.close(),
        )
        try:
            self._store.encode_apart(self._registry)
            self._refuse_worked_on(path)
            self._begin(options)
        except BaseException:
            self._store.close()
            raise

    def _refuse_worked_on(self, path: str | os.PathLike[str]) -> None:
        store = self._store
        if store.partition is not None:
            raise StoreError(
                f"{path} is divided, and history is imported into a store that is not: give the "
                f"path of a new one, and divide that when it has gone live, with "
                f"copy(..., partitions=...)"
            )
        if store.commit_count and not store.is_import:
            raise StoreError(
                f"{path} holds what a service has done, or has gone live; history is imported into "
                f"a new store, or one that was imported and has not gone live"
            )

    def _begin(self, options: Options) -> None:
        store, registry = self._store, self._registry
        check_stored_names(
            store.scan_names(),
            processes_with_effects(store),
            registry,
            retired_names((), registry),
        )
        if not store.is_import:
            store.note_import(is_import=True)
        self._now = store.newest_time() or 0
        self._clock = HistoryClock(self._now)
        self._secret = store.secret()
        self._ingress = Ingress(registry, self._clock, self._secret)
        parts = Parts(dispatcher=Turns, timers=DueTimers, has_threads=False)
        self._engine = engine = Engine(store, registry, self._clock, options, parts)
        assert isinstance(engine.dispatcher, Turns)
        assert isinstance(engine.timers, DueTimers)
        self._turns, self._timers = engine.dispatcher, engine.timers
        self._journal = engine.journal
        self._generation = self._journal.generation
        self._mark = store.imported_up_to()
        # Nothing leaves, and no actor sleeps because time passes.
        engine.effects.close()
        engine.command_queue.is_closed = True
        engine.residency.close()
        engine.start()
        self._give_turns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(keeps=kind is None or issubclass(kind, ProcessionError))

    @property
    def now(self) -> datetime:
        """The time of the newest that happened."""
        return from_micros(self._now)

    @property
    def counts(self) -> BacktestCounts:
        """What came of it since it was opened."""
        found = [router.counts for router in self._engine.routers]
        return BacktestCounts(
            events=self._events,
            known=self._known,
            transitions=sum(one["transitions"] for one in found),
            parked=sum(one["parked"] for one in found),
        )

    @property
    def secret(self) -> bytes:
        """The store's, by which it tells what an id stands for."""
        return self._secret

    # What happened

    def publish(
        self,
        event: Event,
        *,
        stream: str,
        time: datetime,
        event_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> int:
        """Store an event of the past, and have it handled at its time.

        Args:
            event: what happened
            stream: where it belongs, as ``category-id``; it may be that of an aggregate
            time: when it happened, with a zone; not before the one that came before it
            event_id: given again, the event is stored once
            headers: plain values that go along with all that comes of it

        Returns:
            its position in the log; it is on disk after `commit`, or when this is closed

        Raises:
            IdReused: the id is that of another event
            InvalidMessage: a field, a header or the time does not fit
            InvalidName: the stream or the id is empty or too long
            UnknownMessage: no domain knows the event
            StoreError: the disk refused; nothing was kept since the last commit, and all can be
                published again once this is opened anew

        """
        position = self.bring(self.record(event, stream, event_id, headers), micros_of(time))
        self.commit_if_due()
        return position

    def publish_many(
        self,
        events: Iterable[E],
        *,
        stream: str | Callable[[E], str],
        time: Callable[[E], datetime],
        event_id: Callable[[E], str | None] | None = None,
        headers: Mapping[str, Any] | Callable[[E], Mapping[str, Any] | None] | None = None,
    ) -> list[int]:
        """As `publish`, for many events: the same comes of them, for less.

        If one of them does not fit, an error is raised, and what came before it may be stored.

        Args:
            events: what happened, in order of time; no more than `PAGE` of them are looked at
                before their turn
            stream: where they belong: one stream, or a function of the event
            time: a function of the event
            event_id: a function of the event, if they are given ids
            headers: the same for all, or a function of the event

        Returns:
            their positions in the same order

        """
        positions: list[int] = []
        left = iter(events)
        while page := list(islice(left, PAGE)):
            records = [
                (
                    self.record(
                        one,
                        stream(one) if callable(stream) else stream,
                        None if event_id is None else event_id(one),
                        headers(one) if callable(headers) else headers,
                    ),
                    micros_of(time(one)),
                )
                for one in page
            ]
            self.gather(record for record, _ in records)
            for record, moment in records:
                positions.append(self.bring(record, moment))
                self.commit_if_due()
        return positions

    def record(
        self,
        event: Event,
        stream: str,
        event_id: str | None,
        headers: Mapping[str, Any] | None,
    ) -> EventRecord:
        """An event as `bring` takes it, checked, while nothing is stored; as for `publish`."""
        is_own = self._registry.owner_of(stream) is not None
        receipt = self._ingress.publication(event, stream, event_id, headers, as_import=is_own)
        assert receipt.step.append is not None
        return receipt.step.append.events[0]

    def gather(self, records: Iterable[EventRecord]) -> None:
        """Have looked up at once what is to be known of events that `bring` takes next."""
        self._store.ahead.gather_ids(records)

    def bring(self, record: EventRecord, time: int) -> int:
        """Store an event as it was checked, and have it handled; its position, as `publish`.

        `commit_if_due` is to be called behind it.

        Args:
            record: as `record` made it
            time: when it happened, in microseconds

        """
        self._refuse_closed()
        if time > self._now:
            self._fire_before(time)
            self._move(time)
        elif time < self._now:
            return self._known_before(record, time)
        is_given = bool(record.event_id)
        append = Append(record.stream, None, [record], unique=is_given)
        outcome = self._journal.lay(Step(append=append))
        if type(outcome) is Duplicate:
            self._known += 1
            return outcome.position
        if type(outcome) is IdTaken:
            raise self._reused(outcome, record)
        self._refuse_gone()
        self._events += 1
        self._engine.command_queue.published(record.stream)
        self._give_turns()
        return record.position

    def _known_before(self, record: EventRecord, time: int) -> int:
        """The position of an event that was stored before.

        Raises:
            InvalidMessage: it was not, and comes too late

        """
        if record.event_id:
            append = Append(record.stream, None, [record], unique=True)
            found = self._store.ahead.refuse_ids(append)
            if type(found) is Duplicate:
                self._known += 1
                return found.position
            if type(found) is IdTaken:
                raise self._reused(found, record)
        raise InvalidMessage(
            f"{shown(record.event_id)} of {record.stream} happened at {from_micros(time)}, and the "
            f"store is at {self.now}: what was due until then has fired. Give events in order of "
            f"time; into history that is stored, none can be put"
        )

    def _reused(self, taken: IdTaken, record: EventRecord) -> Exception:
        found = judged(self._registry, taken, record)
        return found if isinstance(found, IdReused) else StoreError(f"{taken} is no other event")

    def let_pass(self, until: datetime) -> None:
        """Let time pass, and all fire that is due up to then.

        Args:
            until: with a zone; the time is not moved back

        """
        self._refuse_closed()
        moment = micros_of(until)
        self._fire_before(moment + 1)
        self._move(moment)

    def commit_if_due(self) -> None:
        """Make all durable if as much has happened as goes into a commit; as `commit`."""
        if self._turns.is_commit_due:
            self.commit()

    def commit(self) -> None:
        """Make all durable that happened.

        Raises:
            StoreError: the disk refused

        """
        self._refuse_closed()
        mark = None if self.source is None else self.source.mark()
        if mark is not None and mark != self._mark:
            self._journal.lay(Step(extras=StepExtras(imported=mark)))
        self._journal.flush()
        if mark is not None:
            self._mark = mark
        # What waited for that goes on.
        self._give_turns()
        self._engine.settle(0)

    # The end

    def go_live(self, since: datetime) -> None:
        """Let a service open the store, from which that may leave which is of a time or later.

        All fires that is due before, and of what instances issued before, and of after-effects of
        events before, nothing ever leaves.

        Args:
            since: with a zone; the first moment whose commands and after-effects leave

        """
        self._refuse_closed()
        moment = micros_of(since)
        self._fire_before(moment)
        self.commit()
        store, position = self._store, self._store.position_before(moment)
        self._drop(Step(take=one.sequence) for one in store.scan_queue() if one.time < moment)
        for process in self._engine.router_of:
            self._drop(
                Step(process=process, instance=instance, extras=StepExtras(paid=at))
                for at, instance, _ in store.scan_owed(process)
                if at <= position
            )
        self._engine.effect_feeds.pass_over(position)
        self._journal.nudge_checkpoints()
        self.commit()
        store.note_import(is_import=False)
        self.close()

    def _drop(self, steps: Iterator[Step]) -> None:
        for number, step in enumerate(steps, 1):
            self._journal.lay(step)
            if not number % DROPPED:
                self.commit()

    def close(self, *, keeps: bool = True) -> None:
        """Let go of the store.

        Args:
            keeps: whether that is kept which is not durable yet

        """
        if self._is_closed:
            return
        try:
            if keeps and self._generation == self._journal.generation:
                self.commit()
        finally:
            self._is_closed = True
            uninterrupted(self._end, "procession-closing")

    def _end(self) -> None:
        engine = self._engine
        if not (self._journal.has_work or self._generation != self._journal.generation):
            self._journal.write_checkpoints()
        self._journal.abandon()
        engine.timers.close()
        engine.services.replies.close()
        engine.residency.let_go()
        engine.services.failures.close()
        self._store.close()

    # In between

    def _fire_before(self, before: int) -> None:
        """Let all fire that is due before a time, each at its own."""
        timers, clock = self._timers, self._clock
        while True:
            moment = min(timers.next_moment(), clock.next_moment())
            if moment >= before or moment == FARTHEST:
                break
            self._move(moment)
            clock.ring()
            timers.ring()
            self._give_turns()
            self.commit_if_due()

    def _move(self, moment: int) -> None:
        """Stand at a time, if it is a later one."""
        if moment > self._now:
            self._now = moment
            self._clock.move_to(moment)

    def _give_turns(self) -> None:
        self._turns.give_all()
        while self._journal.is_awaited:
            # An instance waits for a commit, which is rare.
            self._journal.flush()
            self._refuse_gone()
            self._turns.give_all()
        self._refuse_gone()

    def _refuse_gone(self) -> None:
        """Raise why all was forgotten that was not durable, if it was."""
        journal = self._journal
        if journal.generation != self._generation:
            faults = journal.faults
            raise StoreError(
                f"the store took nothing since its last commit: "
                f"{faults.last_error or 'a step failed; the log says why'}. Import again to go on"
            )

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise ClosedError("the backtest is closed")


def micros_of(moment: datetime) -> int:
    """A time in microseconds.

    Raises:
        InvalidMessage: it is none, has no zone, or is before 1970

    """
    if not issubclass(type(moment), datetime) or moment.utcoffset() is None:
        raise InvalidMessage(f"time={shown(moment)}; give a datetime with a zone")
    micros = to_micros(moment)
    if not 0 <= micros <= LATEST:
        raise InvalidMessage(f"time={shown(moment)}; give one from 1970 to 9999")
    return micros
