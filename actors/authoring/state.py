"""The annotated fields of a process manager or an aggregate: their defaults, and their bytes."""

from __future__ import annotations

import copy
import inspect
import types
from enum import Enum
from itertools import islice
from typing import (
    Annotated,
    Any,
    ClassVar,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
)
from uuid import UUID

from ..errors import DefinitionError, InvalidMessage, shown
from ..messages.codec import Codec, bring, differ
from ..messages.fields import hints_of, refuse_unfit, typed_dict
from ..messages.identifiers import id_of
from ..messages.personal import personal_in
from ..store import PackedFields, Tail, added, with_head

__all__ = ["LARGE", "Indexed", "Keys", "StateType", "described"]

LARGE = 1_024
"""Bytes from which on a state is looked at field by field, for what was added to it."""

T = TypeVar("T")

_INDEXED = "procession.indexed"

Indexed = Annotated[T, _INDEXED]
"""A field by whose value an instance can be found: ``payment_id: Indexed[str] = ""``.

By each of its members, if it is a list, a set or a tuple: ``parcels: Indexed[set[str]] = set()``.
"""

Keys: TypeAlias = dict[str, tuple[str, ...]]

_ATOMS = (str, int, float, bool, bytes, type(None))


class StateType:
    """The fields of one class.

    Args:
        cls: the class that a user wrote
        base: our class below it, whose attributes are not state

    Raises:
        DefinitionError: a field lacks an annotation or a default, or takes a name of ours

    """

    def __init__(self, cls: type, base: type) -> None:
        self._name = cls.__qualname__
        self.fields = _fields(cls, base)
        self.indexed = [
            name for name, hint in self.fields.items() if _INDEXED in get_args(hint)[1:]
        ]
        self.holding_many = frozenset(name for name in self.indexed if self._holds_many(name))
        """The learnt keys that hold many values, by each of which an instance is found."""
        self._refuse_unfit_keys()
        self.personal = personal_in(self._name, self.fields)
        """The fields that are marked as personal."""
        kind = typed_dict(f"{cls.__name__}State", self.fields)
        refuse_unfit(cls, kind, self.fields)
        self._codec: Codec[dict[str, Any]] = Codec(kind, f"state of {cls.__qualname__}")
        # Of single fields, for states that are large; each made when it is first asked for.
        self._codecs: dict[str, Codec[Any]] = {}
        self._defaults = self._brought_defaults(cls)
        self._copied = [
            name for name, value in self._defaults.items() if not isinstance(value, _ATOMS)
        ]

    def fresh(self) -> dict[str, Any]:
        """The declared initial values, each of its annotated type.

        Lists, sets and mappings are the caller's own.
        """
        values = self._defaults.copy()
        for name in self._copied:
            values[name] = copy.deepcopy(values[name])
        return values

    def exchange(self, values: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
        """Pack an object's fields; returns also what they are when they are read back.

        What is read back goes on in their place. So memory holds what the log says to the type: a
        `Decimal` field that was assigned an `int` is a `Decimal` now, and not only after the next
        restart. And it shares nothing with the object.

        Raises:
            InvalidMessage: a value does not fit its annotation, or is no declared field

        """
        if len(values) != len(self._defaults):
            self._refuse_names(values)
        try:
            return self._codec.exchange(values)
        except InvalidMessage:
            # A field that is not declared would not be read back.
            self._refuse_names(values)
            raise

    def exchange_parts(
        self, values: dict[str, Any], before: PackedFields
    ) -> tuple[dict[str, bytes], dict[str, Any], dict[str, Tail]]:
        """As `exchange`, field by field, for a state that is large and grows.

        Of a list or a mapping that was only added to, what was added is read back; what is before
        it was, when it was added, and is the same as in the object.

        Args:
            values: an object's fields
            before: what they were packed to before

        Returns:
            the bytes of each field, the fields as they are read back, and what was added to the
            large ones that were only added to

        """
        back, tails = dict(values), dict[str, Tail]()
        try:
            parts = {
                name: self._dump_part(back, name, before.parts.get(name, b""), tails)
                for name in values
            }
        except (InvalidMessage, KeyError):
            # The whole of it says better what does not fit.
            packed, back = self.exchange(values)
            return PackedFields.of(packed).parts, back, {}
        return parts, back, tails

    def _dump_part(
        self, values: dict[str, Any], name: str, before: bytes, tails: dict[str, Tail]
    ) -> bytes:
        codec, value = self._codec_of(name), values[name]
        if len(before) >= LARGE and type(value) in {list, dict}:
            packed = codec.pack(value)
            tail = added(before, packed)
            if tail is not None:
                self._read_back(codec, value, tail)
                tails[name] = tail
                return packed
        packed, values[name] = codec.exchange(value)
        return packed

    def _read_back(self, codec: Codec[Any], value: Any, tail: Tail) -> None:
        if not tail.elements:
            return
        back = codec.load(with_head(tail.kind, tail.elements, tail.packed))
        if isinstance(value, list):
            if differ(value[-tail.elements :], back):
                raise InvalidMessage(f"{self._name}: what was added would not read back equal")
            codec.refuse_floats(value[-tail.elements :], back)
            value[-tail.elements :] = back
        else:
            newest = dict(islice(reversed(value.items()), tail.elements))
            if differ(newest, back):
                raise InvalidMessage(f"{self._name}: what was added would not read back equal")
            # In the same order, by which keys are compared.
            codec.refuse_floats(dict(reversed(newest.items())), back)
            value.update(back)

    def _codec_of(self, name: str) -> Codec[Any]:
        codec = self._codecs.get(name)
        if codec is None:
            codec = self._codecs[name] = Codec(self.fields[name], f"{self._name}.{name}")
        return codec

    def _refuse_names(self, values: dict[str, Any]) -> None:
        for name in values:
            if name not in self._defaults:
                raise InvalidMessage(
                    f"self.{name} is no declared field of {self._name}, so it would be forgotten; "
                    f"declare it in the class body: `{name}: <type> = <default>`"
                )
        for name in self._defaults:
            if name not in values:
                raise InvalidMessage(
                    f"self.{name} of {self._name} was deleted; assign a value instead"
                )

    def brought(self, name: str, value: Any) -> Any:
        """The value of one field as it is read back, of its annotated type.

        Raises:
            InvalidMessage: it does not fit the annotation

        """
        return self._codec_of(name).exchange(value)[1]

    def keys_of(self, values: dict[str, Any]) -> Keys:
        """The learnt keys: the values by which instances are found; none for one that is not set.

        Raises:
            InvalidMessage: a value can be no key
            InvalidName: it is too long

        """
        return {name: self.key_of(name, values[name]) for name in self.indexed}

    def key_of(self, name: str, value: Any) -> tuple[str, ...]:
        """As `keys_of`, of one field: each member of one that holds many, in order."""
        if name not in self.holding_many:
            return () if value is None or value == "" else (id_of(value, name),)
        return tuple(sorted({id_of(one, name) for one in value or () if one not in {None, ""}}))

    def load(self, packed: bytes) -> dict[str, Any]:
        """Unpack fields; a field that was not stored has its default, one that is gone is dropped.

        Raises:
            InvalidMessage: what is stored does not fit the annotations

        """
        values = self._codec.load(packed)
        if len(values) < len(self._defaults):
            return self.fresh() | values
        return values

    def _refuse_unfit_keys(self) -> None:
        for name in self.indexed:
            hint = get_args(self.fields[name])[0]
            every = list(_alternatives(hint))
            if name in self.holding_many:
                # Of a `tuple[str, ...]`, what comes behind the comma is no type.
                members = [one for each in every for one in get_args(each) if one is not ...]
                is_bare = any(not get_args(each) for each in every if each is not type(None))
                every = [each for one in members for each in _alternatives(one)]
                every += [object] if is_bare else []
            for one in every:
                if one is bool or not (isinstance(one, type) and issubclass(one, _KEYS)):
                    raise DefinitionError(
                        f"{self._name}.{name}: Indexed[{_called(hint)}] can hold a value that "
                        f"names nothing; use text, whole numbers, UUIDs or enums, a list, set or "
                        f"tuple of these, or None"
                    )

    def _holds_many(self, name: str) -> bool:
        hint = get_args(self.fields[name])[0]
        every = [one for one in _alternatives(hint) if one is not type(None)]
        return bool(every) and all((get_origin(one) or one) in _MANY for one in every)

    def _brought_defaults(self, cls: type) -> dict[str, Any]:
        """The defaults as they are read back: a `Decimal` field with `= 0` has a `Decimal`."""
        given = {name: getattr(cls, name) for name in self.fields}
        try:
            return bring(self.fields, given)
        except InvalidMessage as error:
            raise DefinitionError(f"{cls.__qualname__}: a default does not fit: {error}") from error


_KEYS = (str, int, UUID, Enum, type(None))

_MANY = (list, set, frozenset, tuple)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def _called(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _fields(cls: type, base: type) -> dict[str, Any]:
    bodies = [c for c in reversed(cls.__mro__) if c not in base.__mro__]
    hints = hints_of(cls)
    fields: dict[str, Any] = {}
    for body in bodies:
        if "__dataclass_fields__" in body.__dict__:
            raise DefinitionError(
                f"{body.__qualname__} is below @dataclass, whose `__init__` would not run when it "
                f"is read; remove @dataclass: what is annotated in the class is a field already"
            )
        for name in inspect.get_annotations(body):
            if get_origin(hints[name]) is ClassVar or hints[name] is ClassVar:
                continue
            if name in base.__dict__:
                raise DefinitionError(
                    f"{cls.__qualname__}.{name}: {base.__name__} has a {name!r} of its own; "
                    f"choose another name for the field"
                )
            if not hasattr(cls, name):
                raise DefinitionError(
                    f"{cls.__qualname__}.{name} has no default; "
                    f"write `{name}: ... = <its value before the first event>`"
                )
            fields[name] = hints[name]
        for name, value in body.__dict__.items():
            if not (name.startswith("_") or name in fields or _is_code(value) or name in hints):
                raise DefinitionError(
                    f"{cls.__qualname__}.{name} has no annotation, so it would not be state; "
                    f"write `{name}: {type(value).__name__} = {value!r}`"
                )
    return fields


def _is_code(value: object) -> bool:
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))


def described(made: object, name: str, version: int) -> str:
    """An object with state, as people read it."""
    fields = "".join(f", {field}={shown(value)}" for field, value in vars(made).items())
    return f"{type(made).__qualname__}({name!r}, version={version}{fields})"
