"""The process: which step follows which, forwards and, after a failure, backwards.

It decides nothing about stock, money or countries: aggregates decide, and their events say how it
went. An order moves along these lines, and each event is the only thing the next step waits for:

    OrderPlaced -> StockReserved -> PaymentCharged -> ShipmentCreated -> OrderCompleted
                   OutOfStock       PaymentDeclined   ShipmentRejected   CompleteOrder refused
                        |           PaymentWithdrawn        |                  |
                        |                |                  |            ShipmentCancelled
                        |                |                  |                  |
    OrderCancelled <----+--- ReservationReleased <--- PaymentRefunded <--------+

Two things come from people, at any time. A clerk confirms a pending payment; when none does for
`PATIENCE`, the payment is withdrawn. And the customer may cancel the order until it is completed:
then the order refuses to be completed, which undoes everything.
"""

from datetime import timedelta
from decimal import Decimal

from procession import ProcessManager, handle, rejected, timeout

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
    PaymentPending,
    PaymentRefunded,
    PaymentWithdrawn,
    RefundPayment,
    WithdrawPayment,
)
from .shipping import (
    CancelShipment,
    CreateShipment,
    ShipmentCancelled,
    ShipmentCreated,
    ShipmentRejected,
)

PATIENCE = timedelta(days=2)
"""How long a clerk has to confirm a payment."""


class OrderFulfilment(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"
    # What later steps need, kept because their events do not carry it.
    total: Decimal = Decimal(0)
    country: str = ""
    reason: str = ""
    is_cancelled: bool = False

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

    @handle(PaymentPending)
    def on_payment_pending(self, event: PaymentPending) -> None:
        self.status = "awaiting_clerk"
        self.set_timeout("clerk", PATIENCE)

    @handle(PaymentCharged)
    def on_payment_charged(self, event: PaymentCharged) -> None:
        self.cancel_timeout("clerk")
        self.status = "shipping"
        self.issue(CreateShipment(order_id=self.order_id, country=self.country))

    @handle(ShipmentCreated)
    def on_shipment_created(self, event: ShipmentCreated) -> None:
        self.status = "completing"
        self.issue(CompleteOrder(order_id=self.order_id))

    @handle(OrderCompleted, end=True)
    def on_order_completed(self, event: OrderCompleted) -> None:
        self.status = "completed"

    # What goes wrong

    @handle(OutOfStock)
    def on_out_of_stock(self, event: OutOfStock) -> None:
        self._cancel(f"{event.sku} is out of stock")

    @handle(PaymentDeclined)
    def on_payment_declined(self, event: PaymentDeclined) -> None:
        self._release(event.reason)

    @timeout("clerk")
    def on_clerk_timeout(self) -> None:
        self.status = "withdrawing"
        self.issue(WithdrawPayment(order_id=self.order_id))

    @rejected(WithdrawPayment)
    def on_withdrawal_refused(self, command: WithdrawPayment, reason: str) -> None:
        """The clerk was quicker by a moment: `PaymentCharged` goes on from here."""

    @handle(ShipmentRejected)
    def on_shipment_rejected(self, event: ShipmentRejected) -> None:
        self._refund(event.reason)

    @handle(OrderCancelled)
    def on_order_cancelled(self, event: OrderCancelled) -> None:
        self.reason = event.reason
        self.is_cancelled = True
        if self.status == "cancelling":
            self._end()
        # Otherwise the customer did it, and some step is under way, whose answer is waited for.

    @rejected(CompleteOrder)
    def on_completion_refused(self, command: CompleteOrder, reason: str) -> None:
        self.status = "cancelling_shipment"
        self.issue(CancelShipment(order_id=self.order_id))

    @rejected(CancelOrder)
    def on_cancellation_refused(self, command: CancelOrder, reason: str) -> None:
        """The customer was quicker by a moment: their `OrderCancelled` ends this."""

    # Backwards: each undoing leads to the one before it

    @handle(ShipmentCancelled)
    def on_shipment_cancelled(self, event: ShipmentCancelled) -> None:
        self._refund()

    @handle(PaymentRefunded)
    def on_payment_refunded(self, event: PaymentRefunded) -> None:
        self._release()

    @handle(PaymentWithdrawn)
    def on_payment_withdrawn(self, event: PaymentWithdrawn) -> None:
        self._release("the payment was not confirmed in time")

    @handle(ReservationReleased)
    def on_reservation_released(self, event: ReservationReleased) -> None:
        self._cancel()

    def _refund(self, reason: str = "") -> None:
        self.status = "refunding"
        self.reason = self.reason or reason
        self.issue(RefundPayment(order_id=self.order_id))

    def _release(self, reason: str = "") -> None:
        self.status = "releasing"
        self.reason = self.reason or reason
        self.issue(ReleaseReservation(order_id=self.order_id))

    def _cancel(self, reason: str = "") -> None:
        if self.is_cancelled:
            self._end()
            return
        self.status = "cancelling"
        self.reason = self.reason or reason
        self.issue(CancelOrder(order_id=self.order_id, reason=self.reason))

    def _end(self) -> None:
        self.status = "cancelled"
        self.mark_as_complete()
