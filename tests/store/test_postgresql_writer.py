"""How commits of several partitions share a connection, without a server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("psycopg")

from procession.store.interrupts import Latch
from procession.store.postgresql.writer import Writer
from procession.store.storage_engine import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procession.store.storage_engine import Ticket

PATIENCE = 30.0


class Held:
    """In the place of a connection: what is sent is answered when the test lets it be."""

    is_broken = False
    trips = 0

    def __init__(self) -> None:
        self.sent: list[int] = []
        self._answers = [threading.Event() for _ in range(8)]

    def is_fresh(self) -> bool:
        return True

    def run(self, *calls: object) -> None:
        # The first of them is the fence.
        self.sent.append(len(calls) - 1)
        assert self._answers[len(self.sent) - 1].wait(PATIENCE)

    def answer(self, which: int) -> None:
        self._answers[which].set()

    def answer_all(self) -> None:
        for one in self._answers:
            one.set()


class Small:
    """A commit of one statement. Satisfies `Commit`."""

    epoch = 1
    error: Exception | None = None

    def __init__(self, part: int) -> None:
        self.part = part
        self.ticket: Ticket | None = None
        self.turn = Latch()

    @property
    def is_over(self) -> bool:
        return self.ticket is not None

    def prepare(self) -> bool:
        return True

    def calls(self, *, as_usual: bool) -> list[Any]:
        del as_usual
        return [None]

    def is_kept(self) -> None:
        self.ticket = KEPT

    def is_refused(self, error: Exception, *, in_doubt: bool) -> None:
        raise AssertionError((error, in_doubt))


@pytest.fixture
def connection() -> Iterator[Held]:
    held = Held()
    yield held
    held.answer_all()


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE * 1_000)):
        if is_so():
            return
        Latch().wait(0.001)
    raise AssertionError


def committing(writer: Writer, part: int) -> threading.Thread:
    thread = threading.Thread(target=writer.commit, args=(Small(part),), daemon=True)
    thread.start()
    return thread


def test_commits_that_came_meanwhile_go_together_and_do_not_wait_for_the_next(
    connection: Held,
) -> None:
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    first = committing(writer, 0)
    until(lambda: connection.sent == [1])
    together = [committing(writer, part) for part in (1, 2, 3)]
    until(lambda: len(writer._queue) == 3)
    connection.answer(0)
    until(lambda: connection.sent == [1, 3])
    last = committing(writer, 4)
    until(lambda: len(writer._queue) == 1)
    connection.answer(1)
    until(lambda: connection.sent == [1, 3, 1])
    # The connection is taken again, by the last one.
    for thread in (first, *together):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert last.is_alive()
    connection.answer(2)
    last.join(PATIENCE)
    assert not last.is_alive()


def test_a_commit_that_waits_while_the_connection_is_read_from_is_sent_afterwards(
    connection: Held,
) -> None:
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    connection.answer_all()
    with writer.held():
        waiting = committing(writer, 0)
        until(lambda: len(writer._queue) == 1)
        assert connection.sent == []
    waiting.join(PATIENCE)
    assert connection.sent == [1]
