"""Orders through the order-fulfilment domain, with the worker killed on the way.

    python -m domain_examples.demo [--orders N] [--store FOLDER]

A worker process places orders into a store on disk. Part of the way it is killed with SIGKILL. This
process then opens the same store, which goes on with what was under way, places the rest, and
prints what became of all orders.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from procession import Runtime

from .order_fulfilment import OrderFulfilment, PlaceOrder, shop

TOGETHER = 50


def order(number: int) -> PlaceOrder:
    """One in a few is refused, out of stock, declined, or for a country that is not served."""
    return PlaceOrder(
        order_id=f"order-{number:05d}",
        sku=f"sku-{number % 40}",
        quantity=0 if number % 19 == 0 else 500 if number % 11 == 0 else 1 + number % 5,
        total=Decimal(5_000) if number % 7 == 0 else Decimal(10 + number % 90),
        country="XX" if number % 13 == 0 else "FR",
    )


def place(runtime: Runtime, numbers: range) -> Iterator[int]:
    """Place orders; yields how many were acknowledged so far."""
    for start in range(numbers.start, numbers.stop, TOGETHER):
        orders = [order(n) for n in range(start, min(start + TOGETHER, numbers.stop))]
        # The order's id is the command's too: placing one again after a crash has no effect.
        runtime.tell_many(orders, command_id=lambda command: command.order_id)
        yield start + len(orders)


def show_progress(what: str, done: int, of: int) -> None:
    filled = 40 * done // of
    end = "" if sys.stderr.isatty() and done < of else "\n"
    begin = "\r" if sys.stderr.isatty() else ""
    if sys.stderr.isatty() or done == of or done % 1_000 == 0:
        bar = "█" * filled + "·" * (40 - filled)
        print(f"{begin}{what:<28} {bar} {done:>6,}", end=end, file=sys.stderr, flush=True)


def work(store: str, orders: int) -> None:
    """The worker: place orders and report each acknowledgement, until killed."""
    with Runtime(store, shop) as runtime:
        for done in place(runtime, range(orders)):
            print(done, flush=True)
        runtime.settle()


def run_and_kill_worker(store: Path, orders: int) -> int:
    """Start a worker, kill it part of the way; returns how many orders it acknowledged."""
    command = [sys.executable, "-m", __spec__.name, "--worker", "--store", str(store)]
    with subprocess.Popen(
        [*command, "--orders", str(orders)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        done = 0
        while done < orders * 2 // 5:
            line = worker.stdout.readline()
            if not line:
                raise SystemExit("the worker ended by itself; see its error above")
            done = int(line)
            show_progress("a worker places orders", done, orders)
        worker.kill()
    print(f"\nworker {worker.pid} was killed (SIGKILL) after {done:,} orders", file=sys.stderr)
    return done


def print_outcomes(runtime: Runtime, orders: int, placed: int, seconds: float, size: int) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(orders):
        process = runtime.get(OrderFulfilment, order(number).order_id)
        if process is None:
            outcomes["refused at once (empty order)"] += 1
        elif process.state["status"] == "cancelled":
            reason = process.state["reason"].replace(f"sku-{number % 40}", "it")
            outcomes[f"cancelled: {reason}"] += 1
        else:
            outcomes[process.state["status"]] += 1
    print(f"\n{'outcome':<42}{'orders':>8}")
    for outcome, count in outcomes.most_common():
        print(f"{outcome:<42}{count:>8,}")
    print(f"{'in all':<42}{outcomes.total():>8,}\n")
    print(f"after the restart  {placed / seconds:>10,.0f} orders/s ({placed:,} in {seconds:.1f} s)")
    print(f"store on disk      {size / 1e6:>10,.1f} MB")
    print(f"events             {runtime.stats()['events']:>10,}")


def print_history(runtime: Runtime, order_id: str) -> None:
    """Each event, the transition it caused, the commands that followed."""
    events = {event.event_id: event for event in runtime.events()}
    print(f"\nthe whole history of {order_id}")
    for step in runtime.history(OrderFulfilment, order_id):
        cause = events[step.cause]
        print(f"\n  event       {cause.position:>6}  {cause.event}")
        print(f"  transition  {step.version:>6}  {step.handler} -> {step.state['status']}")
        for command in step.commands:
            print(f"  command             {command}")
    print()


def run(store: Path, orders: int) -> None:
    done = run_and_kill_worker(store, orders)
    began = time.perf_counter()
    with Runtime(store, shop) as runtime:
        for count in place(runtime, range(done, orders)):
            show_progress("reopened, placing the rest", count, orders)
        runtime.settle()
        seconds = time.perf_counter() - began
        size = (store / "data.mdb").stat().st_blocks * 512
        print_outcomes(runtime, orders, orders - done, seconds, size)
        # Paid, and then turned down by the carrier: everything is undone.
        print_history(runtime, "order-00026")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m domain_examples.demo", description=__doc__)
    parser.add_argument("--orders", type=int, default=5_000, help="how many orders to place")
    parser.add_argument("--store", help="folder for the store; a temporary one by default")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.orders < 100:
        parser.error("--orders: give at least 100, so that there is something to interrupt")
    if options.worker:
        work(options.store, options.orders)
    elif options.store:
        run(Path(options.store), options.orders)
    else:
        with tempfile.TemporaryDirectory(prefix="procession-demo-") as folder:
            run(Path(folder), options.orders)


if __name__ == "__main__":
    main()
