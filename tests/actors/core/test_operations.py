"""Timeouts and held back commands as data: an operator looks, moves and cancels."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    Aggregate,
    ClosedError,
    Command,
    Domain,
    Event,
    ProcessManager,
    ReadOnlyStore,
    Runtime,
    Timeout,
    UnknownMessage,
    handle,
    timeout,
)
from procession.store import LmdbStore
from procession.testing import VirtualClock

library = Domain("library")

DAY = timedelta(days=1)


class Lent(Event):
    book: str
    days: int = 14
    letter_after: int = 0
    end: bool = False
    fail: bool = False


class Write(Command):
    book: str


class Written(Event):
    book: str


@library.register
class Desk(Aggregate, identity="book"):
    @handle(Write)
    def write(self, command: Write) -> Written:
        return Written(self.id)


@library.register
class Loan(ProcessManager, correlate="book"):
    book: str = ""
    late: list[str] = []

    @handle(Lent, start=True)
    def lend(self, event: Lent) -> None:
        if event.days:
            self.set_timeout("due", timedelta(days=event.days))
        if event.letter_after:
            self.issue(Write(self.book), after=timedelta(days=event.letter_after))
        if event.end:
            self.mark_as_complete()
        if event.fail:
            raise ValueError("as the test wants")

    @timeout("due")
    def on_due(self) -> None:
        self.late.append("due")

    @timeout("lost")
    def on_lost(self) -> None:
        self.late.append("lost")


class Visit(ProcessManager, correlate="book"):
    """Another one, with a timeout of the same name."""

    book: str = ""

    @handle(Lent, start=True)
    def visit(self, event: Lent) -> None:
        self.set_timeout("due", timedelta(days=event.days + 1))

    @timeout("due")
    def on_due(self) -> None:
        self.mark_as_complete()


both = Domain("both")
both.register(Loan, Visit, Desk)


def lend(runtime: Runtime, book: str, **more: Any) -> None:
    runtime.publish(Lent(book, **more), stream="feed::book-1")
    runtime.settle(timeout=10)


def go(runtime: Runtime, clock: VirtualClock, days: float) -> None:
    clock.advance(timedelta(days=days))
    runtime.settle(timeout=10)


def late(runtime: Runtime, book: str = "b") -> list[str]:
    view = runtime.get(Loan, book)
    assert view is not None
    found: list[str] = view.state["late"]
    return found


def written(runtime: Runtime) -> list[str]:
    return [one.event.book for one in runtime.events() if isinstance(one.event, Written)]


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(library, clock=clock) as opened:
        yield opened


# Looking


def test_what_is_due_is_listed_in_order_of_time(runtime: Runtime, clock: VirtualClock) -> None:
    lend(runtime, "b", days=14, letter_after=7)
    lend(runtime, "a", days=3)
    now = clock.now()
    letter = Write("b")
    assert list(runtime.timeouts()) == [
        Timeout("library.Loan", "a", "due", "timeout", now + 3 * DAY),
        Timeout("library.Loan", "b", "library.Loan-b@1.0", "command", now + 7 * DAY, letter),
        Timeout("library.Loan", "b", "due", "timeout", now + 14 * DAY),
    ]
    assert all(one.due.tzinfo is not None for one in runtime.timeouts())


def test_it_is_narrowed_by_process_manager_instance_and_time(clock: VirtualClock) -> None:
    with Runtime.ephemeral(both, clock=clock) as runtime:
        lend(runtime, "a", days=3)
        lend(runtime, "b", days=14)

        def found(*args: Any, **more: Any) -> list[str]:
            return [
                f"{one.process.split('.')[1]} {one.instance}"
                for one in runtime.timeouts(*args, **more)
            ]

        assert found() == ["Loan a", "Visit a", "Loan b", "Visit b"]
        assert found(Visit) == ["Visit a", "Visit b"]
        assert found(Visit, "a") == ["Visit a"]
        assert found(Loan, before=clock.now() + 14 * DAY) == ["Loan a", "Loan b"]
        assert found(Loan, before=clock.now() + 13 * DAY) == ["Loan a"]
        assert found(before=clock.now()) == []
        assert found(Visit, "z") == []
        with pytest.raises(ValueError, match="has no time zone; add tzinfo=UTC"):
            found(before=datetime(2030, 1, 1))  # noqa: DTZ001


class Counted(LmdbStore):
    """A store that counts the timers that it reads."""

    rows: ClassVar[int] = 0

    def scan_timers(self, until: int, after: bytes = b"") -> Any:
        for one in super().scan_timers(until, after):
            Counted.rows += 1
            yield one

    def scan_timers_through(self, until: int) -> Any:
        for one in super().scan_timers_through(until):
            Counted.rows += 1
            yield one


def test_a_long_list_is_read_as_it_is_looked_at(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.runtime.open_store", Counted)
    with Runtime.ephemeral(library, clock=clock) as runtime:
        runtime.publish_many(
            [Lent(f"b{number:04}", days=1 + number) for number in range(1_500)],
            stream="feed::book-1",
        )
        runtime.settle(timeout=20)
        Counted.rows = 0
        first = [one.instance for one in islice(runtime.timeouts(), 10)]
        assert first == [f"b{number:04}" for number in range(10)]
        assert 0 < Counted.rows <= 10
        Counted.rows = 0
        assert len(list(runtime.timeouts(before=clock.now() + 5 * DAY))) == 5
        assert 0 < Counted.rows <= 5
        assert len(list(runtime.timeouts())) == 1_500
        # What is not due is not read to find out what is.
        Counted.rows = 0
        go(runtime, clock, 0.5)
        assert Counted.rows <= 1


def test_it_may_be_looked_at_beside_the_writer(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, library, clock=clock) as runtime:
        lend(runtime, "b")
        with Runtime(tmp_path, library, read_only=True) as reader:
            assert [one.name for one in reader.timeouts(Loan, "b")] == ["due"]
            with pytest.raises(ReadOnlyStore, match="move_timeout: the store"):
                reader.move_timeout(Loan, "b", "due", clock.now())


# Moving and cancelling


def test_a_moved_timeout_fires_at_its_new_time_and_it_is_in_the_history(
    runtime: Runtime, clock: VirtualClock
) -> None:
    lend(runtime, "b")
    before = runtime.get(Loan, "b")
    assert runtime.move_timeout(Loan, "b", "due", clock.now() + 20 * DAY, by="ada") is True
    assert [one.due - clock.now() for one in runtime.timeouts()] == [20 * DAY]
    _, moved = runtime.history(Loan, "b")
    assert (moved.version, moved.handler, moved.note) == (2, "move_timeout", "due moved by ada")
    assert moved.time == clock.now()
    assert before is not None
    assert moved.state == before.state
    go(runtime, clock, 19)
    assert late(runtime) == []
    go(runtime, clock, 1)
    assert late(runtime) == ["due"]
    assert runtime.move_timeout(Loan, "b", "due", DAY) is False


def test_it_may_be_moved_by_a_delay_or_to_an_earlier_or_past_time(
    runtime: Runtime, clock: VirtualClock
) -> None:
    for book, when in (
        ("by-delay", 2 * DAY),
        ("earlier", clock.now() + 1 * DAY),
        ("past", clock.now() - DAY),
        ("long-past", datetime(1969, 1, 1, tzinfo=UTC)),
        ("at-zero", datetime(1970, 1, 1, tzinfo=UTC)),
    ):
        lend(runtime, book)
        assert runtime.move_timeout(Loan, book, "due", when)
        runtime.settle(timeout=10)
    for book in ("past", "long-past", "at-zero"):
        assert late(runtime, book) == ["due"]
    assert [one.instance for one in runtime.timeouts()] == ["earlier", "by-delay"]
    go(runtime, clock, 1)
    assert late(runtime, "earlier") == ["due"]
    go(runtime, clock, 1)
    assert late(runtime, "by-delay") == ["due"]


def test_a_cancelled_timeout_never_fires_and_it_is_in_the_history(
    runtime: Runtime, clock: VirtualClock
) -> None:
    lend(runtime, "b")
    assert runtime.cancel_timeout(Loan, "b", "due") is True
    assert list(runtime.timeouts()) == []
    _, cancelled = runtime.history(Loan, "b")
    assert cancelled.handler == "cancel_timeout"
    assert cancelled.note == "due cancelled by an operator"
    go(runtime, clock, 100)
    assert late(runtime) == []
    assert runtime.cancel_timeout(Loan, "b", "due") is False
    lend(runtime, "b", days=1)
    go(runtime, clock, 1)
    assert late(runtime) == ["due"]


def test_a_held_back_command_is_moved_and_cancelled_under_its_id(
    runtime: Runtime, clock: VirtualClock
) -> None:
    for book in ("a", "b", "c"):
        lend(runtime, book, days=0, letter_after=7)
    assert runtime.move_timeout(Loan, "a", "library.Loan-a@1.0", 9 * DAY, by="ada")
    assert runtime.cancel_timeout(Loan, "b", "library.Loan-b@1.0", by="ada")
    assert [(one.instance, one.command) for one in runtime.timeouts()] == [
        ("c", Write("c")),
        ("a", Write("a")),
    ]
    assert [one.note for one in runtime.history(Loan, "b")] == [
        None,
        "library.Loan-b@1.0 cancelled by ada",
    ]
    go(runtime, clock, 7)
    assert written(runtime) == ["c"]
    go(runtime, clock, 1)
    assert written(runtime) == ["c"]
    go(runtime, clock, 1)
    assert written(runtime) == ["c", "a"]
    go(runtime, clock, 100)
    assert written(runtime) == ["c", "a"]


def test_what_has_left_or_was_never_set_answers_false_and_leaves_no_trace(
    runtime: Runtime, clock: VirtualClock
) -> None:
    lend(runtime, "b", days=0, letter_after=7)
    go(runtime, clock, 7)
    letter = "library.Loan-b@1.0"
    for name in (letter, "due", "lost", "no such thing", "retry", ""):
        assert runtime.move_timeout(Loan, "b", name, DAY) is False
        assert runtime.cancel_timeout(Loan, "b", name) is False
    assert runtime.move_timeout(Loan, "nobody", "due", DAY) is False
    assert runtime.cancel_timeout(Loan, "nobody", "due") is False
    assert runtime.get(Loan, "nobody") is None
    assert len(list(runtime.history(Loan, "b"))) == 1
    go(runtime, clock, 10)
    assert written(runtime) == ["b"]


def test_commands_of_a_completed_instance_may_be_moved_and_it_stays_complete(
    runtime: Runtime, clock: VirtualClock
) -> None:
    lend(runtime, "b", letter_after=7, end=True)
    assert runtime.move_timeout(Loan, "b", "library.Loan-b@1.0", DAY)
    assert runtime.move_timeout(Loan, "b", "due", DAY) is False
    go(runtime, clock, 1)
    assert written(runtime) == ["b"]
    view = runtime.get(Loan, "b")
    assert view is not None
    assert (view.is_complete, view.status, view.version) == (True, "complete", 2)


def test_passivated_instances_are_moved_and_cancelled_and_it_outlives_a_restart(
    tmp_path: Path, clock: VirtualClock
) -> None:
    def restarted() -> Runtime:
        return Runtime(tmp_path, library, clock=clock, idle_timeout=timedelta(seconds=1))

    with restarted() as runtime:
        for book in ("a", "b", "c"):
            lend(runtime, book, letter_after=7)
        go(runtime, clock, 0.01)
        assert runtime.stats()["awake"] == 0
        assert runtime.move_timeout(Loan, "a", "due", clock.now() + DAY)
        assert runtime.cancel_timeout(Loan, "b", "due")
    with restarted() as runtime:
        assert runtime.move_timeout(Loan, "a", "library.Loan-a@1.0", 2 * DAY)
        assert runtime.cancel_timeout(Loan, "b", "library.Loan-b@1.0")
    with restarted() as runtime:
        go(runtime, clock, 2)
        assert late(runtime, "a") == ["due"]
        assert written(runtime) == ["a"]
        go(runtime, clock, 100)
        assert [late(runtime, book) for book in "abc"] == [["due"], [], ["due"]]
        assert written(runtime) == ["a", "c"]


def test_a_suspended_instances_timeout_is_moved_and_comes_when_it_goes_on(
    runtime: Runtime, clock: VirtualClock
) -> None:
    lend(runtime, "b")
    lend(runtime, "b", fail=True)
    assert runtime.move_timeout(Loan, "b", "due", DAY)
    view = runtime.get(Loan, "b")
    assert view is not None
    assert view.status == "suspended"
    go(runtime, clock, 1)
    # Due already, and put off; it may still be moved.
    assert runtime.move_timeout(Loan, "b", "due", DAY)
    (parked,) = runtime.parked()
    runtime.skip(parked.id)
    runtime.settle(timeout=10)
    assert late(runtime) == []
    go(runtime, clock, 1)
    assert late(runtime) == ["due"]


def test_an_instance_goes_on_from_the_version_that_an_operator_made(
    runtime: Runtime, clock: VirtualClock
) -> None:
    lend(runtime, "b")
    runtime.move_timeout(Loan, "b", "due", DAY)
    lend(runtime, "b", days=0, letter_after=1)
    assert [one.version for one in runtime.history(Loan, "b")] == [1, 2, 3]
    assert [one.name for one in runtime.timeouts() if one.command] == ["library.Loan-b@3.0"]
    go(runtime, clock, 1)
    assert late(runtime) == ["due"]
    assert written(runtime) == ["b"]


def test_a_moment_that_is_none_is_refused_and_so_is_a_class_that_is_not_here(
    runtime: Runtime, clock: VirtualClock
) -> None:
    lend(runtime, "b")
    with pytest.raises(ValueError, match="has no time zone; add tzinfo=UTC"):
        runtime.move_timeout(Loan, "b", "due", datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="beyond the year 9999"):
        runtime.move_timeout(Loan, "b", "due", timedelta.max)
    with pytest.raises(TypeError, match="'soon' is no timedelta or datetime"):
        runtime.move_timeout(Loan, "b", "due", "soon")  # type: ignore[arg-type]
    with pytest.raises(UnknownMessage, match="Visit"):
        runtime.cancel_timeout(Visit, "b", "due")
    assert [one.due - clock.now() for one in runtime.timeouts()] == [14 * DAY]
    runtime.close()
    with pytest.raises(ClosedError):
        runtime.cancel_timeout(Loan, "b", "due")
