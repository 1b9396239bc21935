"""The inventory: stock set aside for one order.

One aggregate for each product would count what is left exactly, but every order for a popular
product would queue up at it. Here each order has a `Reservation` of its own, and a product is
"out of stock" when one order wants more of it than `MOST_PER_ORDER`, the share that the warehouse
promises to any single order. So orders never wait for one another.
"""

from procession import Aggregate, Command, Event, Rejected, apply, handle

MOST_PER_ORDER = 100


class ReserveStock(Command):
    order_id: str
    sku: str
    quantity: int


class ReleaseReservation(Command):
    order_id: str


class StockReserved(Event):
    order_id: str
    sku: str
    quantity: int


class OutOfStock(Event):
    order_id: str
    sku: str


class ReservationReleased(Event):
    order_id: str
    sku: str
    quantity: int


class Reservation(Aggregate, identity="order_id"):
    status: str = "new"
    sku: str = ""
    quantity: int = 0

    @handle(ReserveStock)
    def reserve(self, command: ReserveStock) -> StockReserved | OutOfStock:
        if self.status != "new":
            raise Rejected("stock was asked for already")
        # No error but an answer, and so an event: the process has to go on from here.
        if command.quantity > MOST_PER_ORDER:
            return OutOfStock(order_id=self.id, sku=command.sku)
        return StockReserved(order_id=self.id, sku=command.sku, quantity=command.quantity)

    @handle(ReleaseReservation)
    def release(self, command: ReleaseReservation) -> ReservationReleased:
        if self.status != "reserved":
            raise Rejected("there is no stock to release")
        return ReservationReleased(order_id=self.id, sku=self.sku, quantity=self.quantity)

    @apply(StockReserved)
    def _reserved(self, event: StockReserved) -> None:
        self.status = "reserved"
        self.sku = event.sku
        self.quantity = event.quantity

    @apply(OutOfStock)
    def _out_of_stock(self, event: OutOfStock) -> None:
        self.status = "out_of_stock"

    @apply(ReservationReleased)
    def _released(self, event: ReservationReleased) -> None:
        self.status = "released"
