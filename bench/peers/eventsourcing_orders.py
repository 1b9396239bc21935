"""The three-step order with `eventsourcing`; runs in an environment of its own.

What was chosen, and why:

* Order, Payment, Shipment and the process are aggregates with `@event` methods. What the process
  asks for is in its own events, `PaymentRequested` and `ShipmentRequested`: six events an order.
* One `ProcessApplication` that follows itself, its policy a `singledispatchmethod`. A policy saves
  the process and the aggregate that it asks in one commit: four commits an order. With an
  application for each aggregate, as the documentation draws a system, there are six, and it had
  about 60 % of the throughput.
* The `SingleThreadedRunner`. The multi-threaded one was no faster with lots of orders.
* SQLite with the library's own settings: write-ahead log, and SQLite's default of one sync a
  commit. In memory: the `popo` module, which is the library's default.
* Orders are placed in lots of 100, saved together, which is faster than one by one.
* No cache of aggregates, as by default. A cache made no difference that could be told, unless
  it hands out its aggregates without copying them: then a policy that fails leaves a half-changed
  aggregate behind, for 20 % more throughput in memory and about none on disk.
"""

import argparse
import json
import sys
import tempfile
import time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import ProcessingEvent
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, DomainEvent, event
from eventsourcing.system import ProcessApplication, SingleThreadedRunner, System

TOGETHER = 100


class Order(Aggregate):
    @event("Placed")
    def __init__(self, customer_id: str, total: Decimal) -> None:
        self.customer_id = customer_id
        self.total = total


class Payment(Aggregate):
    @event("Confirmed")
    def __init__(self, order_id: UUID, amount: Decimal) -> None:
        self.order_id = order_id
        self.amount = amount


class Shipment(Aggregate):
    @event("Delivered")
    def __init__(self, order_id: UUID) -> None:
        self.order_id = order_id


class Fulfillment(Aggregate):
    @event("PaymentRequested")
    def __init__(self, order_id: UUID, total: Decimal) -> None:
        self.order_id = order_id
        self.total = total
        self.status = "awaiting_payment"

    @event("ShipmentRequested")
    def request_shipment(self) -> None:
        self.status = "awaiting_shipment"

    @event("Completed")
    def complete(self) -> None:
        self.status = "completed"

    @staticmethod
    def create_id(order_id: UUID) -> UUID:
        return uuid5(NAMESPACE_URL, f"/fulfillments/{order_id}")


class Shop(ProcessApplication[UUID]):
    def place_orders(self, count: int) -> list[UUID]:
        orders = [Order("c1", Decimal(99)) for _ in range(count)]
        self.save(*orders)
        return [order.id for order in orders]

    def status(self, order_id: UUID) -> str:
        return self.repository.get(Fulfillment.create_id(order_id)).status

    @singledispatchmethod
    def policy(self, domain_event: DomainEvent, processing_event: ProcessingEvent) -> None:
        pass

    @policy.register(Order.Placed)
    def _(self, domain_event: Order.Placed, processing_event: ProcessingEvent) -> None:
        order_id, total = domain_event.originator_id, domain_event.total
        processing_event.collect_events(Fulfillment(order_id, total), Payment(order_id, total))

    @policy.register(Payment.Confirmed)
    def _(self, domain_event: Payment.Confirmed, processing_event: ProcessingEvent) -> None:
        fulfillment = self.repository.get(Fulfillment.create_id(domain_event.order_id))
        fulfillment.request_shipment()
        processing_event.collect_events(fulfillment, Shipment(domain_event.order_id))

    @policy.register(Shipment.Delivered)
    def _(self, domain_event: Shipment.Delivered, processing_event: ProcessingEvent) -> None:
        fulfillment = self.repository.get(Fulfillment.create_id(domain_event.order_id))
        fulfillment.complete()
        processing_event.collect_events(fulfillment)


def run(env: dict[str, str], orders: int) -> float:
    """Seconds it took."""
    with SingleThreadedRunner(System(pipes=[[Shop, Shop]]), env=env) as runner:
        shop = runner.get(Shop)
        began = time.perf_counter()
        ids: list[UUID] = []
        while len(ids) < orders:  # when a call returns, its orders are complete
            ids += shop.place_orders(min(TOGETHER, orders - len(ids)))
        seconds = time.perf_counter() - began
        complete = sum(shop.status(order_id) == "completed" for order_id in ids)
    if complete != orders:
        sys.exit(f"{complete} of {orders} orders are complete")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--store", choices=["SQLite", "memory"], required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
        if options.store == "SQLite":
            env = {
                "PERSISTENCE_MODULE": "eventsourcing.sqlite",
                "SQLITE_DBNAME": str(Path(folder, "shop.db")),
            }
        seconds = run(env, options.orders)
    result = {
        "version": version("eventsourcing"),
        "orders": options.orders,
        "orders_per_s": round(options.orders / seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
