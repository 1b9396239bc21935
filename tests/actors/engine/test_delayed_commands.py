"""Commands are queued; some are held back until their time, and may be cancelled until then."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    WaitingInHandler,
    handle,
    timeout,
)
from procession.testing import VirtualClock

post = Domain("post")

SECOND = timedelta(seconds=1)


class Asked(Event):
    """What a handler is to issue: texts, and after how many seconds."""

    letter: str
    texts: list[str] = []
    after: float | None = None
    at: datetime | None = None
    end: bool = False
    fail: bool = False


class Recalled(Event):
    letter: str
    number: int


class Send(Command):
    box: str
    text: str


class Sent(Event):
    box: str
    text: str


@post.register
class Box(Aggregate, identity="box"):
    @handle(Send)
    def send(self, command: Send) -> Sent:
        return Sent(self.id, command.text)


@post.register
class Letter(ProcessManager, correlate="letter"):
    letter: str = ""
    handles: list[str] = []

    hook: ClassVar[Any] = None

    @handle(Asked, start=True)
    def ask(self, event: Asked) -> None:
        after = None if event.after is None else timedelta(seconds=event.after)
        if event.texts:
            commands = [Send("b", text) for text in event.texts]
            self.handles.append(self.issue(*commands, after=after, at=event.at))
        if Letter.hook is not None:
            Letter.hook(self, event)
        if event.end:
            self.mark_as_complete()
        if event.fail:
            raise ValueError("as the test asked")

    @handle(Recalled)
    def recall(self, event: Recalled) -> None:
        self.cancel(self.handles[event.number])


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    Letter.hook = None
    yield
    Letter.hook = None


def ask(runtime: Runtime, *texts: str, letter: str = "l", **more: Any) -> None:
    runtime.publish(Asked(letter, list(texts), **more), stream="feed::letter-1")
    runtime.settle(timeout=10)


def recall(runtime: Runtime, number: int, letter: str = "l") -> None:
    runtime.publish(Recalled(letter, number), stream="feed::letter-1")
    runtime.settle(timeout=10)


def go(runtime: Runtime, clock: VirtualClock, seconds: float) -> None:
    clock.advance(timedelta(seconds=seconds))
    runtime.settle(timeout=10)


def sent(runtime: Runtime) -> list[str]:
    return [one.event.text for one in runtime.events() if isinstance(one.event, Sent)]


# Commands are queued


def test_issue_returns_at_once_and_the_command_leaves_with_its_step() -> None:
    seen: list[int] = []
    with Runtime.ephemeral(post) as runtime:
        # A handler may not ask the runtime.
        Letter.hook = lambda letter, event: seen.append(runtime._store.last_position())
        ask(runtime, "one", "two")
        # Nothing is behind the event in hand, which may be on disk already.
        assert seen[0] <= 1
        assert sent(runtime) == ["one", "two"]


def test_a_step_that_fails_issues_nothing(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "now", letter="a", fail=True)
        ask(runtime, "later", letter="b", after=1, fail=True)
        go(runtime, clock, 10)
        assert sent(runtime) == []
        assert list(runtime.timeouts()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda runtime: runtime.ask(Send("b", "x")),
        lambda runtime: runtime.ask(Send("b", "x"), block=False),
        lambda runtime: runtime.tell(Send("b", "x")),
        lambda runtime: runtime.tell_many([Send("b", "x")]),
        lambda runtime: runtime.publish(Sent("b", "x"), stream="post::box-b"),
        lambda runtime: runtime.settle(),
        lambda runtime: runtime.move_timeout(Letter, "l", "x", datetime.now(UTC)),
        lambda runtime: runtime.cancel_timeout(Letter, "l", "x"),
        lambda runtime: runtime.close(),
    ],
)
def test_waiting_in_a_handler_is_refused_with_what_to_do_instead(call: Any) -> None:
    caught: list[str] = []
    with Runtime.ephemeral(post) as runtime:

        def wait(letter: Letter, event: Asked) -> None:
            with pytest.raises(WaitingInHandler) as error:
                call(runtime)
            caught.append(str(error.value))

        Letter.hook = wait
        ask(runtime)
        (text,) = caught
        assert "was called from a handler. It waits, and what a handler makes must leave" in text
        assert "self.issue(...)" in text
        assert sent(runtime) == []


def test_waiting_in_a_handler_that_does_not_catch_it_parks_the_event() -> None:
    with Runtime.ephemeral(post) as runtime:
        Letter.hook = lambda letter, event: runtime.settle()
        ask(runtime)
        (parked,) = runtime.parked()
        assert parked.error.startswith("procession.errors.WaitingInHandler: settle() was called")


def test_issue_takes_after_or_at_and_only_times_that_are_some() -> None:
    letter = Letter("l")
    with pytest.raises(ValueError, match="`after` or `at`, not both"):
        letter.issue(Send("b", "x"), after=SECOND, at=datetime(2030, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="has no time zone; add tzinfo=UTC"):
        letter.issue(Send("b", "x"), at=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="beyond the year 9999"):
        letter.issue(Send("b", "x"), after=timedelta.max)
    assert letter.issued == ()


# Held back


def test_a_delayed_command_leaves_once_and_not_before_its_time(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "after", after=60)
        ask(runtime, "at", at=clock.now() + 90 * SECOND)
        ask(runtime, "now")
        go(runtime, clock, 59.999999)
        assert sent(runtime) == ["now"]
        go(runtime, clock, 0.000001)
        assert sent(runtime) == ["now", "after"]
        go(runtime, clock, 30)
        assert sent(runtime) == ["now", "after", "at"]
        go(runtime, clock, 10_000)
        assert sent(runtime) == ["now", "after", "at"]
        assert list(runtime.timeouts()) == []
        assert runtime.stats()["commands"] == 3


def test_it_knows_who_issued_it_and_why(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "later", after=60)
        go(runtime, clock, 60)
        asked, done = runtime.events()
        (transition,) = runtime.history(Letter, "l")
        assert transition.commands == (Send("b", "later"),)
        assert done.causation_id == transition.state["handles"][0]
        assert done.correlation_id == asked.correlation_id


def test_a_past_moment_means_at_once(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "past", at=datetime(1950, 1, 1, tzinfo=UTC))
        ask(runtime, "before", after=-10)
        assert sent(runtime) == ["past", "before"]


def test_what_is_issued_together_for_one_time_leaves_in_order(clock: VirtualClock) -> None:
    texts = [f"{number}" for number in range(25)]
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, *texts, after=60)
        ask(runtime, "last", after=60)
        go(runtime, clock, 60)
        assert sent(runtime) == [*texts, "last"]


def test_what_is_issued_for_one_time_leaves_in_order_also_when_there_is_no_room_for_all(
    tmp_path: Path, clock: VirtualClock
) -> None:
    texts = [f"{letter}{number:02}" for letter in "lm" for number in range(30)]
    moment = clock.now() + timedelta(seconds=60)
    with Runtime(tmp_path, post, clock=clock) as runtime:
        for text in texts:
            ask(runtime, text, letter=text[0], at=moment)
    with Runtime(tmp_path, post, clock=clock, max_in_flight=7, largest_commit=3) as runtime:
        go(runtime, clock, 60)
        for letter in "lm":
            found = [text for text in sent(runtime) if text[0] == letter]
            assert found == [text for text in texts if text[0] == letter]


def test_delayed_commands_leave_in_order_beside_timeouts_of_the_same_moment(
    clock: VirtualClock,
) -> None:
    """Those of one instance take turns, and what comes behind them in the store waits."""
    busy = Domain("busy")

    class Begun(Event):
        id: str

    class Note(Command):
        box: str
        number: int

    noted: list[int] = []

    @busy.register
    class Notes(Aggregate, identity="box"):
        @handle(Note)
        def note(self, command: Note) -> None:
            noted.append(command.number)

    @busy.register
    class Busy(ProcessManager, correlate="id"):
        @handle(Begun, start=True)
        def begin(self, event: Begun) -> None:
            for name in "abc":
                self.set_timeout(name, SECOND)
            for number in range(20):
                self.issue(Note("b", number), after=SECOND)

        @timeout("a")
        def on_a(self) -> None: ...

        @timeout("b")
        def on_b(self) -> None: ...

        @timeout("c")
        def on_c(self) -> None: ...

    with Runtime.ephemeral(busy, clock=clock) as runtime:
        runtime.publish(Begun("x"), stream="feed::busy-1")
        go(runtime, clock, 1)
        assert noted == list(range(20))


def test_delayed_commands_of_many_instances_leave_in_order_of_time(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock, max_in_flight=8, max_awake=4) as runtime:
        order = [number * 37 % 101 for number in range(100)]
        for number in order:
            runtime.publish(
                Asked(f"l{number}", [str(number)], after=number + 1), stream="feed::letter-1"
            )
        runtime.settle(timeout=10)
        go(runtime, clock, 1_000)
        assert sent(runtime) == [str(number) for number in sorted(order)]


def test_it_outlives_a_restart_and_leaves_when_the_program_is_up_again(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, post, clock=clock) as runtime:
        ask(runtime, "sixty", after=60)
        ask(runtime, "ninety", after=90)
    with Runtime(tmp_path, post, clock=clock) as runtime:
        go(runtime, clock, 60)
        assert sent(runtime) == ["sixty"]
    clock.advance(60 * SECOND)
    for _ in range(2):
        with Runtime(tmp_path, post, clock=clock) as runtime:
            runtime.settle(timeout=10)
            assert sent(runtime) == ["sixty", "ninety"]


def test_it_still_leaves_after_completion(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, post, clock=clock) as runtime:
        ask(runtime, "before", after=60)
        ask(runtime, "with", after=90, end=True)
    with Runtime(tmp_path, post, clock=clock) as runtime:
        go(runtime, clock, 1_000)
        assert sent(runtime) == ["before", "with"]
        view = runtime.get(Letter, "l")
        assert view is not None
        assert view.is_complete


@pytest.mark.parametrize("is_awake", [True, False])
def test_it_waits_while_its_instance_is_suspended_which_may_take_it_back(
    clock: VirtualClock, *, is_awake: bool
) -> None:
    # With room for one timer, what was put off must not take it again and again.
    with Runtime.ephemeral(post, clock=clock, max_in_flight=1) as runtime:
        ask(runtime, "later", after=60)
        ask(runtime, "also", after=60)
        ask(runtime, fail=True)
        Letter.hook = lambda letter, event: letter.cancel(letter.handles[0])
        ask(runtime)
        if not is_awake:
            runtime.ref(Letter, "l").stop()
        go(runtime, clock, 60)
        assert sent(runtime) == []
        (parked,) = runtime.parked()
        runtime.skip(parked.id)
        runtime.settle(timeout=10)
        assert sent(runtime) == ["also"]


# Cancelled


def test_a_handle_is_text_and_is_the_commands_id(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "later", after=60)
        view = runtime.get(Letter, "l")
        assert view is not None
        assert view.state["handles"] == ["post.Letter-l@1.0"]
        assert [one.name for one in runtime.timeouts()] == ["post.Letter-l@1.0"]
    assert Letter("l").issue() == ""


def test_a_cancelled_one_never_leaves(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, post, clock=clock, idle_timeout=SECOND) as runtime:
        ask(runtime, "one", after=60)
        ask(runtime, "two", after=60)
        ask(runtime, "three", after=60)
        recall(runtime, 0)
    with Runtime(tmp_path, post, clock=clock) as runtime:
        recall(runtime, 2)
        go(runtime, clock, 1_000)
        assert sent(runtime) == ["two"]
        assert list(runtime.timeouts()) == []


def test_it_may_be_cancelled_in_the_step_that_issued_it(clock: VirtualClock) -> None:
    Letter.hook = lambda letter, event: letter.cancel(letter.handles[-1])
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "never", after=60)
        go(runtime, clock, 60)
        assert sent(runtime) == []


def test_the_handle_of_several_is_that_of_the_last(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "one", "two", after=60)
        recall(runtime, 0)
        go(runtime, clock, 60)
        assert sent(runtime) == ["one"]


def test_cancelling_one_that_has_left_changes_nothing(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "now")
        ask(runtime, "later", after=60)
        go(runtime, clock, 60)
        recall(runtime, 0)
        recall(runtime, 1)
        assert sent(runtime) == ["now", "later"]
        assert list(runtime.parked()) == []


def test_a_step_that_fails_cancels_nothing(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        ask(runtime, "later", after=60)
        Letter.hook = lambda letter, event: letter.cancel(letter.handles[0])
        ask(runtime, fail=True)
        go(runtime, clock, 60)
        (parked,) = runtime.parked()
        runtime.skip(parked.id)
        runtime.settle(timeout=10)
        assert sent(runtime) == ["later"]


def test_one_cancelled_after_its_time_but_before_it_left_never_leaves(
    tmp_path: Path, clock: VirtualClock
) -> None:
    def cancel_first(letter: Letter, event: Asked) -> None:
        # As if the clock had moved on just before: due, and not yet on its way.
        clock._now += 90 * SECOND
        letter.cancel(letter.handles[0])

    with Runtime(tmp_path, post, clock=clock) as runtime:
        ask(runtime, "later", after=60)
        Letter.hook = cancel_first
        ask(runtime)
        go(runtime, clock, 0)
        assert sent(runtime) == []


def test_those_that_left_do_not_pile_up_in_the_instance(clock: VirtualClock) -> None:
    with Runtime.ephemeral(post, clock=clock) as runtime:
        for number in range(20):
            ask(runtime, str(number), after=10)
            go(runtime, clock, 10)
        last = runtime._store.last_transition("post.Letter", "l")
        assert last is not None
        assert len(last.timers or {}) == 1
        assert len(sent(runtime)) == 20


def test_wherever_the_program_is_cut_off_each_leaves_once(
    tmp_path: Path, clock: VirtualClock, recorded: Any
) -> None:
    with Runtime(tmp_path / "source", post, clock=clock, largest_commit=1) as runtime:
        for number in range(4):
            ask(runtime, str(number), letter=f"l{number}", after=60 + number)
        recorded.copies, recorded.folder = [], tmp_path
        go(runtime, clock, 100)
        recorded.folder = None
    assert len(recorded.copies) >= 8
    for copy in recorded.copies:
        with Runtime(copy, post, clock=clock, durability="none") as runtime:
            runtime.settle(timeout=10)
            assert sent(runtime) == ["0", "1", "2", "3"]
