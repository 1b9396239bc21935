"""The callers who wait for an answer, so that a runtime that closes leaves none waiting."""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pykka

from ..store import ClosedError
from ..store.interrupts import Latch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import TypeAlias

    from .event_loops import EventLoops

    ExcInfo: TypeAlias = tuple[
        type[BaseException] | None, BaseException | None, TracebackType | None
    ]

__all__ = ["PendingReplies", "ReplyFuture"]

T = TypeVar("T")


class _Waiter(Protocol):
    def give_up(self, error: ClosedError) -> None:
        """There will be no answer."""
        ...


class PendingReplies:
    """Those who wait; any thread may come and go."""

    def __init__(self) -> None:
        # The thread that tells many of them, and what is to follow when it has told all.
        self._teller: int | None = None
        self._afterwards: deque[Callable[[], None]] = deque()
        # Adding to a set and removing from it are each one step to Python's threads.
        self._waiters: set[_Waiter] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiters)

    @cached_property
    def loops(self) -> EventLoops:
        """The event loops whose coroutines are among them."""
        # Here, since asyncio takes a while to import, and many a service has no coroutine.
        from .event_loops import EventLoops  # noqa: PLC0415

        return EventLoops(self._call_together)

    def tell_together(self, tell: Callable[[], bool]) -> bool:
        """Tell many, as of one commit; what is to be done once for all of them is done then.

        Returns:
            what the call returned

        """
        self._teller = threading.get_ident()
        try:
            return tell()
        finally:
            self._teller = None
            while self._afterwards:
                self._afterwards.popleft()()

    def _call_together(self, call: Callable[[], None]) -> None:
        """Have something done when all are told; at once where no more are told on this thread."""
        if self._teller == threading.get_ident():
            self._afterwards.append(call)
        else:
            call()

    def add(self, waiter: _Waiter) -> None:
        """A caller waits from now on; one that comes too late is told at once."""
        self._waiters.add(waiter)
        # Looked at last, so that either `close` finds the waiter, or the waiter finds it closed.
        if self._is_closed:
            self.close()

    def remove(self, waiter: _Waiter) -> bool:
        """An answer is there; False if it came too late."""
        try:
            self._waiters.remove(waiter)
        except KeyError:
            return False
        return True

    def close(self) -> None:
        """Tell every caller that there will be no answer."""
        self._is_closed = True
        while self._waiters:
            try:
                waiter = self._waiters.pop()
            except KeyError:
                # Its answer came just now.
                continue
            # Each has an error of its own, since raising one changes it.
            waiter.give_up(
                ClosedError(
                    "the runtime was closed before there was an answer. It may have been carried "
                    "out or not: open it again and ask again, with the same id if it had one"
                )
            )


class ReplyFuture(pykka.Future[T]):
    """A Pykka future of an answer, which is an error if the runtime is closed before it.

    Unlike Pykka's own for threads, it may be waited for in a thread that is interrupted.
    """

    # Pykka makes further futures of the same class, without arguments; they wait for this one.
    _pending: PendingReplies | None = None

    def __init__(self) -> None:
        super().__init__()
        self._answered = Latch()
        self._value: T | None = None
        self._error: ExcInfo | None = None

    @classmethod
    def within(cls, pending: PendingReplies) -> ReplyFuture[T]:
        """A future that a caller is going to wait for."""
        reply = cls()
        reply._pending = pending
        pending.add(reply)
        return reply

    def get(self, *, timeout: float | None = None) -> Any:
        """As any Pykka future's.

        Raises:
            pykka.Timeout: time ran out

        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._answered.wait(timeout):
            raise pykka.Timeout(f"{timeout} seconds")
        if self._error is None:
            return self._value
        kind, error, trace = self._error
        assert kind is not None
        if error is None:
            error = kind()
        if error.__traceback__ is not trace:
            raise error.with_traceback(trace)
        raise error

    async def answered(self, timeout: float | None = None) -> bool:
        """Wait for the answer in a coroutine; whether it came within so many seconds."""
        assert self._pending is not None
        return await self._pending.loops.opened(self._answered, timeout)

    def awaited(self) -> asyncio.Future[None]:
        """What a coroutine awaits until the answer is there."""
        assert self._pending is not None
        return self._pending.loops.future(self._answered)

    def __await__(self) -> Generator[Any, None, T]:
        """As `get`, while the other coroutines of the event loop go on."""
        return self._awaited().__await__()

    __iter__ = __await__

    async def _awaited(self) -> Any:
        if self._pending is None:
            # What `map` and its like make has no answer of its own, and asks others within `get`.
            import asyncio  # noqa: PLC0415 - as in `PendingReplies.loops`

            return await asyncio.to_thread(self.get)
        await self.awaited()
        return self.get()

    def set(self, value: Any = None) -> None:
        """Answer, unless it was too late."""
        if self._pending is None or self._pending.remove(self):
            self._answer(value, None)

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Answer with an error, unless it was too late."""
        if self._pending is None or self._pending.remove(self):
            self._answer(None, exc_info or sys.exc_info())

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """As any Pykka future's, which has no answer yet."""
        if self._answered.is_open:
            raise queue.Full
        super().set_get_hook(func)

    def give_up(self, error: ClosedError) -> None:
        """There will be no answer."""
        self._answer(None, (type(error), error, None))

    def _answer(self, value: Any, error: ExcInfo | None) -> None:
        if self._answered.is_open or self._get_hook is not None:
            raise queue.Full
        self._value, self._error = value, error
        self._answered.open()
