"""The connection that commits, of one partition or of all of a node.

Commits of several partitions that come while another one is on its way go together: one
transaction, which locks the fences of all of them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from ..errors import DatabaseRefused, StoreError
from ..layout.schema import APPENDED
from .line import at_once, taken
from .postgresql_errors import KnownKey
from .statements import commit_of, fence

if TYPE_CHECKING:
    from ..storage_engine import Ticket
    from .line import Brought, Line, Wait
    from .statements import Changes

__all__ = ["Commit", "Writer"]

USUALLY_NEW = APPENDED | {"ids", "started"}
"""Tables whose rows have keys with a number that no row had before."""


class Commit(Protocol):
    """What a partition has to commit."""

    part: int
    ticket: Ticket | None
    """What became of it; None until that is known."""
    error: Exception | None
    """What is wrong with it; it was not sent then."""

    @property
    def is_done(self) -> bool:
        """Whether it is known what became of it."""
        ...

    @property
    def epoch(self) -> int:
        """With which its partition is this process's."""
        ...

    def prepare(self) -> bool:
        """Look whether it can be sent; with the writer's lock held."""
        ...

    @property
    def changes(self) -> Changes:
        """What writes its rows."""
        ...

    @property
    def rewritten(self) -> Changes:
        """Rows of tables to which rows are only added that are there, and get another value."""
        ...

    def is_kept(self) -> None:
        """It is durable."""
        ...

    def is_refused(self, error: StoreError, *, in_doubt: bool) -> None:
        """Nothing of it was kept, or, in doubt, what was sent may be carried out at any time."""
        ...


class Writer:
    """Commits on one connection.

    Args:
        line: the connection

    Attributes:
        wait: has what a thread brought sent, and returns when it is done

    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.wait: Wait = at_once
        self._queue: deque[Commit] = deque()

    def commit(self, one: Commit) -> Ticket:
        """Commit, with what others have to commit now, and say what became of it.

        Raises:
            StoreError: it cannot be sent

        """
        self._queue.append(one)
        self.wait(one, self._send_queued)
        if one.error is not None:
            raise one.error
        assert one.ticket is not None
        return one.ticket

    def _send_queued(self, one: Brought) -> None:
        """Send all that was queued, unless another thread has sent this one with its own."""
        with self.line.lock:
            if not one.is_done:
                self._commit(taken(self._queue))

    def _commit(self, works: list[Commit]) -> None:
        try:
            ready = [one for one in works if one.prepare()]
            if len(ready) > 1 and self._send(ready, as_usual=True):
                return
            # What one of them is refused for the others are not.
            for one in ready:
                if not self._send([one], as_usual=True):
                    self._send([one], as_usual=False)
        except BaseException:
            error = DatabaseRefused("a commit was interrupted before its answer was there")
            for one in works:
                if not one.is_done:
                    one.is_refused(error, in_doubt=True)
            raise

    def _send(self, works: list[Commit], *, as_usual: bool) -> bool:
        """Send some together; false if they are to be sent again, otherwise."""
        works = sorted(works, key=lambda one: one.part)
        new = USUALLY_NEW if as_usual else APPENDED
        rows = commit_of([one.changes for one in works], new=new)
        rows += commit_of([one.rewritten for one in works], new=())
        try:
            connection, _ = self.line.connection()
        except DatabaseRefused as error:
            for one in works:
                one.is_refused(error, in_doubt=False)
            return True
        try:
            connection.run(fence({one.part: one.epoch for one in works}), *rows)
        except StoreError as error:
            is_known = as_usual and isinstance(error, KnownKey)
            if (is_known or len(works) > 1) and not connection.is_broken:
                return False
            for one in works:
                one.is_refused(error, in_doubt=connection.is_broken)
            return True
        for one in works:
            one.is_kept()
        return True
