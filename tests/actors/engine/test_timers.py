"""Timeouts: set, moved, cancelled; each fires once, at or after its time, in order of time."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from procession import (
    SKIP,
    Context,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Retry,
    Runtime,
    handle,
    timeout,
)
from procession.testing import VirtualClock

kitchen = Domain("kitchen")

SECOND = timedelta(seconds=1)


class Wished(Event):
    """What a handler is to do, in this order: set (in so many seconds), cancel, end, fail."""

    pot: str
    set: dict[str, float] = {}
    at: dict[str, datetime] = {}
    cancel: list[str] = []
    end: bool = False
    fail: bool = False


@kitchen.register
class Pot(ProcessManager, correlate="pot"):
    pot: str = ""
    rang: list[str] = []

    # What rang, in all instances, in order.
    log: ClassVar[list[tuple[str, str]]] = []
    on_ring: ClassVar[Any] = None

    @handle(Wished, start=True)
    def wish(self, event: Wished) -> None:
        for name, seconds in event.set.items():
            self.set_timeout(name, timedelta(seconds=seconds))
        for name, moment in event.at.items():
            self.set_timeout(name, moment)
        for name in event.cancel:
            self.cancel_timeout(name)
        if event.end:
            self.mark_as_complete()
        if event.fail and self.context.attempt == 1:
            raise ValueError("as the test wished")

    @timeout("a")
    def on_a(self) -> None:
        self._ring("a")

    @timeout("b")
    def on_b(self) -> None:
        self._ring("b")

    @timeout("c")
    def on_c(self) -> None:
        self._ring("c")

    def _ring(self, name: str) -> None:
        self.rang.append(name)
        Pot.log.append((self.id, name))
        if Pot.on_ring is not None:
            Pot.on_ring(self, name)


@pytest.fixture(autouse=True)
def nothing_rang() -> Iterator[None]:
    Pot.log = []
    Pot.on_ring = None
    yield
    Pot.on_ring = None


def wish(runtime: Runtime, pot: str, **wishes: Any) -> None:
    runtime.publish(Wished(pot, **wishes), stream=f"feed::pot-{pot}")
    runtime.settle(timeout=10)


def go(runtime: Runtime, clock: VirtualClock, seconds: float) -> None:
    clock.advance(timedelta(seconds=seconds))
    runtime.settle(timeout=10)


def rang(runtime: Runtime, pot: str) -> list[str]:
    view = runtime.get(Pot, pot)
    assert view is not None
    found: list[str] = view.state["rang"]
    return found


def test_what_rang_is_waited_for_no_more(clock: VirtualClock) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 10, "b": 3600})
        go(runtime, clock, 10)
        [stuck] = runtime.stuck(Pot, timedelta(0))
        assert stuck.timeouts.keys() == {"b"}
        go(runtime, clock, 3600)
        [stuck] = runtime.stuck(Pot, timedelta(0))
        assert stuck.waits_for_nothing


def pending(runtime: Runtime) -> list[tuple[str, str]]:
    return [(one.instance, one.name) for one in runtime.timeouts()]


def test_a_timeout_fires_once_and_not_before_its_time(clock: VirtualClock) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60})
        go(runtime, clock, 59.999999)
        assert rang(runtime, "p") == []
        go(runtime, clock, 0.000001)
        assert rang(runtime, "p") == ["a"]
        go(runtime, clock, 10_000)
        assert rang(runtime, "p") == ["a"]
        assert pending(runtime) == []


def test_what_a_timeout_did_is_in_the_history_with_its_name_as_cause(clock: VirtualClock) -> None:
    seen: list[Context] = []
    Pot.on_ring = lambda pot, _: seen.append(pot.context)
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60})
        due = clock.now() + 60 * SECOND
        go(runtime, clock, 61)
        first, second = runtime.history(Pot, "p")
        assert (second.version, second.handler, second.cause) == (2, "on_a", "timeout:a")
        assert second.time == due
        assert second.correlation_id == first.correlation_id
        (context,) = seen
        assert (context.event_id, context.time, context.attempt) == ("timeout:a", due, 1)


def test_set_again_it_moves_later_or_earlier(clock: VirtualClock) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "later", set={"a": 60})
        wish(runtime, "earlier", set={"a": 60})
        wish(runtime, "later", set={"a": 90})
        wish(runtime, "earlier", set={"a": 30})
        assert [(t.instance, t.due - clock.now()) for t in runtime.timeouts()] == [
            ("earlier", 30 * SECOND),
            ("later", 90 * SECOND),
        ]
        go(runtime, clock, 30)
        assert Pot.log == [("earlier", "a")]
        go(runtime, clock, 59)
        assert Pot.log == [("earlier", "a")]
        go(runtime, clock, 1)
        assert Pot.log == [("earlier", "a"), ("later", "a")]


def test_a_cancelled_timeout_never_fires_and_cancelling_what_is_not_set_is_no_error(
    clock: VirtualClock,
) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60, "b": 60})
        wish(runtime, "p", cancel=["a", "c"])
        go(runtime, clock, 1_000)
        assert rang(runtime, "p") == ["b"]
        wish(runtime, "p", cancel=["a", "b"])
        assert list(runtime.parked()) == []


def test_a_timeout_set_and_cancelled_in_one_step_never_fires(clock: VirtualClock) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60}, cancel=["a"])
        wish(runtime, "q", set={"a": 60})
        wish(runtime, "q", set={"a": 90}, cancel=["a"])
        assert pending(runtime) == []
        go(runtime, clock, 1_000)
        assert Pot.log == []


def test_a_timeout_may_be_set_to_a_moment_of_any_zone(clock: VirtualClock) -> None:
    moment = (clock.now() + 60 * SECOND).astimezone(timezone(timedelta(hours=9)))
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", at={"a": moment})
        (due,) = runtime.timeouts()
        assert due.due == moment
        go(runtime, clock, 59)
        assert rang(runtime, "p") == []
        go(runtime, clock, 1)
        assert rang(runtime, "p") == ["a"]


@pytest.mark.parametrize("seconds", [0, -5, -1e11])
def test_a_time_in_the_past_is_due_at_once(clock: VirtualClock, seconds: float) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": seconds})
        assert rang(runtime, "p") == ["a"]


@pytest.mark.parametrize(
    ("when", "error", "text"),
    [
        (datetime(2030, 1, 1), ValueError, r"2030.* has no time zone; add tzinfo=UTC"),  # noqa: DTZ001
        (timedelta.max, ValueError, r"is beyond the year 9999"),
        (60, TypeError, r"60 is no timedelta or datetime"),
    ],
)
def test_a_time_that_is_none_is_refused(when: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Pot("p").set_timeout("a", when)


def test_a_timeout_without_a_method_is_refused() -> None:
    with pytest.raises(
        InvalidMessage, match=r"Pot has no @timeout\('z'\) method, so nothing would happen"
    ):
        Pot("p").set_timeout("z", SECOND)


def test_a_step_that_fails_sets_moves_and_cancels_nothing(clock: VirtualClock) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60, "b": 60})
        before = list(runtime.timeouts())
        wish(runtime, "p", set={"a": 5, "c": 5}, cancel=["b"], fail=True)
        assert list(runtime.timeouts()) == before
        (parked,) = runtime.parked()
        runtime.skip(parked.id)
        go(runtime, clock, 59)
        assert Pot.log == []
        go(runtime, clock, 1)
        assert sorted(rang(runtime, "p")) == ["a", "b"]


@pytest.mark.parametrize("room", [1, 16, 1_024])
def test_they_fire_in_order_of_time_within_an_instance_and_across_many(
    clock: VirtualClock, room: int
) -> None:
    with Runtime.ephemeral(kitchen, clock=clock, max_in_flight=room, max_awake=8) as runtime:
        expected = []
        for number in range(60):
            # 37 shares no factor with 180, so that every time is another one.
            times = {name: 1.0 + (number * 3 + k) * 37 % 180 for k, name in enumerate("abc")}
            runtime.publish(Wished(f"p{number}", set=times), stream="feed::pot-1")
            expected += [(due, f"p{number}", name) for name, due in times.items()]
        runtime.settle(timeout=10)
        go(runtime, clock, 1_000)
        per_pot = {pot: [n for p, n in Pot.log if p == pot] for pot, _ in Pot.log}
        for pot, names in per_pot.items():
            assert names == [name for _, other, name in sorted(expected) if other == pot]
        assert Pot.log == [(pot, name) for _, pot, name in sorted(expected)]
        assert Counter(Pot.log) == Counter((pot, name) for _, pot, name in expected)


def test_it_outlives_a_restart(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60, "b": 90, "c": 120})
        wish(runtime, "p", cancel=["b"])
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        go(runtime, clock, 60)
        assert rang(runtime, "p") == ["a"]
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        go(runtime, clock, 60)
        assert rang(runtime, "p") == ["a", "c"]
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        go(runtime, clock, 600)
        assert rang(runtime, "p") == ["a", "c"]


def test_one_that_was_due_while_the_program_was_down_fires_once_when_it_is_up(
    tmp_path: Path, clock: VirtualClock
) -> None:
    def again(pot: Pot, name: str) -> None:
        pot.set_timeout(name, 60 * SECOND)

    Pot.on_ring = again
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60})
        wish(runtime, "q", set={"b": 30})
    # Three times its period; for an instance nobody asks for.
    clock.advance(200 * SECOND)
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        runtime.settle(timeout=10)
        assert Pot.log == [("q", "b"), ("p", "a")]
        assert {one.due for one in runtime.timeouts()} == {clock.now() + 60 * SECOND}


def test_timeouts_of_a_completed_instance_never_fire(clock: VirtualClock) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60, "b": 60})
        wish(runtime, "p", set={"b": 30, "c": 30}, end=True)
        wish(runtime, "at-once", set={"a": 30}, end=True)
        assert pending(runtime) == []
        go(runtime, clock, 1_000)
        assert Pot.log == []
        assert runtime.stats()["transitions"] == 3


def test_completion_and_a_timeout_that_is_due_already_never_both_happen_in_that_order(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60})

        # What the disk holds when the program dies right after the completing step.
        copy = tmp_path / "copy"
        wish(runtime, "p", end=True)
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("copy", "control*"))
    clock.advance(1_000 * SECOND)
    with Runtime(copy, kitchen, clock=clock) as runtime:
        runtime.settle(timeout=10)
        view = runtime.get(Pot, "p")
        assert view is not None
        assert (view.version, view.is_complete, Pot.log) == (2, True, [])


def test_a_timeout_handler_may_complete_and_the_others_are_gone(clock: VirtualClock) -> None:
    Pot.on_ring = lambda pot, _: pot.mark_as_complete()
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60, "b": 61, "c": 59})
        go(runtime, clock, 1_000)
        assert Pot.log == [("p", "c")]
        assert pending(runtime) == []


def test_a_timeout_handler_may_set_its_own_timeout_and_others(clock: VirtualClock) -> None:
    def again(pot: Pot, name: str) -> None:
        if name == "a" and len(pot.rang) < 4:
            pot.set_timeout("a", 60 * SECOND)
            pot.set_timeout("c", 30 * SECOND)

    Pot.on_ring = again
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60})
        for _ in range(12):
            go(runtime, clock, 30)
        assert rang(runtime, "p") == ["a", "c", "a", "c", "a"]


def test_a_timeout_set_again_in_its_handler_for_the_same_moment_fires_again(
    clock: VirtualClock,
) -> None:
    def again(pot: Pot, name: str) -> None:
        if len(pot.rang) < 3:
            pot.set_timeout(name, timedelta(0))

    Pot.on_ring = again
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60})
        go(runtime, clock, 60)
        assert rang(runtime, "p") == ["a", "a", "a"]
        assert pending(runtime) == []


def test_a_timeout_cancelled_in_its_own_handler_or_by_one_before_it(clock: VirtualClock) -> None:
    def cancel(pot: Pot, name: str) -> None:
        pot.cancel_timeout(name)
        pot.cancel_timeout("b")

    Pot.on_ring = cancel
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60, "b": 61})
        go(runtime, clock, 1_000)
        assert rang(runtime, "p") == ["a"]


def test_with_the_machines_clock_a_timeout_of_milliseconds_fires() -> None:
    rung = threading.Event()
    late: list[timedelta] = []

    def ring(pot: Pot, name: str) -> None:
        late.append(datetime.now(UTC) - pot.context.time)
        rung.set()

    Pot.on_ring = ring
    with Runtime.ephemeral(kitchen) as runtime:
        wish(runtime, "p", set={"a": 0.005})
        assert rung.wait(10)
        runtime.settle(timeout=10)
        assert rang(runtime, "p") == ["a"]
        assert late[0] >= timedelta(0)


def test_one_due_while_the_instance_is_suspended_comes_when_it_is_resolved(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60, "b": 50})
        wish(runtime, "q", set={"a": 60})
        wish(runtime, "p", fail=True)
        go(runtime, clock, 100)
        assert Pot.log == [("q", "a")]
        assert pending(runtime) == [("p", "b"), ("p", "a")]
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        runtime.settle(timeout=10)
        assert Pot.log == [("q", "a")]
        (parked,) = runtime.parked()
        runtime.skip(parked.id)
        runtime.settle(timeout=10)
        assert Pot.log == [("q", "a"), ("p", "b"), ("p", "a")]
        go(runtime, clock, 1_000)
        assert len(Pot.log) == 3


def test_suspended_instances_take_no_room_from_others(clock: VirtualClock) -> None:
    with Runtime.ephemeral(kitchen, clock=clock, max_in_flight=2) as runtime:
        for number in range(5):
            wish(runtime, f"s{number}", set={"a": 10}, end=False)
            wish(runtime, f"s{number}", fail=True)
        wish(runtime, "p", set={"a": 60})
        go(runtime, clock, 60)
        assert Pot.log == [("p", "a")]
        for parked in runtime.parked():
            runtime.skip(parked.id)
        runtime.settle(timeout=10)
        assert sorted(Pot.log) == [("p", "a"), *((f"s{n}", "a") for n in range(5))]


def test_passivated_instances_wake_for_a_timeout(clock: VirtualClock) -> None:
    with Runtime.ephemeral(
        kitchen, clock=clock, idle_timeout=timedelta(seconds=1), max_awake=2
    ) as runtime:
        for number in range(20):
            wish(runtime, f"p{number:02}", set={"a": 3_600 + number})
        go(runtime, clock, 60)
        assert runtime.stats()["awake"] == 0
        go(runtime, clock, 3_600)
        assert Pot.log == [(f"p{number:02}", "a") for number in range(20)]


def test_timeouts_of_a_process_manager_that_is_not_registered_wait_until_it_is(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        for number in range(4):
            wish(runtime, f"p{number}", set={"a": 10 + number})
    other = Domain("other")

    @other.register
    class Guest(Pot):
        pass

    gone = ["kitchen.Pot", "kitchen.Wished.v1"]
    with Runtime(tmp_path, other, clock=clock, max_in_flight=1, retired=gone) as runtime:
        go(runtime, clock, 60)
        wish(runtime, "g", set={"a": 5})
        go(runtime, clock, 5)
        assert Pot.log == [("g", "a")]
        assert len(pending(runtime)) == 4
    gone = ["other.Guest", "other.Wished.v1"]
    with Runtime(tmp_path, kitchen, clock=clock, retired=gone) as runtime:
        runtime.settle(timeout=10)
        assert Pot.log[1:] == [(f"p{number}", "a") for number in range(4)]


def test_a_timeout_whose_method_is_gone_is_parked(tmp_path: Path, clock: VirtualClock) -> None:
    def domain(*, has_timeout: bool) -> Domain:
        made = Domain("shed")

        class Bench(ProcessManager, correlate="pot"):
            pot: str = ""

            @handle(Wished, start=True)
            def wish(self, event: Wished) -> None:
                if has_timeout:
                    self.set_timeout("a", SECOND)

            if has_timeout:

                @timeout("a")
                def on_a(self) -> None:
                    Pot.log.append((self.id, "a"))

        made.register(Bench)
        return made

    with Runtime(tmp_path, domain(has_timeout=True), clock=clock) as runtime:
        wish(runtime, "p")
    with Runtime(tmp_path, domain(has_timeout=False), clock=clock) as runtime:
        go(runtime, clock, 1)
        (parked,) = runtime.parked()
        assert parked.error.startswith("LookupError: shed.Bench has no @timeout('a') method")
    with Runtime(tmp_path, domain(has_timeout=True), clock=clock) as runtime:
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert Pot.log == [("p", "a")]
        assert pending(runtime) == []


stove = Domain("stove")


@stove.register
class Impatient(Pot, retry=Retry(attempts=3, first=SECOND, factor=1)):
    """Gives up after three attempts."""


def test_the_attempts_at_a_timeout_are_counted_and_then_it_is_parked(clock: VirtualClock) -> None:
    attempts: list[int] = []

    def fail(pot: Pot, name: str) -> None:
        attempts.append(pot.context.attempt)
        if len(attempts) <= 3:
            raise ValueError("not now")

    Pot.on_ring = fail
    with Runtime.ephemeral(stove, clock=clock) as runtime:
        wish(runtime, "p", set={"a": 60})
        go(runtime, clock, 60)
        for _ in range(4):
            go(runtime, clock, 1)
        assert attempts == [1, 2, 3]
        (parked,) = runtime.parked()
        assert (parked.cause, parked.attempts) == ("timeout:a", 3)
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        view = runtime.get(Impatient, "p")
        assert view is not None
        assert (view.state["rang"], view.status) == (["a"], "running")
        assert pending(runtime) == []


def test_a_retried_timeout_that_is_skipped_is_gone(clock: VirtualClock) -> None:
    def decide(pot: Pot, error: Exception, context: Context) -> Any:
        return SKIP if context.attempt == 2 else None

    def fail(pot: Pot, name: str) -> None:
        raise ValueError("never")

    Pot.on_ring = fail
    Impatient.on_error = decide  # type: ignore[method-assign, assignment]
    try:
        with Runtime.ephemeral(stove, clock=clock) as runtime:
            wish(runtime, "p", set={"a": 60, "b": 120})
            go(runtime, clock, 60)
            go(runtime, clock, 1)
            assert Pot.log == [("p", "a")] * 2
            assert pending(runtime) == [("p", "b")]
            Pot.on_ring = None
            go(runtime, clock, 60)
            assert Pot.log[2:] == [("p", "b")]
            assert list(runtime.parked()) == []
    finally:
        del Impatient.on_error


# Due at one moment

ORDERS = ["abc", "acb", "bac", "bca", "cab", "cba"]


def test_timeouts_due_at_one_moment_fire_in_the_order_in_which_they_were_set(
    clock: VirtualClock,
) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        for order in ORDERS:
            wish(runtime, order, set=dict.fromkeys(order, 60))
        go(runtime, clock, 60)
        assert {order: "".join(rang(runtime, order)) for order in ORDERS} == {
            order: order for order in ORDERS
        }
        assert pending(runtime) == []


def test_timeouts_of_several_steps_due_at_one_moment_fire_as_set_also_after_reopening(
    tmp_path: Path, clock: VirtualClock
) -> None:
    moment = clock.now() + timedelta(minutes=1)
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        for order in ORDERS:
            wish(runtime, order, at={order[0]: moment})
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        for order in ORDERS:
            wish(runtime, order, at={order[1]: moment})
            wish(runtime, order, at={order[2]: moment})
        clock._now = moment
    with Runtime(tmp_path, kitchen, clock=clock) as runtime:
        runtime.settle(timeout=10)
        for order in ORDERS:
            assert "".join(rang(runtime, order)) == order
        assert pending(runtime) == []


def test_a_timeout_that_is_moved_to_the_same_moment_is_set_anew(clock: VirtualClock) -> None:
    moment = clock.now() + timedelta(minutes=1)
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        for order in ORDERS:
            wish(runtime, order, at=dict.fromkeys(order, moment))
            wish(runtime, order, at={order[0]: moment})
            assert runtime.move_timeout(Pot, order, order[1], moment)
        go(runtime, clock, 60)
        for order in ORDERS:
            assert "".join(rang(runtime, order)) == order[2] + order[0] + order[1]


def test_a_timeout_that_one_step_sets_twice_counts_from_the_second_time(
    clock: VirtualClock,
) -> None:
    def again(pot: Any, name: str) -> None:
        if name == "a":
            for one in ("c", "b", "c"):
                pot.set_timeout(one, SECOND)

    Pot.on_ring = again
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        for order in ORDERS:
            wish(runtime, order, set={"a": 60})
        go(runtime, clock, 61)
        for order in ORDERS:
            assert rang(runtime, order) == ["a", "b", "c"]


@pytest.mark.parametrize("verdict", [SKIP, Retry(3, first=timedelta(minutes=1))])
def test_a_timeout_that_fails_goes_before_those_of_its_moment_and_once(
    monkeypatch: pytest.MonkeyPatch, clock: VirtualClock, verdict: Any
) -> None:
    def fail(pot: Any, name: str) -> None:
        if name == pot.id[0] and pot.context.attempt == 1:
            raise ValueError("as the test wished")

    Pot.on_ring = fail
    monkeypatch.setattr(Pot, "on_error", lambda *_: verdict)
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        for order in ORDERS:
            wish(runtime, order, set=dict.fromkeys(order, 60))
        go(runtime, clock, 120)
        left = slice(1, 3) if verdict is SKIP else slice(3)
        for order in ORDERS:
            assert "".join(rang(runtime, order)) == order[left]
            assert "".join(name for pot, name in Pot.log if pot == order) == order[:1] + order[left]
        assert pending(runtime) == []


def test_a_timeout_that_is_parked_is_retried_before_those_of_its_moment(
    clock: VirtualClock,
) -> None:
    with Runtime.ephemeral(kitchen, clock=clock) as runtime:
        for order in ORDERS:
            Pot.on_ring = lambda pot, name: pytest.fail("as the test wished")
            wish(runtime, order, set=dict.fromkeys(order, 60))
        go(runtime, clock, 60)
        Pot.on_ring = None
        assert {(one.instance, one.cause) for one in runtime.parked()} == {
            (order, f"timeout:{order[0]}") for order in ORDERS
        }
        for one in list(runtime.parked()):
            runtime.retry(one.id)
        runtime.settle(timeout=10)
        for order in ORDERS:
            assert "".join(rang(runtime, order)) == order
        assert pending(runtime) == []


def test_wherever_the_program_is_cut_off_each_fires_once_and_none_after_completion(
    tmp_path: Path, clock: VirtualClock, recorded: Any
) -> None:
    Pot.on_ring = lambda pot, name: pot.id == "p2" and pot.mark_as_complete()
    with Runtime(tmp_path / "source", kitchen, clock=clock, largest_commit=1) as runtime:
        for number in range(4):
            wish(runtime, f"p{number}", set={"a": 60 + number, "b": 70 + number})
        recorded.copies, recorded.folder = [], tmp_path
        go(runtime, clock, 100)
        recorded.folder = None
    assert len(recorded.copies) >= 7
    for copy in recorded.copies:
        with Runtime(copy, kitchen, clock=clock, durability="none") as runtime:
            runtime.settle(timeout=10)
            found = {f"p{number}": rang(runtime, f"p{number}") for number in range(4)}
            assert found == {"p0": ["a", "b"], "p1": ["a", "b"], "p2": ["a"], "p3": ["a", "b"]}
            assert [t.handler for t in runtime.history(Pot, "p2")] == ["wish", "on_a"]
            assert pending(runtime) == []


class Alarms(RuleBasedStateMachine):
    """Against a plain dict: what fired, in which order and how often."""

    pots = st.sampled_from(["p", "q", "r"])
    names = st.sampled_from("abc")
    # Few, so that several are often due at one moment.
    minutes = st.sampled_from([0, 5, 10, 15, 20])

    @initialize()
    def begin(self) -> None:
        self.path = Path(mkdtemp(prefix="procession-test-"))
        self.clock = VirtualClock()
        Pot.log = []
        Pot.on_ring = None
        self.model: dict[tuple[str, str], datetime] = {}
        self.done: set[str] = set()
        self.expected: list[tuple[str, str]] = []
        self.open()

    def open(self) -> None:
        self.runtime = Runtime(
            self.path, kitchen, clock=self.clock, durability="none", max_in_flight=4, max_awake=2
        )
        self.runtime.settle(timeout=10)

    def fire(self) -> None:
        due = [key for key, t in self.model.items() if t <= self.clock.now()]
        # Those of one moment stay as they were set.
        due.sort(key=self.model.__getitem__)
        for key in due:
            del self.model[key]
        self.expected += due

    def moment(self, minutes: int, pot: str) -> datetime:
        # Nothing of two instances is due at the same time, so that there is one order.
        now = self.clock.now().replace(microsecond=0)
        return now + timedelta(minutes=minutes, microseconds="pqr".index(pot))

    def note(self, pot: str, name: str, when: datetime) -> None:
        self.model.pop((pot, name), None)
        self.model[pot, name] = when

    @rule(pot=pots, name=names, minutes=minutes)
    def set(self, pot: str, name: str, minutes: int) -> None:
        when = self.moment(minutes, pot)
        wish(self.runtime, pot, at={name: when})
        if pot not in self.done:
            self.note(pot, name, when)
            self.fire()

    @rule(pot=pots, name=names, other=names, minutes=minutes.filter(bool))
    def set_one_and_cancel_one(self, pot: str, name: str, other: str, minutes: int) -> None:
        when = self.moment(minutes, pot)
        wish(self.runtime, pot, at={name: when}, cancel=[other])
        if pot not in self.done:
            self.note(pot, name, when)
            self.model.pop((pot, other), None)

    @rule(pot=pots, name=names, minutes=minutes)
    def an_operator_moves(self, pot: str, name: str, minutes: int) -> None:
        when = self.moment(minutes, pot)
        is_set = (pot, name) in self.model
        assert self.runtime.move_timeout(Pot, pot, name, when) is is_set
        if is_set:
            self.note(pot, name, when)
            self.runtime.settle(timeout=10)
            self.fire()

    @rule(pot=pots, name=names)
    def an_operator_cancels(self, pot: str, name: str) -> None:
        is_set = self.model.pop((pot, name), None) is not None
        assert self.runtime.cancel_timeout(Pot, pot, name) is is_set

    @rule(minutes=minutes)
    def advance(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes, microseconds=10))
        self.runtime.settle(timeout=10)
        self.fire()

    @rule(minutes=minutes)
    def restart(self, minutes: int) -> None:
        self.runtime.close()
        self.clock.advance(timedelta(minutes=minutes, microseconds=10))
        self.open()
        self.fire()

    @precondition(lambda self: not self.done)
    @rule(pot=pots)
    def complete(self, pot: str) -> None:
        wish(self.runtime, pot, at={"a": self.moment(5, pot)}, end=True)
        self.done.add(pot)
        self.model = {key: due for key, due in self.model.items() if key[0] != pot}

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "runtime"):
            return
        assert Pot.log == self.expected
        found = {(one.instance, one.name): one.due for one in self.runtime.timeouts()}
        assert found == self.model

    def teardown(self) -> None:
        if hasattr(self, "runtime"):
            self.runtime.close()
            shutil.rmtree(self.path)


TestAlarms = Alarms.TestCase
TestAlarms.settings = settings(max_examples=30, stateful_step_count=25)
