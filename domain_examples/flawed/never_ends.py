"""Never ends when the two answers that it waits for come in the other order.

The stock is asked for first, and in every quick test its answer is there first. The flawed one
looks only at the payment whether all is there.
"""

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle
from procession.testing import Simulation, at_end


class PlaceOrder(Command):
    order_id: str


class ReserveStock(Command):
    order_id: str


class TakePayment(Command):
    order_id: str


class OrderPlaced(Event):
    order_id: str


class StockReserved(Event):
    order_id: str


class PaymentTaken(Event):
    order_id: str


class Order(Aggregate, identity="order_id"):
    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(self.id)


class Stock(Aggregate, identity="order_id"):
    @handle(ReserveStock)
    def reserve(self, command: ReserveStock) -> StockReserved:
        return StockReserved(self.id)


class Payment(Aggregate, identity="order_id"):
    @handle(TakePayment)
    def take(self, command: TakePayment) -> PaymentTaken:
        return PaymentTaken(self.id)


class Hopeful(ProcessManager, correlate="order_id"):
    order_id: str = ""
    is_reserved: bool = False

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.issue(ReserveStock(self.order_id), TakePayment(self.order_id))

    @handle(StockReserved)
    def on_stock_reserved(self, event: StockReserved) -> None:
        self.is_reserved = True

    @handle(PaymentTaken)
    def on_payment_taken(self, event: PaymentTaken) -> None:
        if self.is_reserved:
            self.mark_as_complete()


class Thorough(ProcessManager, correlate="order_id"):
    order_id: str = ""
    is_reserved: bool = False
    is_paid: bool = False

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.issue(ReserveStock(self.order_id), TakePayment(self.order_id))

    @handle(StockReserved)
    def on_stock_reserved(self, event: StockReserved) -> None:
        self.is_reserved = True
        self._end_if_all_is_there()

    @handle(PaymentTaken)
    def on_payment_taken(self, event: PaymentTaken) -> None:
        self.is_paid = True
        self._end_if_all_is_there()

    def _end_if_all_is_there(self) -> None:
        if self.is_reserved and self.is_paid:
            self.mark_as_complete()


flawed = Domain("shop")
flawed.register(Order, Stock, Payment, Hopeful)

correct = Domain("shop")
correct.register(Order, Stock, Payment, Thorough)

program = [PlaceOrder("o1")]


@at_end
def every_order_ends(simulation: Simulation) -> None:
    for manager in (Hopeful, Thorough):
        if simulation.knows(manager):
            left = [one.id for one in simulation.find(manager, complete=False)]
            assert not left, f"{left} never ended"


invariants = [every_order_ends]
