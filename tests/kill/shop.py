"""The domain of the kill test: small, with everything going on at once, and countable effects."""

import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Retry,
    after,
    apply,
    handle,
    rejected,
    timeout,
)

shop = Domain("killed")


def has_operators() -> bool:
    """Whether some orders are parked, and operators decide about them."""
    return os.environ.get("OPERATORS", "0") != "0"


def approve(order_id: str) -> None:
    """Mend what an order is parked for, so that it can be tried again."""
    _approved(order_id).touch()


def _approved(order_id: str) -> Path:
    return Path(f"{os.environ['EFFECTS']}.{order_id}")


class PlaceOrder(Command):
    order_id: str
    total: Decimal


class OrderPlaced(Event):
    order_id: str
    total: Decimal


class GiftNoted(Event):
    """Comes from outside, for some orders before they are placed."""

    order_id: str


class AddNote(Command):
    """Told under an id of its own, several times; each time it took effect can be counted."""

    order_id: str


class NoteAdded(Event):
    order_id: str


class CancelOrder(Command):
    order_id: str


class OrderCancelled(Event):
    order_id: str


class RequestPayment(Command):
    order_id: str
    amount: Decimal


class PaymentConfirmed(Event):
    order_id: str
    amount: Decimal


class PaymentFailed(Event):
    order_id: str
    reason: str


class CreateShipment(Command):
    order_id: str


class ShipmentDelivered(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    status: str = "new"

    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        if self.status != "new":
            raise Rejected("placed before")
        return OrderPlaced(self.id, command.total)

    @handle(CancelOrder)
    def cancel(self, command: CancelOrder) -> OrderCancelled:
        return OrderCancelled(self.id)

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.status = "placed"

    @apply(OrderCancelled)
    def _cancelled(self, event: OrderCancelled) -> None:
        self.status = "cancelled"


@shop.register
class Notebook(Aggregate, identity="order_id"):
    notes: int = 0

    @handle(AddNote)
    def add(self, command: AddNote) -> NoteAdded:
        return NoteAdded(self.id)

    @apply(NoteAdded)
    def _added(self, event: NoteAdded) -> None:
        self.notes += 1


@shop.register
class Payment(Aggregate, identity="order_id"):
    charges: int = 0

    @handle(RequestPayment)
    def request(self, command: RequestPayment) -> PaymentConfirmed | PaymentFailed:
        if command.amount % 7 == 0:
            raise Rejected("not that amount")
        if command.amount > 1_000:
            return PaymentFailed(self.id, "over the limit")
        return PaymentConfirmed(self.id, command.amount)

    @apply(PaymentConfirmed)
    def _confirmed(self, event: PaymentConfirmed) -> None:
        self.charges += 1


@shop.register
class Shipment(Aggregate, identity="order_id"):
    shipments: int = 0

    @handle(CreateShipment)
    def create(self, command: CreateShipment) -> ShipmentDelivered:
        return ShipmentDelivered(self.id)

    @apply(ShipmentDelivered)
    def _delivered(self, event: ShipmentDelivered) -> None:
        self.shipments += 1


@shop.register
class Fulfilment(
    ProcessManager,
    correlate="order_id",
    early="hold",
    retry=Retry(attempts=3, first=timedelta(milliseconds=2)),
):
    order_id: str = ""
    status: str = "new"
    seen: list[str] = []

    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None:
        self.status = "awaiting_payment"
        self.seen.append("placed")
        self.set_timeout("slow", timedelta(milliseconds=3))
        self.issue(RequestPayment(event.order_id, event.total))

    @handle(PaymentConfirmed)
    def on_confirmed(self, event: PaymentConfirmed) -> None:
        self.status = "awaiting_shipment"
        self.seen.append("confirmed")
        if self.order_id.endswith("3") and self.context.attempt == 1:
            raise ConnectionError("try again")
        if (
            has_operators()
            and self.order_id.endswith("7")
            and not _approved(self.order_id).exists()
        ):
            raise PermissionError("ask a person")
        held_back = timedelta(milliseconds=2) if self.order_id.endswith(("2", "4")) else None
        self.issue(CreateShipment(self.order_id), after=held_back)

    @handle(PaymentFailed)
    def on_failed(self, event: PaymentFailed) -> None:
        self.status = "cancelling"
        self.seen.append("failed")
        self.issue(CancelOrder(self.order_id))

    @rejected(RequestPayment)
    def on_refused(self, command: RequestPayment, reason: str) -> None:
        self.status = "cancelling"
        self.seen.append("refused")
        self.issue(CancelOrder(self.order_id))

    @handle(GiftNoted)
    def on_gift(self, event: GiftNoted) -> None:
        self.seen.append("gift")

    @timeout("slow")
    def on_slow(self) -> None:
        self.seen.append("timeout")

    @after(OrderPlaced)
    def tell_the_world(self, event: OrderPlaced) -> None:
        with open(os.environ["EFFECTS"], "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{event.order_id}\n")

    @handle(ShipmentDelivered, end=True)
    def on_delivered(self, event: ShipmentDelivered) -> None:
        self.status = "completed"
        self.seen.append("delivered")

    @handle(OrderCancelled, end=True)
    def on_cancelled(self, event: OrderCancelled) -> None:
        self.status = "cancelled"
        self.seen.append("cancelled")
