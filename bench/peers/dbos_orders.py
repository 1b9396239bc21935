"""The three-step order with DBOS; runs in an environment of its own.

What was chosen, and why:

* An order is a workflow of two steps, payment and shipment, with the order's id as its own. DBOS
  has no aggregates and no events, so the steps only return what they did, and placing the order
  is the start of the workflow: less work than elsewhere, in its favour.
* The workflow is called as a function, one after the other. With several in flight
  (`start_workflow`, with 2, 4 or 8 threads, or from asyncio) it was no faster, and through a
  queue, polled 20 times a second, it had less than half: SQLite has one writer.
* SQLite, which is its default store, in two ways. `SQLite` has the library's own settings: a
  rollback journal, which syncs several times a commit. `SQLite (WAL)` is a file that was put into
  write-ahead mode beforehand; the documentation does not speak of that, but it is faster.
* PostgreSQL, which DBOS recommends for production, is a server that is started elsewhere, and
  whose address is given. There the workflows are called by sixteen threads: more or fewer were
  slower.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from dbos import DBOS, SetWorkflowID


@DBOS.step()
def confirm_payment(order_id: str, amount: str) -> dict[str, str]:
    return {"order_id": order_id, "amount": amount}


@DBOS.step()
def deliver_shipment(order_id: str) -> dict[str, str]:
    return {"order_id": order_id}


@DBOS.workflow()
def fulfil_order(order_id: str, customer_id: str, total: str) -> str:
    confirm_payment(order_id, total)
    deliver_shipment(order_id)
    return f"completed for {customer_id}"


THREADS = 16


def order(number: int) -> None:
    order_id = f"o{number:07d}"
    with SetWorkflowID(order_id):
        fulfil_order(order_id, "c1", "99")


def run(database: str, orders: int) -> float:
    """Seconds it took."""
    DBOS(
        config={
            "name": "orders",
            "system_database_url": database,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    try:
        began = time.perf_counter()
        if database.startswith("sqlite"):
            for number in range(orders):
                order(number)
        else:
            with ThreadPoolExecutor(THREADS) as threads:
                list(threads.map(order, range(orders)))
        seconds = time.perf_counter() - began
        complete = len(DBOS.list_workflows(status="SUCCESS"))
    finally:
        DBOS.destroy()
    if complete != orders:
        sys.exit(f"{complete} of {orders} orders are complete")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--store", choices=["SQLite", "SQLite (WAL)", "PostgreSQL"], required=True)
    parser.add_argument("--database", help="the address of a PostgreSQL database, to be made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "dbos.sqlite")
        if options.store == "SQLite (WAL)":
            connection = sqlite3.connect(file)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
        seconds = run(options.database or f"sqlite:///{file}", options.orders)
    result = {
        "version": version("dbos"),
        "orders": options.orders,
        "orders_per_s": round(options.orders / seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
