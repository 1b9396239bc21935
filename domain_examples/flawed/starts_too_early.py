"""Acts on an event that came before its start.

A customer's transfer may arrive before the order has been taken in. The flawed one lets either of
the two start the process, and ships to an address that it does not have yet.
"""

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle
from procession.testing import Publish, Simulation


class PlaceOrder(Command):
    order_id: str
    address: str


class Ship(Command):
    order_id: str
    address: str


class OrderPlaced(Event):
    order_id: str
    address: str


class TransferReceived(Event):
    order_id: str


class Shipped(Event):
    order_id: str
    address: str


class Order(Aggregate, identity="order_id"):
    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(self.id, command.address)


class Warehouse(Aggregate, identity="order_id"):
    @handle(Ship)
    def ship(self, command: Ship) -> Shipped:
        return Shipped(self.id, command.address)


class Hasty(ProcessManager, correlate="order_id"):
    order_id: str = ""
    address: str = ""

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.address = event.address

    @handle(TransferReceived, start=True, end=True)
    def on_transfer(self, event: TransferReceived) -> None:
        self.issue(Ship(self.order_id, self.address))


class Patient(ProcessManager, correlate="order_id", early="hold"):
    order_id: str = ""
    address: str = ""

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.address = event.address

    @handle(TransferReceived, end=True)
    def on_transfer(self, event: TransferReceived) -> None:
        self.issue(Ship(self.order_id, self.address))


flawed = Domain("shop")
flawed.register(Order, Warehouse, Hasty)

correct = Domain("shop")
correct.register(Order, Warehouse, Patient)

program = [
    [PlaceOrder("o1", "Kaponga")],
    [Publish(TransferReceived("o1"), stream="shop::bank-1")],
]


def nothing_is_shipped_to_nowhere(simulation: Simulation) -> None:
    for one in simulation.events("shop::warehouse"):
        assert one.event == Shipped("o1", "Kaponga")


invariants = [nothing_is_shipped_to_nowhere]
