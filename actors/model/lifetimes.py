"""How long what has ended stays in the store, as a class or a runtime says."""

from __future__ import annotations

from datetime import timedelta

from ..errors import DefinitionError

__all__ = ["check_retention"]


def check_retention(cls: type, retention: object) -> None:
    """Refuse what is no time to keep something for.

    Raises:
        DefinitionError: it is none

    """
    if retention is not None and (not isinstance(retention, timedelta) or retention < timedelta(0)):
        raise DefinitionError(
            f"{cls.__qualname__}: retention={retention!r}; give a timedelta, such as "
            f"timedelta(days=90), or leave it out to keep all for ever"
        )
