"""Reads a store beside its writer, opening it anew each time, and tells what it holds when asked.

python reader.py STORE
"""

import itertools
import json
import select
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from procession import Runtime
from tests.soak.measuring import held
from tests.soak.shop import Handling, soaked

FEW = 20
PAUSE = 0.05


def look(path: str | Path, number: int) -> None:
    """Open the store, look at some of everything, and close it."""
    with Runtime(path, soaked, read_only=True) as runtime:
        for view in itertools.islice(runtime.find(Handling, complete=bool(number % 2)), FEW):
            for _ in runtime.history(Handling, view.id):
                pass
        # Left in the middle, as people do.
        for event in itertools.islice(runtime.events(after=number * FEW), FEW):
            assert event.position
        for _ in itertools.islice(runtime.parked(), FEW):
            pass
        for _ in itertools.islice(runtime.timeouts(), FEW):
            pass


def main() -> None:
    for number in itertools.count():
        look(sys.argv[1], number)
        if select.select([sys.stdin], [], [], PAUSE)[0]:
            if not sys.stdin.readline():
                return
            sys.stdout.write(json.dumps(held()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
