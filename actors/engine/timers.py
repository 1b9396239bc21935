"""The timer service: brings what is due to instances, and held back commands to the queue."""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import groupby, islice
from typing import TYPE_CHECKING

from ..clock import from_micros
from ..core.decide import released
from ..core.stimuli import CommandDue, RetryDue, TimeoutDue
from ..store import (
    CorruptRecord,
    TimerRecord,
    is_issued_by,
    place_of_issue,
)
from .instance_actor import InstanceMessage
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from ..clock import Clock
    from ..core.decision import Decision
    from ..store import CommandRecord, Reads
    from .ahead_reads import AheadReads
    from .instance_actor import Deliver
    from .services import Services

    Identity: TypeAlias = tuple[int, str, str, str, str]

__all__ = ["TimerService"]

logger = logging.getLogger("procession")

NEVER = (1 << 63) - 1


class TimerService(PooledActor):
    """Reads timers from the store when they are due, so that any number may be pending.

    Args:
        services: of the engine
        reads: the log with all that was handed over
        clock: rings when the next one is due
        deliver: gives an instance a message
        has_routed: whether a process manager's router is as far as a position; when not, it has
            this service look again once it is
        enqueue: takes commands that were just committed to the queue
        max_in_flight: most timers in hand at once

    """

    is_part = True

    def __init__(
        self,
        services: Services,
        reads: AheadReads,
        clock: Clock,
        deliver: Deliver,
        has_routed: Callable[[str, int], bool],
        enqueue: Callable[[list[CommandRecord]], None],
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(services.dispatcher)
        self._rows: Reads = services.store
        """Where timers are looked for: none fires before it is durable."""
        self._waits = services.store.ahead.waits
        self._journal = services.journal
        self._residency = services.residency
        self._reads = reads
        self._now = services.now
        self._events = services.event_buffer
        self._deliver = deliver
        self._has_routed = has_routed
        self._enqueue = enqueue
        self._max_in_flight = max_in_flight
        # By process manager: the newest position at a look which found something due, and the time
        # of that look. What was due then waits until the router is there, and no longer.
        self._looked: dict[str, tuple[int, int]] = {}
        # Those in hand, so that none is brought twice.
        self._in_hand: set[Identity] = set()
        # Those that instances put off until they go on. They take no room from the others.
        self._put_off: dict[tuple[str, str], set[Identity]] = {}
        # Instances that go on: what they put off comes again when that is durable.
        self._released: set[tuple[str, str]] = set()
        # The keys of what is damaged, so that it is told of once.
        self._unreadable: set[bytes] = set()
        self._next = NEVER
        # The first of those that were set and are not durable yet: none fires before it is.
        self._noticed = NEVER
        # Those that are done with, which are on disk until that is durable.
        self._finished: list[TimerRecord] = []
        # Whether one of these is on disk after that, and comes again.
        self._is_left = False
        self._looks = True
        self.is_closed = False
        self._alarm = clock.alarm(_Bell(self))
        self.upcoming: TimerRecord | None = None
        """What the alarm was set for last."""

    def notice(self, timers: list[TimerRecord]) -> None:
        """Timers that were just set; called with the journal's lock."""
        self._noticed = min(self._noticed, *(timer.due for timer in timers))

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """An instance is done with a timer, or puts it off; called with the journal's lock."""
        stimulus = message.stimulus
        assert isinstance(stimulus, (TimeoutDue, RetryDue, CommandDue))
        timer = stimulus.timer
        if decision.is_put_off:
            owner = timer.process, timer.instance
            self._put_off.setdefault(owner, set()).add(_identity(timer))
        extras = decision.step.extras
        if extras is not None and extras.due is not None and extras.due.name != timer.name:
            # Another of the same moment was set before it, and fired in its place.
            self._is_left = True
        self._finished.append(timer)

    def look_after_commit(self) -> None:
        """All that was handed over is durable."""
        finished, self._finished = self._finished, []
        was_full = len(self._in_hand) >= self._max_in_flight
        for timer in finished:
            self._in_hand.discard(_identity(timer))
        noticed, self._noticed = self._noticed, NEVER
        is_left, self._is_left = self._is_left, False
        released, self._released = self._released, set()
        comes_again = [self._put_off.pop(owner, None) for owner in released]
        # The clock may have been set forward, so that the alarm is late for what it was set to.
        is_missed = noticed != NEVER and self._next <= self._now()
        has_room = was_full and finished
        if noticed < self._next or is_missed or is_left or has_room or any(comes_again):
            self.ring()

    def start_over(self) -> None:
        """Forget what is in hand; with the journal's lock held."""
        self._in_hand.clear()
        self._put_off.clear()
        self._released.clear()
        self._looked.clear()
        self._finished, self._noticed = [], NEVER
        self._looks = True

    def release(self, process: str, instance: str) -> None:
        """An instance goes on: what it put off comes again, once that is durable."""
        if (process, instance) in self._put_off:
            with self._journal.lock:
                self._released.add((process, instance))
                self._journal.has_notes = True

    def close(self) -> None:
        """Ring no more."""
        self.is_closed = True
        self._alarm.close()

    def has_work(self) -> bool:
        """Whether something may be due."""
        return self._looks and not self.is_closed

    def work(self) -> None:
        """Bring what is due, and set the alarm for what comes next."""
        self._looks = False
        if self.is_closed:
            return
        # Before the look, so that whatever is set meanwhile rings.
        self._next = NEVER
        generation, now = self._journal.generation, self._now()
        with self._journal.lock:
            # No event that is stored from now on was stored before this look.
            last = self._events.last
        self._bring_all(now, last, generation)
        beyond = (now + 1).to_bytes(8, "big")
        for upcoming in self._timers(beyond, NEVER):
            self._next = upcoming.due
            self.upcoming = upcoming
            self._alarm.set(from_micros(self._next))
            if self._next <= self._now():
                # The clock moved on before the alarm was set.
                self._looks = True
            break

    def _bring_all(self, now: int, last: int, generation: int) -> None:
        room = max(0, self._max_in_flight - len(self._in_hand))
        taken: list[TimerRecord] = []
        brought: set[tuple[str, str]] = set()
        for timer in islice(self._due(now, last), room):
            if timer.kind != "command":
                owner = timer.process, timer.instance
                if owner in brought:
                    # The next one of an instance waits for the others to have their turns, so that
                    # all go by time, and not instance by instance.
                    self._looks = True
                    break
                brought.add(owner)
            taken.append(timer)
        if not taken:
            return
        if self._looks or len(taken) == room:
            taken = self._as_issued(taken)
        self._reads.gather_timers(taken)
        self._reads.gather_instances(self._residency.asleep(brought))
        with self._journal.lock:
            if generation != self._journal.generation:
                # A commit failed meanwhile, and what is in inboxes and in hand was forgotten.
                self._looks = True
                return
            commands = [timer for timer in taken if timer.kind == "command"]
            for timer in taken:
                if timer.kind != "command":
                    self._bring(timer)
            for timer in sorted(commands, key=_in_order):
                self._bring(timer)
            if len(taken) == room and len(self._in_hand) < self._max_in_flight:
                # There came more room meanwhile.
                self._looks = True

    def _bring(self, timer: TimerRecord) -> None:
        """Take one in hand, and give it to its instance if it is for one; with the lock held."""
        self._in_hand.add(_identity(timer))
        stimulus: TimeoutDue | RetryDue | CommandDue
        if timer.kind == "command":
            if not self._may_be_taken_back(timer):
                self._release_command(timer)
                return
            stimulus = CommandDue(timer)
        else:
            stimulus = RetryDue(timer) if timer.kind == "retry" else TimeoutDue(timer)
        if not self._deliver(timer.process, timer.instance, InstanceMessage(stimulus, self)):
            # That of a process manager that is not registered stays until it is.
            owner = timer.process, timer.instance
            self._put_off.setdefault(owner, set()).add(_identity(timer))
            self._in_hand.discard(_identity(timer))

    def _as_issued(self, taken: list[TimerRecord]) -> list[TimerRecord]:
        """The same with the first commands of each instance, when there are more than were read.

        The store has those of one moment in no order.
        """
        last = taken[-1].due
        behind = [one for one in taken if one.kind == "command" and one.due == last]
        kept = [one for one in taken if one.kind != "command" or one.due != last]
        for (process, instance), read in groupby(sorted(behind, key=_owner), _owner):
            kept += self._first_issued(process, instance, list(read))
        return kept

    def _first_issued(
        self, process: str, instance: str, read: list[TimerRecord]
    ) -> list[TimerRecord]:
        """As many as were read, of all commands that the instance has at their moment."""
        due = read[0].due
        found = {one.name: one for one in read}
        with suppress(CorruptRecord):
            newest = self._rows.last_transition(process, instance)
            for name, moment in ((newest and newest.timers) or {}).items():
                if moment != due or name in found or not is_issued_by(name, process, instance):
                    continue
                timer = TimerRecord(due, process, instance, name, "command")
                if self._is_taken(timer):
                    continue
                held = self._rows.timer_of(timer)
                if held is not None:
                    found[name] = held
        return sorted(found.values(), key=_in_order)[: len(read)]

    def _may_be_taken_back(self, timer: TimerRecord) -> bool:
        """Whether its instance has something to do before, so that it may cancel the command."""
        process, instance = timer.process, timer.instance
        if self._residency.is_awake(process, instance):
            return True
        try:
            return self._waits(process, instance)
        except CorruptRecord:
            # It is told of when the instance is read.
            return True

    def _release_command(self, timer: TimerRecord) -> None:
        """Put a command that was held back into the queue; with the journal's lock held."""
        step = released(timer)
        outcome = self._journal.lay(step)
        if outcome is not None and outcome.is_committed and step.enqueue:
            self._enqueue(step.enqueue)
        self._finished.append(timer)
        self._journal.has_notes = True

    def _due(self, now: int, last: int) -> Iterator[TimerRecord]:
        """What is due and not in hand, and behind nothing that was stored before this look."""
        may_go = self._routed_since()
        for timer in self._timers(b"", now):
            if timer.kind != "retry" and timer.due > may_go.get(timer.process, 0):
                if not self._has_routed(timer.process, last):
                    self._looked.setdefault(timer.process, (last, now))
                    continue
                may_go[timer.process] = now
            if not self._is_taken(timer):
                yield timer

    def _is_taken(self, timer: TimerRecord) -> bool:
        """Whether it is in hand, or its instance has put it off until it goes on."""
        identity = _identity(timer)
        return identity in self._in_hand or identity in self._put_off.get(_owner(timer), ())

    def _routed_since(self) -> dict[str, int]:
        """The times of looks whose positions the routers have routed since, by process manager."""
        there = [
            (process, looked)
            for process, (position, looked) in self._looked.items()
            if self._has_routed(process, position)
        ]
        for process, _ in there:
            del self._looked[process]
        return dict(there)

    def _timers(self, after: bytes, until: int) -> Iterator[TimerRecord]:
        """All in order of time; one that cannot be read is told of and left out."""
        while True:
            try:
                for _, timer in self._rows.scan_timers(until, after):
                    yield timer
            except CorruptRecord as error:
                after = error.key
                self._tell_of(error)
            else:
                return

    def _tell_of(self, error: CorruptRecord) -> None:
        if error.key not in self._unreadable:
            self._unreadable.add(error.key)
            logger.critical(
                "what is due then is left out, since it cannot be told whose it is: %s", error
            )

    def ring(self) -> None:
        """The alarm rang, or something may have become due."""
        self._looks = True
        self.wake()


def _identity(timer: TimerRecord) -> Identity:
    return timer.due, timer.process, timer.instance, timer.kind, timer.name


def _owner(timer: TimerRecord) -> tuple[str, str]:
    return timer.process, timer.instance


def _in_order(timer: TimerRecord) -> tuple[int, str, str, int, int]:
    """By time; what one step issued for the same time, as it was issued."""
    issue = place_of_issue(timer.name)
    assert issue is not None
    return timer.due, *issue


class _Bell:
    """What the alarm calls; it tells a clock that people move what it rings for."""

    def __init__(self, timers: TimerService) -> None:
        self._timers = timers

    def __call__(self) -> None:
        self._timers.ring()

    def __str__(self) -> str:
        timer = self._timers.upcoming
        if timer is None:
            return "the timers"
        return f"{timer.kind} {timer.name!r} of {timer.process} {timer.instance!r}"
