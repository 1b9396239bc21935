"""What a person has a service do."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ..errors import InvalidMessage
from ..messages.typed import typed
from ..store import LastBackup, ProcessionError
from .aside import NEVER, selected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .face import Face
    from .plain import Plain

__all__ = ["amend", "cancel_timeout", "decide", "end", "move_timeout", "note_backup", "refresh"]


def decide(
    face: Face,
    verdict: Literal["retry", "skip"],
    by: str,
    *,
    ids: Sequence[int] = (),
    process: str | None = None,
    error: str | None = None,
    handler: str | None = None,
    place: str | None = None,
    until: int = NEVER,
) -> Iterator[Plain]:
    """Retry or skip what is parked, one after the other, and tell what came of each.

    Args:
        face: that acts
        verdict: what to do
        by: who asks
        ids: these, or all of a kind
        process: of this process manager
        error: of this type
        handler: that failed in this method
        place: that failed at this line of the code
        until: none with a higher number

    Raises:
        CannotAct: nothing runs
        UnknownMessage: there is no such process manager

    """
    runtime = face.needs_service(verdict)
    act = runtime.retry if verdict == "retry" else runtime.skip
    chosen = selected(
        face, ids=ids, process=process, error=error, handler=handler, place=place, until=until
    )

    def each() -> Iterator[Plain]:
        for number in chosen:
            try:
                act(number, by=by)
            except ProcessionError as refusal:
                yield {"id": number, "done": False, "why": str(refusal)}
            else:
                yield {"id": number, "done": True}

    return each()


def move_timeout(face: Face, process: str, id: str, name: str, when: str, by: str) -> Plain:  # noqa: A002
    """Have a timeout, or a command that is held back, come at another time.

    Args:
        face: that acts
        process: the process manager's name
        id: of the instance
        name: of the timeout
        when: seconds from now, or a moment of RFC 3339
        by: who asks

    Raises:
        CannotAct: nothing runs
        InvalidMessage: `when` is no time

    """
    runtime = face.needs_service("timeout move")
    cls = face.class_of(face.known(process))
    return {"was_set": runtime.move_timeout(cls, id, name, _when(when), by=by)}


def _when(said: str) -> timedelta | datetime:
    with suppress(ValueError, OverflowError):
        return timedelta(seconds=float(said))
    with suppress(ValueError):
        moment = datetime.fromisoformat(said)
        if moment.tzinfo is not None:
            return moment
    raise InvalidMessage(
        f"{said!r} is no time; give seconds from now, or a moment with its zone such as "
        f"2026-11-27T09:00:00+01:00"
    )


def cancel_timeout(face: Face, process: str, id: str, name: str, by: str) -> Plain:  # noqa: A002
    """Have a timeout, or a command that is held back, not come at all.

    Args:
        face: that acts
        process: the process manager's name
        id: of the instance
        name: of the timeout
        by: who asks

    Raises:
        CannotAct: nothing runs

    """
    runtime = face.needs_service("timeout cancel")
    return {"was_set": runtime.cancel_timeout(face.class_of(face.known(process)), id, name, by=by)}


def end(
    face: Face,
    process: str,
    id: str,  # noqa: A002
    reason: str,
    by: str,
    *,
    version: int | None = None,
    compensate: bool = True,
) -> Plain:
    """End an instance that is not to go on.

    Args:
        face: that acts
        process: the process manager's name
        id: of the instance
        reason: why
        by: who asks
        version: as the person saw it; if it is another one by then, nothing is done
        compensate: whether the class's method runs that `ended` marks

    Raises:
        CannotAct: nothing runs
        ProcessionError: as `Runtime.end`

    """
    runtime = face.needs_service("end")
    cls = face.class_of(face.known(process))
    ended = runtime.end(cls, id, reason=reason, by=by, version=version, compensate=compensate)
    return {"version": ended}


def amend(
    face: Face,
    process: str,
    id: str,  # noqa: A002
    fields: Mapping[str, str],
    by: str,
    *,
    version: int | None = None,
    retry: bool = False,
) -> Plain:
    """Give fields of an instance other values.

    Args:
        face: that acts
        process: the process manager's name
        id: of the instance
        fields: the values by name, each as text or as JSON
        by: who asks
        version: as the person saw it; if it is another one by then, nothing is done
        retry: whether what suspends the instance is tried again with these values

    Raises:
        CannotAct: nothing runs
        ProcessionError: as `Runtime.amend`

    """
    runtime = face.needs_service("amend")
    name = face.known(process)
    cls = face.class_of(name)
    values = {
        field: typed(face.hint_of(name, field), field, said) for field, said in fields.items()
    }
    return {"version": runtime.amend(cls, id, values, by=by, version=version, retry=retry)}


def refresh(
    face: Face,
    process: str,
    id: str,  # noqa: A002
    by: str,
    *,
    since: Literal["origin"] | None = None,
) -> Plain:
    """Rebuild the state of an instance from the events that made it.

    Args:
        face: that acts
        process: the process manager's name
        id: of the instance
        by: who asks
        since: with ``"origin"``, from the whole log

    Raises:
        CannotAct: nothing runs

    """
    runtime = face.needs_service("refresh")
    cls = face.class_of(face.known(process))
    return {"rebuilt": runtime.refresh(cls, id, since=since, by=by)}


def note_backup(face: Face, target: str, seconds: float) -> None:
    """Have the store know of a copy that was made of it, so that `health` shows it.

    Args:
        face: of the store
        target: the copy's folder
        seconds: since the moment that the copy shows

    Raises:
        CannotAct: nothing runs
        StoreError: the disk refused

    """
    face.needs_service("backup")
    face.store.note_backup(LastBackup.at(target, face.now() - round(seconds * 1_000_000)))
