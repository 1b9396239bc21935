"""The shipment of one order."""

from procession import Aggregate, Command, Event, Rejected, apply, handle

SERVED = frozenset({"AT", "BE", "DE", "FR", "NL"})
"""The countries that the carrier goes to."""


class CreateShipment(Command):
    order_id: str
    country: str


class CancelShipment(Command):
    order_id: str


class ShipmentCreated(Event):
    order_id: str
    country: str


class ShipmentRejected(Event):
    order_id: str
    reason: str


class ShipmentCancelled(Event):
    order_id: str


class Shipment(Aggregate, identity="order_id"):
    status: str = "new"

    @handle(CreateShipment)
    def create(self, command: CreateShipment) -> ShipmentCreated | ShipmentRejected:
        if self.status != "new":
            raise Rejected("the shipment was asked for already")
        if command.country not in SERVED:
            return ShipmentRejected(order_id=self.id, reason=f"{command.country} is not served")
        return ShipmentCreated(order_id=self.id, country=command.country)

    @handle(CancelShipment)
    def cancel(self, command: CancelShipment) -> ShipmentCancelled:
        if self.status != "created":
            raise Rejected("there is no shipment to cancel")
        return ShipmentCancelled(order_id=self.id)

    @apply(ShipmentCreated)
    def _created(self, event: ShipmentCreated) -> None:
        self.status = "created"

    @apply(ShipmentRejected)
    def _rejected(self, event: ShipmentRejected) -> None:
        self.status = "rejected"

    @apply(ShipmentCancelled)
    def _cancelled(self, event: ShipmentCancelled) -> None:
        self.status = "cancelled"
