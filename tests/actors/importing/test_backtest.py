"""History is handled as it would have been when it happened, and nothing of it leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    IdReused,
    InvalidMessage,
    ProcessManager,
    Retry,
    Runtime,
    after,
    handle,
    timeout,
)
from procession.importing.backtest import PAGE, Backtest
from procession.store import LmdbStore, StoreError
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2019, 3, 1, tzinfo=UTC)


class Ordered(Event):
    order: str
    days: int = 3


class Paid(Event):
    order: str


class Noted(Event):
    order: str
    works_at_attempt: int = 1


class Remind(Command):
    order: str
    nth: int = 1


class Ship(Command):
    order: str


class Reminded(Event):
    order: str


class Shipped(Event):
    order: str


billing = Domain("billing")
billing.register(Ordered, Paid, Noted)


@billing.register
class Letter(Aggregate, identity="order"):
    order: str = ""
    written: int = 0

    @handle(Remind)
    def remind(self, command: Remind) -> Reminded:
        return Reminded(order=command.order)

    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(order=command.order)


letters: list[str] = []


@billing.register
class Dunning(
    ProcessManager,
    correlate="order",
    retry=Retry(attempts=5, first=timedelta(hours=1), factor=1.0, maximum=timedelta(hours=1)),
):
    reminders: int = 0
    log: list[str] = []

    def _say(self, what: str) -> None:
        self.log = [*self.log, f"{what} {self.context.now - START}"]

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self._say("ordered")
        self.set_timeout("remind", timedelta(days=event.days))
        self.issue(Ship(order=event.order), after=timedelta(days=1))

    @handle(Noted)
    def on_noted(self, event: Noted) -> None:
        if self.context.attempt < event.works_at_attempt:
            raise RuntimeError("not yet")
        self._say("noted")

    @timeout("remind")
    def on_remind(self) -> None:
        self.reminders += 1
        self._say("reminded")
        self.issue(Remind(order=str(self.id), nth=self.reminders))
        if self.reminders < 4:
            self.set_timeout("remind", timedelta(days=2))

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None:
        self._say("paid")

    @after(Paid)
    def thank(self, event: Paid) -> None:
        letters.append(event.order)


def at(days: float) -> datetime:
    return START + timedelta(days=days)


def test_a_deadline_falls_between_the_events_where_it_would_have(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        backtest.publish(Ordered(order="o1"), stream="shop-o1", time=at(0))
        backtest.publish(Ordered(order="o2"), stream="shop-o2", time=at(1))
        backtest.publish(Paid(order="o1"), stream="shop-o1", time=at(5.5))
        backtest.publish(Paid(order="o2"), stream="shop-o2", time=at(5.5))
    with Runtime(tmp_path, billing, read_only=True) as runtime:
        first, second = runtime.get(Dunning, "o1"), runtime.get(Dunning, "o2")
        assert first is not None
        assert second is not None
        assert first.state["log"] == [
            "ordered 0:00:00",
            "reminded 3 days, 0:00:00",
            "reminded 5 days, 0:00:00",
            "paid 5 days, 12:00:00",
        ]
        assert second.state["reminders"] == 1
        assert [one.time for one in runtime.history(Dunning, "o1")] == [
            at(0),
            at(3),
            at(5),
            at(5.5),
        ]
        assert [one.time for one in runtime.events()] == [at(0), at(1), at(5.5), at(5.5)]


def test_an_event_at_the_moment_of_a_deadline_comes_before_it(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        backtest.publish(Ordered(order="o1"), stream="shop-o1", time=at(0))
        backtest.publish(Paid(order="o1"), stream="shop-o1", time=at(3))
    with Runtime(tmp_path, billing, read_only=True) as runtime:
        found = runtime.get(Dunning, "o1")
        assert found is not None
        assert found.state["reminders"] == 0


def test_a_deadline_at_the_moment_of_the_last_event_of_a_commit_is_kept(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        backtest.publish(Ordered(order="o1"), stream="shop-o1", time=at(0))
        backtest.publish(Ordered(order="o2", days=30), stream="shop-o2", time=at(3))
        backtest.commit()
        backtest.publish(Paid(order="o1"), stream="shop-o1", time=at(4))
    with Runtime(tmp_path, billing, read_only=True) as runtime:
        assert [one.time for one in runtime.history(Dunning, "o1")] == [at(0), at(3), at(4)]


def test_many_moments_share_a_commit(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        for day in range(200):
            backtest.publish(Ordered(order=f"o{day}"), stream=f"shop-o{day}", time=at(day))
        assert backtest.counts.transitions > 900
        commits = backtest._journal.counts.commits
        assert commits == 0


def test_time_passes_behind_the_last_event_when_it_is_told_to(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        backtest.publish(Ordered(order="o1"), stream="shop-o1", time=at(0))
        backtest.let_pass(at(5))
        assert backtest.now == at(5)
    with Runtime(tmp_path, billing, read_only=True) as runtime:
        found = runtime.get(Dunning, "o1")
        assert found is not None
        assert found.state["reminders"] == 2
        assert [one.due for one in runtime.timeouts()] == [at(7)]


def test_nothing_leaves_and_no_service_opens_it(tmp_path: Path) -> None:
    letters.clear()
    with Backtest(tmp_path, billing) as backtest:
        backtest.publish(Ordered(order="o1"), stream="shop-o1", time=at(0))
        backtest.publish(Paid(order="o1"), stream="shop-o1", time=at(4))
    with LmdbStore(tmp_path, read_only=True) as store:
        assert [one.type.split(".")[1] for one in store.scan_queue()] == ["Ship", "Remind"]
    with pytest.raises(StoreError, match="procession import --live-from"):
        Runtime(tmp_path, billing)
    assert letters == []


def test_what_is_of_the_time_from_which_it_is_live_leaves_and_nothing_before(
    tmp_path: Path,
) -> None:
    letters.clear()
    with Backtest(tmp_path, billing) as backtest:
        for name, day in (("o1", 0), ("o2", 10)):
            backtest.publish(Ordered(order=name), stream=f"shop-{name}", time=at(day))
        backtest.publish(Paid(order="o1"), stream="shop-o1", time=at(10.5))
        backtest.publish(Paid(order="o2"), stream="shop-o2", time=at(14))
        backtest.go_live(at(12))
    with Runtime(tmp_path, billing, clock=VirtualClock(at(14))) as runtime:
        runtime.settle()
        # `Ship` of o2 was due at day 11, its reminder at 13; all of o1 is of before.
        assert [one.stream for one in runtime.events("billing::letter")] == ["billing::letter-o2"]
        assert letters == ["o2"]
    with pytest.raises(StoreError, match="gone live"):
        Backtest(tmp_path, billing)


def test_it_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    def bring(backtest: Backtest, days: range) -> None:
        for day in days:
            backtest.publish(
                Ordered(order=f"o{day}"), stream=f"shop-o{day}", time=at(day), event_id=f"e{day}"
            )

    with Backtest(tmp_path / "whole", billing) as backtest:
        bring(backtest, range(9))
    backtest = Backtest(tmp_path / "cut", billing)
    bring(backtest, range(4))
    backtest.commit()
    bring(backtest, range(4, 6))
    backtest.close(keeps=False)
    with Backtest(tmp_path / "cut", billing) as backtest:
        bring(backtest, range(9))
        assert (backtest.counts.known, backtest.counts.events) == (4, 5)
    assert stored(tmp_path / "cut") == stored(tmp_path / "whole")


def test_of_many_events_comes_what_comes_of_each_by_itself(tmp_path: Path) -> None:
    history = [
        (at(day / 10), f"o{day % 70}", Ordered if day < 70 else Paid) for day in range(PAGE + 40)
    ]
    history.sort(key=lambda one: one[0])
    with Backtest(tmp_path / "one by one", billing) as backtest:
        for number, (time, name, kind) in enumerate(history):
            backtest.publish(
                kind(order=name), stream=f"shop-{name}", time=time, event_id=f"e{number}"
            )
    numbers, times = iter(range(len(history))), iter(history)
    with Backtest(tmp_path / "many", billing, largest_commit=100) as backtest:
        positions = backtest.publish_many(
            (kind(order=name) for _, name, kind in history),
            stream=lambda one: f"shop-{one.order}",
            time=lambda _: next(times)[0],
            event_id=lambda _: f"e{next(numbers)}",
        )
        assert len(positions) == len(history)
        assert backtest.counts.parked == 0
    assert stored(tmp_path / "many") == stored(tmp_path / "one by one")


def test_of_many_events_that_is_stored_once_which_has_the_same_id(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        events = [Ordered(order="o1"), Ordered(order="o1"), Paid(order="o1")]
        first, again, paid = backtest.publish_many(
            events, stream="shop-o1", time=lambda _: at(1), event_id=lambda one: type(one).__name__
        )
        assert (first, again, paid) == (1, 1, 2)
        assert (backtest.counts.events, backtest.counts.known) == (2, 1)


def test_of_many_events_those_are_stored_that_come_before_one_that_is_too_late(
    tmp_path: Path,
) -> None:
    times = iter([at(1), at(2), at(1.5), at(3)])
    with Backtest(tmp_path, billing) as backtest:
        with pytest.raises(InvalidMessage, match="the store is at 2019-03-03"):
            backtest.publish_many(
                [Ordered(order=f"o{number}") for number in range(4)],
                stream=lambda one: f"shop-{one.order}",
                time=lambda _: next(times),
            )
        assert backtest.counts.events == 2


def test_what_comes_too_late_is_refused_with_its_time(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        backtest.publish(Ordered(order="o1"), stream="shop-o1", time=at(5), event_id="e1")
        with pytest.raises(InvalidMessage, match="2019-03-02"):
            backtest.publish(Paid(order="o1"), stream="shop-o1", time=at(1), event_id="e2")
        with pytest.raises(IdReused):
            backtest.publish(Paid(order="o1"), stream="shop-o1", time=at(1), event_id="e1")
        with pytest.raises(InvalidMessage, match="with a zone"):
            backtest.publish(Paid(order="o1"), stream="shop-o1", time=datetime(2019, 3, 9))  # noqa: DTZ001
        with pytest.raises(InvalidMessage, match="from 1970"):
            backtest.publish(
                Paid(order="o1"), stream="shop-o1", time=datetime(1911, 3, 9, tzinfo=UTC)
            )


def test_a_store_that_a_service_works_on_takes_no_history(tmp_path: Path) -> None:
    with Runtime(tmp_path, billing) as runtime:
        runtime.publish(Ordered(order="o1"), stream="shop-o1")
        with pytest.raises(StoreError):
            Backtest(tmp_path, billing)
    with pytest.raises(StoreError, match="a service has done"):
        Backtest(tmp_path, billing)


def test_what_an_aggregate_did_becomes_its_past(tmp_path: Path) -> None:
    with Backtest(tmp_path, billing) as backtest:
        backtest.publish(Reminded(order="o1"), stream="billing::letter-o1", time=at(0))
        backtest.go_live(at(1))
    with Runtime(tmp_path, billing) as runtime:
        found = runtime.get(Letter, "o1")
        assert found is not None
        assert found.version == 1


def stored(path: Path) -> list[Any]:
    """All that came of history, as a store has it."""
    with LmdbStore(path, read_only=True) as store:
        found: list[Any] = [
            (one.position, one.type, one.stream, one.version, one.time, one.data)
            for one in store.scan_log()
        ]
        for position, stored_one in store.scan_all_transitions():
            assert isinstance(stored_one, tuple)
            process, instance, one = stored_one
            found.append((position, process, instance, one.version, one.time, one.state))
        found += [
            (due, one.name)
            for due, one in ((timer.due, timer) for _, timer in store.scan_timers(1 << 62))
        ]
        return found


# A command that is held back is taken by the real queue in the model, so the model has none.
CASES = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["ordered", "paid", "noted", "failing"]),
    ),
    max_size=25,
)


@given(cases=CASES)
@settings(max_examples=25)
def test_it_comes_to_what_a_service_would_have_come_to(
    cases: list[tuple[int, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("backtest")
    kinds: dict[str, Callable[[str], Event]] = {
        "ordered": lambda name: Ordered(order=name),
        "paid": lambda name: Paid(order=name),
        "noted": lambda name: Noted(order=name),
        "failing": lambda name: Noted(order=name, works_at_attempt=3),
    }
    # A quarter of an hour beside the deadlines, so that none is at the same moment.
    history = [
        (at(hours / 4) + timedelta(minutes=15 + place), name, kinds[kind](name))
        for place, (hours, name, kind) in enumerate(sorted(cases, key=lambda one: one[0]))
    ]
    with Backtest(folder / "imported", billing, durability="none") as backtest:
        for time, name, event in history:
            backtest.publish(event, stream=f"shop-{name}", time=time)
        backtest.let_pass(at(30))
    clock = VirtualClock(START)
    with Runtime(folder / "lived", billing, clock=clock, durability="none") as runtime:
        for time, name, event in history:
            clock.advance(time - clock.now())
            runtime.publish(event, stream=f"shop-{name}")
        clock.advance(at(30) - clock.now())
        runtime.settle()
        lived = {name: told(runtime, name) for name in "abc"}
    with Runtime(folder / "imported", billing, read_only=True) as runtime:
        assert {name: told(runtime, name) for name in "abc"} == lived


def told(runtime: Runtime, name: str) -> list[Any]:
    return [
        (one.version, one.time, one.handler, one.state, one.is_complete, one.commands)
        for one in runtime.history(Dunning, name)
    ]
