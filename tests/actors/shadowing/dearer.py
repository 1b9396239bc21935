"""The shop, whose orders cost more than is charged for them as stored."""

from datetime import timedelta

from procession import handle
from tests.actors.shadowing.shop import Charge, Fulfilment, OrderPlaced, with_manager

__all__ = ["shop"]


class Dearer(Fulfilment, name="shop.Fulfilment"):
    @handle(OrderPlaced, start=True)
    def on_placed(self, event: OrderPlaced) -> None:
        self.status = "charging"
        self.total = event.total
        self.issue(Charge(event.order_id, event.total + 1))
        self.set_timeout("payment", timedelta(minutes=30))


shop = with_manager(Dearer)
