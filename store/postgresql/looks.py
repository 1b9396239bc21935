"""What partitions look for before they go on: what several of them ask for is one trip."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..errors import DatabaseRefused, StoreError
from .line import at_once, taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.pq.abc import PGresult

    from .connection import Call
    from .line import Brought, Line, Wait

__all__ = ["Look", "Looks"]


class Look:
    """One question.

    Args:
        call: what is asked
        check: raises if it is not to be asked any more

    Attributes:
        answer: None until it is there
        error: why there is none
        is_lost: whether it can be asked again, since the connection broke

    """

    __slots__ = ("answer", "call", "check", "error", "is_lost")

    def __init__(self, call: Call, check: Callable[[], None]) -> None:
        self.call = call
        self.check = check
        self.answer: PGresult | None = None
        self.error: Exception | None = None
        self.is_lost = False

    @property
    def is_done(self) -> bool:
        """Whether there is an answer, or will be none."""
        return self.answer is not None or self.error is not None


class Looks:
    """Asks questions on one connection.

    Args:
        line: the connection

    Attributes:
        wait: has what a thread brought sent, and returns when it is done

    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.wait: Wait = at_once
        self._queue: deque[Look] = deque()

    def ask(self, one: Look) -> PGresult:
        """The answer to a question, which is asked with those that others have now.

        Raises:
            StoreError: there is none

        """
        self._queue.append(one)
        self.wait(one, self._send_queued)
        if one.error is not None:
            raise one.error
        assert one.answer is not None
        return one.answer

    def _send_queued(self, one: Brought) -> None:
        """Send all that was queued, unless another thread has sent this one with its own."""
        with self.line.lock:
            if not one.is_done:
                self._send(taken(self._queue))

    def _send(self, looks: list[Look]) -> None:
        ready: list[Look] = []
        try:
            for one in looks:
                try:
                    one.check()
                    ready.append(one)
                except StoreError as error:
                    one.error = error
            if ready and not self._answer(ready):
                # What one of them is refused for the others are not.
                for one in ready:
                    self._answer([one])
        except BaseException as failure:
            for one in looks:
                if not one.is_done:
                    one.error = DatabaseRefused(f"a look was cut off before its answer: {failure}")
                    one.is_lost = True
            raise

    def _answer(self, looks: list[Look]) -> bool:
        """Ask some together; false if each is to be asked alone."""
        try:
            connection, _ = self.line.connection()
            answers = connection.run(*(one.call for one in looks))
        except StoreError as error:
            if len(looks) > 1 and not self.line.is_broken:
                return False
            for one in looks:
                one.error = error
                one.is_lost = self.line.is_broken and isinstance(error, DatabaseRefused)
            return True
        for one, answer in zip(looks, answers, strict=True):
            one.answer = answer
        return True
