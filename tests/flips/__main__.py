"""One byte of a store is changed, again and again: who notices, and is any answer wrong?

    python -m tests.flips --flips 500

Ends with 1 if an answer was another one than before, with no error and no finding of `verify`.
"""

import argparse
import sys
import time

from tests.flips.campaign import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.flips", description=__doc__)
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    def tell(flips: int) -> None:
        if flips % 50 == 0:
            print(f"{flips} flips", file=sys.stderr, flush=True)

    began = time.perf_counter()
    tally = run(arguments.flips, arguments.seed, tell)
    columns = {
        "noticed by reading": tally.noticed_by_reading,
        "by verify alone": tally.noticed_by_verify_alone,
        "(other answers)": tally.told_by_verify_alone,
        "ended the process": tally.ended_the_process,
        "without effect": tally.without_effect,
    }
    print(f"{'kind':<20}{'flips':>8}", *(f"{name:>20}" for name in columns))
    for kind, count in sorted(tally.flips.items()):
        print(f"{kind:<20}{count:>8}", *(f"{one.get(kind, 0):>20}" for one in columns.values()))
    print(f"{'silent':<20}{len(tally.silent):>8}")
    print(f"{'seconds':<20}{time.perf_counter() - began:>8.1f}")
    for one in tally.silent:
        print(one)
    return 1 if tally.silent else 0


if __name__ == "__main__":
    sys.exit(main())
