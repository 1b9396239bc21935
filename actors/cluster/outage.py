"""What the log says of something that is tried again and again, many times a second."""

from __future__ import annotations

import logging

from ..store import StoreError

__all__ = ["Outage"]

logger = logging.getLogger("procession")


class Outage:
    """Says when it begins to fail, when it fails in another way, and when it goes well again.

    Args:
        what: fails, as "the calls of other nodes cannot be looked at"

    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._kind: type[Exception] | None = None

    def failed(self, error: Exception) -> None:
        """It did not go well."""
        if type(error) is self._kind:
            return
        self._kind = type(error)
        # What is no error of a store's may be one of ours.
        trace = None if isinstance(error, StoreError) else error
        logger.warning("%s; it is tried again until it goes: %s", self._what, error, exc_info=trace)

    def went_well(self) -> None:
        """It did."""
        if self._kind is not None:
            self._kind = None
            logger.warning("no longer: %s", self._what)
