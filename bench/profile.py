"""Where the time of one order goes: a sampling profile of the workers.

    python -m bench.profile [--orders N] [--html FILE]

Needs the `dev` extra, which has pyinstrument.
"""

import argparse
import tempfile
from decimal import Decimal
from pathlib import Path

from pyinstrument import Profiler

from procession import Runtime
from procession.engine.dispatcher import Dispatcher

from .workload import PlaceOrder, shop


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--html", help="write a page that can be unfolded, instead of text")
    options = parser.parse_args()
    profiler = Profiler(interval=0.0005)
    work = Dispatcher._work  # noqa: SLF001 - a profiler looks at one thread, and this is the one

    def profiled(dispatcher: Dispatcher) -> None:
        with profiler:
            work(dispatcher)

    Dispatcher._work = profiled  # type: ignore[method-assign,assignment] # noqa: SLF001
    with tempfile.TemporaryDirectory() as folder, Runtime(folder, shop, workers=1) as runtime:
        runtime.tell_many(
            [PlaceOrder(f"o{n:07d}", "c1", Decimal(99)) for n in range(options.orders)]
        )
        runtime.settle()
    if options.html:
        Path(options.html).write_text(profiler.output_html(), encoding="utf-8")
    else:
        print(profiler.output_text(unicode=True, color=False, show_all=True))


if __name__ == "__main__":
    main()
