"""The order: what a customer asked for, and how it ended."""

from decimal import Decimal

from procession import Aggregate, Command, Event, Rejected, apply, handle


class PlaceOrder(Command):
    order_id: str
    sku: str
    quantity: int
    total: Decimal
    country: str


class CompleteOrder(Command):
    order_id: str


class CancelOrder(Command):
    order_id: str
    reason: str


class OrderPlaced(Event):
    order_id: str
    sku: str
    quantity: int
    total: Decimal
    country: str


class OrderCompleted(Event):
    order_id: str


class OrderCancelled(Event):
    order_id: str
    reason: str


class Order(Aggregate, identity="order_id"):
    status: str = "new"
    reason: str = ""

    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        # Refused at once: the caller gets the reason, nothing is stored, no process starts.
        if self.status != "new":
            raise Rejected("the order was placed already")
        if command.quantity < 1:
            raise Rejected("the order is empty")
        if command.total <= 0:
            raise Rejected("the total must be more than nothing")
        return OrderPlaced(
            order_id=self.id,
            sku=command.sku,
            quantity=command.quantity,
            total=command.total,
            country=command.country,
        )

    @handle(CompleteOrder)
    def complete(self, command: CompleteOrder) -> OrderCompleted:
        self._refuse_unless_placed()
        return OrderCompleted(order_id=self.id)

    @handle(CancelOrder)
    def cancel(self, command: CancelOrder) -> OrderCancelled:
        # Asked by the process when something failed, or by the customer at any time before the
        # order is completed. Whichever of completing and cancelling comes first wins.
        self._refuse_unless_placed()
        return OrderCancelled(order_id=self.id, reason=command.reason)

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.status = "placed"

    @apply(OrderCompleted)
    def _completed(self, event: OrderCompleted) -> None:
        self.status = "completed"

    @apply(OrderCancelled)
    def _cancelled(self, event: OrderCancelled) -> None:
        self.status = "cancelled"
        self.reason = event.reason

    def _refuse_unless_placed(self) -> None:
        if self.status != "placed":
            raise Rejected(f"the order is {self.status}")
