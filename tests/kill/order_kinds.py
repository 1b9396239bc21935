"""Orders of the order example that end in each way there is without a person, and what must come
of each."""

from decimal import Decimal

from domain_examples.order_fulfilment import (
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
    OutOfStock,
    PaymentCharged,
    PaymentDeclined,
    PaymentRefunded,
    PlaceOrder,
    ReservationReleased,
    ShipmentCreated,
    ShipmentRejected,
    StockReserved,
)

_RESERVED = OrderPlaced, StockReserved
_UNDONE = ReservationReleased, OrderCancelled

COMPLETED = (*_RESERVED, PaymentCharged, ShipmentCreated, OrderCompleted)
WITHOUT_STOCK = OrderPlaced, OutOfStock, OrderCancelled
DECLINED = (*_RESERVED, PaymentDeclined, *_UNDONE)
NOT_SHIPPED = (*_RESERVED, PaymentCharged, ShipmentRejected, PaymentRefunded, *_UNDONE)

_KINDS = (
    (COMPLETED, 2, 20, "NL"),
    (WITHOUT_STOCK, 200, 20, "NL"),
    (DECLINED, 2, 2_000, "NL"),
    (NOT_SHIPPED, 2, 20, "US"),
)


def order_of(name: str) -> PlaceOrder:
    """The order of that name, whose last digit decides how it ends."""
    _, quantity, total, country = _KINDS[int(name[-1]) % len(_KINDS)]
    return PlaceOrder(name, "tea", quantity, Decimal(total), country)


def events_of(name: str) -> tuple[type, ...]:
    """What must happen to it, each once."""
    return _KINDS[int(name[-1]) % len(_KINDS)][0]
