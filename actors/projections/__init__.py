"""Where projections keep what they make of events: databases of the user's own, or documents."""

from typing import TYPE_CHECKING, Any

from ..authoring.documents import Documents
from .db_api import DbApi

if TYPE_CHECKING:
    from .sql_alchemy import SqlAlchemy as SqlAlchemy

__all__ = ["DbApi", "Documents", "SqlAlchemy"]


def __getattr__(name: str) -> Any:
    # What needs an extra is imported where it is asked for.
    if name == "SqlAlchemy":
        from .sql_alchemy import SqlAlchemy  # noqa: PLC0415

        return SqlAlchemy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
