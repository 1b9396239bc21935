"""Kills workers at random moments and at every named point, and checks what they leave on disk.

    python -m tests.kill --kills 1000
    python -m tests.kill --kills 100 --postgresql

Ends with 1 if anything that was acknowledged is lost, or anything took effect twice.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.kill.campaign import FAULTS, RANDOM, Campaign
from tests.kill.points import DATABASE_POINTS, POINTS
from tests.postgresql import Server, new_server, programs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operators", type=int, default=0, help="deciding at once in each worker")
    parser.add_argument(
        "--postgresql",
        action="store_true",
        help="stores in the database of a server that is started here, and is harmed too",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    if arguments.postgresql and programs() is None:
        parser.error("there is no PostgreSQL here: no initdb and postgres on PATH")

    def tell(kills: int) -> None:
        if kills % 50 == 0:
            print(f"{kills} kills", file=sys.stderr, flush=True)

    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="procession-kill-"))
        server: Server | None = None
        if arguments.postgresql:
            server = stack.enter_context(new_server())
        tally = Campaign(
            Path(folder),
            arguments.kills,
            arguments.seed,
            tell,
            operators=arguments.operators,
            server=server,
        ).run()
    seconds = time.perf_counter() - began
    points = POINTS if server is None else (*FAULTS, *DATABASE_POINTS)
    by_point = {point: tally.kills[point] for point in (RANDOM, *points)}
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
