"""Opening a store whose names have lost their classes; process managers that keep theirs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import lmdb
import pytest

from procession import (
    Aggregate,
    Command,
    DefinitionError,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    UnknownEvent,
    after,
    apply,
    handle,
    timeout,
    upcast,
)
from procession.store import LmdbStore
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

    from procession.store import StoreFinding


class Placed(Event):
    order_id: str


class Shipped(Event):
    order_id: str


class Charge(Command):
    order_id: str


class Charged(Event):
    order_id: str


class Card(Aggregate, identity="order_id"):
    charges: int = 0

    @handle(Charge)
    def charge(self, command: Charge) -> Charged:
        return Charged(self.id)

    @apply(Charged)
    def _charged(self, event: Charged) -> None:
        self.charges += 1


class Fulfilment(ProcessManager, correlate="order_id"):
    shipped: int = 0

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.issue(Charge(event.order_id))
        self.set_timeout("late", timedelta(days=1))

    @handle(Shipped)
    def on_shipped(self, event: Shipped) -> None:
        self.shipped += 1
        if event.order_id == "bad":
            raise ValueError("cannot be shipped")

    @timeout("late")
    def on_late(self) -> None:
        self.mark_as_complete()


class OrderFulfilment(Fulfilment): ...


class KeptFulfilment(Fulfilment, name="shop.Fulfilment"): ...


class Reminder(ProcessManager, correlate="order_id"):
    @handle(Shipped, start=True)
    def on_shipped(self, event: Shipped) -> None: ...


def domain(name: str, *classes: Any) -> Domain:
    made = Domain(name)
    for cls in classes:
        made.register(cls)
    return made


def opened(folder: Path, *domains: Domain, **options: Any) -> Runtime:
    return Runtime(folder, *domains, durability="none", **options)


def sell(folder: Path, cls: type = Fulfilment) -> None:
    """Have a service take three orders, and charge each once."""
    with opened(folder, domain("shop", Card, cls)) as runtime:
        for number in range(3):
            runtime.publish(Placed(f"o{number}"), stream=f"web-o{number}")
        runtime.settle(timeout=10)
        assert charges(runtime) == [1, 1, 1]


def charges(runtime: Runtime) -> list[int]:
    views = [runtime.get(Card, f"o{number}") for number in range(3)]
    return [view.state["charges"] for view in views if view is not None]


def refused(folder: Path, *domains: Domain, **options: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        opened(folder, *domains, **options)
    return str(caught.value)


def names_in(folder: Path) -> set[tuple[str, str]]:
    with LmdbStore(folder, read_only=True) as store:
        return set(store.scan_names())


# Process managers


def test_a_renamed_process_manager_is_refused_before_it_charges_anyone_a_second_time(
    tmp_path: Path,
) -> None:
    sell(tmp_path)
    message = refused(tmp_path, domain("shop", Card, OrderFulfilment, Reminder))
    assert "a process manager called shop.Fulfilment" in message
    assert "If OrderFulfilment is that class under a new name" in message
    assert '`class OrderFulfilment(ProcessManager, name="shop.Fulfilment", ...)`' in message
    assert "if the class is not registered, `shop.register(...)` it" in message
    assert '`retired=["shop.Fulfilment"]`' in message
    with opened(tmp_path, domain("shop", Card, Fulfilment)) as runtime:
        assert charges(runtime) == [1, 1, 1]


def test_a_renamed_process_manager_that_keeps_its_name_goes_on_and_charges_nobody_twice(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    shop = domain("shop", Card, Fulfilment)
    with opened(tmp_path, shop, clock=clock) as runtime:
        for order in ("o0", "o1", "o2", "bad"):
            runtime.publish(Placed(order), stream=f"web-{order}")
        runtime.publish(Shipped("bad"), stream="web-bad")
        runtime.settle(timeout=10)
        [parked] = runtime.parked()
    with opened(tmp_path, domain("shop", Card, KeptFulfilment), clock=clock) as runtime:
        runtime.publish(Shipped("o1"), stream="web-o1")
        runtime.settle(timeout=10)
        assert charges(runtime) == [1, 1, 1]
        view = runtime.get(KeptFulfilment, "o1")
        assert view is not None
        assert (view.version, view.state) == (2, {"shipped": 1})
        # What waits in the store under the name is its own: what was parked, and the timeouts.
        [still] = runtime.parked()
        assert (still.id, still.process) == (parked.id, "shop.Fulfilment")
        runtime.skip(parked.id)
        clock.advance(timedelta(days=1))
        runtime.settle(timeout=10)
        assert all(one.is_complete for one in runtime.find(KeptFulfilment))
        assert len(list(runtime.find(KeptFulfilment))) == 4
    assert {name for kind, name in names_in(tmp_path) if kind == "process"} == {"shop.Fulfilment"}


def test_all_that_a_process_manager_does_bears_the_name_that_it_was_given(tmp_path: Path) -> None:
    done: list[str] = []

    class Acting(KeptFulfilment, name="Old.Fulfilment"):
        @after(Shipped)
        def tell(self, event: Shipped) -> None:
            done.append(event.order_id)

    for order in ("o1", "o2"):
        with opened(tmp_path, domain("shop", Card, Acting)) as runtime:
            runtime.publish(Placed(order), stream=f"web-{order}")
            runtime.publish(Shipped(order), stream=f"web-{order}")
            runtime.settle(timeout=10)
            [waiting] = runtime.timeouts(Acting, order)
            assert waiting.process == "Old.Fulfilment"
            [first, *_] = runtime.history(Acting, order)
            assert first.commands == (Charge(order),)
    assert done == ["o1", "o2"]
    assert {name for kind, name in names_in(tmp_path) if kind == "process"} == {"Old.Fulfilment"}


def test_a_renamed_process_manager_that_has_effects_alone_is_refused_and_repeats_none(
    tmp_path: Path,
) -> None:
    letters: list[str] = []

    class Letters(ProcessManager, stateless=True):
        @after(Placed)
        def write(self, event: Placed) -> None:
            letters.append(event.order_id)

    class Mail(Letters): ...

    class KeptMail(Letters, name="shop.Letters"): ...

    with opened(tmp_path, domain("shop", Letters)) as runtime:
        runtime.publish(Placed("o1"), stream="web-o1")
        runtime.settle(timeout=10)
    message = refused(tmp_path, domain("shop", Mail))
    assert 'Mail(ProcessManager, name="shop.Letters", ...)' in message
    with opened(tmp_path, domain("shop", KeptMail)) as runtime:
        runtime.settle(timeout=10)
    assert letters == ["o1"]


def test_a_process_manager_of_a_domain_that_was_renamed_is_refused(tmp_path: Path) -> None:
    sell(tmp_path)
    lines = refused(tmp_path, domain("market", Card, Fulfilment)).splitlines()
    assert all("give the runtime its domain shop as well" in line for line in lines)
    assert sorted(line.partition(",")[0] for line in lines) == [
        "the store holds commands called shop.Charge.v1",
        "the store holds events called shop.Charged.v1",
        "the store holds events called shop.Placed.v1",
        "the store holds the work of a process manager called shop.Fulfilment",
    ]


def test_a_process_manager_that_is_not_there_and_none_resembles_names_no_class(
    tmp_path: Path,
) -> None:
    sell(tmp_path)
    message = refused(tmp_path, domain("shop", Card, Placed))
    assert "If the class was renamed, keep the old one: `class NewName(ProcessManager" in message


def test_a_retired_process_manager_is_gone_and_what_it_left_waits_in_the_store(
    tmp_path: Path,
) -> None:
    sell(tmp_path)
    shop = domain("shop", Card, Reminder, Placed)
    with opened(tmp_path, shop, retired=["shop.Fulfilment"]) as runtime:
        runtime.publish(Shipped("o1"), stream="web-o1")
        runtime.settle(timeout=10)
        assert runtime.get(Reminder, "o1") is not None
        assert charges(runtime) == [1, 1, 1]
    with opened(tmp_path, domain("shop", Card, Fulfilment, Reminder)) as runtime:
        assert len(list(runtime.timeouts(Fulfilment))) == 3


def test_a_retired_name_that_a_class_bears_is_refused(tmp_path: Path) -> None:
    shop = domain("shop", Card, Fulfilment)
    for name, cls in {"shop.Fulfilment": "Fulfilment", "shop.Charge.v1": "Charge"}.items():
        message = refused(tmp_path / "store", shop, retired=[name])
        assert f"retired has '{name}', which is the name of {cls}; remove it" in message
        with pytest.raises(DefinitionError, match="retired has"):
            Runtime.ephemeral(shop, retired=[name])
    assert list(tmp_path.iterdir()) == []


def test_a_retired_name_that_an_upcaster_or_an_external_event_reads_is_refused(
    tmp_path: Path,
) -> None:
    class NewPlaced(Event, name="shop.Placed.v2"):
        order_id: str

    @upcast("Placed", from_version=1)
    def as_it_is(old: dict[str, Any]) -> dict[str, Any]:
        return old

    shop = domain("shop", NewPlaced, as_it_is)
    shop.register_external_event(Elsewhere, "sales.Placed.v1")
    for name in ("shop.Placed.v1", "sales.Placed.v1"):
        message = refused(tmp_path, shop, retired=[name])
        assert f"retired has '{name}', which is read here" in message


def test_what_is_retired_are_names(tmp_path: Path) -> None:
    message = refused(tmp_path, domain("shop", Reminder), retired=["shop.Old", Fulfilment])
    assert "which is no name; give names, such as" in message


@pytest.mark.parametrize("retired", ["shop.Fulfilment", 5])
def test_retired_names_are_a_list(tmp_path: Path, retired: Any) -> None:
    assert "give a list of names" in refused(tmp_path, domain("shop", Card), retired=retired)


def test_a_store_that_was_refused_is_let_go_of(tmp_path: Path) -> None:
    sell(tmp_path)
    for _ in range(2):
        refused(tmp_path, domain("shop", Card, OrderFulfilment))
    with opened(tmp_path, domain("shop", Card, KeptFulfilment)) as runtime:
        runtime.settle(timeout=10)
        assert charges(runtime) == [1, 1, 1]


def test_opening_for_reading_refuses_no_name(tmp_path: Path) -> None:
    sell(tmp_path)
    for one in (domain("market", Card, OrderFulfilment), domain("shop", Card, OrderFulfilment)):
        with opened(tmp_path, one, read_only=True) as reader:
            assert len(list(reader.events())) == 6


# Events and commands


class Elsewhere(Event):
    order_id: str


def write(folder: Path, *domains: Domain, events: list[Event]) -> None:
    with opened(folder, *domains) as runtime:
        runtime.publish_many(events, stream="web-1")


def test_an_event_that_moved_to_another_domain_is_refused_with_the_mends(tmp_path: Path) -> None:
    write(tmp_path, domain("sales", Placed), domain("billing"), events=[Placed("o1")])
    sales, billing = domain("sales"), domain("billing", Placed)
    message = refused(tmp_path, sales, billing)
    assert "events called sales.Placed.v1, which no class here reads" in message
    assert "Placed is called billing.Placed.v1" in message
    assert '`class Placed(Event, name="sales.Placed.v1")` or `sales.register(Placed)`' in message
    assert '`retired=["sales.Placed.v1"]`' in message

    with opened(tmp_path, domain("sales", Placed), domain("billing")) as runtime:
        assert [one.event for one in runtime.events()] == [Placed("o1")]
    with opened(tmp_path, sales, billing, retired=["sales.Placed.v1"]) as runtime:
        assert [type(one.event) for one in runtime.events()] == [UnknownEvent]


def test_an_event_that_moved_is_read_again_once_it_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path, domain("sales", Placed), events=[Placed("o1")])

    class Moved(Event, name="sales.Placed.v1"):
        order_id: str

    with opened(tmp_path, domain("billing", Moved)) as runtime:
        assert [one.event for one in runtime.events()] == [Moved("o1")]


def test_an_event_that_moved_and_changed_is_refused_with_the_upcaster_it_needs(
    tmp_path: Path,
) -> None:
    class OldPlaced(Event, name="sales.Placed.v1"):
        order: str

    class NewPlaced(Event, name="billing.Placed.v2"):
        order_id: str

    write(tmp_path, domain("sales", OldPlaced), events=[OldPlaced("o1")])
    message = refused(tmp_path, domain("billing", NewPlaced))
    assert 'name="sales.Placed.v2"' in message
    assert '`@upcast("sales.Placed.v1", from_version=1)` for the older ones' in message


def test_a_command_that_moved_to_another_domain_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, domain("sales", Card)) as runtime:
        runtime.tell(Charge("o1"))
        runtime.settle(timeout=10)
    message = refused(tmp_path, domain("billing", Card, Elsewhere))
    assert "commands called sales.Charge.v1, which no class here reads" in message
    assert '`class Charge(Command, name="sales.Charge.v1")` or `sales.register(Charge)`' in message


def test_a_name_that_no_class_of_today_resembles_is_read_as_unknown(tmp_path: Path) -> None:
    write(tmp_path, domain("sales", Placed), events=[Placed("o1")])
    with opened(tmp_path, domain("billing", Elsewhere)) as runtime:
        [stored] = runtime.events()
        assert stored.event == UnknownEvent("sales.Placed.v1", {"order_id": "o1"})


def test_an_event_and_a_command_of_one_short_name_are_not_taken_for_each_other(
    tmp_path: Path,
) -> None:
    class Refund(Event, name="sales.Refund.v1"):
        order_id: str

    class AskRefund(Command, name="billing.Refund.v1"):
        order_id: str

    write(tmp_path, domain("sales", Refund), events=[Refund("o1")])
    with opened(tmp_path, domain("billing", AskRefund)) as runtime:
        assert [type(one.event) for one in runtime.events()] == [UnknownEvent]


def test_an_older_version_is_read_through_its_upcaster_and_parked_without_one(
    tmp_path: Path,
) -> None:
    class NewPlaced(Event, name="shop.Placed.v2"):
        order_id: str
        cents: int

    class Counting(ProcessManager, correlate="order_id", begin="origin"):
        @handle(NewPlaced, start=True)
        def on_placed(self, event: NewPlaced) -> None: ...

    @upcast("Placed", from_version=1)
    def free(old: dict[str, Any]) -> dict[str, Any]:
        return old | {"cents": 0}

    for folder, more, expected in (("a", [free], []), ("b", [], ["shop.Counting"])):
        write(tmp_path / folder, domain("shop", Placed), events=[Placed("o1")])
        with opened(tmp_path / folder, domain("shop", Counting, *more)) as runtime:
            runtime.settle(timeout=10)
            assert [one.process for one in runtime.parked()] == expected


def test_an_event_of_another_context_is_read_by_the_class_that_stands_for_it(
    tmp_path: Path,
) -> None:
    write(tmp_path, domain("sales", Placed), events=[Placed("o1")])
    billing = domain("billing", Reminder)
    billing.register_external_event(Elsewhere, "sales.Placed.v1")
    with opened(tmp_path, billing) as runtime:
        assert [one.event for one in runtime.events()] == [Elsewhere("o1")]


def test_a_damaged_name_is_logged_and_keeps_no_store_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, findings: list[StoreFinding]
) -> None:
    sell(tmp_path)
    with lmdb.open(str(tmp_path), max_dbs=32) as environment:
        table = environment.open_db(b"names")
        with environment.begin(table, write=True) as txn, txn.cursor() as cursor:
            cursor.first()
            cursor.put(cursor.key(), b"damaged")
    with opened(tmp_path, domain("shop", Card, Fulfilment)) as runtime:
        runtime.settle(timeout=10)
        assert charges(runtime) == [1, 1, 1]
    assert "are not compared with the classes" in caplog.text
    assert any(one.table == "names" for one in findings)
    findings.clear()
