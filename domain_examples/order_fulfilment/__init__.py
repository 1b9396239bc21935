"""A shop that fulfils orders: reserve the stock, charge the customer, ship, complete.

When a step fails, the ones before it are undone, the newest first, and the order ends cancelled.
Each module holds one aggregate with its commands and events; `process` ties them together.
"""

from actors import Domain

from .inventory import (
    OutOfStock,
    ReleaseReservation,
    Reservation,
    ReservationReleased,
    ReserveStock,
    StockReserved,
)
from .orders import (
    CancelOrder,
    CompleteOrder,
    Order,
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
    PlaceOrder,
)
from .payments import (
    ChargePayment,
    Payment,
    PaymentCharged,
    PaymentDeclined,
    PaymentRefunded,
    RefundPayment,
)
from .process import OrderFulfilment
from .shipping import CreateShipment, Shipment, ShipmentCreated, ShipmentRejected

shop = Domain("shop")
shop.register(Order, Reservation, Payment, Shipment, OrderFulfilment)

__all__ = [
    "CancelOrder",
    "ChargePayment",
    "CompleteOrder",
    "CreateShipment",
    "Order",
    "OrderCancelled",
    "OrderCompleted",
    "OrderFulfilment",
    "OrderPlaced",
    "OutOfStock",
    "Payment",
    "PaymentCharged",
    "PaymentDeclined",
    "PaymentRefunded",
    "PlaceOrder",
    "RefundPayment",
    "ReleaseReservation",
    "Reservation",
    "ReservationReleased",
    "ReserveStock",
    "Shipment",
    "ShipmentCreated",
    "ShipmentRejected",
    "StockReserved",
    "shop",
]
