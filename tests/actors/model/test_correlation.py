"""How an event finds its instances: by field, mapping, function, learnt key, or all in one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

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
)
from procession.store import LmdbStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from procession.testing import VirtualClock


def state(runtime: Runtime, cls: type[ProcessManager], name: object) -> dict[str, Any]:
    view = runtime.get(cls, name)
    assert view is not None, f"there is no {cls.__name__} {name!r}"
    return view.state


def go(runtime: Runtime, *events: Event) -> list[int]:
    """Publish events and let everything happen that they cause."""
    positions = runtime.publish_many(events, stream="feed::x-1")
    runtime.settle(timeout=10)
    return positions


# By mapping


class Imported(Event):
    ext_order_ref: str


class Confirmed(Event):
    order: int


mapped = Domain("mapped")


@mapped.register
class Import(ProcessManager, correlate={"order_id": "ext_order_ref"}):
    order_id: str = ""
    confirmed: int = 0

    @handle(Imported, start=True)
    def on_imported(self, event: Imported) -> None: ...

    @handle(Confirmed, correlate={"order_id": "order"})
    def on_confirmed(self, event: Confirmed) -> None:
        self.confirmed += 1


def test_a_mapping_reads_the_events_field_and_sets_the_instances_own() -> None:
    with Runtime.ephemeral(mapped) as runtime:
        go(runtime, Imported("7"))
        assert state(runtime, Import, "7") == {"order_id": "7", "confirmed": 0}


def test_each_event_may_be_mapped_from_a_field_of_its_own() -> None:
    with Runtime.ephemeral(mapped) as runtime:
        go(runtime, Imported("7"), Confirmed(7), Confirmed(8))
        assert state(runtime, Import, 7)["confirmed"] == 1


class Grouped(Event):
    orders: list[str]


def test_a_field_of_many_ids_starts_each_and_sets_its_own_field_to_its_own_id() -> None:
    domain = Domain("groups")

    @domain.register
    class Member(ProcessManager, correlate={"order_id": "orders"}):
        order_id: str = ""

        @handle(Grouped, start=True)
        def on_grouped(self, event: Grouped) -> None: ...

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Grouped(["o1", "o2"]))
        assert state(runtime, Member, "o1") == {"order_id": "o1"}
        assert state(runtime, Member, "o2") == {"order_id": "o2"}


# By function


class Opened(Event):
    batch: str


class Scanned(Event):
    batches: list[str]
    text: str = ""
    notes: list[str] = []


class Closed(Event):
    batch: str


def batches_of(event: Scanned) -> Any:
    if event.text == "bad":
        raise LookupError("no such barcode")
    if event.text == "nobody":
        return None
    return event.batches


batching = Domain("batching")


@batching.register
class Batch(ProcessManager, correlate="batch"):
    texts: list[str] = []
    positions: list[int] = []

    # What a test wants to happen when something is scanned.
    on_scan: ClassVar[Any] = None

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None: ...

    @handle(Scanned, correlate=batches_of)
    def on_scanned(self, event: Scanned) -> None:
        event.notes.append(self.id)
        assert event.notes == [self.id], "the event is shared with another instance"
        self.texts.append(event.text)
        self.positions.append(self.context.position)
        if Batch.on_scan is not None:
            Batch.on_scan(self, event)

    @handle(Closed, end=True)
    def on_closed(self, event: Closed) -> None: ...


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    Batch.on_scan = None


def test_an_event_that_names_many_instances_makes_one_step_in_each_in_one_order() -> None:
    names = ["a", "b", "c"]
    with Runtime.ephemeral(batching, workers=4) as runtime:
        go(runtime, *map(Opened, names))
        go(runtime, *(Scanned(names, str(number)) for number in range(50)))
        states = [state(runtime, Batch, name) for name in names]
        assert states[0]["texts"] == [str(number) for number in range(50)]
        assert states[0] == states[1] == states[2]
        assert [len(list(runtime.history(Batch, name))) for name in names] == [51, 51, 51]


def test_an_id_that_is_named_twice_is_served_once() -> None:
    with Runtime.ephemeral(batching) as runtime:
        go(runtime, Opened("a"), Scanned(["a", "a", "a"], "x"))
        assert state(runtime, Batch, "a")["texts"] == ["x"]


def test_an_event_that_names_nobody_is_counted_and_makes_no_instance() -> None:
    with Runtime.ephemeral(batching) as runtime:
        go(runtime, Scanned(["a"], "nobody"), Scanned([], "x"))
        assert runtime.stats()["not_for_us"] == 2
        assert runtime.get(Batch, "a") is None
        assert runtime.stats()["parked"] == 0


def test_a_failure_in_one_of_the_instances_does_not_take_the_event_from_the_others() -> None:
    def fail(process: Batch, event: Scanned) -> None:
        if process.id == "b":
            raise ValueError("b cannot")

    Batch.on_scan = fail
    with Runtime.ephemeral(batching) as runtime:
        go(runtime, Opened("a"), Opened("b"), Opened("c"), Scanned(["a", "b", "c"], "x"))
        assert state(runtime, Batch, "a")["texts"] == ["x"]
        assert state(runtime, Batch, "c")["texts"] == ["x"]
        assert state(runtime, Batch, "b")["texts"] == []
        [parked] = runtime.parked()
        assert (parked.process, parked.instance) == ("batching.Batch", "b")
        Batch.on_scan = None
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        states = [state(runtime, Batch, name) for name in "abc"]
        assert states[0] == states[1] == states[2]


def test_instances_that_are_done_with_an_event_are_not_given_it_again_after_a_restart(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path, batching) as runtime:
        go(runtime, Opened("a"), Opened("b"), Scanned(["a", "b"], "x"))
    with LmdbStore(tmp_path) as store:
        store.commit([], {"batching.Batch": 0})
    with Runtime(tmp_path, batching) as runtime:
        runtime.settle(timeout=10)
        assert runtime.stats()["seen_again"] == 4
        assert runtime.stats()["transitions"] == 0
        assert state(runtime, Batch, "a")["texts"] == ["x"]


@batching.register
class Tally(ProcessManager, correlate=lambda event: "tally"):
    count: int = 0

    @handle(Scanned, start=True)
    def on_scanned(self, event: Scanned) -> None:
        self.count += 1


def test_a_function_that_fails_parks_the_event_for_that_process_manager_and_delays_nobody() -> None:
    with Runtime.ephemeral(batching) as runtime:
        go(runtime, Opened("a"), Scanned(["a"], "bad"), Scanned(["a"], "good"))
        assert state(runtime, Batch, "a")["texts"] == ["good"]
        assert state(runtime, Tally, "tally")["count"] == 2
        [parked] = runtime.parked()
        assert parked.process == "batching.Batch"
        assert parked.error == "LookupError: no such barcode"
        view = runtime.get(Batch, "a")
        assert view is not None
        assert view.status == "running"


@pytest.mark.parametrize("wrong", [1.5, b"a", [["a"]], "", "x" * 500, ["a", "\0"]])
def test_an_answer_that_is_no_id_parks_the_event_and_delays_nobody(wrong: Any) -> None:
    domain = Domain("wrong")

    @domain.register
    class Any_(ProcessManager, correlate=lambda event: wrong if event.text == "bad" else "a"):  # noqa: N801
        texts: list[str] = []

        @handle(Scanned, start=True)
        def on_scanned(self, event: Scanned) -> None:
            self.texts.append(event.text)

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Scanned([], "1"), Scanned([], "bad"), Scanned([], "2"))
        assert state(runtime, Any_, "a")["texts"] == ["1", "2"]
        [parked] = runtime.parked()
        assert "Any_.on_scanned" in parked.error


def test_ids_may_be_whole_numbers_and_uuids() -> None:
    class Joined(Event):
        member: UUID

    domain = Domain("club")

    @domain.register
    class Membership(ProcessManager, correlate="member"):
        member: UUID | None = None

        @handle(Joined, start=True)
        def on_joined(self, event: Joined) -> None: ...

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Joined(UUID(int=5)))
        assert state(runtime, Membership, UUID(int=5)) == {"member": UUID(int=5)}


# By a learnt key


class Ordered(Event):
    order_id: str


class PaymentStarted(Event):
    order_id: str
    payment_id: str


class PaymentSettled(Event):
    payment_ref: str
    amount: int = 1


class ShipmentMade(Event):
    order_id: str
    tracking: str


class Delivered(Event):
    tracking: str


class Cancelled(Event):
    order_id: str


shop = Domain("shop")


@shop.register
class Fulfilment(ProcessManager, correlate="order_id", begin="origin"):
    order_id: str = ""
    payment_id: Indexed[str] = ""
    tracking: Indexed[str | None] = None
    settled: list[int] = []
    delivered: int = 0

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None: ...

    @handle(PaymentStarted)
    def on_payment_started(self, event: PaymentStarted) -> None:
        self.payment_id = event.payment_id

    @handle(PaymentSettled, correlate={"payment_id": "payment_ref"})
    def on_payment_settled(self, event: PaymentSettled) -> None:
        self.settled.append(event.amount)

    @handle(ShipmentMade)
    def on_shipment_made(self, event: ShipmentMade) -> None:
        self.tracking = event.tracking

    @handle(Delivered, correlate={"tracking": "tracking"})
    def on_delivered(self, event: Delivered) -> None:
        self.delivered += 1

    @handle(Cancelled, end=True)
    def on_cancelled(self, event: Cancelled) -> None: ...


def test_an_event_finds_the_instance_that_learnt_its_key() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered("o1"), Ordered("o2"))
        go(runtime, PaymentStarted("o1", "p1"), PaymentStarted("o2", "p2"))
        go(runtime, PaymentSettled("p2", 5))
        assert state(runtime, Fulfilment, "o1")["settled"] == []
        assert state(runtime, Fulfilment, "o2")["settled"] == [5]


def test_a_key_that_nobody_has_is_for_nobody() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered("o1"), PaymentSettled("p1"), PaymentSettled(""))
        # Null and empty text name none; the other is held for who learns it.
        assert [runtime.stats()[one] for one in ("not_for_us", "parked", "held")] == [0, 1, 1]
        assert runtime.get(Fulfilment, "p1") is None
        assert state(runtime, Fulfilment, "o1")["settled"] == []


def test_a_learnt_key_still_finds_its_instance_after_a_restart(tmp_path: Path) -> None:
    with Runtime(tmp_path, shop) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"))
    with Runtime(tmp_path, shop) as runtime:
        go(runtime, PaymentSettled("p1", 5))
        assert state(runtime, Fulfilment, "o1")["settled"] == [5]


def test_a_learnt_key_still_finds_its_instance_after_passivation(clock: VirtualClock) -> None:
    with Runtime.ephemeral(shop, clock=clock, idle_timeout=timedelta(minutes=1)) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"))
        clock.advance(timedelta(minutes=2))
        assert runtime.stats()["awake"] == 0
        go(runtime, PaymentSettled("p1", 5))
        assert state(runtime, Fulfilment, "o1")["settled"] == [5]


def history_of_orders(count: int) -> list[Event]:
    events: list[Event] = []
    for number in range(count):
        order, payment = f"o{number}", f"p{number}"
        events += [
            Ordered(order),
            PaymentStarted(order, payment),
            PaymentSettled(payment, number),
            ShipmentMade(order, f"t{number}"),
            Delivered(f"t{number}"),
        ]
    return events


@pytest.mark.parametrize("in_flight", [1, 7, 1_024])
def test_a_backlog_in_which_keys_are_learnt_and_used_at_once_is_handled_in_order(
    tmp_path: Path, in_flight: int
) -> None:
    empty = Domain("shop")
    empty.register(Ordered, PaymentStarted, PaymentSettled, ShipmentMade, Delivered)
    with Runtime(tmp_path, empty, durability="none") as runtime:
        go(runtime, *history_of_orders(60))
    # The process manager is new: it finds all of it in the log.
    with Runtime(tmp_path, shop, durability="none", max_in_flight=in_flight) as runtime:
        runtime.settle(timeout=20)
        for number in range(60):
            found = state(runtime, Fulfilment, f"o{number}")
            assert (found["settled"], found["delivered"]) == ([number], 1)
        assert runtime.stats()["not_for_us"] == 0


def test_a_key_that_changes_no_longer_finds_its_instance_by_the_old_value() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"), PaymentSettled("p1", 1))
        go(runtime, PaymentStarted("o1", "p2"), PaymentSettled("p1", 2), PaymentSettled("p2", 3))
        assert state(runtime, Fulfilment, "o1")["settled"] == [1, 3]
        assert runtime.stats()["held"] == 1
        # Taken back altogether.
        go(runtime, PaymentStarted("o1", ""), PaymentSettled("p2", 4))
        assert state(runtime, Fulfilment, "o1")["settled"] == [1, 3]


def test_a_key_that_moves_to_another_instance_finds_the_other_from_then_on() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered("o1"), Ordered("o2"), PaymentStarted("o1", "p1"))
        go(
            runtime,
            PaymentStarted("o1", "p9"),
            PaymentStarted("o2", "p1"),
            PaymentSettled("p1", 5),
        )
        assert state(runtime, Fulfilment, "o1")["settled"] == []
        assert state(runtime, Fulfilment, "o2")["settled"] == [5]


def test_every_instance_with_the_value_is_found_even_one_that_has_just_learnt_it() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, *(Ordered(f"o{number}") for number in range(5)), PaymentStarted("o0", "p"))
        go(runtime, *(PaymentStarted(f"o{n}", "p") for n in range(1, 5)), PaymentSettled("p", 5))
        for number in range(5):
            assert state(runtime, Fulfilment, f"o{number}")["settled"] == [5]


def test_events_that_reach_one_instance_at_once_by_different_keys_are_all_in_its_state() -> None:
    with Runtime.ephemeral(shop, workers=4) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"), ShipmentMade("o1", "t1"))
        go(runtime, *(e for n in range(100) for e in (PaymentSettled("p1", n), Delivered("t1"))))
        found = state(runtime, Fulfilment, "o1")
        assert found["settled"] == list(range(100))
        assert found["delivered"] == 100
        assert len(list(runtime.history(Fulfilment, "o1"))) == 203


def test_what_a_learnt_key_delivered_is_not_delivered_again_after_a_restart(
    tmp_path: Path,
) -> None:
    with Runtime(tmp_path, shop) as runtime:
        go(runtime, *history_of_orders(5), PaymentStarted("o1", "other"), PaymentSettled("p1", 99))
        before = [list(runtime.history(Fulfilment, f"o{number}")) for number in range(5)]
    with LmdbStore(tmp_path) as store:
        store.commit([], {"shop.Fulfilment": 0})
    with Runtime(tmp_path, shop) as runtime:
        runtime.settle(timeout=10)
        after = [list(runtime.history(Fulfilment, f"o{number}")) for number in range(5)]
        assert after == before


def test_an_event_for_an_instance_that_has_ended_is_skipped_as_any_other() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"), Cancelled("o1"))
        go(runtime, PaymentSettled("p1", 5))
        assert runtime.stats()["skipped_complete"] == 1
        assert state(runtime, Fulfilment, "o1")["settled"] == []


class Renamed(Event):
    order_id: str
    payment_id: str


def test_an_event_that_waits_for_an_instance_which_then_drops_the_key_is_not_given_to_it() -> None:
    domain = Domain("shop")
    failing = True

    @domain.register
    class Careful(ProcessManager, correlate="order_id"):
        order_id: str = ""
        payment_id: Indexed[str] = ""
        settled: int = 0

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None:
            self.payment_id = "p1"

        @handle(Renamed)
        def on_renamed(self, event: Renamed) -> None:
            self.payment_id = event.payment_id
            if failing:
                raise ValueError("not today")

        @handle(PaymentSettled, correlate={"payment_id": "payment_ref"})
        def on_payment_settled(self, event: PaymentSettled) -> None:
            self.settled += 1

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Renamed("o1", "p2"), PaymentSettled("p1"))
        failing = False
        [parked] = runtime.parked()
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert state(runtime, Careful, "o1")["settled"] == 0
        go(runtime, PaymentSettled("p2"))
        assert state(runtime, Careful, "o1")["settled"] == 1


def failing_until(works: list[bool]) -> tuple[Domain, type[ProcessManager]]:
    """A process manager whose step that teaches a key fails until it works."""
    domain = Domain("shop")

    @domain.register
    class Failing(ProcessManager, correlate="order_id"):
        order_id: str = ""
        payment_id: Indexed[str] = ""
        is_settled: bool = False

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(PaymentStarted)
        def on_payment_started(self, event: PaymentStarted) -> None:
            self.payment_id = event.payment_id
            if not works:
                raise ValueError("no")

        @handle(PaymentSettled, correlate={"payment_id": "payment_ref"})
        def on_payment_settled(self, event: PaymentSettled) -> None:
            self.is_settled = True

    return domain, Failing


def test_what_a_step_that_failed_would_have_taught_finds_what_was_held_for_it(
    tmp_path: Path,
) -> None:
    works: list[bool] = []
    domain, failing = failing_until(works)
    with Runtime(tmp_path, domain) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"), PaymentSettled("p1"))
    with Runtime(tmp_path, domain) as runtime:
        [failed] = runtime.parked()
        works.append(True)
        runtime.retry(failed.id)
        runtime.settle(timeout=10)
        assert state(runtime, failing, "o1")["is_settled"]
        assert list(runtime.parked()) == []
        assert runtime.verify() == []


def test_what_a_step_that_failed_would_have_taught_is_not_lost_when_it_takes_long(
    tmp_path: Path, clock: VirtualClock
) -> None:
    works: list[bool] = []
    domain, failing = failing_until(works)
    with Runtime(tmp_path, domain, clock=clock) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"), PaymentSettled("p1"))
    # Also after a restart, since the store says who is held up.
    with Runtime(tmp_path, domain, clock=clock) as runtime:
        clock.advance(timedelta(minutes=1))
        failed, early = runtime.parked()
        assert early.error.startswith(
            "procession.errors.EarlyEvent: no instance of shop.Failing has 'payment_id' = 'p1'"
        )
        with pytest.raises(EarlyEvent):
            runtime.retry(early.id)
        works.append(True)
        runtime.retry(failed.id)
        runtime.settle(timeout=10)
        runtime.retry(early.id)
        runtime.settle(timeout=10)
        assert state(runtime, failing, "o1")["is_settled"]
        assert list(runtime.parked()) == []


def test_a_failed_step_teaches_nothing(clock: VirtualClock) -> None:
    domain, _ = failing_until([])
    with Runtime.ephemeral(domain, clock=clock) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "p1"))
        (failed,) = runtime.parked()
        runtime.skip(failed.id)
        go(runtime, PaymentSettled("p1"))
        clock.advance(timedelta(minutes=1))
        assert runtime.stats()["skipped_unmatched"] == 1


def test_a_key_may_be_learnt_by_a_method_that_the_handler_calls() -> None:
    domain = Domain("shop")

    @domain.register
    class Deep(ProcessManager, correlate="order_id"):
        order_id: str = ""
        payment_id: Indexed[str] = ""
        settled: int = 0

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(PaymentStarted)
        def on_payment_started(self, event: PaymentStarted) -> None:
            self.learn(event.payment_id)

        @handle(PaymentSettled, correlate={"payment_id": "payment_ref"})
        def on_payment_settled(self, event: PaymentSettled) -> None:
            self.settled += 1

        def learn(self, value: str) -> None:
            setattr(self, "payment_id", value)  # noqa: B010 - however it is assigned

    with Runtime.ephemeral(domain) as runtime:
        go(runtime, Ordered("o1"), Ordered("o2"), PaymentStarted("o1", "p"))
        go(runtime, PaymentStarted("o2", "p"), PaymentSettled("p"))
        assert state(runtime, Deep, "o1")["settled"] == 1
        assert state(runtime, Deep, "o2")["settled"] == 1


def test_a_learnt_key_that_cannot_be_a_key_parks_the_step_that_set_it() -> None:
    with Runtime.ephemeral(shop) as runtime:
        go(runtime, Ordered("o1"), PaymentStarted("o1", "x" * 500))
        [parked] = runtime.parked()
        assert "payment_id" in parked.error
        assert state(runtime, Fulfilment, "o1")["payment_id"] == ""


# What is refused


def test_a_start_cannot_be_found_by_a_learnt_key() -> None:
    class Wrong(ProcessManager, correlate={"payment_id": "payment_ref"}):
        payment_id: Indexed[str] = ""

        @handle(PaymentSettled, start=True)
        def on_settled(self, event: PaymentSettled) -> None: ...

    with pytest.raises(DefinitionError, match=r"Wrong\.on_settled: 'payment_id' is learnt by an"):
        Domain("shop").register(Wrong)


def test_a_field_whose_members_name_nothing_cannot_be_a_learnt_key() -> None:
    class Nested(ProcessManager, correlate="order_id"):
        payments: Indexed[list[list[str]]] = []

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

    class Flags(ProcessManager, correlate="order_id"):
        flags: Indexed[set[bool]] = set()

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

    class Mapped(ProcessManager, correlate="order_id"):
        by: Indexed[dict[str, str]] = {}

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

    for wrong in (Nested, Flags, Mapped):
        with pytest.raises(DefinitionError, match=rf"{wrong.__name__}\.\w+: Indexed\["):
            Domain("shop").register(wrong)


def test_an_async_function_cannot_correlate() -> None:
    async def later(event: Ordered) -> str:
        return event.order_id

    class Wrong(ProcessManager, correlate=later):  # type: ignore[arg-type]
        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

    with pytest.raises(DefinitionError, match=r"Wrong\.on_ordered: .* is `async def`"):
        Domain("shop").register(Wrong)


WRITERS = {"payment": lambda process, value: setattr(process, "payment_id", value)}


def noted(notes: Domain) -> type[ProcessManager]:
    @notes.register
    class Noted(ProcessManager, correlate="order_id"):
        payment_id: Indexed[str] = ""
        settled: list[int] = []

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(PaymentStarted)
        def on_payment_started(self, event: PaymentStarted) -> None:
            self._note(event.payment_id)

        @handle(PaymentSettled, correlate={"payment_id": "payment_ref"})
        def on_payment_settled(self, event: PaymentSettled) -> None:
            self.settled.append(event.amount)

        def _note(self, payment_id: str) -> None: ...

    return Noted


def test_an_event_whose_key_no_instance_has_yet_waits_for_those_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes = Domain("notes")
    cls = noted(notes)
    # The code that was read when the class was registered sets no key.
    monkeypatch.setattr(cls, "_note", WRITERS["payment"])
    assert notes.processes[cls].teachers == frozenset()
    with Runtime.ephemeral(notes) as runtime:
        # All of them are committed at once, so the router meets them in one turn.
        go(
            runtime,
            *(Ordered(f"o{number}") for number in range(20)),
            *(PaymentStarted(f"o{number}", f"p{number}") for number in range(20)),
            *(PaymentSettled(f"p{number}", number) for number in range(20)),
        )
        for number in range(20):
            assert state(runtime, cls, f"o{number}")["settled"] == [number]


def test_an_event_whose_key_another_instance_is_learning_waits_however_the_code_sets_it() -> None:
    notes = Domain("notes")

    @notes.register
    class Noted(ProcessManager, correlate="order_id"):
        payment_id: Indexed[str] = ""
        settled: list[int] = []

        @handle(Ordered, start=True)
        def on_ordered(self, event: Ordered) -> None: ...

        @handle(PaymentStarted)
        def on_payment_started(self, event: PaymentStarted) -> None:
            WRITERS["payment"](self, event.payment_id)

        @handle(PaymentSettled, correlate={"payment_id": "payment_ref"})
        def on_payment_settled(self, event: PaymentSettled) -> None:
            self.settled.append(event.amount)

    with Runtime.ephemeral(notes) as runtime:
        go(runtime, *(Ordered(f"{name}{number}") for name in "ab" for number in range(20)))
        go(runtime, *(PaymentStarted(f"a{number}", f"p{number}") for number in range(20)))
        # The first instance has the key, so the event finds one at once; it is for both.
        go(
            runtime,
            *(PaymentStarted(f"b{number}", f"p{number}") for number in range(20)),
            *(PaymentSettled(f"p{number}", number) for number in range(20)),
        )
        for name in "ab":
            for number in range(20):
                assert state(runtime, Noted, f"{name}{number}")["settled"] == [number]
