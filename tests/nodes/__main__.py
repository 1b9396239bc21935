"""Kills and hinders nodes that share a database, and checks what they leave there.

    python -m tests.nodes --times 300

Ends with 1 if anything that was acknowledged is lost, or anything took effect twice.
"""

import argparse
import sys
import time

from tests.nodes.campaign import KINDS, Campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nodes", description=__doc__)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    options = parser.parse_args()

    def tell(times: int) -> None:
        print(f"{times}", file=sys.stderr, flush=True)

    began = time.perf_counter()
    kinds = tuple(options.kinds)
    campaign = Campaign(options.times, options.seed, options.nodes, kinds, tell).run()
    for kind, count in campaign.kinds.items():
        print(f"{kind:<20}{count:>8}")
    print(f"{'acknowledged':<20}{campaign.acknowledged:>8}")
    for error, count in campaign.errors.items():
        print(f"{'callers saw ' + error:<40}{count:>8}")
    print(f"{'seconds':<20}{time.perf_counter() - began:>8.0f}")
    for wrong in campaign.wrong:
        print(wrong)
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
