"""Effects happen once: lost races, errors that look like conflicts, ids that come again late."""

from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

import pytest

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, apply, handle
from procession.store import Conflict, LmdbStore, Outcome, Step, StoreError
from procession.testing import VirtualClock

till = Domain("till")


class Sell(Command):
    till: str
    amount: int


class Sold(Event):
    till: str
    amount: int


class Print(Command):
    till: str
    number: int


class Printed(Event):
    till: str
    number: int


calls: Counter[str] = Counter()


@till.register
class Till(Aggregate, identity="till"):
    total: int = 0

    @handle(Sell)
    def sell(self, command: Sell) -> Sold:
        calls["sell"] += 1
        if command.amount == 13:
            raise ValueError("conflict: expected version 3")
        return Sold(self.id, command.amount)

    @apply(Sold)
    def _sold(self, event: Sold) -> None:
        self.total += event.amount


@till.register
class Printer(Aggregate, identity="till"):
    @handle(Print)
    def print_it(self, command: Print) -> Printed:
        return Printed(self.id, command.number)


@till.register
class Receipts(ProcessManager, correlate="till"):
    till: str = ""
    count: int = 0

    @handle(Sold, start=True)
    def on_sold(self, event: Sold) -> None:
        calls["receipt"] += 1
        self.count += 1
        self.issue(Print(self.till, self.count))


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    calls.clear()


def test_a_value_error_in_a_handler_is_not_taken_for_a_conflict() -> None:
    with Runtime.ephemeral(till) as runtime:
        with pytest.raises(ValueError, match="expected version 3"):
            runtime.ask(Sell("a", 13))
        assert calls["sell"] == 1
        runtime.settle(timeout=10)
        assert calls["sell"] == 1
        assert list(runtime.events()) == []


class Racing(LmdbStore):
    """Answers steps of one kind with a conflict, as if another writer had been quicker."""

    what = "transition"
    tries = 0
    loses: Collection[int] = ()
    """Which of the tries."""
    lost = 0

    def hand_over(self, step: Step) -> Outcome:
        if getattr(step, Racing.what) is not None:
            Racing.tries += 1
            if Racing.tries in Racing.loses:
                Racing.lost += 1
                return Conflict("another was quicker")
        return super().hand_over(step)


@pytest.fixture
def racing(monkeypatch: pytest.MonkeyPatch) -> type[Racing]:
    """What a runtime opens from now on is a `Racing`, which loses every second of the first six."""
    monkeypatch.setattr("procession.runtime.open_store", Racing)
    Racing.lost = Racing.tries = 0
    Racing.loses = 1, 3, 5
    return Racing


def test_a_lost_race_and_its_repetition_issue_commands_once(
    tmp_path: Path, racing: type[Racing]
) -> None:
    racing.what = "transition"
    with Runtime(tmp_path, till) as runtime:
        runtime.tell_many([Sell("a", n) for n in range(1, 6)])
        runtime.settle(timeout=10)
        assert racing.lost == 3
        assert calls["receipt"] > 5, "nothing was repeated, so nothing was tested"
        printed = [e.event.number for e in runtime.events() if isinstance(e.event, Printed)]
        assert printed == [1, 2, 3, 4, 5]
        view = runtime.get(Receipts, "a")
        assert view is not None
        assert (view.version, view.state["count"]) == (5, 5)


def test_an_aggregate_that_loses_a_race_decides_again_and_replies_with_what_was_stored(
    tmp_path: Path, racing: type[Racing]
) -> None:
    racing.what = "append"
    with Runtime(tmp_path, till) as runtime:
        replies = [runtime.ask(Sell("a", n), block=False) for n in range(1, 6)]
        assert [reply.get(timeout=10) for reply in replies] == [[Sold("a", n)] for n in range(1, 6)]
        assert calls["sell"] > 5, "nothing was repeated, so nothing was tested"
        assert [e.event.amount for e in runtime.events("till::till")] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]


def test_an_aggregate_that_loses_again_at_once_says_that_the_store_is_damaged(
    tmp_path: Path, racing: type[Racing]
) -> None:
    racing.what, racing.loses = "append", range(1, 3)
    with Runtime(tmp_path, till) as runtime:
        with pytest.raises(StoreError, match=r"another was quicker.*verify"):
            runtime.ask(Sell("a", 1), timeout=10)
        # The next one has its place.
        assert runtime.ask(Sell("a", 2), timeout=10) == [Sold("a", 2)]


def test_a_command_from_the_queue_that_loses_again_at_once_stays_there_for_the_next_run(
    tmp_path: Path, racing: type[Racing]
) -> None:
    racing.what, racing.loses = "append", range(1, 3)
    with Runtime(tmp_path, till) as runtime:
        runtime.tell(Sell("a", 1))
        with pytest.raises(StoreError, match=r"another was quicker.*verify"):
            runtime.settle(timeout=10)
        assert [e.type for e in runtime.events()] == []
    with Runtime(tmp_path, till) as runtime:
        runtime.settle(timeout=10)
        assert [e.type for e in runtime.events("till::till")] == ["till.Sold.v1"]


def test_an_id_is_known_a_year_and_thousands_of_events_later(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, till, clock=clock, durability="os") as runtime:
        first = runtime.ask(Sell("a", 5), command_id="sale-1")
        position = runtime.publish(Sold("b", 1), stream="feed::till-b", event_id="feed-1")
        told = runtime.tell(Sell("a", 7))
        runtime.publish_many([Sold(f"c{n % 50}", n) for n in range(5_000)], stream="feed::till-c")
        runtime.settle(timeout=60)
    clock.advance(timedelta(days=366))
    with Runtime(tmp_path, till, clock=clock, durability="os") as runtime:
        events = runtime.stats()["events"]
        assert runtime.ask(Sell("a", 5), command_id="sale-1") == first
        again = runtime.publish(Sold("b", 1), stream="feed::till-b", event_id="feed-1")
        assert again == position
        runtime.tell(Sell("a", 7), command_id=told)
        runtime.settle(timeout=60)
        assert runtime.stats()["events"] == events
        view = runtime.get(Till, "a")
        assert view is not None
        assert view.state["total"] == 12


def test_who_asks_under_an_id_that_cannot_be_looked_up_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Runtime.ephemeral(till) as runtime:

        def refuse(command_id: str) -> None:
            raise StoreError("the disk refused")

        monkeypatch.setattr(runtime._store, "given_command", refuse)
        with pytest.raises(StoreError, match="the disk refused"):
            runtime.ask(Sell("t1", 1), command_id="first", timeout=30)
        # What comes behind it is carried out all the same.
        assert runtime.ask(Sell("t1", 2), timeout=30) == [Sold("t1", 2)]
