"""The connections that read: a few, lent to readers of one partition or of all of a node."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import DatabaseRefused
from ..interrupts import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.pq.abc import PGresult

    from .connection import Call, Connection

__all__ = ["Readers"]

MOST_READERS = 2
"""Connections that are kept for readers."""

BRIEFLY = 0.000_5
"""Seconds between two looks for a connection that another thread has given back."""

PATIENCE = 1.0
"""Seconds that a reader waits for one before it makes one more."""


class Readers:
    """Connections, one for each thread that looks at the tables at a time.

    They are taken and given back without a lock, which a signal handler could not wait for.

    Args:
        connect: makes a connection
        most: that are kept

    """

    def __init__(self, connect: Callable[[], Connection], most: int = MOST_READERS) -> None:
        self._connect = connect
        self._most = most
        self._idle: deque[Connection] = deque()
        self._lent: set[object] = set()
        self._is_closed = False

    @property
    def trips(self) -> int:
        """How often something was sent and waited for, by the connections that are at rest now."""
        return sum(one.trips for one in list(self._idle))

    def add(self, connection: Connection) -> None:
        """Keep one that was made for something else."""
        self._give_back(connection)

    def look(self, *calls: Call) -> list[PGresult]:
        """The answers to questions, in one trip.

        Raises:
            StoreError: the database does not answer, or refuses

        """
        while True:
            # Stands for the connection from before there is one.
            place = object()
            try:
                connection, is_new = self._take(place)
                try:
                    return connection.run(*calls)
                except DatabaseRefused:
                    # One that was idle may have broken long ago.
                    if is_new or not connection.is_broken:
                        raise
                finally:
                    self._give_back(connection)
            finally:
                self._lent.discard(place)

    def _take(self, place: object) -> tuple[Connection, bool]:
        """A connection, and whether it is new."""
        left = PATIENCE
        while True:
            self._lent.add(place)
            with suppress(IndexError):
                return self._idle.pop(), False
            if len(self._lent) <= self._most or left <= 0:
                return self._connect(), True
            self._lent.discard(place)
            Latch().wait(BRIEFLY)
            left -= BRIEFLY

    def _give_back(self, connection: Connection) -> None:
        if connection.is_broken or len(self._idle) >= self._most:
            connection.close()
            return
        self._idle.append(connection)
        if self._is_closed:
            # Who closed it may not have seen this one.
            self.close()

    def close(self) -> None:
        """Close all that are at rest, and each other one when it is given back."""
        self._is_closed = True
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return
