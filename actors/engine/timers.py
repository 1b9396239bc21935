"""The timer service: brings what is due to instances, and held back commands to the queue."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..clock import from_micros
from ..core.stimuli import TimerDue
from ..store import CorruptRecord, Step, StepExtras, place_of_issue
from .dispatcher import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..clock import Clock
    from ..store import CommandRecord, Outcome, StoreError, TimerRecord
    from .command_queue import CommandQueue
    from .router import Router

__all__ = ["TimerService"]

logger = logging.getLogger("procession")

NEVER = (1 << 63) - 1


class TimerService(PooledActor):
    """Reads timers from the store when they are due, so that any number may be pending.

    Args:
        command queue: has what is shared
        clock: rings when the next one is due
        router_of: finds the router of a process manager, by name
        max_in_flight: most timers in hand at once

    """

    def __init__(
        self,
        command_queue: CommandQueue,
        clock: Clock,
        router_of: Mapping[str, Router],
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(command_queue.dispatcher)
        self._command_queue = command_queue
        self._now: Callable[[], int] = command_queue.now
        self._router_of = router_of
        self._max_in_flight = max_in_flight
        # The keys in hand, so that none is brought twice.
        self._in_hand: set[bytes] = set()
        # Keys that instances put off until they go on. They take no room from the others.
        self._put_off: dict[tuple[str, str], set[bytes]] = {}
        # What is damaged, so that it is told of once.
        self._unreadable: set[bytes] = set()
        self._next = NEVER
        self._looks = True
        self.is_closed = False
        self._alarm = clock.alarm(self._ring)

    def notice(self, timers: list[TimerRecord]) -> None:
        """Timers that were just set; called by the journal."""
        if min(timer.due for timer in timers) < self._next:
            self._ring()

    def finished(self, key: bytes) -> None:
        """One is done with; called by the journal."""
        was_full = len(self._in_hand) >= self._max_in_flight
        self._in_hand.discard(key)
        if was_full:
            self._ring()

    def put_off(self, key: bytes, timer: TimerRecord) -> None:
        """Its instance is suspended; called by the journal."""
        self._put_off.setdefault((timer.process, timer.instance), set()).add(key)
        self.finished(key)

    def release(self, process: str, instance: str) -> None:
        """An instance goes on: what it put off comes again."""
        if self._put_off.pop((process, instance), None):
            self._ring()

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        """The command that a timer holds back."""
        after = (timer.due).to_bytes(8, "big")
        name = (timer.process, timer.instance, timer.name)
        for _, found in self._timers(after, timer.due):
            if (found.process, found.instance, found.name) == name:
                return found.command
        return None

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
        now = self._now()
        self._bring_all(now)
        beyond = (now + 1).to_bytes(8, "big")
        for _, upcoming in self._timers(beyond, NEVER):
            self._next = upcoming.due
            self._alarm.set(from_micros(self._next))
            if self._next <= self._now():
                # The clock moved on before the alarm was set.
                self._looks = True
            break

    def _bring_all(self, now: int) -> None:
        commands: list[tuple[bytes, TimerRecord]] = []
        brought: set[tuple[str, str]] = set()
        for key, timer in self._due(now):
            owner = (timer.process, timer.instance)
            router = self._router_of.get(timer.process)
            if timer.kind == "command":
                self._in_hand.add(key)
                commands.append((key, timer))
            elif router is None:
                # That of a process manager that is not registered stays until it is.
                self._put_off.setdefault(owner, set()).add(key)
            elif owner in brought:
                # The next one of an instance waits for the others to have their turns, so that
                # all go by time, and not instance by instance.
                self._looks = True
                break
            else:
                brought.add(owner)
                self._in_hand.add(key)
                router.send(timer.instance, TimerDue(timer=timer, key=key))
        for key, timer in sorted(commands, key=_in_order):
            self._command_queue.journal.add(_Released(self, key, timer))

    def _due(self, now: int) -> Iterator[tuple[bytes, TimerRecord]]:
        """What is due and in nobody's hand, as long as there is room."""
        for key, timer in self._timers(b"", now):
            if len(self._in_hand) >= self._max_in_flight:
                return
            if key in self._in_hand:
                continue
            if key in self._put_off.get((timer.process, timer.instance), ()):
                continue
            yield key, timer

    def _timers(self, after: bytes, until: int) -> Iterator[tuple[bytes, TimerRecord]]:
        """All in order of time; one that cannot be read is told of and left out."""
        while True:
            try:
                yield from self._command_queue.store.scan_timers(until, after)
            except CorruptRecord as error:
                after = error.key
                self._tell_of(error)
            else:
                return

    def _tell_of(self, error: CorruptRecord) -> None:
        if error.key not in self._unreadable:
            self._unreadable.add(error.key)
            logger.critical(
                "what is due then is left out, since nobody knows whose it is: %s", error
            )

    def _ring(self) -> None:
        self._looks = True
        self.wake()

    def released(self, key: bytes, step: Step) -> None:
        """A held back command is in the queue; called by the journal."""
        assert step.enqueue is not None
        self._command_queue.queued(step.enqueue)
        self.finished(key)

    def try_again(self, work: _Released) -> None:
        """The disk refused."""
        self._command_queue.journal.add(work)


def _in_order(due: tuple[bytes, TimerRecord]) -> tuple[int, str, str, int, int]:
    """By time; what one step issued for the same time, as it was issued."""
    _, timer = due
    issue = place_of_issue(timer.name)
    assert issue is not None
    return timer.due, *issue


class _Released:
    """A command that was held back goes into the queue."""

    def __init__(self, timer_service: TimerService, key: bytes, timer: TimerRecord) -> None:
        assert timer.command is not None
        self._timer_service = timer_service
        self._key = key
        self.step = Step(enqueue=[timer.command], extras=StepExtras(due=timer))

    def committed(self, outcome: Outcome) -> None:
        if outcome.is_committed:
            self._timer_service.released(self._key, self.step)
        else:
            self._timer_service.finished(self._key)

    def failed(self, error: StoreError) -> None:
        del error
        self._timer_service.try_again(self)
