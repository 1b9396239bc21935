"""Coroutines that wait for answers: their event loop is woken once for all answers of a commit."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ..store.interrupts import Latch

    Loop: TypeAlias = asyncio.AbstractEventLoop

__all__ = ["EventLoops"]


class EventLoops:
    """The event loops whose coroutines wait for something of one runtime.

    Args:
        together: calls a function when all who waited for one commit are told

    """

    def __init__(self, together: Callable[[Callable[[], None]], None]) -> None:
        self._together = together
        self._bells: weakref.WeakKeyDictionary[Loop, _Bell] = weakref.WeakKeyDictionary()

    async def opened(self, latch: Latch, timeout: float | None = None) -> bool:
        """Wait for a latch in a coroutine, while the others of its event loop go on.

        Args:
            latch: any thread may open it
            timeout: most seconds, or None for as long as it takes

        Returns:
            whether it is open

        Raises:
            RuntimeError: no asyncio event loop runs here

        """
        if timeout is None:
            await self.future(latch)
            return True
        future = self.future(latch)
        # A timer, and not `asyncio.wait_for`: what is raised tells no timeout from one of the
        # caller's own.
        timer = asyncio.get_running_loop().call_later(max(timeout, 0), _let_go, future)
        try:
            await future
        finally:
            timer.cancel()
        return latch.is_open

    def future(self, latch: Latch) -> asyncio.Future[None]:
        """What a coroutine awaits until a latch is open; as `opened`, and one call less."""
        loop = asyncio.get_running_loop()
        bell = self._bells.get(loop)
        if bell is None:
            bell = self._bells[loop] = _Bell(loop, self._together)
        future = loop.create_future()
        latch.call(_Sleeper(bell, future))
        return future


def _let_go(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Sleeper:
    """A coroutine that waits for a latch."""

    __slots__ = ("_bell", "_future")

    def __init__(self, bell: _Bell, future: asyncio.Future[None]) -> None:
        self._bell = bell
        self._future = future

    def release(self) -> None:
        self._bell.ring_for(self._future)


class _Bell:
    """Wakes one event loop from other threads, once for all that came together."""

    def __init__(self, loop: Loop, together: Callable[[Callable[[], None]], None]) -> None:
        # It stands in a dictionary of loops, which must not keep them.
        self._loop = weakref.ref(loop)
        self._together = together
        self._futures: deque[asyncio.Future[None]] = deque()
        self._is_due = False

    def ring_for(self, future: asyncio.Future[None]) -> None:
        """Have a coroutine go on; any thread may call this."""
        self._futures.append(future)
        # Read after it was added, and cleared before they are taken: so none is left.
        if not self._is_due:
            self._is_due = True
            self._together(self._ring)

    def _ring(self) -> None:
        loop = self._loop()
        if loop is not None:
            # It was closed, and no coroutine waits any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_due = False
        futures = self._futures
        # What comes meanwhile rings again, if it is not among these.
        while futures:
            _let_go(futures.popleft())
