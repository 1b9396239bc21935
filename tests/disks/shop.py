"""The small program whose every write is made to fail: orders, payments, a timeout, a gift."""

from datetime import timedelta

from procession import Aggregate, Command, Domain, Event, ProcessManager, apply, handle, timeout

shop = Domain("disks")


class PlaceOrder(Command):
    order_id: str


class OrderPlaced(Event):
    order_id: str


class RequestPayment(Command):
    order_id: str


class PaymentConfirmed(Event):
    order_id: str


class GiftNoted(Event):
    order_id: str


shop.register(GiftNoted)


@shop.register
class Order(Aggregate, identity="order_id"):
    placed: int = 0

    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(self.id)

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.placed += 1


@shop.register
class Payment(Aggregate, identity="order_id"):
    @handle(RequestPayment)
    def request(self, command: RequestPayment) -> PaymentConfirmed:
        return PaymentConfirmed(self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order_id"):
    order_id: str = ""
    placed: int = 0
    paid: int = 0
    gifts: int = 0

    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None:
        self.placed += 1
        self.set_timeout("payment", timedelta(days=1))
        self.issue(RequestPayment(self.order_id))

    @handle(PaymentConfirmed)
    def on_paid(self, event: PaymentConfirmed) -> None:
        self.paid += 1
        self.cancel_timeout("payment")

    @handle(GiftNoted)
    def on_gift(self, event: GiftNoted) -> None:
        self.gifts += 1

    @timeout("payment")
    def on_no_payment(self) -> None:
        self.mark_as_complete()
