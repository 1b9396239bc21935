"""The three-step order with Protean; runs in an environment of its own.

What was chosen, and why:

* The documentation's own example of a process manager, which has these three steps: aggregates
  that raise events, a command handler for each, a process manager that issues the commands.
* The adapters in memory, which are the default; those on disk need a server. Events and commands
  are processed synchronously, as the documentation does without one.
* Logging from warnings up: by default each handled message is a line on the terminal.

Its event store in memory searches all messages at each read and write, so an order takes longer
the more there were before it. Few orders, as here, are in its favour.
"""

import argparse
import json
import logging
import sys
import time
from importlib.metadata import version

from protean import Domain, current_domain, handle
from protean.fields import Float, Identifier, String

domain = Domain(__file__, "ecommerce")
domain.config["event_processing"] = "sync"
domain.config["command_processing"] = "sync"


@domain.event(part_of="Order")
class OrderPlaced:
    order_id: Identifier(required=True)
    customer_id: Identifier(required=True)
    total: Float(required=True)


@domain.event(part_of="Payment")
class PaymentConfirmed:
    order_id: Identifier(required=True)
    amount: Float(required=True)


@domain.event(part_of="Shipment")
class ShipmentDelivered:
    order_id: Identifier(required=True)


@domain.command(part_of="Order")
class PlaceOrder:
    order_id: Identifier(required=True)
    customer_id: Identifier(required=True)
    total: Float(required=True)


@domain.command(part_of="Payment")
class RequestPayment:
    order_id: Identifier(required=True)
    amount: Float(required=True)


@domain.command(part_of="Shipment")
class CreateShipment:
    order_id: Identifier(required=True)


@domain.aggregate
class Order:
    order_id: Identifier(identifier=True)
    customer_id: Identifier(required=True)
    total: Float(required=True)


@domain.aggregate
class Payment:
    order_id: Identifier(identifier=True)
    amount: Float(required=True)


@domain.aggregate
class Shipment:
    order_id: Identifier(identifier=True)


@domain.command_handler(part_of=Order)
class OrderCommands:
    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> None:
        fields = {"customer_id": command.customer_id, "total": command.total}
        order = Order(order_id=command.order_id, **fields)
        order.raise_(OrderPlaced(order_id=command.order_id, **fields))
        current_domain.repository_for(Order).add(order)


@domain.command_handler(part_of=Payment)
class PaymentCommands:
    @handle(RequestPayment)
    def request(self, command: RequestPayment) -> None:
        payment = Payment(order_id=command.order_id, amount=command.amount)
        payment.raise_(PaymentConfirmed(order_id=command.order_id, amount=command.amount))
        current_domain.repository_for(Payment).add(payment)


@domain.command_handler(part_of=Shipment)
class ShipmentCommands:
    @handle(CreateShipment)
    def create(self, command: CreateShipment) -> None:
        shipment = Shipment(order_id=command.order_id)
        shipment.raise_(ShipmentDelivered(order_id=command.order_id))
        current_domain.repository_for(Shipment).add(shipment)


@domain.process_manager(aggregates=[Order, Payment, Shipment])
class OrderFulfillment:
    order_id: Identifier()
    status: String(default="new")

    @handle(OrderPlaced, start=True, correlate="order_id")
    def on_order_placed(self, event: OrderPlaced) -> None:
        self.order_id = event.order_id
        self.status = "awaiting_payment"
        current_domain.process(RequestPayment(order_id=event.order_id, amount=event.total))

    @handle(PaymentConfirmed, correlate="order_id")
    def on_payment_confirmed(self, event: PaymentConfirmed) -> None:
        self.status = "awaiting_shipment"
        current_domain.process(CreateShipment(order_id=self.order_id))

    @handle(ShipmentDelivered, correlate="order_id", end=True)
    def on_shipment_delivered(self, event: ShipmentDelivered) -> None:
        self.status = "completed"


def run(orders: int) -> float:
    """Seconds it took."""
    domain.init(traverse=False)
    logging.disable(logging.INFO)
    with domain.domain_context():
        began = time.perf_counter()
        for number in range(orders):
            domain.process(PlaceOrder(order_id=f"o{number:07d}", customer_id="c1", total=99.0))
        seconds = time.perf_counter() - began
        transitions = domain.event_store.store.read(
            OrderFulfillment.meta_.stream_category, no_of_messages=orders * 10
        )
    complete = sum(
        transition.data["is_complete"] and transition.data["state"]["status"] == "completed"
        for transition in transitions
    )
    if complete != orders:
        sys.exit(f"{complete} of {orders} orders are complete")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--store", choices=["memory"], required=True)
    options = parser.parse_args()
    seconds = run(options.orders)
    result = {
        "version": version("protean"),
        "orders": options.orders,
        "orders_per_s": round(options.orders / seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
