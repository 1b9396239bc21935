"""Snapshots of aggregates: a cache of what their events come to, never more than that."""

from __future__ import annotations

import logging
import re
from hashlib import blake2b
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgpack

from ..errors import DefinitionError, InvalidMessage
from .code_scan import code_reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
        self._mark = _fingerprint(cls, state, appliers) if every else b""

    def pack(self, values: Mapping[str, Any]) -> bytes | None:
        """The bytes of a snapshot; None for a state that would not read back equal."""
        try:
            # A copy: what is packed must not change what the events made.
            state = self._state.exchange(dict(values))[0]
        except InvalidMessage as error:
            logger.warning("no snapshot of %s, its events are read instead: %s", self._name, error)
            return None
        packed: bytes = msgpack.packb((self._mark, state))
        return packed

    def unpack(self, packed: bytes) -> dict[str, Any] | None:
        """The fields in a snapshot; None if it does not fit the class as it is now."""
        mark, state = msgpack.unpackb(packed)
        if mark != self._mark:
            return None
        try:
            return self._state.load(state)
        except InvalidMessage:
            return None


def _fingerprint(cls: type, state: StateType, appliers: Mapping[type, Callable[..., Any]]) -> bytes:
    parts = [f"{name}: {hint!r}" for name, hint in state.fields.items()]
    parts += [f"{name} = {_told(value)}" for name, value in state.fresh().items()]
    parts += [f"{event.__qualname__} by {one.__name__}" for event, one in appliers.items()]
    properties = [
        value.fget
        for body in cls.__mro__
        for value in body.__dict__.values()
        if isinstance(value, property) and value.fget is not None
    ]
    package = cls.__module__.partition(".")[0]
    for function in code_reached([*appliers.values(), *properties], cls):
        # Libraries change with every machine; what is in them is not the service's rule.
        if function.__module__.partition(".")[0] == package:
            parts += ["\n".join(_code(function.__code__))]
    digest = blake2b(digest_size=8)
    # In which order they were found depends on the hashes of names, which differ in each run.
    for part in sorted(parts):
        digest.update(part.encode("utf-8", "backslashreplace") + b"\0")
    return digest.digest()


def _code(code: CodeType) -> Iterator[str]:
    """What a function does, without where it stands."""
    yield code.co_code.hex()
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield _told(constant)


def _told(value: object) -> str:
    """A value in words that are the same in each run."""
    if isinstance(value, (set, frozenset)):
        return f"set {sorted(map(_told, value))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} {[_told(one) for one in value]}"
    if isinstance(value, dict):
        return f"dict {[(_told(key), _told(one)) for key, one in value.items()]}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
