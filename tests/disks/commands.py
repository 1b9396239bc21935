"""Runs each command of `procession` on a disk that refuses one write, one after the other.

    python -m tests.disks.commands FOLDER EVERY

It prints, as JSON, what each run ended with and said, and whether the store was whole afterwards.
"""

import contextlib
import errno
import io
import json
import shutil
import sys
from pathlib import Path

from procession.cli import main
from procession.store import Append, EventRecord, LmdbStore, Step, upgrade
from procession.store.verify.verify import verify_path
from tests.disks.failing import FailingDisk
from tests.store.format_1 import ROWS, write

COMMANDS = {
    "backup": ["backup", "store", "target"],
    "compact": ["compact", "store"],
    "compact to": ["compact", "store", "target"],
    "upgrade": ["upgrade", "store"],
}


def run(folder: Path, name: str, first: int, number: int) -> dict[str, object] | None:
    """One run; None if the command has no so many writes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    store = folder / "store"
    if name == "upgrade":
        write(store, ROWS)
    else:
        with LmdbStore(store, durability="none") as opened:
            event = EventRecord("T.E.v1", "s-1", 0, 1, b"\x80" * 50_000, "", "")
            opened.commit([Step(append=Append("s-1", None, [event]))])
    command, *paths = COMMANDS[name]
    disk, output, error = FailingDisk(), io.StringIO(), io.StringIO()
    disk.arm(str(folder), first, 1, number)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
            status = main([command, *(str(folder / one) for one in paths)])
    finally:
        failed = disk.disarm()
    if not failed:
        return None
    left = sorted(
        one.name for one in store.iterdir() if one.suffix in {".partial", ".times", ".ids"}
    )
    if name == "upgrade":
        upgrade(store)
    return {
        "run": f"{name}, write {first}, {errno.errorcode.get(number, 'half of it')}",
        "status": status,
        "error": error.getvalue(),
        "left": left + (["target"] if status and (folder / "target").exists() else []),
        "findings": [str(one) for one in verify_path(store).findings],
    }


def every(folder: Path, step: int) -> list[dict[str, object]]:
    found = []
    for number in (errno.EIO, errno.ENOSPC, 0):
        for name in COMMANDS:
            first = 1
            while (one := run(folder, name, first, number)) is not None:
                found.append(one)
                # The first writes are of opening, and each is of another kind.
                first += 1 if first < 4 else step
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(every(Path(sys.argv[1]), int(sys.argv[2]))))
