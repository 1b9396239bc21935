"""How a service is: its counters, and whether all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.health import HealthProblem
from .plain import plain

if TYPE_CHECKING:
    from .face import Face
    from .plain import Plain

__all__ = ["health", "stats"]

NOT_RUNNING = HealthProblem("not_running", "no service answers for this store")


def stats(face: Face) -> dict[str, int]:
    """The counters since the service started, and its gauges.

    Raises:
        CannotAct: nothing runs

    """
    return face.needs_service("stats").stats()


def health(face: Face) -> Plain:
    """How the service is; of a store without one, that there is none."""
    if not face.is_running:
        return {"is_healthy": False, "problems": [plain(NOT_RUNNING)]}
    found = face.runtime.health()
    return {"is_healthy": found.is_healthy, **plain(found)}
