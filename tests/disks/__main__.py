"""Has each write of a small program fail, one after the other, and checks what is left on disk.

    python -m tests.disks

Ends with 1 if anything that was acknowledged is lost or took effect twice, if a store is unsound,
if a call raised what is no error of Procession's, or if a worker hung or died. Needs a C compiler.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.disks.campaign import KINDS, Campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.disks", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="of so many writes one fails")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this one")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()

    def tell(runs: int) -> None:
        if runs % 50 == 0:
            print(f"{runs} runs", file=sys.stderr, flush=True)

    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="procession-disks-") as folder:
        tally = Campaign(Path(folder), arguments.kind or KINDS, arguments.every, tell).run()
    result = {
        "runs": tally.runs.total(),
        "acknowledged": tally.acknowledged,
        "refused": tally.refused.total(),
        "lost": tally.lost,
        "doubled": tally.doubled,
        "unsound": tally.unsound,
        "raw errors": tally.raw,
        "hung": tally.hung,
        "died": tally.died,
        "seconds": round(time.perf_counter() - began, 1),
    }
    by_kind = {"runs by kind": dict(tally.runs), "refused by error": dict(tally.refused)}
    if arguments.json:
        print(json.dumps(result | by_kind | {"wrong": tally.wrong}))
    else:
        for name, value in result.items():
            print(f"{name:<34}{value:>10,}")
        for name, counts in by_kind.items():
            print(name)
            for one, value in counts.items():
                print(f"  {one:<32}{value:>10,}")
        for wrong in tally.wrong:
            print(wrong)
    return 0 if tally.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
