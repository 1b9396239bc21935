"""The process: which step follows which, forwards and, after a failure, backwards.

It decides nothing about stock, money or countries: aggregates decide, and their events say how it
went. An order moves along these lines, and each event is the only thing the next step waits for:

    OrderPlaced -> StockReserved -> PaymentCharged -> ShipmentCreated -> OrderCompleted
                   OutOfStock       PaymentDeclined   ShipmentRejected
                        |                |                  |
    OrderCancelled <----+--- ReservationReleased <-- PaymentRefunded
"""

from decimal import Decimal

from actors import ProcessManager, handle

from .inventory import (
    OutOfStock,
    ReleaseReservation,
    ReservationReleased,
    ReserveStock,
    StockReserved,
)
from .orders import CancelOrder, CompleteOrder, OrderCancelled, OrderCompleted, OrderPlaced
from .payments import (
    ChargePayment,
    PaymentCharged,
    PaymentDeclined,
    PaymentRefunded,
    RefundPayment,
)
from .shipping import CreateShipment, ShipmentCreated, ShipmentRejected


class OrderFulfilment(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"
    # What later steps need, kept because their events do not carry it.
    total: Decimal = Decimal(0)
    country: str = ""
    reason: str = ""

    # Forwards

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.status = "reserving"
        self.total = event.total
        self.country = event.country
        self.issue(
            ReserveStock(order_id=event.order_id, sku=event.sku, quantity=event.quantity),
        )

    @handle(StockReserved)
    def on_stock_reserved(self, event: StockReserved) -> None:
        self.status = "charging"
        self.issue(ChargePayment(order_id=self.order_id, amount=self.total))

    @handle(PaymentCharged)
    def on_payment_charged(self, event: PaymentCharged) -> None:
        self.status = "shipping"
        self.issue(CreateShipment(order_id=self.order_id, country=self.country))

    @handle(ShipmentCreated)
    def on_shipment_created(self, event: ShipmentCreated) -> None:
        self.status = "completing"
        self.issue(CompleteOrder(order_id=self.order_id))

    @handle(OrderCompleted, end=True)
    def on_order_completed(self, event: OrderCompleted) -> None:
        self.status = "completed"

    # Backwards: a failure undoes the step before it, and each undoing leads to the one before that

    @handle(ShipmentRejected)
    def on_shipment_rejected(self, event: ShipmentRejected) -> None:
        self.status = "refunding"
        self.reason = event.reason
        self.issue(RefundPayment(order_id=self.order_id))

    @handle(PaymentDeclined)
    def on_payment_declined(self, event: PaymentDeclined) -> None:
        self.reason = event.reason
        self._release()

    @handle(PaymentRefunded)
    def on_payment_refunded(self, event: PaymentRefunded) -> None:
        self._release()

    @handle(OutOfStock)
    def on_out_of_stock(self, event: OutOfStock) -> None:
        self.reason = f"{event.sku} is out of stock"
        self._cancel()

    @handle(ReservationReleased)
    def on_reservation_released(self, event: ReservationReleased) -> None:
        self._cancel()

    @handle(OrderCancelled, end=True)
    def on_order_cancelled(self, event: OrderCancelled) -> None:
        self.status = "cancelled"

    def _release(self) -> None:
        self.status = "releasing"
        self.issue(ReleaseReservation(order_id=self.order_id))

    def _cancel(self) -> None:
        self.status = "cancelling"
        self.issue(CancelOrder(order_id=self.order_id, reason=self.reason))
