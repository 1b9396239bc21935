"""How a call for another node, and the answer to it, are written into a database.

It is data and no code: what comes from there can name classes that are registered, and no others.
"""

from __future__ import annotations

import builtins
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from ..authoring.projection import Projection
from ..store import CommandRecord, EventRecord, ProcessionError

if TYPE_CHECKING:
    from ..model.registry import Registry

__all__ = [
    "answer_from",
    "arguments",
    "asked",
    "new_id",
    "packed",
    "packed_error",
    "packed_value",
    "published",
    "told",
]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

_CLASS = "class"


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


def packed(kind: str, given: tuple[Any, ...], registry: Registry) -> bytes:
    """A call.

    Args:
        kind: as for `RemotePartition`
        given: its arguments
        registry: knows the names of classes

    Raises:
        TypeError: an argument cannot go to another node

    """
    if kind == "ask":
        return _encode(_Asked(given[0]))
    if kind == "tell":
        return _encode(_Told(given[0]))
    if kind == "publish":
        return _encode(_Published([(stream, _unique(record)) for stream, record, _ in given[0]]))
    try:
        return _encode(_named(given, registry))
    except (TypeError, msgspec.MsgspecError) as error:
        raise TypeError(f"{kind}: what was given cannot go to another node: {error}") from error


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


def asked(request: bytes) -> CommandRecord:
    """The command of an `ask`."""
    return _decode_asked(request).record


def told(request: bytes) -> list[CommandRecord]:
    """The commands of a `tell`."""
    return _decode_told(request).records


def published(request: bytes) -> list[tuple[str, EventRecord]]:
    """The events of a `publish`, with their streams."""
    return _decode_published(request).events


def arguments(request: bytes, registry: Registry) -> list[Any]:
    """The arguments of any other call."""
    found: list[Any] = _found(_decode(request), registry)
    return found


def packed_value(value: Any) -> bytes:
    """An answer."""
    return _encode((True, value))


def packed_error(error: BaseException) -> bytes:
    """An error as an answer: its class, what it says, and its plain attributes."""
    plain = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return _encode((False, type(error).__name__, str(error), plain))


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


def answer_from(raw: bytes) -> tuple[Any, Exception | None]:
    """What was answered: a value, or an error."""
    is_value, *said = _decode(raw)
    return (said[0], None) if is_value else (None, error_from(*said))
