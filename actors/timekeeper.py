"""The timekeeper: brings what is due to instances, and held back commands to the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import Besides, Step

from .clock import from_micros
from .dispatcher import PooledActor
from .errands import TimerDue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store import CommandRecord, Outcome, StoreError, TimerRecord

    from .clock import Clock
    from .courier import Courier
    from .router import Router

__all__ = ["Timekeeper"]

PAGE = 256

NEVER = (1 << 63) - 1


class Timekeeper(PooledActor):
    """Reads timers from the store when they are due, so that any number may be pending.

    Args:
        courier: has what is shared
        clock: rings when the next one is due
        router_of: finds the router of a process manager, by name
        max_in_flight: most timers in hand at once

    """

    def __init__(
        self,
        courier: Courier,
        clock: Clock,
        router_of: Mapping[str, Router],
        *,
        max_in_flight: int,
    ) -> None:
        super().__init__(courier.dispatcher)
        self._courier = courier
        self._now: Callable[[], int] = courier.now
        self._router_of = router_of
        self._max_in_flight = max_in_flight
        # The keys in hand, and of which instance, so that none is brought twice.
        self._in_hand: dict[bytes, tuple[str, str]] = {}
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
        self._in_hand.pop(key, None)
        if was_full:
            self._ring()

    def release(self, process: str, instance: str) -> None:
        """An instance goes on: what it put off comes again."""
        mine = [key for key, owner in list(self._in_hand.items()) if owner == (process, instance)]
        for key in mine:
            self._in_hand.pop(key, None)
        if mine:
            self._ring()

    def held_back(self, timer: TimerRecord) -> CommandRecord | None:
        """The command that a timer holds back."""
        after = (timer.due).to_bytes(8, "big")
        while page := self._courier.store.read_timers(after, timer.due, PAGE):
            for key, found in page:
                after = key
                if (found.process, found.instance, found.name) == (
                    timer.process,
                    timer.instance,
                    timer.name,
                ):
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
        store = self._courier.store
        now = self._now()
        after = b""
        while len(self._in_hand) < self._max_in_flight:
            page = store.read_timers(after, now, PAGE)
            for key, timer in page:
                if key not in self._in_hand:
                    self._bring(key, timer)
            if len(page) < PAGE:
                break
            after = page[-1][0]
        beyond = (now + 1).to_bytes(8, "big")
        upcoming = store.read_timers(beyond, NEVER, 1)
        self._next = upcoming[0][1].due if upcoming else NEVER
        if upcoming:
            self._alarm.set(from_micros(self._next))

    def _ring(self) -> None:
        self._looks = True
        self.wake()

    def _bring(self, key: bytes, timer: TimerRecord) -> None:
        self._in_hand[key] = (timer.process, timer.instance)
        if timer.kind == "command":
            self._courier.journal.add(_Released(self, key, timer))
            return
        router = self._router_of.get(timer.process)
        # That of a process manager that is not registered stays until it is.
        if router is not None:
            router.send(timer.instance, TimerDue(timer=timer, key=key))

    def released(self, key: bytes, step: Step) -> None:
        """A held back command is in the queue; called by the journal."""
        assert step.enqueue is not None
        self._courier.queued(step.enqueue)
        self.finished(key)

    def try_again(self, work: _Released) -> None:
        """The disk refused."""
        self._courier.journal.add(work)


class _Released:
    """A command that was held back goes into the queue."""

    def __init__(self, timekeeper: Timekeeper, key: bytes, timer: TimerRecord) -> None:
        assert timer.command is not None
        self._timekeeper = timekeeper
        self._key = key
        self.step = Step(enqueue=[timer.command], besides=Besides(due=timer))

    def committed(self, outcome: Outcome) -> None:
        if outcome.is_committed:
            self._timekeeper.released(self._key, self.step)
        else:
            self._timekeeper.finished(self._key)

    def failed(self, error: StoreError) -> None:
        del error
        self._timekeeper.try_again(self)
