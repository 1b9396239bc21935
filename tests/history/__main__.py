"""A long log through import and export.

    python -m tests.history --events 1000000

Each is done by a process of its own. It prints what that has in memory at the highest, its own and
with pages of files, and seconds. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from procession.exporting import FORMATS
from tests.history.large import bring, taken, write

if TYPE_CHECKING:
    from tests.history.large import Taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="*", default=list(FORMATS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tell("import", taken(bring, folder, options.events))
        for kind in options.kinds:
            tell(kind, taken(write, folder, kind))


def tell(what: str, found: Taken) -> None:
    own, every, seconds = found
    print(
        f"{what}: {own / 1e6:.0f} MB, {every / 1e6:.0f} MB with files, {seconds:.0f} s", flush=True
    )


if __name__ == "__main__":
    main()
