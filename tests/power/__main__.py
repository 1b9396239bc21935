"""Stores as power cuts leave them: what was not synced is there, missing, or torn by sectors.

    python -m tests.power --cuts 500

A worker's writes and syncs are recorded, and for each moment a file is put together that a power
cut could leave. Needs Linux and a C compiler. Ends with 1 if anything that was acknowledged by then
is lost, doubled, or cannot be read.
"""

import argparse
import dataclasses
import sys
import time

from tests.power.campaign import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    def tell(images: int) -> None:
        if images % 50 == 0:
            print(f"{images} images", file=sys.stderr, flush=True)

    began = time.perf_counter()
    tally = run(arguments.cuts, arguments.seed, tell)
    if tally is None:
        print("this needs Linux and a C compiler")
        return 2
    for name, value in dataclasses.asdict(tally).items():
        if name != "wrong":
            print(f"{name.replace('_', ' '):<34}{value:>10,}")
    print(f"{'seconds':<34}{time.perf_counter() - began:>10,.1f}")
    for wrong in tally.wrong:
        print(wrong)
    return 1 if tally.wrong or tally.lost or tally.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
