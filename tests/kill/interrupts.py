"""Interrupts every public call at random moments, and checks what is left.

    python -m tests.kill.interrupts --trials 200

Ends with 1 if anything hangs, or anything is wrong with the runtime or its store afterwards.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.kill.interrupted import CALLS, OPENING

HERE = Path(__file__).parent


WAIT = 1_800
"""Seconds that a process has for all its trials; one that hangs ends by itself before."""

NAMES = (*CALLS, OPENING)


def interrupt(call: str, modes: str, trials: int = 0, seed: int = 1) -> dict[str, Any]:
    """Have one call interrupted in a process of its own; see `interrupted.py`."""
    with tempfile.TemporaryDirectory(prefix="procession-interrupts-") as folder:
        child = subprocess.run(
            [
                sys.executable,
                str(HERE / "interrupted.py"),
                folder,
                call,
                modes,
                str(trials),
                str(seed),
            ],
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
    if not child.stdout:
        return {"interrupts": 0, "handlers": 0, "wrong": [f"it hung: {child.stderr[-3_000:]}"]}
    tally: dict[str, Any] = json.loads(child.stdout)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill.interrupts", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="interrupts of each call")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    interrupts, wrong = 0, 0
    for call in NAMES:
        tally = interrupt(call, "signals", arguments.trials, arguments.seed)
        interrupts += tally["interrupts"]
        wrong += bool(tally["wrong"])
        print(f"{call:<22}{tally['interrupts']:>8,}  {tally['wrong'] or 'well'}", flush=True)
    seconds = time.perf_counter() - began
    print(f"{len(NAMES)} calls, {interrupts:,} interrupts, {wrong} calls wrong, {seconds:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
