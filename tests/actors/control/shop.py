"""A service in a process of its own: a shop, steered by lines on its standard input.

``place ID`` places an order, and settles; ``mend`` has the orders that failed succeed from then on;
the end of the input closes it. Each line is answered with ``done``.
"""

import sys
from datetime import timedelta

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    Page,
    ProcessManager,
    Runtime,
    apply,
    handle,
    timeout,
)

shop = Domain("shop")

is_mended = False


class CardDeclined(Exception):
    pass


class PlaceOrder(Command):
    order_id: str
    amount: int


class OrderPlaced(Event):
    order_id: str
    amount: int


class Charge(Command):
    order_id: str


class Charged(Event):
    order_id: str


@shop.register
class Order(Aggregate, identity="order_id"):
    placed: bool = False

    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(order_id=self.id, amount=command.amount)

    @apply(OrderPlaced)
    def _placed(self, event: OrderPlaced) -> None:
        self.placed = True


@shop.register
class Payment(Aggregate, identity="order_id"):
    @handle(Charge)
    def charge(self, command: Charge) -> Charged:
        return Charged(order_id=self.id)


@shop.register
class Fulfilment(ProcessManager, correlate="order_id"):
    order_id: str = ""
    status: str = "new"
    amount: int = 0
    card: Indexed[str] = ""

    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None:
        if event.order_id.startswith("odd"):
            raise ValueError(event.order_id)
        self.amount = event.amount
        self.card = f"card-{event.order_id}"
        self.status = "charging"
        self.set_timeout("payment", timedelta(hours=1))
        if not event.order_id.startswith("open"):
            self.issue(Charge(order_id=event.order_id))

    @handle(Charged, end=True)
    def on_charged(self, event: Charged) -> None:
        if self.order_id.startswith("bad") and not is_mended:
            raise CardDeclined(f"card of {self.order_id}")
        self.status = "charged"

    @timeout("payment")
    def on_late(self) -> None:
        self.status = "late"
        self.mark_as_complete()


def _answer() -> None:
    sys.stdout.write("done\n")
    sys.stdout.flush()


def main(store: str, token: str | None = None) -> None:
    """Run it; with a token, it has a page."""
    global is_mended  # noqa: PLW0603 - as another version of the service would behave
    page = token is None or Page(address="http://127.0.0.1:0", token=token)
    with Runtime(store, shop, control=page) as runtime:
        _answer()
        for line in sys.stdin:
            word, _, name = line.strip().partition(" ")
            if word == "place":
                runtime.ask(PlaceOrder(order_id=name, amount=7))
            elif word == "mend":
                is_mended = True
            runtime.settle(timeout=30)
            _answer()
