"""All figures: each program in a process of its own, one table, and the results as JSON.

    python -m bench                  # everything, at full size: about ten minutes
    python -m bench --quick          # everything, small: shows that it works, measures little
    python -m bench --only 3,4       # some figures

A program runs alone and under a time limit. What it printed goes to `<row>.json` in the results
folder, everything together with the machine to `results.json`. Then `bench.peers` runs the same
orders in other libraries, if it is there. The exit status is 1 if a program failed; a figure that
does not reach is marked in the table and fails nothing, since a busy machine is reason enough.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .machine import describe
from .measure import Figure
from .programs import PROGRAMS, Program
from .subprocesses import Failed, output_of
from .table import lines_of

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
PEERS = Program(0, "peers", (), ("--orders-scale", "0.02"), 1_200)
STEPS = Program(0, "step_by_step", ("--orders", "20000"), ("--orders", "500"), 120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says.

    Returns:
        its exit status: 1 if a program failed

    """
    options = _parser().parse_args(arguments)
    options.results.mkdir(parents=True, exist_ok=True)
    folder = options.folder or tempfile.gettempdir()
    results: dict[str, Any] = {
        "rows": {},
        "peers": [],
        "ours": {},
        "microseconds": {},
    }
    file = options.results / "results.json"
    if options.only and file.exists():
        # Some figures anew, beside what is there.
        results = json.loads(file.read_text(encoding="utf-8"))
    results |= {"machine": describe(Path(folder)), "quick": options.quick, "failed": {}}
    chosen = [one for one in PROGRAMS if not options.only or one.row in options.only]
    for program in chosen:
        found = _run(program, results, quick=options.quick, folder=folder)
        if found is not None:
            found["commit"] = results["machine"]["commit"]
            results["rows"][str(program.row)] = found
            _write(options.results / f"{program.row}.json", found)
    results["rows"] = dict(sorted(results["rows"].items(), key=lambda row: int(row[0])))
    if not (options.only or options.no_peers):
        found = _run(PEERS, results, quick=options.quick, folder=folder)
        if found is not None:
            results["peers"], results["ours"] = found["rows"], found["ours"]
            results["ours_on_postgresql"] = found["ours_on_postgresql"]
            _write(options.results / "peers.json", found)
    if not options.only:
        found = _run(STEPS, results, quick=options.quick, folder=folder)
        if found is not None:
            results["microseconds"] = found["microseconds"]
            _write(options.results / "step_by_step.json", found)
    _write(file, results)
    for line in lines_of(results):
        print(line)
    return 1 if results["failed"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="everything small")
    parser.add_argument("--only", type=_numbers, default=(), help="rows, as 3,4")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--folder", help="where to put the stores; a temporary one by default")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where to write")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(one) for one in text.split(","))
    unknown = set(numbers) - {one.row for one in PROGRAMS}
    if unknown:
        raise argparse.ArgumentTypeError(f"no figure has the number {min(unknown)}")
    return numbers


def _run(
    program: Program, results: dict[str, Any], *, quick: bool, folder: str
) -> dict[str, Any] | None:
    """What one program printed, cut down to its own row; None if there is nothing."""
    sizes = program.quick if quick else program.full
    if program is PEERS:
        command = ["bench.peers", "--json", *sizes]
    else:
        command = [f"bench.{program.module}", "--json", "--folder", folder, *sizes]
    began = time.monotonic()
    print(f"{program.module} ...", end=" ", file=sys.stderr, flush=True)
    try:
        found: dict[str, Any] = json.loads(output_of(command, program.limit))
    except (Failed, ValueError) as error:
        print(f"failed: {error}", file=sys.stderr)
        results["failed"][program.module] = str(error)
        return None
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    if "figures" in found:
        found["figures"] = [
            one for one in found["figures"] if Figure.from_json(one).row == program.row
        ]
    return found


def _write(file: Path, found: dict[str, Any]) -> None:
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
