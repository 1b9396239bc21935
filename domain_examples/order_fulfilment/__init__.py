"""A shop that fulfils orders: reserve the stock, charge the customer, ship, complete.

When a step fails, is refused, or takes too long, or when the customer cancels, the steps before it
are undone, the newest first, and the order ends cancelled.
Each module holds one aggregate with its commands and events; `process` ties them together.
"""

from procession import Domain

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
    ConfirmPayment,
    Payment,
    PaymentCharged,
    PaymentDeclined,
    PaymentPending,
    PaymentRefunded,
    PaymentWithdrawn,
    RefundPayment,
    WithdrawPayment,
)
from .process import PATIENCE, OrderFulfilment
from .shipping import (
    CancelShipment,
    CreateShipment,
    Shipment,
    ShipmentCancelled,
    ShipmentCreated,
    ShipmentRejected,
)

shop = Domain("shop")
shop.register(Order, Reservation, Payment, Shipment, OrderFulfilment)

__all__ = [
    "PATIENCE",
    "CancelOrder",
    "CancelShipment",
    "ChargePayment",
    "CompleteOrder",
    "ConfirmPayment",
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
    "PaymentPending",
    "PaymentRefunded",
    "PaymentWithdrawn",
    "PlaceOrder",
    "RefundPayment",
    "ReleaseReservation",
    "Reservation",
    "ReservationReleased",
    "ReserveStock",
    "Shipment",
    "ShipmentCancelled",
    "ShipmentCreated",
    "ShipmentRejected",
    "StockReserved",
    "WithdrawPayment",
    "shop",
]
