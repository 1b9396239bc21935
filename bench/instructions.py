"""Instructions: what the processor does for one order, however busy the machine is.

    python -m bench.instructions --orders 1000

Valgrind counts the instructions of two runs of different sizes, each in a process of its own; their
difference, divided by the difference of the sizes, is what one order costs: start-up and closing
are in both and fall out. The same is done for the bare loop. It is fair because both do the same
orders with one thread and without fsync, and repeatable to within a percent: hashes have a fixed
seed, and what else the machine does is not counted. The caller hands over all orders at once: with
pieces, how large the commits become depends on how the caller's thread and the runtime's take
turns, and with it the figure, by some percent. Under valgrind the machine is fifty times slower,
and its clock is not: the time after which a commit closes for the sake of a caller who waits would
be over after a handful of steps, and each order would pay for many times the commits; and actors
would be looked through for idle ones every few hundred orders. So the clock by which commits close
stands still, and actors are idle for longer than it takes. Without valgrind there is no figure, and
the program says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

from procession import Runtime

from .measure import Figure, present, program, run
from .three_step_order import measure_ceiling, order
from .workload import shop

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
CLOCKS = ("procession.engine.dispatcher.seconds", "procession.engine.journal.seconds")
"""By which a commit closes at the latest."""

COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")


def measure(folder: Path, orders: int) -> list[Figure]:
    ours, bare = (_an_order(which, folder, orders) for which in ("ours", "bare"))
    return [
        Figure(
            row=16,
            what="instructions for an order",
            value=round(ours),
            unit="instructions",
            reach=430_000,
            better="at most",
            details={
                "bare_loop": round(bare),
                "against_the_bare_loop": round(ours / bare, 3),
                "orders": orders,
            },
        )
    ]


def _an_order(which: str, folder: Path, orders: int) -> float:
    few = max(1, orders // 4)
    many = _instructions(which, folder, orders)
    return (many - _instructions(which, folder, few)) / (orders - few)


def _instructions(which: str, folder: Path, orders: int) -> int:
    """Of a whole process that carries out so many orders."""
    # What cachegrind counted in each function is not wanted.
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "bench.instructions", "--run", which, "--orders", str(orders)]
    command += ["--folder", str(folder)]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    found = COUNTED.search(done.stderr)
    if found is None:
        raise RuntimeError(f"valgrind did not say how many instructions it counted: {done.stderr}")
    return int(found[1].replace(",", ""))


def _carry_out(which: str, parent: str | None, orders: int) -> None:
    """What is counted."""
    with TemporaryDirectory(prefix="procession-bench-", dir=parent) as folder:
        if which == "bare":
            measure_ceiling(Path(folder) / "bare", orders)
            return
        with ExitStack() as patches:
            for clock in CLOCKS:
                patches.enter_context(patch(clock, lambda: 0.0))
            with Runtime(
                folder, shop, durability="none", workers=1, idle_timeout=timedelta(hours=1)
            ) as runtime:
                runtime.tell_many([order(number) for number in range(orders)])
                runtime.settle()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = program("instructions", __doc__)
    parser.add_argument("--orders", type=int, default=1_000)
    parser.add_argument("--run", choices=("ours", "bare"), help="carry out orders, to be counted")
    options = parser.parse_args(arguments)
    if options.run is not None:
        _carry_out(options.run, options.folder, options.orders)
    elif shutil.which("valgrind") is None:
        present([], as_json=options.json, skipped="valgrind is not here; install it")
    else:
        run(options, lambda folder: measure(folder, options.orders))


if __name__ == "__main__":
    main()
