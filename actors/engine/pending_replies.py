"""The callers who wait for an answer, so that a runtime that closes leaves none waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pykka

from ..store import ClosedError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeAlias

    ExcInfo: TypeAlias = tuple[
        type[BaseException] | None, BaseException | None, TracebackType | None
    ]

__all__ = ["PendingReplies", "Reply"]

T = TypeVar("T")


class _Waiter(Protocol):
    def give_up(self, error: ClosedError) -> None:
        """There will be no answer."""
        ...


class PendingReplies:
    """Those who wait; any thread may come and go."""

    def __init__(self) -> None:
        # Adding to a set and removing from it are each one step to Python's threads.
        self._waiters: set[_Waiter] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiters)

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


class Reply(pykka.ThreadingFuture[T]):
    """A Pykka future of an answer, which is an error if the runtime is closed before it."""

    # Pykka makes further futures of the same class, without arguments; they wait for this one.
    _pending: PendingReplies | None = None

    @classmethod
    def within(cls, pending: PendingReplies) -> Reply[T]:
        """A future that a caller is going to wait for."""
        reply = cls()
        reply._pending = pending
        pending.add(reply)
        return reply

    def set(self, value: Any = None) -> None:
        """Answer, unless it was too late."""
        if self._pending is None or self._pending.remove(self):
            super().set(value)

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Answer with an error, unless it was too late."""
        if self._pending is None or self._pending.remove(self):
            super().set_exception(exc_info)

    def give_up(self, error: ClosedError) -> None:
        """There will be no answer."""
        super().set_exception((type(error), error, None))
