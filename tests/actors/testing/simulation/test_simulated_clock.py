"""A clock that stands still until the simulation moves it."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from procession.engine.dispatcher import Dispatcher
from procession.engine.residency import Residency
from procession.testing.simulation.simulated_clock import NodeClock, SharedClock, SimulatedClock

START = datetime(2024, 2, 29, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_an_alarm_rings_once_when_the_clock_has_come_to_its_moment() -> None:
    clock, rung = SimulatedClock(START), list[datetime]()
    alarm = clock.alarm(lambda: rung.append(clock.now()))
    alarm.set(START + MINUTE)
    clock.move_to(START + MINUTE / 2)
    assert rung == []
    clock.move_to(START + 2 * MINUTE)
    clock.move_to(START + 3 * MINUTE)
    assert rung == [START + 2 * MINUTE]
    assert clock.elapsed == 180_000_000


def test_the_clock_never_goes_back() -> None:
    clock = SimulatedClock(START)
    clock.move_to(START + MINUTE)
    clock.move_to(START)
    assert clock.now() == START + MINUTE


def test_what_is_due_next_leaves_out_closed_alarms_and_the_sweeps_for_idle_actors() -> None:
    clock = SimulatedClock(START)
    dispatcher = Dispatcher(1, on_idle=bool, on_error=print)
    residency = Residency(dispatcher, clock, max_awake=9, idle_timeout=MINUTE)
    residency.send([])
    assert clock.next_due() is None
    first, second = clock.alarm(lambda: None), clock.alarm(lambda: None)
    first.set(START + MINUTE)
    second.set(START + 2 * MINUTE)
    assert clock.next_due() == START + MINUTE
    first.close()
    assert clock.next_due() == START + 2 * MINUTE


def test_a_clock_forgets_the_alarms_of_a_process_that_is_gone() -> None:
    clock, rung = SimulatedClock(START), list[int]()
    clock.alarm(lambda: rung.append(1)).set(START + MINUTE)
    clock.forget()
    clock.move_to(START + MINUTE)
    assert (rung, clock.next_due()) == ([], None)


def test_a_first_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        SimulatedClock(datetime(2024, 1, 1))  # noqa: DTZ001


def test_a_clock_that_is_set_shows_another_time_and_no_more_has_passed() -> None:
    clock, rung = SimulatedClock(START), list[datetime]()
    clock.alarm(lambda: rung.append(clock.now())).set(START + MINUTE)
    clock.set(-MINUTE)
    assert (clock.now(), clock.elapsed) == (START - MINUTE, 0)
    # What the alarm waits for is twice as far now.
    assert clock.next_due() == START + 2 * MINUTE
    clock.move_to(START + MINUTE)
    assert rung == []
    clock.set(2 * MINUTE)
    assert rung == [START + 2 * MINUTE]
    assert (clock.now(), clock.elapsed) == (START + 2 * MINUTE, 60_000_000)


def test_alarms_of_one_process_end_with_it_and_those_of_others_do_not() -> None:
    clock, rung = SimulatedClock(), list[str]()
    one, other = SharedClock(clock, NodeClock()), SharedClock(clock, NodeClock())
    moment = clock.now() + timedelta(minutes=1)
    for process, name in ((one, "one"), (other, "other")):
        process.alarm(partial(rung.append, name)).set(moment)
    one.forget()
    clock.move_to(moment)
    assert rung == ["other"]


def test_the_clock_of_one_machine_is_set_and_its_alarms_ring_by_it() -> None:
    clock, rung = SimulatedClock(), list[str]()
    ahead, others = NodeClock(), NodeClock()
    moment = clock.now() + 2 * MINUTE
    for node, name in ((ahead, "ahead"), (others, "others")):
        SharedClock(clock, node).alarm(partial(rung.append, name)).set(moment)
    clock.set_of(ahead, MINUTE)
    assert clock.next_due() == clock.now() + MINUTE
    clock.move_to(clock.now() + MINUTE)
    assert rung == ["ahead"]
    assert clock.latest == moment
    assert clock.next_due() == moment
    clock.move_to(moment)
    assert rung == ["ahead", "others"]
