"""How a service is: its counters, and whether all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.health import HealthProblem
from ..errors import PartitionDown
from .plain import plain

if TYPE_CHECKING:
    from .face import Face
    from .plain import Plain

__all__ = ["health", "partitions", "stats"]

NONE = "partition_down"
"""The problem of a divided store none of whose partitions answers."""

NOT_RUNNING = HealthProblem("not_running", "no service answers for this store")


def stats(face: Face) -> dict[str, int]:
    """The counters since the service started, and its gauges.

    Raises:
        CannotAct: nothing runs

    """
    return face.needs_service("stats").stats()


def partitions(face: Face) -> list[Plain]:
    """Each partition of a divided store: who runs it, how much it has, and how far it is behind.

    Raises:
        CannotAct: the store is not divided

    """
    return [plain(one) for one in face.needs_partitions("partitions").partitions()]


def health(face: Face) -> Plain:
    """How the service is; of a store without one, that there is none."""
    if not face.is_running:
        return {"is_healthy": False, "problems": [plain(NOT_RUNNING)]}
    try:
        found = face.runtime.health()
    except PartitionDown as error:
        return {"is_healthy": False, "problems": [plain(HealthProblem(NONE, str(error)))]}
    return {"is_healthy": found.is_healthy, **plain(found)}
