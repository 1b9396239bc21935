from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import pytest

from actors import Command, Event, Rejected, Runtime
from domain_examples.order_fulfilment import (
    CancelOrder,
    ChargePayment,
    Order,
    OrderCancelled,
    OrderCompleted,
    OrderFulfilment,
    OrderPlaced,
    OutOfStock,
    Payment,
    PaymentCharged,
    PaymentDeclined,
    PaymentRefunded,
    PlaceOrder,
    RefundPayment,
    ReleaseReservation,
    Reservation,
    ReservationReleased,
    ReserveStock,
    ShipmentCreated,
    ShipmentRejected,
    StockReserved,
    shop,
)

FINE = PlaceOrder(order_id="o1", sku="tea", quantity=2, total=Decimal(20), country="NL")
TOO_MANY = PlaceOrder(order_id="o2", sku="tea", quantity=101, total=Decimal(20), country="NL")
TOO_DEAR = PlaceOrder(order_id="o3", sku="tea", quantity=2, total=Decimal(1001), country="NL")
TOO_FAR = PlaceOrder(order_id="o4", sku="tea", quantity=2, total=Decimal(20), country="AQ")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(shop) as running:
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
