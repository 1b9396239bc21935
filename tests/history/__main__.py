"""A long log through import and export.

    python -m tests.history --events 1000000

It prints what each takes of Python's memory at the highest, and seconds (Python counts its memory
meanwhile, which makes it slower several times).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.history.large import brought, written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="*", default=["ocel-json", "ocel-sqlite", "csv"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken = brought(folder, options.events)
        print(f"import: {taken.memory / 1e6:.0f} MB, {taken.seconds:.0f} s", flush=True)
        for kind in options.kinds:
            taken = written(folder, kind)
            print(f"{kind}: {taken.memory / 1e6:.0f} MB, {taken.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
