"""The clock that only moves when told, by itself and with runtimes that use it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    SystemClock,
    TimedOut,
    after,
    handle,
    timeout,
)
from procession.clock import to_micros
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
FOR_EVER = timedelta(days=9999)
WAIT = 30


# By itself


def test_the_virtual_clock_stands_still() -> None:
    clock = VirtualClock()
    assert clock.now() == clock.now() == datetime(2000, 1, 1, tzinfo=UTC)


def test_the_virtual_clock_starts_where_it_is_told() -> None:
    start = datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=1)))
    assert VirtualClock(start).now() == start


def test_the_virtual_clock_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match=r"has no time zone; add tzinfo=UTC"):
        VirtualClock(datetime(2024, 1, 1))  # noqa: DTZ001 - refused


def test_the_virtual_clock_moves_by_what_it_is_told() -> None:
    clock = VirtualClock()
    start = clock.now()
    clock.advance(MINUTE)
    clock.advance(timedelta(0))
    assert clock.now() == start + MINUTE


def test_the_virtual_clock_does_not_run_backwards() -> None:
    clock = VirtualClock()
    start = clock.now()
    with pytest.raises(ValueError, match="only goes forward"):
        clock.advance(-MINUTE)
    assert clock.now() == start


def test_an_hour_of_a_virtual_clock_is_an_hour_where_clocks_are_set_back_as_well() -> None:
    start = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    clock = VirtualClock(start)
    assert to_micros(clock.now()) == to_micros(start)
    clock.advance(HOUR)
    assert to_micros(clock.now()) == to_micros(start.replace(fold=1))


def test_a_virtual_alarm_rings_once_when_its_moment_has_come() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    alarm = clock.alarm(lambda: rung.append(clock.now()))
    alarm.set(clock.now() + MINUTE)
    clock.advance(MINUTE - timedelta(microseconds=1))
    assert rung == []
    clock.advance(timedelta(microseconds=1))
    assert rung == [clock.now()]
    clock.advance(FOR_EVER)
    assert len(rung) == 1


def test_a_virtual_alarm_that_was_never_set_does_not_ring() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    clock.alarm(lambda: rung.append(clock.now()))
    clock.advance(FOR_EVER)
    assert rung == []


def test_setting_a_virtual_alarm_again_replaces_the_moment() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    alarm = clock.alarm(lambda: rung.append(clock.now()))
    alarm.set(clock.now() + MINUTE)
    alarm.set(clock.now() + 2 * MINUTE)
    clock.advance(MINUTE)
    assert rung == []
    clock.advance(MINUTE)
    assert len(rung) == 1


def test_a_virtual_alarm_may_set_itself_again_while_it_rings() -> None:
    clock, rung = VirtualClock(), list[datetime]()

    def ring() -> None:
        rung.append(clock.now())
        own.set(clock.now() + MINUTE)

    own = clock.alarm(ring)
    own.set(clock.now() + MINUTE)
    for _ in range(3):
        clock.advance(MINUTE)
    start = datetime(2000, 1, 1, tzinfo=UTC)
    assert rung == [start + MINUTE, start + 2 * MINUTE, start + 3 * MINUTE]


def test_a_closed_virtual_alarm_does_not_ring() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    alarm = clock.alarm(lambda: rung.append(clock.now()))
    alarm.set(clock.now())
    alarm.close()
    clock.advance(FOR_EVER)
    assert rung == []


def test_a_virtual_alarm_that_another_closes_in_the_same_moment_does_not_ring() -> None:
    clock, rung = VirtualClock(), list[str]()

    def close_the_other() -> None:
        second.close()

    first = clock.alarm(close_the_other)
    second = clock.alarm(lambda: rung.append("second"))
    for alarm in (first, second):
        alarm.set(clock.now() + MINUTE)
    clock.advance(MINUTE)
    assert rung == []


def test_every_virtual_alarm_that_is_due_rings() -> None:
    clock, rung = VirtualClock(), list[int]()
    for number in range(5):
        clock.alarm(lambda number=number: rung.append(number)).set(  # type: ignore[misc]
            clock.now() + number * MINUTE
        )
    clock.advance(2 * MINUTE)
    assert sorted(rung) == [0, 1, 2]


def test_alarms_ring_in_order_of_time_and_each_finds_its_own_moment() -> None:
    clock, rung = VirtualClock(), list[timedelta]()
    start = clock.now()
    for number in (3, 1, 2):
        clock.alarm(lambda: rung.append(clock.now() - start)).set(start + number * MINUTE)
    clock.advance(HOUR)
    assert rung == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert clock.now() == start + HOUR


def test_what_an_alarm_sets_within_the_way_rings_on_the_same_way() -> None:
    clock, rung = VirtualClock(), list[timedelta]()
    start = clock.now()

    def ring() -> None:
        rung.append(clock.now() - start)
        own.set(clock.now() + 20 * MINUTE)

    own = clock.alarm(ring)
    own.set(start + 20 * MINUTE)
    clock.advance(HOUR)
    assert rung == [20 * MINUTE, 40 * MINUTE, 60 * MINUTE]


def test_an_alarm_set_to_the_past_rings_without_moving_the_clock_back() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    start = clock.now()
    clock.alarm(lambda: rung.append(clock.now())).set(start - HOUR)
    clock.advance(timedelta(0))
    assert rung == [start]


def test_who_is_attached_settles_before_the_first_move_and_at_each_stop() -> None:
    clock, settled = VirtualClock(), list[timedelta]()
    start = clock.now()

    def settle(seconds: float) -> bool:
        assert seconds > 0
        settled.append(clock.now() - start)
        return True

    clock.attach(settle)
    clock.alarm(lambda: None).set(start + MINUTE)
    clock.advance(HOUR)
    assert settled == [timedelta(0), MINUTE]
    clock.detach(settle)
    clock.advance(HOUR)
    assert len(settled) == 2


def test_with_several_attached_all_are_quiet_at_once_in_the_end() -> None:
    clock, work = VirtualClock(), {"a": 0, "b": 3}

    def settling(one: str, other: str) -> Any:
        def settle(seconds: float) -> bool:
            if not seconds:
                return not work[one]
            while work[one]:
                work[one] -= 1
                work[other] += work[one] // 2
            return True

        return settle

    clock.attach(settling("a", "b"))
    clock.attach(settling("b", "a"))
    clock.advance(MINUTE)
    assert work == {"a": 0, "b": 0}


def test_those_that_give_one_another_something_to_do_for_ever_are_reported() -> None:
    clock = VirtualClock()
    for _ in range(2):
        clock.attach(bool)
    with pytest.raises(TimedOut, match="messages keep coming"):
        clock.advance(MINUTE)


def test_without_settling_it_only_moves_and_rings() -> None:
    clock, rung = VirtualClock(), list[datetime]()
    clock.attach(lambda seconds: pytest.fail("it waited"))
    clock.alarm(lambda: rung.append(clock.now())).set(clock.now() + MINUTE)
    clock.advance(HOUR, settle=False)
    assert len(rung) == 1


def test_what_does_not_settle_is_reported_with_the_moment() -> None:
    clock = VirtualClock(patience=0.25)
    stop = clock.now() + MINUTE
    clock.attach(lambda seconds: clock.now() < stop)
    clock.alarm(lambda: None).set(stop)
    with pytest.raises(TimedOut, match=r"stopped at 2000-01-01 00:01.* within 0\.25 seconds"):
        clock.advance(HOUR)
    assert clock.now() == stop


# With runtimes

garden = Domain("garden")


class Sown(Event):
    plant: str
    days: list[int] = []


class Water(Command):
    plant: str


class Watered(Event):
    plant: str


garden.register(Sown, Watered)


@garden.register
class Can(Aggregate, identity="plant"):
    @handle(Water)
    def water(self, command: Water) -> Watered:
        return Watered(self.id)


@garden.register
class Plant(ProcessManager, correlate="plant"):
    plant: str = ""
    watered: int = 0

    seen: ClassVar[list[tuple[str, datetime]]] = []
    on_due: ClassVar[Any] = None

    @handle(Sown, start=True)
    def on_sown(self, event: Sown) -> None:
        self.set_timeout("dry", timedelta(days=1))

    @handle(Watered)
    def on_watered(self, event: Watered) -> None:
        self.watered += 1
        if self.watered < 3:
            self.set_timeout("dry", timedelta(days=1))

    @timeout("dry")
    def on_dry(self) -> None:
        Plant.seen.append((self.id, self.context.time))
        self.issue(Water(self.id))
        if Plant.on_due is not None:
            Plant.on_due()


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    Plant.seen, Plant.on_due = [], None
    yield
    Plant.on_due = None


def sow(runtime: Runtime, *plants: str) -> None:
    runtime.publish_many([Sown(plant) for plant in plants], stream="garden::bed-1")


def test_a_runtime_shows_its_clock(clock: VirtualClock) -> None:
    with Runtime.ephemeral(garden, clock=clock) as runtime:
        assert runtime.clock is clock
    with Runtime.ephemeral(garden) as runtime:
        assert isinstance(runtime.clock, SystemClock)


def test_all_that_falls_due_on_the_way_happens_at_its_own_moment_and_all_is_settled(
    clock: VirtualClock,
) -> None:
    start = clock.now()
    with Runtime.ephemeral(garden, clock=clock) as runtime:
        sow(runtime, "rose")
        runtime.clock.advance(timedelta(days=30))
        days = [(when - start).days for _, when in Plant.seen]
        assert days == [1, 2, 3]
        view = runtime.get(Plant, "rose")
        assert view is not None
        assert view.state["watered"] == 3
        times = [step.time - start for step in runtime.history(Plant, "rose")]
        assert times == [timedelta(days=day) for day in (0, 1, 1, 2, 2, 3, 3)]
        assert clock.now() == start + timedelta(days=30)


def test_what_was_published_is_handled_before_the_clock_moves(clock: VirtualClock) -> None:
    start = clock.now()
    with Runtime.ephemeral(garden, clock=clock) as runtime:
        for number in range(50):
            sow(runtime, f"p{number}")
        runtime.clock.advance(timedelta(days=1))
        assert {when for _, when in Plant.seen} == {start + timedelta(days=1)}
        assert len(Plant.seen) == 50


def test_a_long_way_with_nothing_on_it_is_short(clock: VirtualClock) -> None:
    with Runtime.ephemeral(garden, clock=clock, idle_timeout=timedelta(seconds=8)) as runtime:
        sow(runtime, "rose")
        stops: list[datetime] = []

        def note(seconds: float) -> bool:
            stops.append(clock.now())
            return True

        clock.attach(note)
        clock.advance(FOR_EVER)
        assert runtime.stats()["awake"] == 0
        # Three timeouts, and who woke for them fell asleep again.
        assert len(set(stops)) < 100


def test_two_runtimes_of_one_clock_are_both_settled(clock: VirtualClock) -> None:
    with (
        Runtime.ephemeral(garden, clock=clock) as one,
        Runtime.ephemeral(garden, clock=clock) as other,
    ):
        sow(one, "rose")
        sow(other, "lily")
        clock.advance(timedelta(days=1))
        assert [(one.id, one.state["watered"]) for one in one.find(Plant)] == [("rose", 1)]
        assert [(one.id, one.state["watered"]) for one in other.find(Plant)] == [("lily", 1)]


def test_after_effects_are_done_when_it_returns(clock: VirtualClock) -> None:
    told: list[str] = []
    shed = Domain("shed")

    @shed.register
    class Diary(ProcessManager, correlate="plant"):
        plant: str = ""

        @handle(Watered, start=True)
        def on_watered(self, event: Watered) -> None: ...

        @after(Watered)
        def write(self, event: Watered) -> None:
            told.append(event.plant)

    with Runtime.ephemeral(garden, shed, clock=clock) as runtime:
        sow(runtime, "rose")
        clock.advance(timedelta(days=1))
        assert told == ["rose"]


def test_a_handler_may_advance_the_clock_and_does_not_wait_for_itself(clock: VirtualClock) -> None:
    start = clock.now()

    def hurry() -> None:
        if len(Plant.seen) == 1:
            clock.advance(HOUR)

    Plant.on_due = hurry
    with Runtime.ephemeral(garden, clock=clock) as runtime:
        sow(runtime, "rose")
        clock.advance(timedelta(days=1))
        assert clock.now() == start + timedelta(days=1) + HOUR
        view = runtime.get(Plant, "rose")
        assert view is not None
        assert view.state["watered"] == 1


def test_an_after_effect_may_advance_the_clock(clock: VirtualClock) -> None:
    start, shed = clock.now(), Domain("shed")

    @shed.register
    class Diary(ProcessManager, stateless=True):
        @after(Sown)
        def hurry(self, event: Sown) -> None:
            clock.advance(HOUR)

    with Runtime.ephemeral(shed, clock=clock) as runtime:
        runtime.publish(Sown("rose"), stream="garden::bed-1")
        runtime.settle(timeout=WAIT)
        assert clock.now() == start + HOUR


def test_a_handler_that_blocks_for_ever_is_reported_and_not_waited_for_for_ever() -> None:
    clock, release = VirtualClock(patience=0.05), threading.Event()
    Plant.on_due = lambda: release.wait(WAIT)
    with Runtime.ephemeral(garden, clock=clock) as runtime:
        sow(runtime, "rose")
        runtime.settle(timeout=WAIT)
        with pytest.raises(TimedOut, match=r"did not settle .* A handler is still running"):
            clock.advance(timedelta(days=2))
        assert clock.now() == datetime(2000, 1, 2, tzinfo=UTC)
        release.set()
        runtime.settle(timeout=WAIT)


def test_without_settling_time_goes_on_while_a_handler_is_held_up(clock: VirtualClock) -> None:
    blocked, release = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        assert release.wait(WAIT)

    Plant.on_due = block
    with Runtime.ephemeral(garden, clock=clock) as runtime:
        sow(runtime, "rose")
        runtime.settle(timeout=WAIT)
        clock.advance(timedelta(days=2), settle=False)
        assert blocked.wait(WAIT)
        release.set()
        runtime.settle(timeout=WAIT)
        assert len(Plant.seen) == 1


def test_a_runtime_that_is_closed_is_not_waited_for(clock: VirtualClock) -> None:
    with Runtime.ephemeral(garden, clock=clock) as runtime:
        sow(runtime, "rose")
    clock.advance(timedelta(days=400))
    assert clock._settles == []


def test_a_runtime_that_only_reads_is_not_waited_for(tmp_path: Path, clock: VirtualClock) -> None:
    with Runtime(tmp_path, garden, clock=clock):
        pass
    with Runtime(tmp_path, garden, clock=clock, read_only=True) as runtime:
        assert runtime.clock is clock
        clock.advance(HOUR)
