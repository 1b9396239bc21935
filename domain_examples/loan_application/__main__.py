"""The program: publish a log into a store, settle, and print how the applications ended."""

from __future__ import annotations

import argparse
import json
import sys
from time import monotonic
from typing import TYPE_CHECKING

from procession import ProcessionError, Runtime

from .log_file import BrokenLog, open_log
from .process import bank
from .progress import Progress
from .replay import publish, settle
from .report import figures

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: of the command line; the process's own when not given

    Returns:
        its exit status: 2 if the log or the store cannot be used

    """
    options = _parser().parse_args(arguments)
    progress = Progress()
    started = monotonic()
    try:
        # The log first: a wrong path leaves no store behind.
        with open_log(options.log) as activities, Runtime(options.store, bank) as runtime:
            count = publish(runtime, activities, progress, copies=2 if options.twice else 1)
            settle(runtime, progress)
            seconds = monotonic() - started
            progress.say(f"{count:,} events published and handled in {seconds:.1f} s")
            found = figures(runtime)
    except (BrokenLog, ProcessionError, OSError) as error:
        progress.say(str(error))
        return REFUSED
    except KeyboardInterrupt:
        progress.say("stopped; run it again on the same store to go on")
        return INTERRUPTED
    print(json.dumps(found, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m domain_examples.loan_application",
        description="Replay a log of loan applications and print how they ended, as JSON.",
        epilog="It may be killed at any moment; run it again on the same store to go on.",
    )
    parser.add_argument("log", help="a gzip CSV file, such as bpi2012_loan.csv.gz")
    parser.add_argument("--store", required=True, help="the folder to keep everything in")
    parser.add_argument(
        "--twice", action="store_true", help="publish every event twice; the figures are the same"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
