"""A connection that threads have in common; one of them at a time sends what all have brought."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import TypeAlias

    from .connection import Connection

__all__ = ["Brought", "Line", "Wait", "at_once", "taken"]

T = TypeVar("T")


class Brought(Protocol):
    """What a thread has brought to be sent."""

    @property
    def is_done(self) -> bool:
        """Whether it is known what became of it."""
        ...


if TYPE_CHECKING:
    Wait: TypeAlias = Callable[[Brought, Callable[[Brought], None]], None]
    """Returns when what was brought is done. It has it sent by the second, which it may call once
    others have brought more."""


class Line:
    """A connection, which is made anew when it is broken.

    Args:
        connect: makes a connection

    Attributes:
        lock: held by who uses it

    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self.lock = threading.Lock()
        self._connection: Connection | None = None

    @property
    def trips(self) -> int:
        """How often something was sent and waited for."""
        return 0 if self._connection is None else self._connection.trips

    @property
    def is_broken(self) -> bool:
        """Whether there is no connection to go on with."""
        return self._connection is None or self._connection.is_broken

    def connection(self) -> tuple[Connection, bool]:
        """The connection, and whether it is new; with the lock held.

        Raises:
            DatabaseRefused: the database does not answer

        """
        if self._connection is not None and self._connection.is_fresh():
            return self._connection, False
        self._connection = self._connect()
        return self._connection, True

    def close(self) -> None:
        """Let go of the connection; with the lock held, unless nothing else uses it."""
        if self._connection is not None:
            self._connection.close()


def at_once(one: Brought, send: Callable[[Brought], None]) -> None:
    """Have it sent now."""
    send(one)


def taken(queue: deque[T]) -> list[T]:
    """All that is queued; others add to it meanwhile, and only who has the line takes."""
    return [queue.popleft() for _ in range(len(queue))]
