"""What a payload says of one person, encoded with a key of that person's inside of the payload.

Whoever forgets that key makes these fields unreadable wherever copies are, and no more than these.
What such a field is read as from then on is stored beside it, so that no class is needed to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from .errors import ForgottenKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "NO_FIELDS",
    "PersonalFields",
    "Said",
    "owner_of_person",
    "persons_in",
    "sealed",
    "whole",
]

SEALED = b"\xc1"
"""Begins a payload of which some fields are encoded; nothing in MessagePack begins so."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.decode
_split = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_split_snapshot = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode
_NIL = msgspec.Raw(b"\xc0")


def owner_of_person(subject: str) -> str:
    """Of the fields that are marked as one person's."""
    # No stream has a NUL in its name, and no process manager is called "".
    return f"\0{subject}"


class PersonalFields(Protocol):
    """Says which fields are a person's: by name, the field that says whose, and what stays."""

    def personal_fields(self, name: str) -> Mapping[str, tuple[str | None, Any]]:
        """Of a message, by its wire name."""
        ...

    def personal_state(self, name: str) -> Mapping[str, tuple[str | None, Any]]:
        """Of a state, by the name of its process manager or the category of its aggregate."""
        ...


class _NoFields:
    """Satisfies `PersonalFields`."""

    def personal_fields(self, name: str) -> Mapping[str, tuple[str | None, Any]]:
        del name
        return {}

    personal_state = personal_fields


NO_FIELDS: PersonalFields = _NoFields()


class Said(NamedTuple):
    """What a payload is.

    Attributes:
        kind: a message, the state of an instance, or the snapshot of an aggregate
        name: the message's, the process manager's, or the category
        id: whose a field is that does not say it: that of the instance, or of the aggregate

    """

    kind: Literal["message", "state", "snapshot"]
    name: str
    id: str


class _Sealed(msgspec.Struct, array_like=True):
    """As it is stored, behind the byte that says so.

    Attributes:
        mark: of a snapshot, what is in front of its fields
        fields: all fields in order, those that are encoded as nil
        parts: those, each with what it is read as once its key is forgotten

    """

    mark: bytes | None
    fields: dict[str, msgspec.Raw]
    parts: dict[str, tuple[bytes, msgspec.Raw]]


_decode_sealed = msgspec.msgpack.Decoder(_Sealed).decode


def persons_in(payload: bytes, said: Said, personal: PersonalFields) -> set[str]:
    """The owners of keys with which fields of a payload are to be encoded."""
    marked = _marked(said, personal)
    return {owner for _, owner, _, _ in _found(payload, said, marked)[2]} if marked else set()


def sealed(
    payload: bytes, said: Said, personal: PersonalFields, encode: Callable[[bytes, str], bytes]
) -> bytes:
    """A payload whose personal fields are encoded; as it is, if it has none."""
    marked = _marked(said, personal)
    if not marked:
        return payload
    mark, fields, found = _found(payload, said, marked)
    if not found:
        return payload
    parts: dict[str, tuple[bytes, msgspec.Raw]] = {}
    for name, owner, packed, erased in found:
        parts[name] = encode(packed, owner), msgspec.Raw(erased)
        fields[name] = _NIL
    return SEALED + _encode(_Sealed(mark, fields, parts))


def whole(payload: bytes, decode: Callable[[bytes], bytes]) -> bytes:
    """A payload as it was written, without what is of persons whose keys were forgotten."""
    if payload[:1] != SEALED:
        return payload
    stored = _decode_sealed(payload[1:])
    for name, (encoded, erased) in stored.parts.items():
        try:
            stored.fields[name] = msgspec.Raw(decode(encoded))
        except ForgottenKey:
            stored.fields[name] = erased
    fields = _encode(stored.fields)
    return fields if stored.mark is None else _encode((stored.mark, fields))


def _marked(said: Said, personal: PersonalFields) -> Mapping[str, tuple[str | None, Any]]:
    if said.kind == "message":
        return personal.personal_fields(said.name)
    return personal.personal_state(said.name)


def _found(
    payload: bytes, said: Said, marked: Mapping[str, tuple[str | None, Any]]
) -> tuple[bytes | None, dict[str, msgspec.Raw], list[tuple[str, str, bytes, bytes]]]:
    """The mark, all fields, and of those to be encoded the name, owner, value, what it becomes."""
    mark: bytes | None = None
    try:
        if said.kind == "snapshot":
            mark, payload = _split_snapshot(payload)
        fields = _split(payload)
    except msgspec.DecodeError:
        # Another shape than a map of fields: it has no field that could be marked.
        return None, {}, []
    return mark, fields, list(_of_persons(said, marked, fields))


def _of_persons(
    said: Said,
    marked: Mapping[str, tuple[str | None, Any]],
    fields: Mapping[str, msgspec.Raw],
) -> Iterator[tuple[str, str, bytes, bytes]]:
    for name, (subject, erased) in marked.items():
        value, without = fields.get(name), _encode(erased)
        if value is None or bytes(value) == without:
            continue
        whose: Any = said.id if subject is None else _decode(fields.get(subject, _NIL))
        if whose is not None and whose != "":
            yield name, owner_of_person(str(whose)), bytes(value), without
