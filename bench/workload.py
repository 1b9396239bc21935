"""The reference workload: the three-step order, as a user of the public API would write it."""

from decimal import Decimal

from procession import Aggregate, Command, Domain, Event, ProcessManager, apply, handle

shop = Domain("ecommerce")


class PlaceOrder(Command):
    order_id: str
    customer_id: str
    total: Decimal


class OrderPlaced(Event):
    order_id: str
    customer_id: str
    total: Decimal


class RequestPayment(Command):
    order_id: str
    amount: Decimal


class PaymentConfirmed(Event):
    order_id: str
    amount: Decimal


class CreateShipment(Command):
    order_id: str


class ShipmentDelivered(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    is_placed: bool = False

    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(self.id, command.customer_id, command.total)

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.is_placed = True


@shop.register
class Payment(Aggregate, identity="order_id"):
    status: str = "new"

    @handle(RequestPayment)
    def request(self, command: RequestPayment) -> PaymentConfirmed:
        return PaymentConfirmed(self.id, command.amount)

    @apply(PaymentConfirmed)
    def _confirmed(self, event: PaymentConfirmed) -> None:
        self.status = "confirmed"


@shop.register
class Shipment(Aggregate, identity="order_id"):
    status: str = "new"

    @handle(CreateShipment)
    def create(self, command: CreateShipment) -> ShipmentDelivered:
        return ShipmentDelivered(self.id)

    @apply(ShipmentDelivered)
    def _delivered(self, event: ShipmentDelivered) -> None:
        self.status = "delivered"


@shop.register
class OrderFulfillment(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.status = "awaiting_payment"
        self.issue(RequestPayment(event.order_id, event.total))

    @handle(PaymentConfirmed)
    def on_payment_confirmed(self, event: PaymentConfirmed) -> None:
        self.status = "awaiting_shipment"
        self.issue(CreateShipment(self.order_id))

    @handle(ShipmentDelivered, end=True)
    def on_shipment_delivered(self, event: ShipmentDelivered) -> None:
        self.status = "completed"
