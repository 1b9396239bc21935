"""Where a thread is that does not come back: in whose handler, and at which line."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from ..authoring.aggregate import Aggregate
from ..authoring.process_manager import ProcessManager

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["whereabouts"]


def whereabouts(thread: threading.Thread) -> str:
    """What a thread is at, in words; nothing is kept for it while all is well.

    Args:
        thread: one that gives actors their turns, or runs after-effects

    """
    newest = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - what debuggers use
    if newest is None:
        return f"{thread.name}, which has ended meanwhile"
    place = traceback.extract_stack(newest, limit=1)[0]
    at = f"{place.filename}:{place.lineno}"
    for frame in _oldest_first(newest):
        code = frame.f_code
        first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if isinstance(first, ProcessManager | Aggregate):
            return f"{type(first).__name__}.{code.co_name} of {first.id!r}, at {at}"
    return f"{thread.name}, at {at}"


def _oldest_first(newest: FrameType) -> Iterator[FrameType]:
    frames = []
    frame: FrameType | None = newest
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return reversed(frames)
