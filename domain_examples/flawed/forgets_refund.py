"""Forgets a refund when the customer cancels while the payment is under way.

The flawed one ends with the cancellation. When the payment was asked for but not yet taken, it is
taken afterwards, and the process that would give it back has ended.
"""

from procession import Aggregate, Command, Domain, Event, ProcessManager, Rejected, apply, handle
from procession.testing import Simulation, at_end


class PlaceOrder(Command):
    order_id: str


class CancelOrder(Command):
    order_id: str


class TakePayment(Command):
    order_id: str


class Refund(Command):
    order_id: str


class OrderPlaced(Event):
    order_id: str


class OrderCancelled(Event):
    order_id: str


class PaymentTaken(Event):
    order_id: str


class Refunded(Event):
    order_id: str


class Order(Aggregate, identity="order_id"):
    is_placed: bool = False

    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(self.id)

    @handle(CancelOrder)
    def cancel(self, command: CancelOrder) -> OrderCancelled:
        if not self.is_placed:
            raise Rejected("there is no such order")
        return OrderCancelled(self.id)

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.is_placed = True


class Account(Aggregate, identity="order_id"):
    @handle(TakePayment)
    def take(self, command: TakePayment) -> PaymentTaken:
        return PaymentTaken(self.id)

    @handle(Refund)
    def refund(self, command: Refund) -> Refunded:
        return Refunded(self.id)


class Forgetful(ProcessManager, correlate="order_id"):
    order_id: str = ""
    is_paid: bool = False

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.issue(TakePayment(self.order_id))

    @handle(PaymentTaken)
    def on_payment_taken(self, event: PaymentTaken) -> None:
        self.is_paid = True

    @handle(OrderCancelled, end=True)
    def on_order_cancelled(self, event: OrderCancelled) -> None:
        if self.is_paid:
            self.issue(Refund(self.order_id))


class Mindful(ProcessManager, correlate="order_id"):
    order_id: str = ""
    is_paid: bool = False
    is_cancelled: bool = False

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.issue(TakePayment(self.order_id))

    @handle(PaymentTaken)
    def on_payment_taken(self, event: PaymentTaken) -> None:
        self.is_paid = True
        self._refund_if_due()

    @handle(OrderCancelled)
    def on_order_cancelled(self, event: OrderCancelled) -> None:
        self.is_cancelled = True
        self._refund_if_due()

    def _refund_if_due(self) -> None:
        # The payment was asked for, so its answer comes: only both together are the end.
        if self.is_paid and self.is_cancelled:
            self.issue(Refund(self.order_id))
            self.mark_as_complete()


flawed = Domain("shop")
flawed.register(Order, Account, Forgetful)

correct = Domain("shop")
correct.register(Order, Account, Mindful)

program = [PlaceOrder("o1"), CancelOrder("o1")]


@at_end
def who_cancelled_has_the_money_back(simulation: Simulation) -> None:
    kinds = [type(one.event) for one in simulation.events()]
    if OrderCancelled in kinds:
        assert kinds.count(PaymentTaken) == kinds.count(Refunded), "a payment was not given back"


invariants = [who_cancelled_has_the_money_back]
