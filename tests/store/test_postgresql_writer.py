"""How commits of several partitions share a connection, without a server."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("psycopg")

from procession.store import DatabaseRefused, StoreError
from procession.store.interrupts import Latch
from procession.store.postgresql import writer as writing
from procession.store.postgresql.questions import Question
from procession.store.postgresql.statements import Rows
from procession.store.postgresql.writer import Writer
from procession.store.storage_engine import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from procession.store.postgresql.writer import Queued
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
    """A commit of one row, in a table of its own. Satisfies `Commit`."""

    epoch = 1
    error: Exception | None = None

    def __init__(self, part: int) -> None:
        self.part = part
        self.rows = Rows(part, {f"table {part}": {b"key": b"value"}})
        self.ticket: Ticket | None = None
        self.turn = Latch()
        self.behind: Queued | None = None

    @property
    def is_over(self) -> bool:
        return self.ticket is not None

    def prepare(self) -> bool:
        return True

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


def test_two_commits_of_a_partition_go_one_after_the_other(connection: Held) -> None:
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    connection.answer_all()
    with writer.held():
        waiting = []
        for number, part in enumerate((0, 1, 0), 1):
            waiting.append(committing(writer, part))
            until(lambda: len(writer._queue) == number)  # noqa: B023 - called at once
    for thread in waiting:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert connection.sent == [2, 1]


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


class Asking:
    """In the place of a connection that answers with what was asked, after the first `answer`."""

    trips = 0

    def __init__(self, refuses: str = "", *, breaks: bool = False) -> None:
        self.is_broken = False
        self.sent: list[list[str]] = []
        self._refuses = refuses
        self._breaks = breaks
        self.first_answer = threading.Event()

    def is_fresh(self) -> bool:
        return not self.is_broken

    def run(self, *calls: str) -> list[str]:
        self.sent.append(list(calls))
        if len(self.sent) == 1:
            assert self.first_answer.wait(PATIENCE)
            return list(calls)
        if self._refuses in calls:
            self.is_broken = self._breaks
            raise DatabaseRefused(f"{self._refuses} is refused")
        return list(calls)


class Named(Question[str]):
    """A question that is sent as its name, and answered with it."""

    def __init__(self, name: str) -> None:
        super().__init__(0, name)

    @staticmethod
    def together(some: Sequence[Named]) -> Any:
        (one,) = some
        return one.kind

    @staticmethod
    def answers(some: Sequence[Named], result: Any) -> list[str]:
        assert len(some) == 1
        return [result]


class Asked:
    """A question, and what came of it. Satisfies `QueuedQuestion`."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.question = Named(name)
        self.turn = Latch()
        self.behind: Queued | None = None
        self.answer: str | None = None
        self.error: Exception | None = None
        self.asks_again = False
        self._wrong = error

    @property
    def is_over(self) -> bool:
        return self.answer is not None or self.error is not None

    def check(self) -> None:
        if self._wrong is not None:
            raise self._wrong


def asking(writer: Writer, one: Asked) -> threading.Thread:
    def ask() -> None:
        with suppress(StoreError):
            writer.ask(one)  # type: ignore[arg-type]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def ask_together(connection: Asking, *questions: Asked) -> None:
    """Ask all, while the answer to another question is on its way."""
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    first = asking(writer, Asked("first"))
    until(lambda: connection.sent == [["first"]])
    threads = []
    for number, one in enumerate(questions, 1):
        threads.append(asking(writer, one))
        until(lambda: len(writer._questions) == number)  # noqa: B023 - called at once
    connection.first_answer.set()
    for thread in (first, *threads):
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_questions_that_came_meanwhile_share_a_trip() -> None:
    connection, questions = Asking(), [Asked(name) for name in "abc"]
    ask_together(connection, *questions)
    assert connection.sent == [["first"], ["a", "b", "c"]]
    assert [one.answer for one in questions] == ["a", "b", "c"]


def test_a_question_that_is_refused_takes_no_other_along() -> None:
    connection, questions = Asking(refuses="b"), [Asked(name) for name in "abc"]
    ask_together(connection, *questions)
    assert [one.answer for one in questions] == ["a", None, "c"]
    assert str(questions[1].error) == "b is refused"
    assert not any(one.asks_again for one in questions)


def test_a_question_of_a_partition_that_is_lost_is_not_sent() -> None:
    lost = StoreError("lost")
    connection, questions = Asking(), [Asked("a"), Asked("b", lost), Asked("c")]
    ask_together(connection, *questions)
    assert connection.sent == [["first"], ["a", "c"]]
    assert [one.error for one in questions] == [None, lost, None]


def test_questions_on_a_connection_that_breaks_are_to_be_asked_again() -> None:
    connection = Asking(refuses="b", breaks=True)
    questions = [Asked(name) for name in "abc"]
    ask_together(connection, *questions)
    assert connection.sent == [["first"], ["a", "b", "c"]]
    assert all(isinstance(one.error, DatabaseRefused) for one in questions)
    assert all(one.asks_again for one in questions)


def test_a_commit_and_a_question_that_wait_are_both_sent(connection: Held) -> None:
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    connection.answer_all()
    with writer.held():
        waiting = committing(writer, 0)
        until(lambda: len(writer._queue) == 1)
        question = Asked("a", StoreError("lost"))
        asked = asking(writer, question)
        until(lambda: len(writer._questions) == 1)
    for thread in (waiting, asked):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert connection.sent == [1]
    assert str(question.error) == "lost"


def test_commits_and_questions_that_wait_are_called_by_turns(connection: Held) -> None:
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    commit, question = Small(0), Asked("a")
    writer._queue.append(commit)
    writer._questions.append(question)  # type: ignore[arg-type]
    called: list[str] = []
    for _ in range(4):
        commit.turn, question.turn = Latch(), Latch()
        writer._call_next()
        called += ["commit"] if commit.turn.is_open else []
        called += ["question"] if question.turn.is_open else []
    assert called == ["question", "commit"] * 2


def test_commits_go_together_up_to_a_size(
    connection: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LARGEST", 2 * Small(0).rows.size)
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    connection.answer_all()
    with writer.held():
        waiting = []
        for part in range(5):
            waiting.append(committing(writer, part))
            until(lambda: len(writer._queue) == part + 1)  # noqa: B023 - called at once
    for thread in waiting:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert connection.sent == [2, 2, 1]


def test_threads_whose_commits_were_sent_go_on_one_after_the_other(
    connection: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "AT_FIRST", 2)
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    connection.answer_all()
    others = [Small(part) for part in range(1, 6)]
    writer._queue.extend(others)
    writer.commit(Small(0))
    assert all(one.ticket is KEPT for one in others)
    went_on = [[one.turn.is_open for one in others]]
    for one in others[:3]:
        # As its thread does.
        writer._wait_for(one, writer._commit_queued)
        went_on.append([one.turn.is_open for one in others])
    assert [sum(each) for each in went_on] == [2, 3, 4, 5]
    assert connection.sent == [6]


def test_who_sends_and_is_left_for_the_next_time_sends_again(connection: Held) -> None:
    writer = Writer(lambda: connection)  # type: ignore[arg-type,return-value]
    connection.answer_all()
    before, own = Small(0), Small(0)
    writer._queue.append(before)
    assert writer.commit(own) is KEPT
    assert before.ticket is KEPT
    assert connection.sent == [1, 1]
    last = Small(0)
    writer._queue.append(last)
    thread = committing(writer, 0)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert connection.sent == [1, 1, 1, 1]
