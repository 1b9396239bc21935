"""Works for minutes with everything going on at once, and says whether anything grew.

    python -m tests.soak --minutes 10

Memory, open files, threads and dead pages of the file are to be in the end what they were after
the first tenth of the time. The log grows, and is counted apart; with `--retention`, the pages in
use are to be as many in the end as well. Ends with 1 if anything grew.
"""

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from tests.soak.measuring import BOUNDS
from tests.soak.soak import COLUMNS, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--pause", type=float, default=0.1, help="seconds between a customer's rounds of 42 orders"
    )
    parser.add_argument("--folder", type=Path, help="where the store is to be; else a temporary")
    parser.add_argument(
        "--retention",
        type=float,
        help="seconds that what is complete, and ids, are kept; for ever when it is not given",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    # What is parked is part of it.
    logging.getLogger("procession").setLevel(logging.ERROR)

    def tell(row: dict[str, float]) -> None:
        if not arguments.json:
            print(" ".join(f"{_text(row[name]):>{_width(name)}}" for name in COLUMNS), flush=True)

    if not arguments.json:
        for bound in BOUNDS:
            print(f"{bound.what} may be {bound.factor:g} times as much and {bound.more:g} more")
        print(" ".join(f"{title:>{_width(name)}}" for name, title in COLUMNS.items()), flush=True)
    with tempfile.TemporaryDirectory(prefix="procession-soak-", dir=arguments.folder) as folder:
        result = soak(
            Path(folder),
            arguments.minutes,
            arguments.pause,
            tell,
            retention=arguments.retention,
        )
    if arguments.json:
        print(json.dumps({"rows": result.rows, "wrong": result.wrong}))
    else:
        all_well = "nothing grew" if arguments.retention else "nothing grew but the log"
        print("\n".join(result.wrong) or all_well)
    return 1 if result.wrong else 0


def _width(name: str) -> int:
    return max(9, len(COLUMNS[name]))


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


if __name__ == "__main__":
    sys.exit(main())
