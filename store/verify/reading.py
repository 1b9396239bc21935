"""What a `ReaderProcess` does: the child's side of it."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError, TooManyReaders
from .scrubbing import scrub
from .verify import verify_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read"]


def read(request: dict[str, Any]) -> None:
    """Do what a parent asked for, and tell it what comes of it.

    Args:
        request: `task`, the store's `path`, and `options` for the task

    """
    # The parent is interrupted as well, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        TASKS[request["task"]](request["path"], **request["options"])
    except BrokenPipeError:
        # The parent has ended; what is still to be flushed has no reader either.
        os._exit(0)
    except StoreError as error:
        told: dict[str, Any] = {"error": type(error).__name__, "text": str(error)}
        if isinstance(error, TooManyReaders):
            told["processes"] = dict(error.processes)
        _say(told)


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _verify(
    path: str,
    *,
    limit: int,
    learnt: list[tuple[str, int, str]],
    asks_now: bool,
    tells: bool = False,
) -> None:
    found = verify_path(
        path,
        limit=limit,
        now=_now_of_parent if asks_now else None,
        learnt=[(process, version, field) for process, version, field in learnt],
        began=lambda table: _say({"reading": table}),
        on_progress=(lambda rows, of: _say({"rows": rows, "of": of})) if tells else None,
    )
    _say({"findings": found.findings, "checked": found.checked})


def _verify_each(path: str, *, names: list[str]) -> None:
    """Say of each of some stores in a folder what is wrong with it first, once they are there."""
    _heard_from_parent()
    for name in names:
        _say({"findings": verify_path(Path(path) / name, limit=1).findings, "name": name})


def _now_of_parent() -> int:
    _say({"asks": "now"})
    return int(_heard_from_parent())


def _heard_from_parent() -> str:
    line = sys.stdin.readline()
    if not line:
        raise BrokenPipeError
    return line


def _scrub(path: str, *, rows_a_second: int) -> None:
    scrub(
        path,
        rows_a_second,
        pause=_pause,
        found=lambda finding: _say({"finding": finding}),
        passed=lambda rows: _say({"passed": rows}),
    )


def _pause(seconds: float) -> bool:
    # The parent says nothing more, so what can be read is that it has ended.
    ended, _, _ = select.select([sys.stdin], [], [], seconds)
    return not ended


TASKS: dict[str, Callable[..., None]] = {
    "scrub": _scrub,
    "verify": _verify,
    "verify_each": _verify_each,
}
