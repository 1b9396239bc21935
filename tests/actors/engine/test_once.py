"""Effects happen once: lost races, errors that look like conflicts, ids that come again late."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import Aggregate, Command, Domain, Event, ProcessManager, Runtime, apply, handle
from procession.store import Conflict, LmdbStore, Outcome
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
    """Answers the first transitions with a conflict, as if another writer had been quicker."""

    lost = 0
    what = "transition"

    def commit(self, steps: Any, checkpoints: Any = None) -> list[Outcome]:
        races = [Racing.lost < 3 and getattr(step, Racing.what) is not None for step in steps]
        kept = [step for step, race in zip(steps, races, strict=True) if not race]
        outcomes = iter(super().commit(kept, checkpoints))
        Racing.lost += sum(races)
        return [Conflict("another was quicker") if race else next(outcomes) for race in races]


def test_a_lost_race_and_its_repetition_issue_commands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.runtime.LmdbStore", Racing)
    Racing.lost, Racing.what = 0, "transition"
    with Runtime(tmp_path, till) as runtime:
        runtime.tell_many([Sell("a", n) for n in range(1, 6)])
        runtime.settle(timeout=10)
        assert Racing.lost >= 3
        assert calls["receipt"] > 5, "nothing was repeated, so nothing was tested"
        printed = [e.event.number for e in runtime.events() if isinstance(e.event, Printed)]
        assert printed == [1, 2, 3, 4, 5]
        view = runtime.get(Receipts, "a")
        assert view is not None
        assert (view.version, view.state["count"]) == (5, 5)


def test_an_aggregate_that_loses_a_race_decides_again_and_replies_with_what_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procession.runtime.LmdbStore", Racing)
    Racing.lost, Racing.what = 0, "append"
    with Runtime(tmp_path, till) as runtime:
        replies = [runtime.ask(Sell("a", n), block=False) for n in range(1, 6)]
        assert [reply.get(timeout=10) for reply in replies] == [[Sold("a", n)] for n in range(1, 6)]
        assert calls["sell"] > 5, "nothing was repeated, so nothing was tested"
        assert [e.event.amount for e in runtime.events("till::till")] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]


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
