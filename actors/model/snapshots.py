"""Snapshots of aggregates: a cache of what their events come to, never more than that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgpack

from ..errors import DefinitionError, InvalidMessage, type_of_error
from .fingerprint import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..authoring.state import StateType

__all__ = ["EVERY", "Snapshots"]

logger = logging.getLogger("procession")

EVERY = 100
"""Events between two snapshots of an aggregate that does not say otherwise."""


class Snapshots:
    """Packs the states of one aggregate class, and unpacks those that still fit it.

    A snapshot carries a fingerprint of the class: its fields and the code that applies events. A
    class that was changed would have come to another state, so its older snapshots are ignored.

    Args:
        cls: the aggregate's class
        state: its fields
        appliers: the functions that apply its events, by event class
        every: events between two snapshots; none are made or looked at with 0

    Raises:
        DefinitionError: `every` is no number of events

    """

    def __init__(
        self,
        cls: type,
        state: StateType,
        appliers: Mapping[type, Callable[..., Any]],
        every: object,
    ) -> None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 0:
            raise DefinitionError(
                f"{cls.__qualname__}: snapshot_every={every!r}; give the number of events between "
                f"two snapshots, or 0 for none"
            )
        self.every = every
        self._name = cls.__qualname__
        self._state = state
        said = [f"{event.__qualname__} by {one.__name__}" for event, one in appliers.items()]
        self._mark = fingerprint_of(cls, state, appliers.values(), said) if every else b""

    def pack(self, values: Mapping[str, Any]) -> bytes | None:
        """The bytes of a snapshot; None for a state that would not read back equal."""
        try:
            # A copy: what is packed must not change what the events made.
            state = self._state.exchange(dict(values))[0]
        except InvalidMessage as error:
            # The text of the error quotes a field.
            logger.warning(
                "no snapshot of %s, its events are read instead: its state does not fit its "
                "annotations (%s)",
                self._name,
                type_of_error(error),
                extra={"aggregate": self._name, "error": type_of_error(error)},
            )
            return None
        packed: bytes = msgpack.packb((self._mark, state))
        return packed

    def unpack(self, packed: bytes, *, whoever_made_it: bool = False) -> dict[str, Any] | None:
        """The fields in a snapshot; None if it does not fit the class as it is now.

        Args:
            packed: the snapshot
            whoever_made_it: whether one that other code made is taken, if its fields fit

        """
        mark, state = msgpack.unpackb(packed)
        if mark != self._mark and not whoever_made_it:
            return None
        try:
            return self._state.load(state)
        except InvalidMessage:
            return None
