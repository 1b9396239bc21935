"""A real log through import, and what it comes to beside what a plain loop over the file finds.

    python -m tests.history.loans --log ../shared/eventlogs/bpi2012_loan.csv.gz

It imports the log (BPI Challenge 2012, van Dongen, doi:10.4121/uuid:3926db30-f712-4394-aebc-
75976070e91f) into a new store, in a folder or with `--store` elsewhere, and compares how the
applications ended with the loop, and with the `expected.json` that lies beside the log. The exit
status is 1 if they differ.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from domain_examples.loan_application.process import bank
from domain_examples.loan_application.report import figures
from procession import Runtime
from procession.importing import import_file

__all__ = ["LOAN_LOG", "LOAN_MAP", "imported", "looped"]

LOAN_LOG = Path(__file__).parents[3] / "shared" / "eventlogs" / "bpi2012_loan.csv.gz"
LOAN_MAP = Path("domain_examples/loan_application/mapping.toml")
ENDS = {"A_DECLINED": "declined", "A_CANCELLED": "cancelled", "A_ACTIVATED": "approved"}


def looped(log: Path) -> dict[str, Any]:
    """How the applications of a log end, by a loop that knows nothing of this library."""
    with (gzip.open if log.suffix == ".gz" else open)(log, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    outcome: dict[str, str] = {}
    transitions: Counter[str] = Counter()
    early = late = offers = 0
    for row in rows:
        case, activity = row["case"], row["activity"]
        if activity == "A_SUBMITTED":
            outcome.setdefault(case, "open")
        if case not in outcome:
            early += 1
        elif outcome[case] != "open":
            late += 1
        else:
            transitions[case] += 1
            offers += activity == "O_CREATED"
            outcome[case] = ENDS.get(activity, "open")
    return {
        "events": len(rows),
        "cases": len({row["case"] for row in rows}),
        "outcome": {
            one: sum(found == one for found in outcome.values())
            for one in ("approved", "declined", "cancelled", "open")
        },
        "transitions": transitions.total(),
        "late_events_skipped": late,
        "early_events": early,
        "offers_created_while_open": offers,
        "max_transitions_of_one_case": max(transitions.values()),
    }


def imported(log: Path, store: str | Path) -> dict[str, Any]:
    """The same of a store that the log was imported into."""
    import_file(log, store, bank, mapping=LOAN_MAP)
    with Runtime(store, bank, read_only=True) as runtime:
        return figures(runtime)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, default=LOAN_LOG)
    parser.add_argument("--store", help="a new place; a folder that goes afterwards by default")
    options = parser.parse_args()
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = imported(options.log, options.store or Path(folder) / "store")
    taken = time.process_time() - begun
    wanted = {"loop": looped(options.log)}
    beside = options.log.with_name(options.log.name.replace(".csv.gz", ".expected.json"))
    if beside.exists():
        wanted[beside.name] = json.loads(beside.read_text())
    print(json.dumps(found, indent=1))
    unlike = [name for name, one in wanted.items() if one != found]
    print(f"{taken:.1f} s of the processor; as {', '.join(wanted)}: {not unlike}")
    return 1 if unlike else 0


if __name__ == "__main__":
    sys.exit(main())
