"""Kills workers at random moments and at every named point, and checks what they leave on disk.

    python -m tests.kill --kills 1000

Ends with 1 if anything that was acknowledged is lost, or anything took effect twice.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.kill.campaign import RANDOM, Campaign
from tests.kill.points import POINTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operators", type=int, default=0, help="deciding at once in each worker")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()

    def tell(kills: int) -> None:
        if kills % 50 == 0:
            print(f"{kills} kills", file=sys.stderr, flush=True)

    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="procession-kill-") as folder:
        tally = Campaign(
            Path(folder),
            arguments.kills,
            arguments.seed,
            tell,
            operators=arguments.operators,
        ).run()
    seconds = time.perf_counter() - began
    by_point = {point: tally.kills[point] for point in (RANDOM, *POINTS)}
    result = {
        "kills": tally.kills.total(),
        "acknowledged": tally.acknowledged,
        "lost": tally.lost,
        "doubled": tally.doubled,
        "decisions": tally.decided,
        "effects missing": tally.effects_missing,
        "otherwise wrong": len(tally.wrong),
        "ended before the point": tally.not_reached.total(),
        "seconds": round(seconds, 1),
        "seed": arguments.seed,
    }
    if arguments.json:
        print(json.dumps(result | {"by point": by_point, "wrong": tally.wrong}))
    else:
        for name, value in [*result.items(), *((f"  {one}", n) for one, n in by_point.items())]:
            print(f"{name:<34}{value:>10,}")
        for wrong in tally.wrong:
            print(wrong)
    return 0 if tally.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
