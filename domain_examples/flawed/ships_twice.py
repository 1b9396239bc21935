"""Ships twice when the timeout and the confirmation cross.

An order whose payment is not confirmed within half an hour is shipped on account. The flawed one
does not think of the confirmation that is on its way at that moment.
"""

from datetime import timedelta

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle, timeout
from procession.testing import Simulation

PATIENCE = timedelta(minutes=30)


class PlaceOrder(Command):
    order_id: str


class ConfirmPayment(Command):
    order_id: str


class Ship(Command):
    order_id: str


class OrderPlaced(Event):
    order_id: str


class PaymentConfirmed(Event):
    order_id: str


class Shipped(Event):
    order_id: str


class Order(Aggregate, identity="order_id"):
    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(self.id)


class Payment(Aggregate, identity="order_id"):
    @handle(ConfirmPayment)
    def confirm(self, command: ConfirmPayment) -> PaymentConfirmed:
        return PaymentConfirmed(self.id)


class Warehouse(Aggregate, identity="order_id"):
    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id)


class Careless(ProcessManager, correlate="order_id"):
    order_id: str = ""

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.set_timeout("payment", PATIENCE)

    @handle(PaymentConfirmed)
    def on_payment_confirmed(self, event: PaymentConfirmed) -> None:
        self.cancel_timeout("payment")
        self.issue(Ship(self.order_id))

    @timeout("payment")
    def on_no_payment(self) -> None:
        self.issue(Ship(self.order_id))


class Careful(ProcessManager, correlate="order_id"):
    order_id: str = ""

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.set_timeout("payment", PATIENCE)

    # Whichever comes first ends the process, and the other one is skipped.

    @handle(PaymentConfirmed, end=True)
    def on_payment_confirmed(self, event: PaymentConfirmed) -> None:
        self.issue(Ship(self.order_id))

    @timeout("payment")
    def on_no_payment(self) -> None:
        self.issue(Ship(self.order_id))
        self.mark_as_complete()


flawed = Domain("shop")
flawed.register(Order, Payment, Warehouse, Careless)

correct = Domain("shop")
correct.register(Order, Payment, Warehouse, Careful)

program = [PlaceOrder("o1"), timedelta(minutes=20), ConfirmPayment("o1")]


def an_order_is_shipped_once(simulation: Simulation) -> None:
    shipped = list(simulation.events("shop::warehouse-o1"))
    assert len(shipped) <= 1, f"o1 was shipped {len(shipped)} times"


invariants = [an_order_is_shipped_once]
