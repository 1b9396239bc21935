"""What is due while history is imported: it fires in the commit that sets it, too."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from ..engine.timers import NEVER, TimerService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..core.decision import Decision
    from ..engine.instance_actor import InstanceMessage
    from ..engine.services import Services
    from ..store import TimerRecord

__all__ = ["DueTimers"]


class DueTimers(TimerService):
    """Brings what is due when it is told to, and says when that is.

    In a service, a timer that was set waits for the disk: what it brings about could leave before
    it is durable. In an import nothing leaves, so timers are read with all that was handed over.
    """

    def __init__(self, services: Services, *others: Any, **options: Any) -> None:
        super().__init__(services, *others, **options)
        self._durable, self._rows = services.store, services.store.ahead
        # The times of what was set in the open commit. Some may be cancelled by now: then nothing
        # is found at that time.
        self._set: list[int] = []
        # The first time behind the last look at which something durable was due.
        self._stored = self._first_stored(0)
        # Before this key, there is only what instances have put off.
        self._behind = b""

    def next_moment(self) -> int:
        """When something may be due that was not brought; far away if nothing is."""
        if self._looks:
            return 0
        return min(self._set[0], self._stored) if self._set else self._stored

    def notice(self, timers: list[TimerRecord]) -> None:
        """Timers that were just set."""
        for timer in timers:
            heappush(self._set, timer.due)
            self._behind = min(self._behind, _key(timer.due))

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """An instance is done with a timer, or puts it off: its row is gone, or kept, at once."""
        was_full = len(self._in_hand) >= self._max_in_flight
        super().done(message, decision)
        self._let_go()
        if was_full or self._is_left:
            self._is_left = False
            self._look_again(message.stimulus.timer.due)  # type: ignore[union-attr] # `super` knows

    def release(self, process: str, instance: str) -> None:
        """An instance goes on: what it put off comes again."""
        if self._put_off.pop((process, instance), None):
            self._look_again(0)

    def look_after_commit(self) -> None:
        """What was set is among what is durable."""
        self._set.clear()
        # What is due at the moment of an event comes behind it, so it may be yet to fire.
        self._stored = self._first_stored(self._now() - 1)

    def work(self) -> None:
        """Bring what is due."""
        self._looks = False
        if self.is_closed:
            return
        now, behind = self._now(), self._behind
        while self._set and self._set[0] <= now:
            heappop(self._set)
        if self._stored <= now:
            self._stored = self._first_stored(now)
        self._bring_all(now, self._events.last, self._journal.generation)
        self._let_go()
        self._behind = behind if self._looks else max(behind, _key(now + 1))

    def _look_again(self, due: int) -> None:
        self._behind = min(self._behind, _key(due))
        self.ring()

    def _let_go(self) -> None:
        """Have those in hand no longer that are done with."""
        finished, self._finished = self._finished, []
        for timer in finished:
            self._in_hand.discard(
                (timer.due, timer.process, timer.instance, timer.kind, timer.name)
            )

    def _timers(self, after: bytes, until: int) -> Iterator[TimerRecord]:
        return super()._timers(max(after, self._behind), until)

    def _first_stored(self, after: int) -> int:
        for _, timer in self._durable.scan_timers(NEVER, _key(after + 1)):
            return timer.due
        return NEVER

    def _bring(self, timer: TimerRecord) -> None:
        if timer.command is not None:
            # From when it may leave, which is asked for when the store goes live.
            timer.command.time = self._now()
        super()._bring(timer)


def _key(due: int) -> bytes:
    """What the keys of all begin with that are due then."""
    return due.to_bytes(8, "big")
