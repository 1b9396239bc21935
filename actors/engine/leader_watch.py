"""One thread that looks after the leaders of all dispatchers of a process.

A handler may block its leader. The watch sees to it that another thread of that dispatcher goes on
then. A thread for each dispatcher would do, but a process may run hundreds of partitions, and each
look takes the interpreter from those that compute.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from ..clock import seconds
from ..store.interrupts import Bell, start_thread

__all__ = ["LeaderWatch", "Led"]

logger = logging.getLogger("procession")

STALLED = 0.01
"""Seconds without progress after which a leader counts as blocked."""

ALERT = 0.001
"""The same while its handlers have been blocking: where one did, more will."""

LONG_TURN = 1.0
"""The same while a part of the engine has its turn, which calls no handler and only computes."""

ALERT_LOOKS = 250
"""How often the shorter time is kept to after a handler has blocked."""

LATE = 0.001
"""Seconds after which the watch counts as held up by threads that compute."""

FAIR = 20
"""How many times as long as it was held up itself the watch waits for a leader."""

FOR_EACH = 0.01
"""Seconds that it waits at most for each leader that may have the interpreter first."""

MOST_PATIENT = 1.0
"""Seconds that it waits at most, however many threads compute."""


class Led(Protocol):
    """What has a leader, from whom another thread may have to take over."""

    @property
    def progress(self) -> int:
        """Another number as soon as the leader, or its turn, is another."""
        ...

    @property
    def is_led(self) -> bool:
        """Whether there is a leader."""
        ...

    @property
    def is_held_up(self) -> bool:
        """Whether something waits while the leader is in a turn."""
        ...

    @property
    def is_in_part(self) -> bool:
        """Whether the turn is that of a part of the engine."""
        ...

    def relieve(self, progress: int) -> bool:
        """Have another thread take over; whether there is one, and no progress by now."""
        ...


class Patience:
    """How long the watch waits: the longer, the later it is itself let go on.

    Where other threads compute, such as those of other partitions, a leader waits for the
    interpreter as the watch does, and without progress it is not blocked.
    """

    def __init__(self) -> None:
        # Seconds by which it was held up, of late.
        self._late = 0.0
        self.leaders = 0
        """How many lead: a single one has the interpreter, unless it is blocked."""

    def of(self, patience: float) -> float:
        """How long it is where it would be so long if nothing computed."""
        if self.leaders <= 1:
            return patience
        most = min(self.leaders * FOR_EACH, MOST_PATIENT)
        return max(patience, min(FAIR * self._late, most))

    def wait(self, bell: Bell, patience: float) -> None:
        """Wait so long, or until the bell is rung, whose lock is held."""
        patience = self.of(patience)
        end = seconds() + patience
        bell.wait(patience)
        late = seconds() - end
        self._late = max(self._late / 2, late if late > LATE else 0.0)


class _Seen:
    """What the watch has seen of a leader."""

    __slots__ = ("alert", "progress", "since")

    def __init__(self) -> None:
        self.progress, self.since = -1, 0.0
        # How often it is still to look soon again.
        self.alert = 0


class LeaderWatch:
    """Looks after leaders, with a thread while there are any to look after."""

    def __init__(self) -> None:
        # Nothing else is locked, and nothing of the leaders called, while its lock is held.
        self._bell = Bell(threading.Lock())
        self._seen: dict[Led, _Seen] = {}
        self._is_asleep = False
        self._patience = Patience()
        self._thread: threading.Thread | None = None

    def join(self, led: Led) -> None:
        """Look after its leaders from now on.

        Args:
            led: says with `wake` that it has a leader

        Raises:
            NoThread: the operating system starts no thread

        """
        with self._bell.lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="procession-watch", daemon=True)
                # It waits for the lock.
                start_thread(thread)
                self._thread = thread
            self._seen[led] = _Seen()
            # It may have taken a lead before, of which the watch did not hear.
            self._is_asleep = False
            self._bell.notify_all()

    def leave(self, led: Led) -> None:
        """Look after its leaders no more; the thread ends with the last one's."""
        with self._bell.lock:
            self._seen.pop(led, None)
            if self._seen:
                return
            thread, self._thread = self._thread, None
            self._bell.notify_all()
        if thread is not None:
            thread.join()

    def wake(self) -> None:
        """A thread has taken a lead."""
        if self._is_asleep:
            with self._bell.lock:
                self._is_asleep = False
                self._bell.notify_all()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            # Set before the look: who takes a lead that the look does not see rings the bell.
            self._is_asleep = True
            pause = self._look()
            with self._bell.lock:
                if self._thread is not me:
                    return
                if pause is not None:
                    self._is_asleep = False
                    self._patience.wait(self._bell, pause)
                elif self._is_asleep:
                    self._bell.wait()

    def _look(self) -> float | None:
        """Look at all leaders; returns seconds until the next look, None while none leads."""
        now, pause, leaders = seconds(), None, 0
        for led, seen in tuple(self._seen.items()):
            try:
                is_led = self._look_at(led, seen, now)
            except Exception:
                # The others must be looked after. One that is being closed may say so.
                logger.warning("a leader could not be looked at", exc_info=True)
                is_led = True
            if is_led:
                leaders += 1
                pause = ALERT if seen.alert else pause or STALLED
                seen.alert -= bool(seen.alert)
        self._patience.leaders = leaders
        return pause

    def _look_at(self, led: Led, seen: _Seen, now: float) -> bool:
        """Have a leader relieved if it is blocked; whether there was one, of late at least."""
        progress = led.progress
        if progress != seen.progress:
            seen.progress, seen.since = progress, now
        elif not led.is_led:
            return False
        elif led.is_held_up:
            self._relieve_if_blocked(led, seen, now)
        return True

    def _relieve_if_blocked(self, led: Led, seen: _Seen, now: float) -> None:
        is_in_part = led.is_in_part
        patience = LONG_TURN if is_in_part else ALERT if seen.alert else STALLED
        is_blocked = now - seen.since >= self._patience.of(patience)
        if is_blocked and led.relieve(seen.progress) and not is_in_part:
            seen.alert = ALERT_LOOKS
