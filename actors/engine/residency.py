"""The instances and aggregates that are awake, and which of them may sleep again."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from ..clock import LATEST, from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from ..clock import Clock
    from .dispatcher import Dispatcher
    from .durable_actor import DurableActor

    # What an actor is sent differs from one kind to the other; those who send know it.
    AnyActor: TypeAlias = DurableActor[Any]
    # Whom it is for, by process manager or category and the id within it; what makes that actor;
    # and the message.
    Sending: TypeAlias = tuple[tuple[str, str], Callable[[str], AnyActor], object]

__all__ = ["Residency"]

SHARE = 16
"""One part in so many is passivated at once when there are too many."""

SWEEPS = 8
"""Sweeps in one idle time: how exactly an idle actor's time is kept."""


class Residency:
    """Wakes actors, sends them messages, and passivates them when nothing happens to them.

    An actor is passivated only when all that it was sent is handled and durable. Messages are sent
    and actors are dropped under one lock, so none can arrive at an actor on its way out.

    Args:
        dispatcher: runs the actors
        clock: tells how long an actor has been idle
        max_awake: how many actors may be awake; more may be for as long as they have work
        idle_timeout: how long an idle actor stays, if its class does not say

    """

    def __init__(
        self, dispatcher: Dispatcher, clock: Clock, *, max_awake: int, idle_timeout: timedelta
    ) -> None:
        self._dispatcher = dispatcher
        self._lock = dispatcher.lock
        self._clock = clock
        self._max_awake = max_awake
        # How many more may wake before some are looked for that may sleep.
        self._room = max_awake
        self._idle = idle_timeout
        # In order of the last stimulus, or of the last look at one that was busy; oldest first.
        self._awake: dict[tuple[str, str], AnyActor] = {}
        self._now = to_micros(clock.now())
        self._period = max(1, _micros(idle_timeout / SWEEPS))
        self.passivated = 0
        self._alarm = clock.alarm(self._ring)
        # Whether no sweep comes before an actor can have been idle for long enough.
        self._rests = True

    def __len__(self) -> int:
        return len(self._awake)

    def send(self, messages: Iterable[Sending], *, is_urgent: bool = False) -> None:
        """Send messages to actors, in this order; those that sleep are woken first.

        A caller that is no worker calls the dispatcher's `nudge` afterwards.

        Args:
            messages: each with the actor's kind and name, and what makes the actor
            is_urgent: whether a caller waits for what comes of them

        """
        awake, dispatcher = self._awake, self._dispatcher
        queue = dispatcher.urgent if is_urgent else dispatcher.ready
        with self._lock:
            if self._rests:
                self._rests = False
                self._now = to_micros(self._clock.now())
                self._set_alarm(self._now + self._period)
            now = self._now
            for key, wake, message in messages:
                actor = awake.pop(key, None)
                if actor is None:
                    if self._room <= 0:
                        self._make_room()
                    self._room -= 1
                    actor = wake(key[1])
                    actor.on_start()
                awake[key] = actor
                actor.touched = now
                actor.envelopes.append(message)
                if not actor.scheduled:
                    # As `schedule_locked` does, with a call less.
                    actor.scheduled = True
                    queue.append(actor)
            dispatcher.work_waits = True

    def make_stale(self, kind: str, name: str) -> None:
        """Have an actor that is awake forget its state, since its log was written elsewhere.

        Args:
            kind: the process manager or category
            name: the id within it

        """
        with self._lock:
            actor = self._awake.get((kind, name))
            if actor is not None:
                actor.is_stale = True

    def sweep(self) -> None:
        """Passivate what has been idle for its time."""
        with self._lock:
            self._now = now = to_micros(self._clock.now())
            idle = [
                key
                for key, actor in self._awake.items()
                if actor.is_done
                and now - actor.touched >= _micros(actor.idle_timeout or self._idle)
            ]
            self._passivate(idle)
            self._room += len(idle)

    def close(self) -> None:
        """Sweep no more."""
        self._alarm.close()

    def abandon(self) -> None:
        """Have actors that are still in their turns end them after the message in hand."""
        with self._lock:
            for actor in self._awake.values():
                actor.envelopes.clear()

    def start_over(self) -> None:
        """Have all actors forget what is not durable; called with the journal's lock held."""
        with self._lock:
            for actor in self._awake.values():
                actor.start_over()
                if actor.envelopes:
                    self._dispatcher.schedule_locked(actor)

    def asleep(self, actors: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of several actors, each by its kind and name, that are not in memory."""
        awake = self._awake
        return [one for one in actors if one not in awake]

    def is_awake(self, kind: str, name: str) -> bool:
        """Whether an actor is in memory."""
        return (kind, name) in self._awake

    def passivate(self, kind: str, name: str) -> bool | None:
        """Drop an actor from memory; its log stays.

        Returns:
            whether it was dropped: False if it has work in hand, None if it was not awake

        """
        with self._lock:
            actor = self._awake.get((kind, name))
            if actor is None:
                return None
            if not actor.is_done:
                return False
            self._passivate([(kind, name)])
            self._room += 1
            return True

    def passivate_idle(self) -> int:
        """Drop all actors that have nothing to do; returns how many that were."""
        with self._lock:
            idle = [key for key, actor in self._awake.items() if actor.is_done]
            self._passivate(idle)
            self._room += len(idle)
            return len(idle)

    def let_go(self) -> None:
        """Stop every actor: the runtime is closed, and their logs stay."""
        with self._lock:
            self._passivate(list(self._awake))

    def _passivate(self, keys: list[tuple[str, str]]) -> None:
        """Let go of actors; called with the lock held."""
        for key in keys:
            self._awake.pop(key).on_stop()
        self.passivated += len(keys)

    def _ring(self) -> None:
        self.sweep()
        with self._lock:
            # A clock that is moved by a year need not stop for sweeps that would find no actor.
            self._rests = True
            if self._awake:
                ends = (
                    one.touched + _micros(one.idle_timeout or self._idle)
                    for one in self._awake.values()
                )
                self._set_alarm(max(self._now + self._period, min(ends)))

    def _set_alarm(self, micros: int) -> None:
        self._alarm.set(from_micros(min(micros, LATEST)))

    def _make_room(self) -> None:
        """Passivate the actors that have been idle longest; called with the lock held."""
        share = max(1, self._max_awake // SHARE)
        # Only when work has kept more awake are more dropped than have to be.
        most = share if len(self._awake) <= self._max_awake else 2 * share
        idle, busy = list[tuple[str, str]](), list[tuple[str, str]]()
        for key, actor in islice(self._awake.items(), 2 * share):
            (idle if actor.is_done else busy).append(key)
            if len(idle) == most:
                break
        self._passivate(idle)
        for key in busy:
            # At the end, so that it does not hide the idle ones for as long as it is busy.
            self._awake[key] = self._awake.pop(key)
        if not idle:
            # Some may sleep once what they handed over is durable.
            self._dispatcher.is_commit_due = True
        # When all of these are busy, it is not asked again for every one that comes.
        self._room = max(self._max_awake - len(self._awake), 0 if idle else share)


def _micros(time: timedelta) -> int:
    return int(time.total_seconds() * 1_000_000)
