import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain_examples.order_fulfilment import (
    PATIENCE,
    CancelOrder,
    ChargePayment,
    ConfirmPayment,
    Order,
    OrderCancelled,
    OrderCompleted,
    OrderFulfilment,
    OrderPlaced,
    OutOfStock,
    Payment,
    PaymentCharged,
    PaymentDeclined,
    PaymentPending,
    PaymentRefunded,
    PaymentWithdrawn,
    PlaceOrder,
    RefundPayment,
    ReleaseReservation,
    Reservation,
    ReservationReleased,
    ReserveStock,
    Shipment,
    ShipmentCancelled,
    ShipmentCreated,
    ShipmentRejected,
    StockReserved,
    shop,
)
from procession import Command, Domain, Event, Rejected, Runtime, timeout
from procession.store import LmdbStore
from procession.testing import VirtualClock

FINE = PlaceOrder(order_id="o1", sku="tea", quantity=2, total=Decimal(20), country="NL")
TOO_MANY = PlaceOrder(order_id="o2", sku="tea", quantity=101, total=Decimal(20), country="NL")
TOO_DEAR = PlaceOrder(order_id="o3", sku="tea", quantity=2, total=Decimal(1001), country="NL")
TOO_FAR = PlaceOrder(order_id="o4", sku="tea", quantity=2, total=Decimal(20), country="AQ")
TO_CHECK = PlaceOrder(order_id="o5", sku="tea", quantity=2, total=Decimal(700), country="NL")
TO_CHECK_TOO_FAR = PlaceOrder(
    order_id="o6", sku="tea", quantity=2, total=Decimal(700), country="AQ"
)

CHANGED = "I changed my mind"

UNDOING: dict[type[Event], type[Event]] = {
    StockReserved: ReservationReleased,
    PaymentCharged: PaymentRefunded,
    ShipmentCreated: ShipmentCancelled,
}
"""Each step forwards, and what undoes it."""


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(shop, clock=clock) as running:
        yield running


def happened(runtime: Runtime) -> list[type[Event]]:
    return [type(stored.event) for stored in runtime.events()]


def test_an_order_is_reserved_charged_shipped_and_completed(runtime: Runtime) -> None:
    runtime.ask(FINE)
    runtime.settle(timeout=10)

    assert happened(runtime) == [
        OrderPlaced,
        StockReserved,
        PaymentCharged,
        ShipmentCreated,
        OrderCompleted,
    ]
    process = runtime.get(OrderFulfilment, "o1")
    assert process is not None
    assert process.is_complete
    assert process.state["status"] == "completed"
    order = runtime.get(Order, "o1")
    assert order is not None
    assert order.state == {"status": "completed", "reason": ""}


def test_placing_an_order_replies_with_its_event(runtime: Runtime) -> None:
    assert runtime.ask(FINE) == [
        OrderPlaced(order_id="o1", sku="tea", quantity=2, total=Decimal(20), country="NL")
    ]


@pytest.mark.parametrize(
    ("order", "events", "reason"),
    [
        pytest.param(
            TOO_MANY,
            [OrderPlaced, OutOfStock, OrderCancelled],
            "tea is out of stock",
            id="out of stock",
        ),
        pytest.param(
            TOO_DEAR,
            [OrderPlaced, StockReserved, PaymentDeclined, ReservationReleased, OrderCancelled],
            "over the limit of 1000",
            id="declined",
        ),
        pytest.param(
            TOO_FAR,
            [
                OrderPlaced,
                StockReserved,
                PaymentCharged,
                ShipmentRejected,
                PaymentRefunded,
                ReservationReleased,
                OrderCancelled,
            ],
            "AQ is not served",
            id="not shipped",
        ),
    ],
)
def test_a_failed_order_is_undone_in_reverse_and_cancelled_with_the_reason(
    runtime: Runtime, order: PlaceOrder, events: list[type[Event]], reason: str
) -> None:
    runtime.ask(order)
    runtime.settle(timeout=10)

    assert happened(runtime) == events
    process = runtime.get(OrderFulfilment, order.order_id)
    assert process is not None
    assert process.is_complete
    assert process.state["status"] == "cancelled"
    cancelled = runtime.get(Order, order.order_id)
    assert cancelled is not None
    assert cancelled.state == {"status": "cancelled", "reason": reason}


def test_a_declined_payment_releases_the_reservation(runtime: Runtime) -> None:
    runtime.ask(TOO_DEAR)
    runtime.settle(timeout=10)

    reservation = runtime.get(Reservation, "o3")
    assert reservation is not None
    assert reservation.state["status"] == "released"
    released = [stored.event for stored in runtime.events("shop::reservation-o3")][1:]
    assert released == [ReservationReleased(order_id="o3", sku="tea", quantity=2)]


def test_a_rejected_shipment_refunds_what_was_charged(runtime: Runtime) -> None:
    runtime.ask(TOO_FAR)
    runtime.settle(timeout=10)

    payment = runtime.get(Payment, "o4")
    assert payment is not None
    assert payment.state["status"] == "refunded"
    assert [stored.event for stored in runtime.events("shop::payment-o4")] == [
        PaymentCharged(order_id="o4", amount=Decimal(20)),
        PaymentRefunded(order_id="o4", amount=Decimal(20)),
    ]


def test_the_history_tells_what_each_event_led_to(runtime: Runtime) -> None:
    runtime.ask(TOO_DEAR)
    runtime.settle(timeout=10)

    steps = list(runtime.history(OrderFulfilment, "o3"))
    assert [(step.handler, [type(one) for one in step.commands]) for step in steps] == [
        ("on_order_placed", [ReserveStock]),
        ("on_stock_reserved", [ChargePayment]),
        ("on_payment_declined", [ReleaseReservation]),
        ("on_reservation_released", [CancelOrder]),
        ("on_order_cancelled", []),
    ]
    assert [step.is_complete for step in steps] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("quantity", "total", "reason"),
    [(0, Decimal(20), "the order is empty"), (2, Decimal(0), "the total must be more")],
)
def test_an_order_that_makes_no_sense_is_refused_at_once_and_starts_nothing(
    runtime: Runtime, quantity: int, total: Decimal, reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        runtime.ask(
            PlaceOrder(order_id="o1", sku="tea", quantity=quantity, total=total, country="NL")
        )
    runtime.settle(timeout=10)

    assert happened(runtime) == []
    assert runtime.get(Order, "o1") is None
    assert runtime.get(OrderFulfilment, "o1") is None


def test_an_order_cannot_be_placed_twice(runtime: Runtime) -> None:
    runtime.ask(FINE)
    with pytest.raises(Rejected, match="placed already"):
        runtime.ask(FINE)
    runtime.settle(timeout=10)

    assert Counter(happened(runtime))[PaymentCharged] == 1


def test_orders_that_run_at_once_do_not_disturb_each_other(runtime: Runtime) -> None:
    kinds = {"fine": FINE, "many": TOO_MANY, "dear": TOO_DEAR, "far": TOO_FAR}
    orders = [
        PlaceOrder(
            order_id=f"{kind}{number}",
            sku=order.sku,
            quantity=order.quantity,
            total=order.total,
            country=order.country,
        )
        for number in range(100)
        for kind, order in kinds.items()
    ]
    runtime.tell_many(orders)
    runtime.settle(timeout=60)

    for order in orders:
        process = runtime.get(OrderFulfilment, order.order_id)
        assert process is not None
        assert process.is_complete, process
    assert Counter(happened(runtime)) == {
        OrderPlaced: 400,
        OutOfStock: 100,
        StockReserved: 300,
        PaymentDeclined: 100,
        PaymentCharged: 200,
        ShipmentRejected: 100,
        ShipmentCreated: 100,
        PaymentRefunded: 100,
        ReservationReleased: 200,
        OrderCompleted: 100,
        OrderCancelled: 300,
    }
    done = Counter((type(one.event), one.stream) for one in runtime.events())
    assert set(done.values()) == {1}
    assert runtime.stats()["parked"] == 0


def test_the_process_can_be_driven_by_hand_without_a_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = OrderFulfilment("o4", order_id="o4")
    issued: list[Command] = []
    monkeypatch.setattr(process, "issue", lambda *commands: issued.extend(commands))

    process.on_order_placed(
        OrderPlaced(order_id="o4", sku="tea", quantity=2, total=Decimal(20), country="AQ")
    )
    assert process.status == "reserving"
    assert issued == [ReserveStock(order_id="o4", sku="tea", quantity=2)]

    issued.clear()
    process.on_stock_reserved(StockReserved(order_id="o4", sku="tea", quantity=2))
    assert issued == [ChargePayment(order_id="o4", amount=Decimal(20))]

    issued.clear()
    process.on_shipment_rejected(ShipmentRejected(order_id="o4", reason="AQ is not served"))
    process.on_payment_refunded(PaymentRefunded(order_id="o4", amount=Decimal(20)))
    process.on_reservation_released(ReservationReleased(order_id="o4", sku="tea", quantity=2))
    assert process.status == "cancelling"
    assert issued == [
        RefundPayment(order_id="o4"),
        ReleaseReservation(order_id="o4"),
        CancelOrder(order_id="o4", reason="AQ is not served"),
    ]


# A person is waited for


def test_a_payment_that_is_not_confirmed_in_time_is_withdrawn_and_the_stock_released(
    runtime: Runtime, clock: VirtualClock
) -> None:
    runtime.ask(TO_CHECK)
    runtime.settle(timeout=10)
    process = runtime.get(OrderFulfilment, "o5")
    assert process is not None
    assert process.state["status"] == "awaiting_clerk"

    clock.advance(PATIENCE - timedelta(seconds=1))
    runtime.settle(timeout=10)
    assert happened(runtime) == [OrderPlaced, StockReserved, PaymentPending]

    clock.advance(timedelta(seconds=1))
    runtime.settle(timeout=10)
    assert happened(runtime) == WITHDRAWN
    order = runtime.get(Order, "o5")
    assert order is not None
    reason = "the payment was not confirmed in time"
    assert order.state == {"status": "cancelled", "reason": reason}

    with pytest.raises(Rejected, match="the payment is withdrawn"):
        runtime.ask(ConfirmPayment(order_id="o5"))
    runtime.settle(timeout=10)
    assert happened(runtime) == WITHDRAWN


def test_a_confirmed_payment_goes_on_and_its_timeout_never_comes(
    runtime: Runtime, clock: VirtualClock
) -> None:
    runtime.ask(TO_CHECK)
    runtime.settle(timeout=10)
    runtime.ask(ConfirmPayment(order_id="o5"))
    runtime.settle(timeout=10)
    assert list(runtime.timeouts()) == []

    clock.advance(10 * PATIENCE)
    runtime.settle(timeout=10)
    assert happened(runtime) == CONFIRMED


def test_a_clerk_who_is_quicker_than_the_withdrawal_wins(clock: VirtualClock) -> None:
    is_due, may_go_on = threading.Event(), threading.Event()

    class Slow(OrderFulfilment):
        @timeout("clerk")
        def on_clerk_timeout(self) -> None:
            is_due.set()
            assert may_go_on.wait(10)
            super().on_clerk_timeout()

    slow_shop = Domain("shop")
    slow_shop.register(Order, Reservation, Payment, Shipment, Slow)
    with Runtime.ephemeral(slow_shop, clock=clock) as runtime:
        runtime.ask(TO_CHECK)
        runtime.settle(timeout=10)
        clock.advance(PATIENCE, settle=False)
        assert is_due.wait(10)
        runtime.ask(ConfirmPayment(order_id="o5"), timeout=10)
        may_go_on.set()
        runtime.settle(timeout=10)

        assert happened(runtime) == CONFIRMED
        handlers = [step.handler for step in runtime.history(Slow, "o5")]
        assert handlers.count("on_clerk_timeout") == 1
        assert handlers.count("on_withdrawal_refused") == 1
        assert runtime.stats()["parked"] == 0


def test_a_customer_who_cancels_in_time_has_every_step_undone(runtime: Runtime) -> None:
    runtime.ask(TO_CHECK)
    runtime.settle(timeout=10)
    runtime.ask(CancelOrder(order_id="o5", reason=CHANGED))
    runtime.ask(ConfirmPayment(order_id="o5"))
    runtime.settle(timeout=10)

    assert happened(runtime) == ALL_UNDONE
    process = runtime.get(OrderFulfilment, "o5")
    assert process is not None
    assert process.is_complete
    assert (process.state["status"], process.state["reason"]) == ("cancelled", CHANGED)


def test_an_order_that_is_completed_cannot_be_cancelled(runtime: Runtime) -> None:
    runtime.ask(FINE)
    runtime.settle(timeout=10)
    with pytest.raises(Rejected, match="the order is completed"):
        runtime.ask(CancelOrder(order_id="o1", reason=CHANGED))


def test_a_customer_who_cancels_while_the_process_does_ends_it_as_well(clock: VirtualClock) -> None:
    is_here, may_go_on = threading.Event(), threading.Event()

    class Slow(OrderFulfilment):
        def _cancel(self, reason: str = "") -> None:
            super()._cancel(reason)
            is_here.set()
            assert may_go_on.wait(10)

    slow_shop = Domain("shop")
    slow_shop.register(Order, Reservation, Payment, Shipment, Slow)
    with Runtime.ephemeral(slow_shop, clock=clock) as runtime:
        runtime.ask(TOO_MANY)
        assert is_here.wait(10)
        runtime.ask(CancelOrder(order_id="o2", reason=CHANGED), timeout=10)
        may_go_on.set()
        runtime.settle(timeout=10)

        assert happened(runtime) == [OrderPlaced, OutOfStock, OrderCancelled]
        process = runtime.get(Slow, "o2")
        assert process is not None
        assert process.is_complete
        assert process.state["reason"] == CHANGED
        assert runtime.stats()["parked"] == 0


# Whatever happens, and wherever it is cut


def ask(runtime: Runtime, command: Command) -> None:
    """As someone who asks again when they do not know what came of it, and takes a no."""
    with suppress(Rejected):
        runtime.ask(command, command_id=repr(command), timeout=10)


def be_played(runtime: Runtime, clock: VirtualClock, *acts: Command | timedelta) -> None:
    """People act and time goes by; each act waits until the last one led to nothing more."""
    for act in acts:
        if isinstance(act, timedelta):
            clock.advance(act)
        else:
            ask(runtime, act)
        runtime.settle(timeout=10)


def confirm(order: PlaceOrder) -> Command:
    return ConfirmPayment(order_id=order.order_id)


def cancel(order: PlaceOrder) -> Command:
    return CancelOrder(order_id=order.order_id, reason=CHANGED)


COMPLETED: Sequence[type[Event]] = [
    OrderPlaced,
    StockReserved,
    PaymentCharged,
    ShipmentCreated,
    OrderCompleted,
]
CONFIRMED: Sequence[type[Event]] = [*COMPLETED[:2], PaymentPending, *COMPLETED[2:]]
WITHDRAWN: Sequence[type[Event]] = [
    *CONFIRMED[:3],
    PaymentWithdrawn,
    ReservationReleased,
    OrderCancelled,
]
ALL_UNDONE: Sequence[type[Event]] = [
    *CONFIRMED[:3],
    OrderCancelled,
    PaymentCharged,
    ShipmentCreated,
    ShipmentCancelled,
    PaymentRefunded,
    ReservationReleased,
]

PATHS: dict[str, tuple[Sequence[Command | timedelta], Sequence[type[Event]]]] = {
    "completed": ([FINE], COMPLETED),
    "out of stock": ([TOO_MANY], [OrderPlaced, OutOfStock, OrderCancelled]),
    "declined": (
        [TOO_DEAR],
        [OrderPlaced, StockReserved, PaymentDeclined, ReservationReleased, OrderCancelled],
    ),
    "not shipped": (
        [TOO_FAR],
        [
            *COMPLETED[:3],
            ShipmentRejected,
            PaymentRefunded,
            ReservationReleased,
            OrderCancelled,
        ],
    ),
    "confirmed": ([TO_CHECK, confirm(TO_CHECK), PATIENCE], CONFIRMED),
    "confirmed, not shipped": (
        [TO_CHECK_TOO_FAR, confirm(TO_CHECK_TOO_FAR)],
        [
            *CONFIRMED[:4],
            ShipmentRejected,
            PaymentRefunded,
            ReservationReleased,
            OrderCancelled,
        ],
    ),
    "not confirmed": ([TO_CHECK, PATIENCE], WITHDRAWN),
    "confirmed too late": ([TO_CHECK, PATIENCE, confirm(TO_CHECK)], WITHDRAWN),
    "cancelled, then confirmed": ([TO_CHECK, cancel(TO_CHECK), confirm(TO_CHECK)], ALL_UNDONE),
    "cancelled, and not confirmed": (
        [TO_CHECK, cancel(TO_CHECK), PATIENCE],
        [*CONFIRMED[:3], OrderCancelled, PaymentWithdrawn, ReservationReleased],
    ),
    "cancelled too late": ([FINE, cancel(FINE)], COMPLETED),
}


def assert_completed_or_undone(runtime: Runtime, order_id: str) -> None:
    """Each step once; completed with nothing undone, or each undone once, the newest first."""
    process = runtime.get(OrderFulfilment, order_id)
    assert process is not None
    assert process.is_complete, process
    at: dict[type[Event], int] = {}
    for category in ("order", "reservation", "payment", "shipment"):
        for stored in runtime.events(f"shop::{category}-{order_id}"):
            assert type(stored.event) not in at, f"{stored.event} happened twice"
            at[type(stored.event)] = stored.position
    assert (OrderCompleted in at) != (OrderCancelled in at)
    assert process.state["status"] == ("completed" if OrderCompleted in at else "cancelled")
    done = [step for step in UNDOING if step in at]
    undone = [step for step, undoing in UNDOING.items() if undoing in at]
    assert undone == ([] if OrderCompleted in at else done)
    undoings = [at[UNDOING[step]] for step in undone]
    assert undoings == sorted(undoings, reverse=True)
    if OrderCompleted in at:
        assert done == list(UNDOING)
    if PaymentPending in at:
        assert (PaymentCharged in at) != (PaymentWithdrawn in at)
    assert runtime.stats()["parked"] == 0


@pytest.mark.parametrize("path", PATHS)
def test_each_path_ends_complete_with_each_step_undone_once(
    runtime: Runtime, clock: VirtualClock, path: str
) -> None:
    acts, events = PATHS[path]
    be_played(runtime, clock, *acts)

    assert happened(runtime) == events
    assert isinstance(acts[0], PlaceOrder)
    assert_completed_or_undone(runtime, acts[0].order_id)


@pytest.mark.parametrize("path", PATHS)
def test_each_path_ends_the_same_wherever_a_crash_cuts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    acts, events = PATHS[path]
    copies: list[Path] = []
    close_commit = LmdbStore.close_commit

    def commit_and_copy(store: LmdbStore, checkpoints: Mapping[str, int] | None = None) -> None:
        close_commit(store, checkpoints)
        copies.append(tmp_path / f"copy-{len(copies)}")
        copies[-1].mkdir()
        shutil.copy(tmp_path / "store" / "data.mdb", copies[-1])

    clock = VirtualClock()
    with monkeypatch.context() as patch:
        patch.setattr(LmdbStore, "close_commit", commit_and_copy)
        with Runtime(
            tmp_path / "store", shop, clock=clock, durability="none", largest_commit=1
        ) as runtime:
            be_played(runtime, clock, *acts)
    assert len(copies) > len(events)

    for copy in copies:
        clock = VirtualClock()
        with Runtime(copy, shop, clock=clock, durability="none") as runtime:
            # Whoever acted does not know how much of it got through, and does it all again.
            be_played(runtime, clock, *acts)
            found = happened(runtime)
            assert Counter(found) == Counter(events), copy.name
            assert isinstance(acts[0], PlaceOrder)
            assert_completed_or_undone(runtime, acts[0].order_id)


class Act(Enum):
    CRASH = auto()
    SETTLE = auto()


numbers = st.integers(0, 5)
orders = st.lists(
    st.builds(
        lambda quantity, total, country: (quantity, total, country),
        st.sampled_from([2, 2, 2, 101]),
        st.sampled_from([20, 700, 700, 1001]),
        st.sampled_from(["NL", "NL", "AQ"]),
    ),
    min_size=1,
    max_size=6,
)
acts_of_people = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([ConfirmPayment, ConfirmPayment, CancelOrder]), numbers),
        st.sampled_from([timedelta(hours=20), PATIENCE, Act.CRASH, Act.SETTLE]),
    ),
    max_size=12,
)


@given(orders, acts_of_people)
def test_any_mix_of_orders_and_acts_and_crashes_leaves_each_completed_or_undone(
    mix: list[tuple[int, int, str]],
    acts: list[timedelta | Act | tuple[type[Command], int]],
) -> None:
    clock = VirtualClock()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "0"
        runtime = Runtime(path, shop, clock=clock, durability="none")
        try:
            placed = [
                PlaceOrder(
                    order_id=f"o{number}",
                    sku="tea",
                    quantity=quantity,
                    total=Decimal(total),
                    country=country,
                )
                for number, (quantity, total, country) in enumerate(mix)
            ]
            runtime.tell_many(placed)
            for act in acts:
                if isinstance(act, timedelta):
                    clock.advance(act)
                elif act is Act.SETTLE:
                    runtime.settle(timeout=10)
                elif act is Act.CRASH:
                    # What is on disk at this moment, and nothing of what is in memory.
                    path = path.with_name(str(int(path.name) + 1))
                    path.mkdir()
                    assert isinstance(runtime._store, LmdbStore)
                    runtime._store._file.environment.env.copy(str(path))
                    runtime.close()
                    runtime = Runtime(path, shop, clock=clock, durability="none")
                else:
                    kind, number = act
                    order_id = f"o{number % len(placed)}"
                    with suppress(Rejected):
                        if kind is CancelOrder:
                            runtime.ask(CancelOrder(order_id=order_id, reason=CHANGED), timeout=10)
                        else:
                            runtime.ask(ConfirmPayment(order_id=order_id), timeout=10)
            runtime.settle(timeout=10)
            clock.advance(PATIENCE)
            runtime.settle(timeout=10)

            for order in placed:
                assert_completed_or_undone(runtime, order.order_id)
        finally:
            runtime.close()
