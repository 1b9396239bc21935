"""Having a service rebuild or refresh all instances of a class, and being told how far it is."""

from __future__ import annotations

import queue
import threading
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from ..engine.rebuilding import RebuildProgress
from ..errors import UnknownMessage
from ..queries.views import Counts
from ..store import ProcessionError
from ..store.interrupts import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.projection_rebuild import ProjectionProgress
    from .face import Face
    from .plain import Plain

__all__ = ["rebuild", "rebuild_tables", "refresh_all"]

P = TypeVar("P")


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

    def run(told: Callable[[RebuildProgress], None]) -> RebuildProgress:
        return runtime.rebuild(cls, by=by, on_progress=told)

    return _progress(run, partial(_shown, instances=_instances(face, process)))


def rebuild_tables(face: Face, projection: str, by: str) -> Iterator[Plain]:
    """Make the tables of a projection anew, beside those that are read, and swap them in.

    When the caller lets go of the iterator it stops, and the next call goes on there.

    Args:
        face: that acts
        projection: its name
        by: who asks

    Returns:
        how far it is, whenever the caller asks; the last one has `finished` true

    Raises:
        CannotAct: nothing runs
        UnknownMessage: its class is not here
        NotProjected: an event could not be written; the tables that are read are as before

    """
    runtime = face.needs_service("rebuild")
    name = face.known_projection(projection)
    cls = face.projections().get(name)
    if cls is None:
        raise UnknownMessage(f"the class of {name!r} is in no domain here")

    def run(told: Callable[[ProjectionProgress], None]) -> ProjectionProgress:
        return runtime.rebuild(cls, by=by, on_progress=told)

    return _progress(run, _tables)


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

    return _progress(run, partial(_shown, instances=_instances(face, process)))


def _instances(face: Face, process: str) -> int:
    counts = face.runtime.counts().get(face.known(process), Counts())
    return counts.running + counts.suspended + counts.complete


def _progress(
    run: Callable[[Callable[[P], None]], P], shown: Callable[[P], Plain]
) -> Iterator[Plain]:
    news: queue.SimpleQueue[Plain | BaseException] = queue.SimpleQueue()
    has_left = threading.Event()

    def told(progress: P) -> None:
        if has_left.is_set():
            raise _Left
        news.put({**shown(progress), "finished": False})

    def work() -> None:
        try:
            news.put({**shown(run(told)), "finished": True})
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


def _shown(progress: RebuildProgress, instances: int) -> Plain:
    return {
        "rebuilt": progress.rebuilt,
        "passed_over": progress.passed_over,
        "not_rebuilt": progress.not_rebuilt,
        "of": instances,
        "newest": progress.newest,
    }


def _tables(progress: ProjectionProgress) -> Plain:
    return {
        "projected": progress.projected,
        "position": progress.position,
        "end": progress.end,
        "partition": progress.partition,
    }
