"""Having a service rebuild all instances of a class, and being told how far it is."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from ..store import ProcessionError
from ..store.interrupts import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.rebuilding import RebuildProgress
    from .face import Face
    from .plain import Plain

__all__ = ["rebuild"]


class _Left(ProcessionError):
    """The caller has gone; what is rebuilt by now stays so."""


def rebuild(face: Face, process: str) -> Iterator[Plain]:
    """Rebuild all instances of a process manager from the whole log.

    When the caller lets go of the iterator the rebuilding stops, and the next call goes on there.

    Args:
        face: that acts
        process: the process manager's name

    Returns:
        how far it is, whenever the caller asks; the last one has `finished` true

    Raises:
        CannotAct: nothing runs
        NotRefreshed: some could not be rebuilt; all others were

    """
    runtime = face.needs_service("rebuild")
    cls = face.class_of(face.known(process))
    return _progress(lambda told: runtime.rebuild(cls, on_progress=told))


def _progress(
    run: Callable[[Callable[[RebuildProgress], None]], RebuildProgress],
) -> Iterator[Plain]:
    news: queue.SimpleQueue[Plain | BaseException] = queue.SimpleQueue()
    has_left = threading.Event()

    def told(progress: RebuildProgress) -> None:
        if has_left.is_set():
            raise _Left
        news.put(_shown(progress, is_finished=False))

    def work() -> None:
        try:
            news.put(_shown(run(told), is_finished=True))
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller is
            news.put(error)

    start_thread(threading.Thread(target=work, name="procession-rebuild", daemon=True))
    try:
        while True:
            newest = news.get()
            while not news.empty():
                newest = news.get()
            if isinstance(newest, BaseException):
                raise newest
            yield newest
            if newest["finished"]:
                return
    finally:
        has_left.set()


def _shown(progress: RebuildProgress, *, is_finished: bool) -> Plain:
    return {
        "rebuilt": progress.rebuilt,
        "passed_over": progress.passed_over,
        "not_rebuilt": progress.not_rebuilt,
        "newest": progress.newest,
        "finished": is_finished,
    }
