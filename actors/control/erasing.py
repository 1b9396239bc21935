"""What a person has a service erase, and what was erased."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import InvalidMessage, shown
from ..queries.views import Erasure
from .plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .face import Face
    from .plain import Plain

__all__ = ["erase", "erase_again", "erasures"]


def erase(
    face: Face,
    by: str,
    *,
    process: str | None = None,
    id: str | None = None,  # noqa: A002
    stream: str | None = None,
    subject: str | None = None,
) -> Plain:
    """Erase what is kept of one instance, one stream or one person.

    Args:
        face: that acts
        by: who asks
        process: the process manager's name, of an instance
        id: of the instance
        stream: of the events
        subject: whose data it is

    Raises:
        CannotAct: nothing runs
        ProcessionError: as `Runtime.erase`

    """
    runtime = face.needs_service("erase")
    cls = None if process is None else face.class_of(face.known(process))
    return _row(runtime.erase(cls, id, stream=stream, subject=subject, by=by))


def erase_again(face: Face, told: Sequence[Mapping[str, Any]]) -> Iterator[Plain]:
    """Erase what was erased in a store that was lost; tells those that this one did not know of.

    Raises:
        CannotAct: nothing runs
        InvalidMessage: one of them is no erasure

    """
    runtime = face.needs_service("erase --again")
    return map(_row, runtime.erase_again([_erasure(one) for one in told]))


def _erasure(row: Mapping[str, Any]) -> Erasure:
    try:
        kind: Any = row["kind"]
        if kind not in {"instance", "stream", "subject"}:
            raise ValueError(kind)  # noqa: TRY301 - it is told with the others
        time = datetime.fromisoformat(row["time"])
        return Erasure(kind, row["process"], row["id"], time, row["by"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidMessage(f"{shown(row)} is no erasure; give what `erasures` told") from error


def erasures(face: Face) -> Iterator[Plain]:
    """What was erased, the oldest first."""
    return map(_row, face.runtime.erasures())


def _row(erasure: Erasure) -> Plain:
    return {name: plain(value) for name, value in erasure.known().items()}
