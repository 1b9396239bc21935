"""How long is waited before another attempt: the delay, of which a part is drawn."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession import Domain, Event, ProcessManager, Retry, Runtime, SystemClock, handle
from procession.authoring.retry import draw_of
from procession.testing import VirtualClock

names = st.text(max_size=20)
depot = Domain("depot")


class Sent(Event):
    parcel: str


@depot.register
class Parcel(
    ProcessManager, correlate="parcel", retry=Retry(attempts=2, first=timedelta(minutes=1))
):
    parcel: str = ""

    @handle(Sent, start=True)
    def sent(self, event: Sent) -> None:
        raise ValueError


def test_a_wait_is_the_part_of_the_delay_that_was_drawn() -> None:
    retry = Retry(attempts=9, first=timedelta(seconds=8), maximum=timedelta(seconds=20))
    assert retry.wait(1, 0.0) == timedelta(0)
    assert retry.wait(2, 0.25) == timedelta(seconds=4)
    assert retry.wait(8, 0.5) == timedelta(seconds=10)
    assert retry.wait(2) == timedelta(seconds=16)
    assert retry.wait(9, 0.5) is None


def test_without_jitter_a_wait_is_the_delay() -> None:
    retry = Retry(first=timedelta(seconds=8), jitter="none")
    assert retry.wait(1, 0.1) == timedelta(seconds=8)


def test_a_jitter_that_is_none_of_the_two_is_refused() -> None:
    wrong: Any = "half"
    with pytest.raises(ValueError, match='jitter=\'half\'; give "full" or "none"'):
        Retry(jitter=wrong)


@given(names, names, names, st.integers(1, 1000))
def test_a_draw_is_a_part_and_always_the_same(
    process: str, instance: str, cause: str, attempt: int
) -> None:
    draw = draw_of(process, instance, cause, attempt)
    assert 0 <= draw <= 1
    assert draw_of(process, instance, cause, attempt) == draw
    assert draw_of(process, instance, cause, attempt + 1) != draw
    assert draw_of(process, instance + "x", cause, attempt) != draw


def test_draws_are_spread_evenly() -> None:
    draws = [draw_of("depot.Parcel", f"p{number}", "e", 1) for number in range(10_000)]
    tenths = [sum(int(draw * 10) == tenth for draw in draws) for tenth in range(10)]
    assert all(900 < many < 1_100 for many in tenths)


def waits(clock: Any) -> list[timedelta]:
    with Runtime.ephemeral(depot, clock=clock) as runtime:
        for number in range(50):
            runtime.publish(Sent(f"p{number}"), stream=f"depot::parcel-p{number}")
        runtime.settle(timeout=10)
        before = clock.now()
        return [one.due - before for one in runtime.timeouts()]


class Standing(SystemClock):
    """A machine's clock, which stands while a test looks."""

    def __init__(self) -> None:
        self._now = super().now()

    def now(self) -> Any:
        return self._now


def test_instances_that_fail_at_one_moment_come_again_at_many() -> None:
    found = waits(Standing())
    # Those whose wait is over may have been tried again meanwhile, and are parked.
    assert len(set(found)) > 40
    assert all(timedelta(0) <= one <= timedelta(minutes=1) for one in found)
    assert min(found) < timedelta(seconds=20)
    assert max(found) > timedelta(seconds=40)


def test_by_a_clock_that_tests_move_each_wait_is_the_whole_delay(clock: VirtualClock) -> None:
    assert set(waits(clock)) == {timedelta(minutes=1)}
