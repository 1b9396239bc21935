"""Waits for ever for a bank that does not answer.

The bank is outside: it answers what it is asked, and in every quick test it does so at once, and
whole. The flawed one has no timeout for the day on which it is silent.
"""

from collections.abc import Iterator
from datetime import timedelta

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle, timeout
from procession.testing import Publish, Service, Simulation, within


class PlaceOrder(Command):
    order_id: str


class AskBank(Command):
    order_id: str


class OrderPlaced(Event):
    order_id: str


class BankAsked(Event):
    order_id: str


class MoneyReserved(Event):
    order_id: str


class MoneySent(Event):
    order_id: str


class Order(Aggregate, identity="order_id"):
    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(self.id)

    @handle(AskBank)
    def ask_bank(self, command: AskBank) -> BankAsked:
        return BankAsked(self.id)


class Trusting(ProcessManager, correlate="order_id"):
    order_id: str = ""

    @handle(OrderPlaced, start=True)
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.issue(AskBank(self.order_id))
        self.set_timeout("bank", timedelta(days=1))

    @handle(MoneyReserved)
    def on_money_reserved(self, event: MoneyReserved) -> None:
        self.cancel_timeout("bank")

    @handle(MoneySent, end=True)
    def on_money_sent(self, event: MoneySent) -> None: ...

    @timeout("bank")
    def on_silence(self) -> None:
        self.mark_as_complete()


class Wary(Trusting, correlate="order_id"):
    @handle(MoneyReserved)
    def on_money_reserved(self, event: MoneyReserved) -> None:
        self.set_timeout("bank", timedelta(hours=6))


flawed = Domain("shop")
flawed.register(Order, Trusting)

correct = Domain("shop")
correct.register(Order, Wary)

program = [PlaceOrder("o1")]


def bank(asked: BankAsked) -> list[Publish | timedelta]:
    return [
        Publish(MoneyReserved(asked.order_id), stream="bank::account-1"),
        timedelta(minutes=5),
        Publish(MoneySent(asked.order_id), stream="bank::account-1"),
    ]


services = [Service("the bank", to=BankAsked, answer=bank)]


@within(timedelta(days=2))
def every_order_ends(simulation: Simulation) -> Iterator[str]:
    """Names those that have not."""
    for manager in (Trusting, Wary):
        if simulation.knows(manager):
            yield from (one.id for one in simulation.find(manager, complete=False))


invariants = [every_order_ends]
