"""One thread at a time computes for all partitions of a node.

Each partition has a dispatcher with a thread of its own, and a thread that waits for the database
costs nothing. But those that could go on all at once would each offer the interpreter to the others
at every look at a socket, and get it back after all of them. So who leads a dispatcher holds the
baton, and lays it down while it waits for the database; what others ask for meanwhile goes along in
the same trip.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ..clock import seconds
from ..store.interrupts import Latch, start_thread
from .dispatcher import ALERT, ALERT_LOOKS, STALLED, Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store.postgresql.writer import Brought

__all__ = ["Baton", "BatonDispatcher"]

PATIENCE = 0.005
"""Seconds after which what was brought is sent, though others may bring something still."""


class _Going:
    """A thread that leads a dispatcher, and is to go on when it has the baton."""

    __slots__ = ("latch", "led", "one", "thread")

    def __init__(self, led: BatonDispatcher, one: Brought | None = None) -> None:
        self.thread = threading.get_ident()
        self.led = led
        self.one = one
        self.latch = Latch()
        """Opens when it has the baton, or is to send what was brought."""


class Baton:
    """Is held by one thread at a time, in the order in which they asked for it.

    A thread takes it from a leader whose handler blocks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Who can go on; who waits until what it looks for is there; and until it is durable.
        self._waiting: deque[_Going] = deque()
        self._looking: deque[_Going] = deque()
        self._committing: list[_Going] = []
        self._since = 0.0
        """When the first of those who look for something began to wait."""
        self._holder = 0
        """The thread that has it; 0 if none has."""
        self._led: BatonDispatcher | None = None
        """What that one leads."""
        self._is_over = False
        # Opens when there is a holder to be watched; None while there is one.
        self._idle: Latch | None = None
        self._watcher = threading.Thread(target=self._watch, name="procession-baton", daemon=True)

    def start(self) -> None:
        """Watch who holds it from now on."""
        start_thread(self._watcher)

    def take(self, led: BatonDispatcher) -> None:
        """Wait for it, for who leads a dispatcher."""
        me = _Going(led)
        with self._lock:
            self._waiting.append(me)
            if not self._holder:
                self._pass_on()
        me.latch.wait()

    def give(self) -> None:
        """Let the next one have it, if it was not taken away before."""
        with self._lock:
            if self._holder == threading.get_ident():
                self._pass_on()

    def gather(self, one: Brought, send: Callable[[Brought], None]) -> None:
        """Have what this thread looks for asked for with what others do, who go on first.

        The baton is kept meanwhile, since the answer is there at once.

        Args:
            one: what it looks for
            send: asks for all that was brought

        """
        if self._holder != threading.get_ident():
            send(one)
            return
        with self._lock:
            me = self._put_off(one)
        if me is not None:
            me.latch.wait()
        if not one.is_done:
            send(one)
            with self._lock:
                self._waiting.extend(self._looking)
                self._looking.clear()

    def _put_off(self, one: Brought) -> _Going | None:
        """Let those go on who can; with the lock held. None if it is time to ask."""
        now = seconds()
        if not self._looking:
            self._since = now
        if not self._waiting or now - self._since >= PATIENCE:
            return None
        assert self._led is not None
        me = _Going(self._led, one)
        self._looking.append(me)
        self._pass_on()
        return me

    def leave(self, one: Brought, send: Callable[[Brought], None]) -> None:
        """Have what this thread commits made durable, while others go on.

        What they bring meanwhile goes together, as soon as this one is durable.

        Args:
            one: the commit
            send: sends all that was brought

        """
        if self._holder != threading.get_ident():
            send(one)
            return
        with self._lock:
            if one.is_done:
                # Another thread had sent it before this one came here.
                return
            assert self._led is not None
            me = _Going(self._led, one)
            is_first = not self._committing
            self._committing.append(me)
            self._pass_on()
        if not is_first:
            me.latch.wait()
            if one.is_done:
                return
            # It sends what came while the one before it was on its way.
            me.latch = Latch()
        try:
            send(one)
        finally:
            with self._lock:
                self._go_on(me)
            me.latch.wait()

    def _go_on(self, sender: _Going) -> None:
        """What was committed is known; with the lock held."""
        left: list[_Going] = []
        for each in self._committing:
            is_over = each is sender or each.one is None or each.one.is_done
            (self._waiting if is_over else left).append(each)
        self._committing = left
        if left:
            # It is not durable, and sends what there is.
            left[0].latch.open()
        if not self._holder:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let the next one have it; with the lock held."""
        following = self._waiting or self._looking
        if not following:
            self._holder, self._led = 0, None
            return
        going = following.popleft()
        self._holder, self._led = going.thread, going.led
        if self._idle is not None:
            self._idle.open()
            self._idle = None
        going.latch.open()

    def _watch(self) -> None:
        """Take it from leaders that are held up by a handler."""
        alert = 0
        while not self._is_over:
            with self._lock:
                holder, led = self._holder, self._led
                idle = self._idle = None if holder else Latch()
            if idle is not None:
                idle.wait()
                continue
            assert led is not None
            turns = led.turns
            Latch().wait(ALERT if alert else STALLED)
            alert = max(0, alert - 1)
            if self._holder == holder and led.is_held_up(turns):
                alert = ALERT_LOOKS
                led.lose_lead(holder)
                with self._lock:
                    if self._holder == holder:
                        self._pass_on()

    def close(self) -> None:
        """Watch no more; when no dispatcher is led any more."""
        self._is_over = True
        with self._lock:
            if self._idle is not None:
                self._idle.open()
        if self._watcher.is_alive():
            self._watcher.join()


class BatonDispatcher(Dispatcher):
    """As `Dispatcher`, whose leader holds a baton.

    Args:
        baton: of the node
        given: as for `Dispatcher`

    """

    def __init__(self, baton: Baton, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._baton = baton
        # What watches the baton watches its leader.
        self._watched.is_watching = True

    def start(self) -> None:
        with self._bell.lock:
            self._add_thread()

    def _have_watched(self) -> None:
        """It is, without a thread of its own."""

    def _lead(self, me: int) -> None:
        self._baton.take(self)
        try:
            super()._lead(me)
        finally:
            self._baton.give()

    def is_held_up(self, turns: int) -> bool:
        """Whether the leader is still in the turn in which it was seen before."""
        if self.turns != turns or self._is_idling or self._stopping or self._in_turn is None:
            return False
        return not self._in_turn.is_part or self._is_too_long(turns)

    def lose_lead(self, leader: int) -> None:
        """Have another thread lead, if there is more to do, while one is in a handler."""
        with self._bell.lock:
            if self._leader != leader or self._stopping:
                return
            self._leader = None
            self.work_waits = True
            if not self._benched and len(self._threads) < self._most:
                self._add_help()
            self._bell.notify()
