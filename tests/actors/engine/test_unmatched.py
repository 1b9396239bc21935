"""Events whose learnt key no instance has yet, and events for instances that have ended."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest

from procession import (
    DefinitionError,
    Domain,
    EarlyEvent,
    Event,
    Indexed,
    ProcessManager,
    Runtime,
    handle,
    timeout,
)
from procession.engine import router as router_module
from procession.store import Reads
from procession.testing import Simulation, VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = timedelta(minutes=1)


class Ordered(Event):
    order_id: str


class Billed(Event):
    order_id: str
    invoice: str


class Paid(Event):
    invoice: str
    number: int = 0


class PaidAll(Event):
    invoices: tuple[str, ...]
    number: int = 0


class Noted(Event):
    order_id: str
    number: int


class Closed(Event):
    order_id: str


class Later(Event):
    order_id: str


def shop(**options: Any) -> tuple[Domain, type[ProcessManager]]:
    domain = Domain("shop")

    @domain.register
    class Order(ProcessManager, correlate="order_id", begin="origin", **options):
        order_id: str = ""
        invoices: Indexed[set[str]] = set()
        log: list[str] = []

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            self.log.append("ordered")

        @handle(Billed)
        def on_billed(self, event: Billed) -> None:
            self.invoices.add(event.invoice)
            self.log.append(f"billed {event.invoice}")

        @handle(Later)
        def on_later(self, event: Later) -> None:
            self.set_timeout("bill", MINUTE / 2)

        @timeout("bill")
        def on_bill(self) -> None:
            self.invoices.add("late")

        @handle(Paid, correlate={"invoices": "invoice"})
        def on_paid(self, event: Paid) -> None:
            self.log.append(f"paid {event.invoice} {event.number}")

        @handle(PaidAll, correlate={"invoices": "invoices"})
        def on_paid_all(self, event: PaidAll) -> None:
            self.log.append(f"paid all {event.number}")

        @handle(Noted)
        def on_noted(self, event: Noted) -> None:
            self.log.append(f"noted {event.number}")

        @handle(Closed, end=True)
        def on_closed(self, event: Closed) -> None: ...

    return domain, Order


def go(runtime: Runtime, *events: Event) -> None:
    runtime.publish_many(events, stream="feed::x-1")
    runtime.settle(timeout=20)


def log(runtime: Runtime, cls: type[ProcessManager], name: str) -> list[str]:
    view = runtime.get(cls, name)
    assert view is not None
    found: list[str] = view.state["log"]
    return found


def why(runtime: Runtime, number: int) -> list[tuple[str | None, str, str]]:
    return [(one.instance, one.outcome, one.detail) for one in runtime.why(f"feed::x-1@{number}")]


# Held


def test_neighbours_that_were_swapped_lose_nothing() -> None:
    domain, order = shop()
    events: list[Event] = []
    for number in range(400):
        events += [
            Ordered(f"o{number}"),
            Billed(f"o{number}", f"i{number}"),
            Paid(f"i{number}"),
        ]
    chance = random.Random(7)
    swapped = 0
    for place in range(0, len(events) - 1, 2):
        # An order that is billed before it is placed is another matter.
        pair = events[place : place + 2]
        if chance.random() < 0.3 and not any(isinstance(one, Ordered) for one in pair):
            events[place : place + 2] = reversed(pair)
            swapped += 1
    assert swapped > 20
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, *events)
        for number in range(400):
            found = log(runtime, order, f"o{number}")
            assert found == ["ordered", f"billed i{number}", f"paid i{number} 0"]
        assert runtime.stats()["held"] == swapped
        assert all(one.event is None for one in runtime.stuck(order, timedelta(0)))
        assert runtime.verify() == []


def test_what_was_held_comes_in_order_of_position_and_before_what_finds_the_key_later() -> None:
    domain, order = shop()
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), *(Paid("i", number) for number in range(200)))
        go(runtime, Noted("o1", 1), Billed("o1", "i"), Paid("i", 200), Noted("o1", 2))
        expected = [f"paid i {number}" for number in range(200)]
        assert log(runtime, order, "o1") == [
            "ordered",
            "noted 1",
            "billed i",
            *expected,
            "paid i 200",
            "noted 2",
        ]
        assert why(runtime, 2) == [("o1", "stepped", "version 4 by on_paid")]
        assert runtime.verify() == []


def test_what_is_held_outlives_the_process(tmp_path: Path) -> None:
    domain, order = shop()
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered("o1"), Paid("i", 1))
    with Runtime(tmp_path, domain) as runtime:
        runtime.settle(timeout=10)
        assert log(runtime, order, "o1") == ["ordered"]
        go(runtime, Paid("i", 2))
        assert runtime.verify() == []
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Billed("o1", "i"))
        assert log(runtime, order, "o1") == ["ordered", "billed i", "paid i 1", "paid i 2"]
    with Runtime(tmp_path, domain) as runtime:
        runtime.settle(timeout=10)
        assert len(log(runtime, order, "o1")) == 4


def test_the_log_goes_on_behind_what_is_held() -> None:
    domain, order = shop()
    with Runtime.ephemeral(domain, max_in_flight=1) as runtime:
        go(runtime, Ordered("o1"), Paid("i"), *(Noted("o1", number) for number in range(50)))
        assert len(log(runtime, order, "o1")) == 51
        assert runtime._engine("test").routers[0].done_up_to == 52


def test_a_timeout_and_an_operator_teach_a_key_as_an_event_does(tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2024, 1, 1, tzinfo=UTC))
    domain, order = shop()
    with Runtime(tmp_path, domain, clock=clock) as runtime:
        go(runtime, Ordered("o1"), Later("o1"), Paid("late"))
        clock.advance(MINUTE / 2)
        assert log(runtime, order, "o1") == ["ordered", "paid late 0"]

    # The class learns a key from an event that taught it none before.
    plain, _ = shop()
    changed = Domain("shop")

    @changed.register
    class Order(order):  # type: ignore[misc, valid-type]
        @handle(Noted)
        def on_noted(self, event: Noted) -> None:
            self.invoices.add(f"n{event.number}")

    with Runtime(tmp_path, plain, clock=clock) as runtime:
        go(runtime, Noted("o1", 5), Paid("n5"))
    with Runtime(tmp_path, changed, clock=clock) as runtime:
        runtime.refresh(Order, "o1")
        runtime.settle(timeout=10)
        assert log(runtime, Order, "o1")[-1] == "paid n5 0"
        assert runtime.verify() == []


def test_an_event_by_many_keys_reaches_each_instance_once_when_it_learns_one() -> None:
    domain, order = shop()
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, *(Ordered(f"o{number}") for number in range(3)), Billed("o0", "a"))
        go(runtime, PaidAll(("a", "b", "c", "d"), 1))
        assert log(runtime, order, "o0") == ["ordered", "billed a", "paid all 1"]
        # The first had it by another key; the second learns two of the keys, one after the other.
        go(runtime, Billed("o0", "b"), Billed("o1", "c"), Billed("o1", "d"), Billed("o2", "x"))
        assert log(runtime, order, "o0").count("paid all 1") == 1
        assert log(runtime, order, "o1") == ["ordered", "billed c", "paid all 1", "billed d"]
        assert log(runtime, order, "o2") == ["ordered", "billed x"]
        assert why(runtime, 5) == [
            ("o0", "stepped", "version 3 by on_paid_all"),
            ("o1", "stepped", "version 3 by on_paid_all"),
        ]
        assert all(one.event is None for one in runtime.stuck(order, timedelta(0)))
        assert runtime.verify() == []


def test_an_instance_that_learns_its_key_at_its_end_takes_no_more() -> None:
    domain = Domain("shop")

    @domain.register
    class Order(ProcessManager, correlate="order_id"):
        order_id: str = ""
        invoice: Indexed[str] = ""
        paid: int = 0

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(Billed, end=True)
        def on_billed(self, event: Billed) -> None:
            self.invoice = event.invoice

        @handle(Paid, correlate={"invoice": "invoice"})
        def on_paid(self, event: Paid) -> None:
            self.paid += 1

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Paid("i"), Billed("o1", "i"))
        assert runtime.stats()["skipped_complete"] == 1
        assert [one[1] for one in why(runtime, 2)] == ["skipped: complete"]


# Until when


def test_what_is_held_is_skipped_and_counted_after_a_minute_and_listed_until_then() -> None:
    clock = VirtualClock(datetime(2024, 1, 1, tzinfo=UTC))
    domain, order = shop()
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        go(runtime, Ordered("o1"), Paid("i"))
        clock.advance(timedelta(seconds=59))
        held, instance = runtime.stuck(order, timedelta(seconds=30))
        assert (held.id, held.waits_for_nothing) == ("", True)
        assert held.event is not None
        assert (held.event.event_id, held.event.values) == ("feed::x-1@2", ("i",))
        assert str(held) == (
            "feed::x-1@2 (shop.Paid.v1) since 2024-01-01 00:00:00; waits for an instance with "
            "invoices = 'i', until 2024-01-01 00:01:00"
        )
        assert str(instance).startswith("o1: at version 1")
        assert why(runtime, 2) == [
            (
                None,
                "held",
                "until an instance has 'invoices' = 'i', or 2024-01-01 00:01:00 has come",
            )
        ]
        clock.advance(timedelta(seconds=1))
        assert runtime.stats()["skipped_unmatched"] == 1
        assert [one.id for one in runtime.stuck(order, timedelta(0)) if hasattr(one, "id")] == [
            "o1"
        ]
        assert len(list(runtime.stuck(order, timedelta(0)))) == 1
        assert why(runtime, 2) == [(None, "not for us", "no instance had learnt that key in time")]
        # Too late for it, which `why` does not take for something else.
        go(runtime, Billed("o1", "i"))
        assert log(runtime, order, "o1") == ["ordered", "billed i"]
        assert why(runtime, 2) == [
            ("o1", "not for us", "it learnt 'invoices' only after the event had come")
        ]
        assert runtime.verify() == []


def test_the_time_goes_on_while_the_process_is_down(tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2024, 1, 1, tzinfo=UTC))
    domain, order = shop(hold_for=timedelta(hours=1))
    with Runtime(tmp_path, domain, clock=clock) as runtime:
        go(runtime, Ordered("o1"), Paid("i"))
        clock.advance(timedelta(minutes=59))
        go(runtime, Paid("j"))
        assert runtime.stats()["skipped_unmatched"] == 0
    clock.advance(timedelta(minutes=1))
    with Runtime(tmp_path, domain, clock=clock) as runtime:
        runtime.settle(timeout=10)
        assert runtime.stats()["skipped_unmatched"] == 1
        go(runtime, Billed("o1", "i"), Billed("o1", "j"))
        assert log(runtime, order, "o1") == ["ordered", "billed i", "billed j", "paid j 0"]


def test_what_was_stored_before_the_time_was_up_still_teaches_the_key(tmp_path: Path) -> None:
    """The process manager was down, and finds both in the log."""
    clock = VirtualClock(datetime(2024, 1, 1, tzinfo=UTC))
    domain, order = shop()
    with Runtime(tmp_path, domain, clock=clock) as runtime:
        go(runtime, Ordered("o1"), Paid("i"))
    other = Domain("shop")
    other.register(Ordered, Billed, Paid, PaidAll, Noted, Closed, Later)
    with Runtime(tmp_path, other, clock=clock, retired=["shop.Order"]) as runtime:
        go(runtime, Billed("o1", "i"))
    clock.advance(timedelta(hours=1))
    with Runtime(tmp_path, domain, clock=clock) as runtime:
        runtime.settle(timeout=10)
        assert log(runtime, order, "o1") == ["ordered", "billed i", "paid i 0"]


def test_more_than_may_be_held_is_skipped_at_once_and_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(router_module, "MOST_HELD", 5)
    domain, order = shop()
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered("o1"), *(Paid("i", number) for number in range(3)))
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, *(Paid("i", number) for number in range(3, 9)))
        assert runtime.stats()["skipped_unmatched"] == 4
        go(runtime, Billed("o1", "i"))
        assert log(runtime, order, "o1")[2:] == [f"paid i {number}" for number in range(5)]
        # There is room again.
        go(runtime, Paid("j", 9), Billed("o1", "j"))
        assert log(runtime, order, "o1")[-1] == "paid j 9"


def test_an_old_log_of_events_that_nobody_waits_for_is_gone_through_in_a_straight_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither what is held nor what waits is counted again for each of them."""
    monkeypatch.setattr(router_module, "MOST_HELD", 20)
    other = Domain("shop")
    other.register(Ordered, Billed, Paid, PaidAll, Noted, Closed, Later)
    with Runtime(tmp_path, other, durability="none") as runtime:
        # Many wait for their start.
        go(runtime, *(Noted(f"o{number}", 1) for number in range(100)))
        go(runtime, *(Paid(f"i{number}") for number in range(300)))
    looks = 0
    heads, scan = Reads._heads_waiting, Reads._scan_rows

    def counted_heads(self: Reads, process: str) -> Any:
        nonlocal looks
        for one in heads(self, process):
            looks += 1
            yield one

    def counted_scan(self: Reads, table: str, start: bytes, end: bytes) -> Any:
        nonlocal looks
        for one in scan(self, table, start, end):
            looks += table == "unmatched"
            yield one

    monkeypatch.setattr(Reads, "_heads_waiting", counted_heads)
    monkeypatch.setattr(Reads, "_scan_rows", counted_scan)
    domain, _ = shop(early="hold")
    with Runtime(tmp_path, domain, durability="none") as runtime:
        runtime.settle(timeout=20)
        assert runtime.stats()["skipped_unmatched"] == 280
        assert runtime.stats()["held"] == 120
    assert looks < 1_000


# Other policies


def test_what_is_to_be_skipped_is_skipped_at_once() -> None:
    domain, order = shop(unmatched="skip")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Paid("i"), Billed("o1", "i"))
        assert log(runtime, order, "o1") == ["ordered", "billed i"]
        assert runtime.stats()["skipped_unmatched"] == 1
        assert runtime.stats()["held"] == 0


def test_what_is_to_be_parked_waits_for_a_person() -> None:
    domain, order = shop(unmatched="park")
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Paid("i"), Paid("j"))
        first, second = runtime.parked()
        assert "no instance of shop.Order has 'invoices' = 'i'" in first.error
        with pytest.raises(EarlyEvent, match="retry it when one has learnt it"):
            runtime.retry(first.id)
        go(runtime, Billed("o1", "i"))
        runtime.retry(first.id)
        runtime.skip(second.id, by="ann")
        runtime.settle(timeout=10)
        assert log(runtime, order, "o1") == ["ordered", "billed i", "paid i 0"]
        assert why(runtime, 3) == [
            (None, "skipped: by decision", f"by ann, of what was parked as {second.id}")
        ]
        assert list(runtime.parked()) == []


@pytest.mark.parametrize("late", ["skip", "park"])
def test_an_event_after_the_end_is_skipped_or_parked(late: Literal["skip", "park"]) -> None:
    domain, order = shop(late=late)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Billed("o1", "i"), Closed("o1"), Noted("o1", 1), Paid("i"))
        if late == "skip":
            assert runtime.stats()["skipped_complete"] == 2
            assert list(runtime.parked()) == []
            return
        noted, paid = runtime.parked()
        assert noted.error == (
            "procession.errors.LateEvent: shop.Order 'o1' had ended when this shop.Noted.v1 came "
            "for it; see to what it asks for, and skip it"
        )
        assert paid.instance == "o1"
        assert [one[1] for one in why(runtime, 4)] == ["parked"]
        # The instance is not suspended by it.
        view = runtime.get(order, "o1")
        assert view is not None
        assert view.status == "complete"
        runtime.skip(noted.id)
        assert [one[1] for one in why(runtime, 4)] == ["skipped: by decision"]


def test_a_late_event_that_is_retried_reaches_the_run_that_began_meanwhile() -> None:
    domain, order = shop(late="park", restart=True)
    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Closed("o1"), Noted("o1", 1))
        [parked] = runtime.parked()
        go(runtime, Ordered("o1"))
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert log(runtime, order, "o1") == ["ordered", "noted 1"]


# What `why` says


def test_why_names_the_instance_that_handled_an_event_by_a_key_it_has_no_more() -> None:
    domain = Domain("shop")

    @domain.register
    class Order(ProcessManager, correlate="order_id"):
        order_id: str = ""
        invoice: Indexed[str] = ""

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(Billed)
        def on_billed(self, event: Billed) -> None:
            self.invoice = event.invoice

        @handle(Paid, correlate={"invoice": "invoice"})
        def on_paid(self, event: Paid) -> None: ...

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Ordered("o2"), Billed("o1", "i"), Paid("i"), Billed("o1", "j"))
        assert why(runtime, 4) == [("o1", "stepped", "version 3 by on_paid")]
        # Another has the key now, and had it not then.
        go(runtime, Billed("o2", "i"))
        assert why(runtime, 4) == [
            ("o2", "not for us", "it learnt 'invoice' only after the event had come"),
            ("o1", "stepped", "version 3 by on_paid"),
        ]


# What is refused


def test_policies_that_cannot_be_are_refused() -> None:
    for options, text in (
        ({"unmatched": "drop"}, 'give "skip", "hold" or "park"'),
        ({"late": "hold"}, 'give "skip" or "park"'),
        ({"hold_for": 5}, "give a timedelta above 0"),
        ({"hold_for": timedelta(0)}, "give a timedelta above 0"),
        ({"unmatched": "skip", "hold_for": MINUTE}, "holds none; remove one"),
    ):
        with pytest.raises(DefinitionError, match=text):
            shop(**options)


def test_a_policy_for_learnt_keys_is_refused_where_there_are_none() -> None:
    class Plain(ProcessManager, correlate="order_id", unmatched="park"):
        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

    with pytest.raises(DefinitionError, match="is for events that find their instances by a learn"):
        Domain("shop").register(Plain)

    class Alone(ProcessManager, stateless=True, late="park"):
        @handle(Ordered)
        def on_ordered(self, event: Ordered) -> None: ...

    with pytest.raises(DefinitionError, match="is stateless, and has late="):
        Domain("shop").register(Alone)


# Whatever happens


@pytest.mark.parametrize("seed", range(30))
def test_under_crashes_and_duplicates_each_held_event_is_handled_once_and_in_order(
    seed: int,
) -> None:
    domain, order = shop()
    events: list[Event] = [Ordered("o1"), Ordered("o2")]
    events += [Paid("a", 1), Paid("b", 2), Billed("o1", "a"), Paid("a", 3), PaidAll(("b", "c"), 4)]
    events += [Billed("o2", "b"), Paid("b", 5), Billed("o1", "c"), Paid("none", 6)]
    with Simulation(domain, seed=seed, max_in_flight=1 + seed % 4) as run:
        for event in events:
            run.publish(event, stream="feed::x-1")
        run.run()
        first, second = run.get(order, "o1"), run.get(order, "o2")
        assert first is not None
        assert second is not None
        assert first.state["log"] == [
            "ordered",
            "billed a",
            "paid a 1",
            "paid a 3",
            "billed c",
            "paid all 4",
        ]
        assert second.state["log"] == ["ordered", "billed b", "paid b 2", "paid all 4", "paid b 5"]
        assert run.verify() == []
