"""How a call for another node, and the answer to it, are written into a database.

It is data and no code: what comes from there can name classes that are registered, and no others.
What it says of people is encoded by the store's codec, for whom it is about.
"""

from __future__ import annotations

import builtins
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..authoring.projection import Projection
from ..store import (
    CommandRecord,
    EventRecord,
    ProcessionError,
    owner_of_instance,
    owner_of_stream,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model.registry import Registry
    from ..store import PayloadCodec

__all__ = ["CallFormat", "new_id"]

R = TypeVar("R", CommandRecord, EventRecord)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

_CLASS = "class"

_NO_ONE = "\0calls"
"""In the place of an owner, where a call is about no stream and no instance; no stream is called
so."""


class _Asked(msgspec.Struct, array_like=True):
    record: CommandRecord


class _Told(msgspec.Struct, array_like=True):
    records: list[CommandRecord]


class _Published(msgspec.Struct, array_like=True):
    events: list[tuple[str, EventRecord]]


# Made once: msgspec crashes if several threads are the first that decode a class, and calls are
# carried out by many.
_decode_asked = msgspec.msgpack.Decoder(_Asked).decode
_decode_told = msgspec.msgpack.Decoder(_Told).decode
_decode_published = msgspec.msgpack.Decoder(_Published).decode


class CallFormat:
    """Writes calls and answers, and reads them.

    Args:
        registry: knows the names of classes
        codec: encodes what they say, if anything does in the store

    """

    def __init__(self, registry: Registry, codec: PayloadCodec | None) -> None:
        self._registry = registry
        self._codec = codec

    # Calls

    def packed(self, kind: str, given: tuple[Any, ...]) -> bytes:
        """A call.

        Args:
            kind: as for `RemotePartition`
            given: its arguments

        Raises:
            TypeError: an argument cannot go to another node

        """
        if kind == "ask":
            return _encode(_Asked(self._sealed(given[0], given[0].stream)))
        if kind == "tell":
            return _encode(_Told([self._sealed(one, one.stream) for one in given[0]]))
        if kind == "publish":
            events = [
                (stream, self._sealed(_unique(record), stream)) for stream, record, _ in given[0]
            ]
            return _encode(_Published(events))
        try:
            raw = _encode(_named(given, self._registry))
        except (TypeError, msgspec.MsgspecError) as error:
            raise TypeError(f"{kind}: what was given cannot go to another node: {error}") from error
        return self._encoded(raw, self.owner_of(given))

    def asked(self, request: bytes) -> CommandRecord:
        """The command of an `ask`."""
        return self._opened(_decode_asked(request).record)

    def told(self, request: bytes) -> list[CommandRecord]:
        """The commands of a `tell`."""
        return [self._opened(one) for one in _decode_told(request).records]

    def published(self, request: bytes) -> list[tuple[str, EventRecord]]:
        """The events of a `publish`, with their streams."""
        return [
            (stream, self._opened(record)) for stream, record in _decode_published(request).events
        ]

    def arguments(self, request: bytes) -> list[Any]:
        """The arguments of any other call."""
        found: list[Any] = _found(_decode(self._decoded(request)), self._registry)
        return found

    def owner_of(self, given: Sequence[Any]) -> str:
        """Whom a call other than those is about: the instance that its arguments begin with."""
        positional = next((one for one in given if isinstance(one, tuple | list)), ())
        if len(positional) > 1 and isinstance(positional[0], type) and positional[1] is not None:
            definition = self._registry.process(positional[0])
            return owner_of_instance(definition.name, definition.id_of(positional[1]))
        return _NO_ONE

    # Answers

    def packed_value(self, value: Any, owner: str) -> bytes:
        """An answer; `owner` is whom the call was about."""
        return self._encoded(_encode((True, value)), owner)

    def packed_error(self, error: BaseException, owner: str) -> bytes:
        """An error as an answer: its class, what it says, and its plain attributes."""
        plain = {name: value for name, value in vars(error).items() if _is_plain(value)}
        return self._encoded(_encode((False, type(error).__name__, str(error), plain)), owner)

    def answer_from(self, raw: bytes) -> tuple[Any, Exception | None]:
        """What was answered: a value, or an error."""
        is_value, *said = _decode(self._decoded(raw))
        return (said[0], None) if is_value else (None, error_from(*said))

    # What they say

    def _sealed(self, record: R, stream: str) -> R:
        owner = owner_of_stream(stream)
        return msgspec.structs.replace(
            record,
            data=self._encoded(record.data, owner),
            headers=None if record.headers is None else self._encoded(record.headers, owner),
        )

    def _opened(self, record: R) -> R:
        return msgspec.structs.replace(
            record,
            data=self._decoded(record.data),
            headers=None if record.headers is None else self._decoded(record.headers),
        )

    def _encoded(self, raw: bytes, owner: str) -> bytes:
        if self._codec is None:
            return raw
        self._codec.prepare([owner])
        return self._codec.encode(raw, owner)

    def _decoded(self, raw: bytes) -> bytes:
        return raw if self._codec is None else self._codec.decode(raw)


def _unique(record: EventRecord) -> EventRecord:
    # What is stored twice has to be known again.
    return record if record.event_id else msgspec.structs.replace(record, event_id=new_id())


def new_id() -> str:
    """An id that no other call and no other message has."""
    return secrets.token_hex(16)


def _named(value: Any, registry: Registry) -> Any:
    if isinstance(value, type):
        if issubclass(value, Projection):
            return {_CLASS: registry.projection(value).name}
        cls: Any = value
        return {_CLASS: registry.process(cls).name}
    if isinstance(value, tuple | list):
        return [_named(one, registry) for one in value]
    if isinstance(value, dict):
        return {key: _named(one, registry) for key, one in value.items()}
    return value


def _found(value: Any, registry: Registry) -> Any:
    if isinstance(value, dict):
        if set(value) == {_CLASS}:
            definition = registry.named(value[_CLASS])
            if definition is None:
                raise TypeError(f"{value[_CLASS]} is no class of this node")
            return definition.cls
        return {key: _found(one, registry) for key, one in value.items()}
    if isinstance(value, list):
        return [_found(one, registry) for one in value]
    return value


def _is_plain(value: object) -> bool:
    try:
        _encode(value)
    except (TypeError, msgspec.MsgspecError):
        return False
    return True


def error_from(name: str, said: str, plain: dict[str, Any]) -> Exception:
    """An error that was an answer; of our own family, or of Python's, or else as text."""
    kind = _families().get(name) or getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return ProcessionError(f"{name}: {said}")
    # Without its constructor, which may want more.
    error = kind.__new__(kind)
    error.args = (said,)
    for attribute, value in plain.items():
        setattr(error, attribute, tuple(value) if isinstance(value, list) else value)
    return error


def _families() -> dict[str, type[ProcessionError]]:
    found: dict[str, type[ProcessionError]] = {}
    kinds: list[type[ProcessionError]] = [ProcessionError]
    while kinds:
        kind = kinds.pop()
        found[kind.__name__] = kind
        kinds += kind.__subclasses__()
    return found
