"""The pruner: takes out of the store what was complete for long enough, beside all other work.

It has its turns among all others, each of a few hundred rows, and after each step it waits until
that is durable. What it takes out is in the archive before, if there is one. `store.pruning` says
which rows go.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ..clock import from_micros
from ..core.pruning import keys_kept, tombstone
from ..store import (
    COMMITTED,
    PRUNED,
    Append,
    CorruptRecord,
    Cut,
    Step,
    StepExtras,
    category_of,
)
from ..store import pruning as rows
from .archive import line_of_event, line_of_transition
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence

    from ..clock import Clock
    from ..model.plans import ProcessPlan
    from ..store import EventRecord, Store, TransitionRecord
    from .archive import Archive, Line
    from .pending_replies import ReplyFuture
    from .services import Services

__all__ = ["Pruner", "PruningReport"]

SPAN = 1 << 26
"""Positions that one round looks at, at most: a bit of memory for each."""

TOGETHER = 512
"""Instances that are told apart at once from those that are named by work."""

ROUNDS = 8
"""Rounds in the shortest time for which anything is kept: how exactly that is kept."""

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(hours=6)
"""Between two rounds."""

LARGEST_STREAM = 4_096
"""Events of a stream that leaves as a whole, at most."""

GIVE_WAY, WAIT = False, True
"""What a round asks for: that others have their turns, or that all is durable first."""


@dataclass(frozen=True, slots=True)
class PruningReport:
    """What was taken out of a store.

    Attributes:
        instances: that were complete, of which a tombstone stays
        transitions: of these instances
        events: of which a tombstone stays
        forgotten: tombstones and ids that were older than `id_retention`

    """

    instances: int = 0
    transitions: int = 0
    events: int = 0
    forgotten: int = 0

    def __add__(self, other: PruningReport) -> PruningReport:
        return PruningReport(
            self.instances + other.instances,
            self.transitions + other.transitions,
            self.events + other.events,
            self.forgotten + other.forgotten,
        )


@dataclass(slots=True)
class _Asked:
    """A round that is to be made.

    Attributes:
        before: by process manager: what was complete before that moment goes
        ids_before: tombstones and ids from before that moment go; None for none
        reply: of the caller who waits, if one does
        archive: takes what goes; the runtime's own when it is None

    """

    before: dict[str, int]
    ids_before: int | None
    reply: ReplyFuture[PruningReport] | None = None
    archive: Archive | None = None


@dataclass(slots=True)
class _Batch:
    """What one step takes out."""

    cut: Cut = field(default_factory=lambda: Cut(rows=[], tombstones=[], moved=[], gone=[]))
    lines: list[Line] = field(default_factory=list)

    def add(self, cut: Cut) -> None:
        mine = self.cut
        mine.rows += cut.rows
        mine.tombstones += cut.tombstones
        mine.moved += cut.moved
        mine.gone += cut.gone

    @property
    def is_full(self) -> bool:
        return len(self.cut.rows) >= rows.SLICE


class Pruner(PooledActor):
    """Makes one round after the other, when it is time or an operator asks.

    Args:
        services: of the engine
        plans: of all process managers
        clock: rings when it is time
        lowest_checkpoint: the position that all who read the log are done with, durably
        done_up_to: the same of one process manager's router and after-effects
        id_retention: how long ids and tombstones stay; None for ever
        archive: takes what goes, if it is kept

    """

    def __init__(
        self,
        services: Services,
        plans: Sequence[ProcessPlan],
        clock: Clock,
        lowest_checkpoint: Callable[[], int],
        done_up_to: Callable[[str], int],
        *,
        id_retention: timedelta | None,
        archive: Archive | None,
    ) -> None:
        super().__init__(services.dispatcher)
        self._services = services
        self._store: Store = services.store
        self._journal = services.journal
        self._plans = {plan.name: plan for plan in plans}
        self._aggregates = {one.category: one for one in services.registry.aggregates.values()}
        self._lowest_checkpoint = lowest_checkpoint
        self._done_up_to = done_up_to
        self._id_retention = id_retention
        self._archive = archive
        self._asked: deque[_Asked] = deque()
        self._round: Iterator[bool] | None = None
        self._report = PruningReport()
        self._generation = 0
        self._waits = False
        self.is_closed = False
        self.pruned = PruningReport()
        """All that was taken out since the engine was made."""
        kept = [plan.definition.retention for plan in plans]
        times = [one for one in (*kept, id_retention) if one is not None]
        if times:
            every = self._aggregates.values()
            times += [one.retention for one in every if one.retention is not None]
        self._times = sorted(times)
        self._period = max(SHORTEST, min(LONGEST, self._times[0] / ROUNDS)) if times else None
        # Longer where nothing is committed, and what is kept shortly has gone. When all is over for
        # which there is a time, it rests until something is committed.
        self._pause = self._period or SHORTEST
        self._changed_at = services.now()
        self._commits = -1
        self._rests = self._is_woken = False
        self._alarm = clock.alarm(self._ring)

    def begin(self) -> None:
        """Begin to look when it is time, if anything is to be kept for a time only."""
        self._set_alarm()

    def prune(
        self,
        before: Mapping[str, int],
        ids_before: int | None,
        reply: ReplyFuture[PruningReport],
        archive: Archive | None,
    ) -> None:
        """Make a round as an operator asks for it; any thread may call this."""
        self._asked.append(_Asked(dict(before), ids_before, reply, archive))
        self.dispatcher.schedule_from_outside(self)

    def close(self) -> None:
        """Take nothing out any more; what is under way is done again another time."""
        self.is_closed = True
        self._alarm.close()

    def has_work(self) -> bool:
        """Whether there is a round to go on with or to begin."""
        if self.is_closed:
            return False
        return not self._waits and (self._round is not None or bool(self._asked) or self._is_woken)

    def work(self) -> None:
        """Go on for some rows."""
        if self.is_closed or self._waits:
            return
        if self._is_woken:
            self._is_woken, self._pause = False, self._period or SHORTEST
            self._set_alarm()
        if self._round is None:
            if not self._asked:
                return
            self._begin()
        assert self._round is not None
        if self._generation != self._journal.generation:
            # A commit failed: what was found may not be so.
            self._begin()
        try:
            is_to_wait = next(self._round)
        except StopIteration:
            self._end()
        except Exception as error:  # noqa: BLE001 - it is told, and tried again another time
            self._end(error)
        else:
            if is_to_wait is WAIT:
                self._waits = True
                self._journal.call_when_durable(self._go_on)

    def _go_on(self) -> None:
        self._waits = False
        self.wake()

    def _begin(self) -> None:
        self._generation = self._journal.generation
        self._report = PruningReport()
        self._round = self._steps(self._asked[0])

    def _end(self, error: Exception | None = None) -> None:
        asked, report = self._asked.popleft(), self._report
        self._round = None
        self.pruned += report
        if asked.reply is None:
            if error is not None:
                self._services.failures.tell_fault("pruning stopped, and is tried again", error)
            if self._period is not None:
                self._plan_next(self._period, is_idle=report == PruningReport())
        elif error is not None:
            asked.reply.set_exception((type(error), error, None))
        else:
            asked.reply.set(report)

    # When it is time

    def look_after_commit(self) -> None:
        """Something is durable; with the journal's lock."""
        if self._rests and self._store.commit_count != self._commits:
            self._rests, self._is_woken = False, True
            self.wake()

    def _plan_next(self, period: timedelta, *, is_idle: bool) -> None:
        now, commits = self._services.now(), self._store.commit_count
        if is_idle and commits == self._commits:
            since = now - self._changed_at
            left = [one for one in self._times if since <= _micros(one + max(one / ROUNDS, period))]
            if not left:
                self._rests = True
                return
            self._pause = max(period, left[0] / ROUNDS)
        else:
            self._pause, self._changed_at, self._commits = period, now, commits
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._period is not None and not self.is_closed:
            self._alarm.set(from_micros(self._services.now()) + self._pause)

    def _ring(self) -> None:
        now = self._services.now()
        before = {
            name: now - _micros(plan.definition.retention)
            for name, plan in self._plans.items()
            if plan.definition.retention is not None
        }
        ids_before = None if self._id_retention is None else now - _micros(self._id_retention)
        self._asked.append(_Asked(before, ids_before))
        self.wake()

    # One round

    def _steps(self, asked: _Asked) -> Iterator[bool]:
        self._journal.nudge_checkpoints()
        yield WAIT
        yield from self._end_instances(asked)
        up_to = self._lowest_checkpoint()
        low = next((one.position for one in self._store.read_log(0, 1)), 1)
        # The newest event says how far the log goes.
        high = min(up_to, self._store.last_position() - 1, low + SPAN - 1)
        needed = rows.Needed(low, high)
        while (yield from self._go_through_transitions(asked, needed)):
            # What was found to go is not to keep events any longer.
            needed.clear()
        yield from self._go_through_decided(asked, needed, up_to)
        names = [name for kind, name in self._store.scan_names() if kind == "process"]
        rows.needed_by_work(self._store, needed, names)
        yield from self._cut_events(asked, needed)
        if asked.ids_before is not None:
            yield from self._forget_events(asked, asked.ids_before)
            yield from self._forget_commands(asked, asked.ids_before)

    def _end_instances(self, asked: _Asked) -> Iterator[bool]:
        """Give each instance its tombstone that is complete for long enough."""
        done = {name: self._done_up_to(name) for name in asked.before}
        batch: list[rows.Ended] = []
        for ended in rows.prunable(self._store, asked.before, done):
            if ended is not None:
                batch.append(ended)
            if len(batch) >= TOGETHER:
                yield from self._end_batch(asked, batch)
                batch = []
            elif ended is None:
                yield GIVE_WAY
        yield from self._end_batch(asked, batch)

    def _end_batch(self, asked: _Asked, batch: list[rows.Ended]) -> Iterator[bool]:
        if not batch:
            return
        named = rows.named_by_work(self._store, {(one.process, one.instance) for one in batch})
        ended = [
            one
            for one in batch
            if (one.process, one.instance) not in named and self._end_instance(one)
        ]
        self._report += PruningReport(instances=len(ended))
        yield WAIT
        yield from self._cut_instances(asked, [(one.process, one.instance) for one in ended])

    def _end_instance(self, ended: rows.Ended) -> bool:
        """Hand over the tombstone of an instance; false if something has come for it."""
        process, instance = ended.process, ended.instance
        plan, ahead = self._plans[process], self._store.ahead
        last = ended.last
        if last.base:
            last = self._store.last_transition(process, instance) or last
        step = tombstone(plan, instance, last, self._services.now())
        with self._journal.lock:
            if ahead.waits(process, instance):
                return False
            is_kept = self._journal.lay(step) is COMMITTED
        if is_kept:
            self._services.residency.make_stale(process, instance)
        return is_kept

    def _cut_instances(self, asked: _Asked, instances: list[tuple[str, str]]) -> Iterator[bool]:
        """Take out what instances have below their tombstones."""
        batch = _Batch()
        for process, instance in instances:
            is_whole = False
            while not is_whole:
                version = rows.tombstone_version(self._store, process, instance)
                cut, found = rows.cut_of_instance(self._store, process, instance, version)
                batch.add(cut)
                batch.lines += [line_of_transition(process, instance, *one) for one in found]
                self._report += PruningReport(transitions=len(found))
                is_whole = bool(cut.moved) or not found
                if batch.is_full or not is_whole:
                    yield from self._take_out(asked, batch)
                    batch = _Batch()
        yield from self._take_out(asked, batch)

    def _go_through_transitions(
        self, asked: _Asked, needed: rows.Needed
    ) -> Generator[bool, None, bool]:
        """Mark the events of all transitions that stay, and see to tombstones.

        Returns:
            whether some went meanwhile

        """
        store, left, forgotten = self._store, list[tuple[str, str]](), 0
        for place, found in store.scan_all_transitions():
            if place % rows.PAGE == 0:
                yield GIVE_WAY
            if isinstance(found, CorruptRecord):
                raise found
            process, instance, record = found
            if record.cause != PRUNED:
                needed.add(record.position)
                continue
            if store.started_as(process, instance) != place:
                # Something came between, as a crash or a full disk.
                left.append((process, instance))
                if len(left) >= TOGETHER:
                    break
            elif asked.ids_before is not None and record.time < asked.ids_before:
                forgotten += self._forget_instance(process, instance, record)
                if forgotten % rows.PAGE == 0:
                    yield WAIT
        if forgotten:
            yield WAIT
        before = self._report.transitions
        yield from self._cut_instances(asked, left)
        return self._report.transitions > before

    def _forget_instance(self, process: str, instance: str, record: TransitionRecord) -> bool:
        """Hand over that the tombstone of an instance goes; false if it has to stay."""
        plan = self._plans.get(process)
        cut = rows.forgotten_instance(self._store, process, instance)
        if cut is None or plan is None:
            return False
        index = keys_kept(plan, record)
        step = Step(process=process, instance=instance, extras=StepExtras(cut=cut, index=index))
        with self._journal.lock:
            # It may be beginning anew.
            if self._store.ahead.version_of(process, instance) != record.version:
                return False
            is_kept = self._journal.lay(step) is COMMITTED
        self._services.residency.make_stale(process, instance)
        self._report += PruningReport(forgotten=1)
        return is_kept

    def _go_through_decided(self, asked: _Asked, needed: rows.Needed, up_to: int) -> Iterator[bool]:
        """Take out what was parked and decided, of instances that were pruned."""
        store, before = self._store, _earliest(asked)
        newest = store.last_parked_number()
        batch = _Batch()
        for parked in store.scan_parked(decided=True):
            cut = rows.cut_of_decided(store, parked, before, up_to, newest)
            if cut is None:
                needed.add(parked.position)
                continue
            batch.add(cut)
            if batch.is_full:
                yield from self._take_out(asked, batch)
                batch = _Batch()
        yield from self._take_out(asked, batch)

    def _cut_events(self, asked: _Asked, needed: rows.Needed) -> Iterator[bool]:
        """Take out the events that nothing needs that stays."""
        store, before, batch = self._store, _earliest(asked), _Batch()
        whole: dict[str, None] = {}
        for position, record in store.scan_log_through(needed.low - 1):
            if position > needed.high:
                break
            if position % rows.PAGE == 0:
                yield GIVE_WAY
            if isinstance(record, CorruptRecord):
                continue
            if record.time >= before:
                break
            if position in needed or record.stream in whole:
                continue
            retention = None
            if not record.sent_for:
                aggregate = self._aggregates.get(category_of(record.stream))
                retention = None if aggregate is None else aggregate.retention
                if retention is not None and self._is_over(record.stream, needed, retention):
                    whole[record.stream] = None
                    if len(whole) >= rows.PAGE:
                        yield from self._cut_streams(asked, whole)
                        whole.clear()
                    continue
                if not self._is_behind_snapshot(record):
                    continue
            cut = rows.cut_of_event(store, record)
            if cut is None:
                continue
            batch.add(cut)
            batch.lines.append(line_of_event(record))
            self._report += PruningReport(events=1)
            if batch.is_full:
                yield from self._take_out(asked, batch)
                batch = _Batch()
        yield from self._take_out(asked, batch)
        yield from self._cut_streams(asked, whole)

    def _is_behind_snapshot(self, record: EventRecord) -> bool:
        """Whether its aggregate can do without an event; so can one of which there is no class."""
        aggregate = self._aggregates.get(category_of(record.stream))
        if aggregate is None:
            # What a command made is of an aggregate whose class is not here.
            return record.causation_id is None
        snapshot = self._store.read_snapshot(record.stream)
        return (
            snapshot is not None
            and record.version <= snapshot[0]
            and aggregate.snapshots.unpack(snapshot[1]) is not None
        )

    def _is_over(self, stream: str, needed: rows.Needed, retention: timedelta) -> bool:
        """Whether nothing has happened to an aggregate for long enough, and all may go."""
        store = self._store
        last = store.event_in(stream, store.last_version(stream))
        if last is None or last.time >= self._services.now() - _micros(retention):
            return False
        events = store.read_stream(stream, 0, LARGEST_STREAM + 1)
        return len(events) <= LARGEST_STREAM and all(
            one.position not in needed and rows.cut_of_event(store, one) is not None
            for one in events
        )

    def _cut_streams(self, asked: _Asked, streams: Collection[str]) -> Iterator[bool]:
        """Take out aggregates, each with all its events: some of them would make another state."""
        store, steps, kept = self._store, list[Step](), _Batch()
        for stream in streams:
            events, batch = store.read_stream(stream, 0, LARGEST_STREAM), _Batch()
            for record in events:
                batch.add(rows.cut_of_event(store, record) or Cut())
                kept.lines.append(line_of_event(record))
            if store.read_snapshot(stream) is not None:
                batch.cut.rows.append(("snapshots", stream.encode()))
            # One to which something happens meanwhile stays.
            append = Append(stream, events[-1].version, [])
            steps.append(Step(append=append, extras=StepExtras(cut=batch.cut)))
        if not steps:
            return
        self._keep(asked, kept)
        for stream, step in zip(streams, steps, strict=True):
            with self._journal.lock:
                outcome = self._journal.lay(step)
            if outcome is COMMITTED and step.extras is not None and step.extras.cut is not None:
                category = category_of(stream)
                self._services.residency.make_stale(category, stream[len(category) + 1 :])
                self._report += PruningReport(events=len(step.extras.cut.tombstones))
        yield WAIT

    def _forget_events(self, asked: _Asked, ids_before: int) -> Iterator[bool]:
        """Take out tombstones and ids of events from before a moment."""
        store, after, batch = self._store, 0, _Batch()
        while page := store.read_tombstones(after, rows.PAGE):
            after = page[-1].position
            for one in page:
                cut = rows.cut_of_tombstone(store, one) if one.time < ids_before else None
                if cut is not None:
                    batch.add(cut)
                    self._report += PruningReport(forgotten=1)
            yield from self._take_out(asked, batch)
            batch = _Batch()
            if page[-1].time >= ids_before:
                return

    def _forget_commands(self, asked: _Asked, ids_before: int) -> Iterator[bool]:
        """Take out the ids of commands from before a moment, with what came of them."""
        store, batch = self._store, _Batch()
        for number, command_id in enumerate(store.scan_command_ids(), 1):
            if number % rows.PAGE == 0:
                yield GIVE_WAY
            cut = rows.cut_of_command(store, command_id, ids_before)
            if cut is not None:
                batch.add(cut)
                self._report += PruningReport(forgotten=1)
            if batch.is_full:
                yield from self._take_out(asked, batch)
                batch = _Batch()
        yield from self._take_out(asked, batch)

    # One step

    def _take_out(self, asked: _Asked, batch: _Batch) -> Iterator[bool]:
        """Hand over what goes, once it is in the archive, and wait until it is durable."""
        if not batch.cut.rows:
            return
        self._keep(asked, batch)
        with self._journal.lock:
            self._journal.lay(Step(extras=StepExtras(cut=batch.cut)))
        yield WAIT

    def _keep(self, asked: _Asked, batch: _Batch) -> None:
        """Have the archive keep what goes."""
        archive = asked.archive or self._archive
        if archive is not None and batch.lines:
            archive(batch.lines)


def _earliest(asked: _Asked) -> int:
    """What was before that moment may go, whichever process manager it was for."""
    return min(asked.before.values(), default=0)


def _micros(time: timedelta) -> int:
    return time // timedelta(microseconds=1)
