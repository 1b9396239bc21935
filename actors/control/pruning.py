"""Having what was complete for long enough taken out of a store."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import InvalidMessage

if TYPE_CHECKING:
    from .face import Face
    from .plain import Plain

__all__ = ["prune"]


def prune(face: Face, before: str, ids_before: str | None, archive: str | None) -> Plain:
    """Prune, and tell how much went.

    Args:
        face: that acts
        before: a moment with its zone, as text of ISO 8601
        ids_before: likewise, for tombstones and ids; None for none of them
        archive: the file of the archive, where the service is; None for the service's own

    Raises:
        CannotAct: nothing runs
        InvalidMessage: a moment is none, or has no zone

    """
    runtime = face.needs_service("prune")
    report = runtime.prune(
        before=_moment("before", before),
        ids_before=None if ids_before is None else _moment("ids_before", ids_before),
        archive=archive,
    )
    return asdict(report)


def _moment(name: str, said: str) -> datetime:
    try:
        moment = datetime.fromisoformat(said)
    except ValueError as error:
        raise InvalidMessage(f"{name}: {said!r} is no moment; write 2026-01-31") from error
    if moment.utcoffset() is None:
        raise InvalidMessage(f"{name}: {said!r} has no zone; write 2026-01-31T00:00+00:00")
    return moment
