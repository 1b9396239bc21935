"""The connection that commits, of one partition or of all of a node.

Commits of several partitions that come while another one is on its way go together: one
transaction, which locks the fences of all of them and writes each table in one statement. So do
questions, in one trip.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DatabaseRefused, StoreError
from ..interrupts import Latch
from ..layout.schema import APPENDED
from .postgresql_errors import KnownKey
from .questions import Together
from .statements import commit_of, fence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..storage_engine import Ticket
    from .connection import Connection
    from .questions import Question
    from .statements import Rows

__all__ = ["Commit", "Queued", "QueuedQuestion", "Writer"]

USUALLY_NEW = APPENDED | {"ids", "started"}
"""Tables whose rows have keys with a number that no row had before."""

LOOK_AGAIN = 0.5
"""Seconds after which a thread that waits looks at the lock by itself: a signal may have come
between letting go of the lock and telling who is next. Hundreds may wait, and each look takes the
interpreter from those that compute."""

AT_FIRST = 8
"""Threads that go on at once when what they waited for was sent. Each calls another one when it
does, so that they come one after the other: each of hundreds that wait for the interpreter asks for
it two hundred times a second, and wakes for that."""

LARGEST = 16 << 20
"""Bytes of commits that go together, unless a single one has more."""


class Queued(Protocol):
    """What waits for the connection."""

    error: Exception | None
    """What is wrong with it; it was not sent then."""
    turn: Latch
    """Opened when it is known what became of it, and when its thread is to send it."""
    behind: Queued | None
    """Whose turn this one's thread opens when it goes on."""

    @property
    def is_over(self) -> bool:
        """Whether it is known what became of it."""
        ...


class Commit(Queued, Protocol):
    """What a partition has to commit."""

    part: int
    ticket: Ticket | None
    """What became of it; None until that is known."""

    @property
    def epoch(self) -> int:
        """With which its partition is this process's."""
        ...

    def prepare(self) -> bool:
        """Look whether it can be sent; with the writer's lock held."""
        ...

    @property
    def rows(self) -> Rows:
        """What it writes."""
        ...

    def is_kept(self) -> None:
        """It is durable."""
        ...

    def is_refused(self, error: StoreError, *, in_doubt: bool) -> None:
        """Nothing of it was kept, or, in doubt, what was sent may be carried out at any time."""
        ...


class QueuedQuestion(Queued, Protocol):
    """What a partition asks before it decides a step."""

    question: Question[Any]
    answer: Any
    """None until it is there."""
    asks_again: bool
    """Whether there is no answer since the connection broke, which is made again."""

    def check(self) -> None:
        """Raise what is wrong, so that it cannot be asked; with the writer's lock held."""
        ...


class Writer:
    """Commits on one connection, and asks.

    Args:
        connect: makes a connection

    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._queue: deque[Commit] = deque()
        self._questions: deque[QueuedQuestion] = deque()
        # Whose turn it was last.
        self._is_for_questions = False

    @property
    def trips(self) -> int:
        """How often something was sent and waited for."""
        return 0 if self._connection is None else self._connection.trips

    @property
    def is_broken(self) -> bool:
        """Whether there is no connection to go on with."""
        return self._connection is None or self._connection.is_broken

    def connection(self) -> tuple[Connection, bool]:
        """The connection, and whether it is new; with the lock held."""
        if self._connection is not None and self._connection.is_fresh():
            return self._connection, False
        self._connection = self._connect()
        return self._connection, True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the connection for this thread alone, as who commits has it."""
        try:
            with self._lock:
                yield
        finally:
            self._call_next()

    def _call_next(self) -> None:
        """Have the thread of the first that waits send it, with all others that do."""
        # By turns: partitions that catch up always have a question.
        self._is_for_questions = not self._is_for_questions
        queues: list[deque[Any]] = [self._questions, self._queue]
        for queue in queues if self._is_for_questions else reversed(queues):
            with suppress(IndexError):
                queue[0].turn.open()
                return

    def ask(self, one: QueuedQuestion) -> None:
        """Ask, with what others ask now; it has its answer then.

        Raises:
            StoreError: there is no answer; if `one` says so, it is to be asked again

        """
        self._questions.append(one)
        self._wait_for(one, self._ask_queued)
        if one.error is not None:
            raise one.error

    def commit(self, one: Commit) -> Ticket:
        """Commit, with what others have to commit now, and say what became of it.

        Raises:
            StoreError: it cannot be sent

        """
        self._queue.append(one)
        self._wait_for(one, self._commit_queued)
        if one.error is not None:
            raise one.error
        assert one.ticket is not None
        return one.ticket

    def _wait_for(self, one: Queued, send: Callable[[], None]) -> None:
        try:
            self._have_sent(one, send)
        finally:
            if one.behind is not None:
                one.behind.turn.open()

    def _have_sent(self, one: Queued, send: Callable[[], None]) -> None:
        """Wait until another thread has sent what is queued, or send it.

        Those whose commits were sent do not wait for the lock: with it, each would wait for the
        commits of others, and have nothing to send with them.
        """
        if threading.get_ident() == threading.main_thread().ident:
            # A signal may land here, and only a `with` block leaves no lock taken then.
            with self.held():
                while not one.is_over:
                    send()
            return
        while not one.is_over:
            if self._lock.acquire(blocking=False):
                try:
                    if not one.is_over:
                        # It may be among those that are left for the next time.
                        send()
                finally:
                    self._lock.release()
                    self._call_next()
            elif one.turn.wait(LOOK_AGAIN):
                one.turn = Latch()

    def _ask_queued(self) -> None:
        works: list[QueuedQuestion] = []
        while self._questions:
            works.append(self._questions.popleft())
        _put_in_line(works)
        try:
            ready = [one for one in works if self._may_ask(one)]
            if not (len(ready) > 1 and self._ask(ready)):
                # What one of them is refused for the others are not.
                for one in ready:
                    self._ask([one])
        except BaseException:
            for one in works:
                if not one.is_over:
                    one.error = DatabaseRefused("a question was interrupted before its answer")
                    one.asks_again = True
            raise
        finally:
            for one in works[:AT_FIRST]:
                one.turn.open()

    def _may_ask(self, one: QueuedQuestion) -> bool:
        try:
            one.check()
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that asks
            self._note_failed(one, error)
        return one.error is None

    def _note_failed(self, one: QueuedQuestion, error: Exception) -> None:
        # Noted now: who comes next makes the connection again.
        one.error, one.asks_again = error, isinstance(error, DatabaseRefused) and self.is_broken

    def _ask(self, works: list[QueuedQuestion]) -> bool:
        """Ask some together; false if they are to be asked again, each by itself."""
        try:
            connection, _ = self.connection()
            together = Together([one.question for one in works])
            answers = together.answers(connection.run(*together.calls))
        except StoreError as error:
            if len(works) > 1 and not self.is_broken:
                return False
            for one in works:
                self._note_failed(one, error)
            return True
        for one, answer in zip(works, answers, strict=True):
            one.answer = answer
        return True

    def _commit_queued(self) -> None:
        works = self._taken_commits()
        _put_in_line(works)
        try:
            ready = [one for one in works if one.prepare()]
            if not (len(ready) > 1 and self._send(ready, as_usual=True)):
                # What one of them is refused for the others are not.
                for one in ready:
                    if not self._send([one], as_usual=True):
                        self._send([one], as_usual=False)
        except BaseException:
            error = DatabaseRefused("a commit was interrupted before its answer was there")
            for one in works:
                if one.ticket is None and one.error is None:
                    one.is_refused(error, in_doubt=True)
            raise
        finally:
            for one in works[:AT_FIRST]:
                one.turn.open()

    def _taken_commits(self) -> list[Commit]:
        """Those that wait by now, up to a size; of each partition one.

        A statement writes a row once, and the server takes none of a gigabyte.
        """
        works: dict[int, Commit] = {}
        size = 0
        while self._queue and self._queue[0].part not in works:
            one = self._queue[0]
            if works or len(self._queue) > 1:
                size += one.rows.size
            if works and size > LARGEST:
                break
            self._queue.popleft()
            works[one.part] = one
        return list(works.values())

    def _send(self, works: list[Commit], *, as_usual: bool) -> bool:
        """Send some together; false if they are to be sent again, otherwise."""
        new = USUALLY_NEW if as_usual else APPENDED
        rows = commit_of([one.rows for one in works], new=new)
        try:
            connection, _ = self.connection()
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

    def close(self) -> None:
        """Let go of the connection; with the lock held, unless nothing else uses it."""
        if self._connection is not None:
            self._connection.close()


def _put_in_line(works: Sequence[Queued]) -> None:
    """Say who calls whom. Who misses the call looks by itself, as `LOOK_AGAIN` says."""
    for one, behind in zip(works, works[AT_FIRST:], strict=False):
        one.behind = behind
