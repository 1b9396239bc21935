"""Having a service rebuild or refresh all instances of a class, and being told how far it is."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Literal

from ..engine.rebuilding import RebuildProgress
from ..queries.views import Counts
from ..store import ProcessionError
from ..store.interrupts import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .face import Face
    from .plain import Plain

__all__ = ["rebuild", "refresh_all"]


class _Left(ProcessionError):
    """The caller has gone; what is rebuilt by now stays so."""


def rebuild(face: Face, process: str, by: str) -> Iterator[Plain]:
    """Rebuild all instances of a process manager from the whole log.

    When the caller lets go of the iterator the rebuilding stops, and the next call goes on there.

    Args:
        face: that acts
        process: the process manager's name
        by: who asks

    Returns:
        how far it is, whenever the caller asks; the last one has `finished` true

    Raises:
        CannotAct: nothing runs
        NotRefreshed: some could not be rebuilt; all others were

    """
    runtime = face.needs_service("rebuild")
    cls = face.class_of(face.known(process))
    return _progress(
        lambda told: runtime.rebuild(cls, by=by, on_progress=told), _instances(face, process)
    )


def refresh_all(
    face: Face, process: str, by: str, *, since: Literal["origin"] | None = None
) -> Iterator[Plain]:
    """Rebuild all instances of a process manager from the events that made them.

    When the caller lets go of the iterator it stops.

    Args:
        face: that acts
        process: the process manager's name
        by: who asks
        since: with ``"origin"``, from the whole log

    Returns:
        as `rebuild`

    Raises:
        CannotAct: nothing runs
        NotRefreshed: some could not be rebuilt; all others were

    """
    runtime = face.needs_service("refresh")
    cls = face.class_of(face.known(process))

    def run(told: Callable[[RebuildProgress], None]) -> RebuildProgress:
        newest = RebuildProgress()

        def remembered(progress: RebuildProgress) -> None:
            nonlocal newest
            newest = progress
            told(progress)

        runtime.refresh(cls, since=since, by=by, on_progress=remembered)
        return newest

    return _progress(run, _instances(face, process))


def _instances(face: Face, process: str) -> int:
    counts = face.runtime.counts().get(face.known(process), Counts())
    return counts.running + counts.suspended + counts.complete


def _progress(
    run: Callable[[Callable[[RebuildProgress], None]], RebuildProgress], instances: int
) -> Iterator[Plain]:
    news: queue.SimpleQueue[Plain | BaseException] = queue.SimpleQueue()
    has_left = threading.Event()

    def told(progress: RebuildProgress) -> None:
        if has_left.is_set():
            raise _Left
        news.put(_shown(progress, instances, is_finished=False))

    def work() -> None:
        try:
            news.put(_shown(run(told), instances, is_finished=True))
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


def _shown(progress: RebuildProgress, instances: int, *, is_finished: bool) -> Plain:
    return {
        "rebuilt": progress.rebuilt,
        "passed_over": progress.passed_over,
        "not_rebuilt": progress.not_rebuilt,
        "of": instances,
        "newest": progress.newest,
        "finished": is_finished,
    }
