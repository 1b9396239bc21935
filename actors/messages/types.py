"""Events and commands: plain, typed, immutable."""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Self,
    TypeVar,
    dataclass_transform,
    get_type_hints,
)

import msgspec

from ..errors import DefinitionError
from .codec import bring
from .plain import as_json, from_plain, plain, refuse_other

if TYPE_CHECKING:
    from collections.abc import Mapping

    # Only type checkers need the default, and these know the package.
    import typing_extensions

    R_co = typing_extensions.TypeVar("R_co", covariant=True, default=Any)
else:
    R_co = TypeVar("R_co", covariant=True)

__all__ = ["WIRE_NAME", "Command", "Event", "Message", "UnknownCommand", "UnknownEvent"]

WIRE_NAME = re.compile(r"[^\s.]+\.[^\s.]+\.v(\d+)")


class MessageMeta(msgspec.StructMeta):
    """Takes the class keywords `name` and `version`, and refuses fields that would be lost."""

    __wire_name__: str | None
    __wire_version__: int

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        name: str | None = None,
        version: int | None = None,
        **options: Any,
    ) -> Any:
        where = f"{namespace.get('__module__')}.{namespace.get('__qualname__', class_name)}"
        if name is not None:
            match = WIRE_NAME.fullmatch(name)
            if match is None:
                raise DefinitionError(
                    f"{where}: name={name!r} is no wire name; write it as "
                    f'"<Domain>.<Class>.v<version>", such as "Billing.{class_name}.v1"'
                )
            if version not in {None, int(match[1])}:
                raise DefinitionError(
                    f"{where}: name={name!r} and version={version} disagree; give one of them"
                )
            version = int(match[1])
        if version is not None and version < 1:
            raise DefinitionError(f"{where}: version={version}; versions start at 1")
        _bring_defaults(namespace)
        try:
            cls = super().__new__(mcls, class_name, bases, namespace, **options)
        except TypeError as error:
            raise DefinitionError(f"{where}: {error}") from error
        for attribute, value in namespace.items():
            if (
                attribute.startswith("_")
                or _is_code(value)
                or attribute in cls.__struct_fields__
                or attribute in inspect.get_annotations(cls)
            ):
                continue
            raise DefinitionError(
                f"{where}.{attribute} has no annotation, so it would not be a field; "
                f"write `{attribute}: {type(value).__name__} = {value!r}`"
            )
        cls.__wire_name__ = name
        cls.__wire_version__ = version or 1
        return cls

    def __setattr__(cls, name: str, value: object) -> None:  # noqa: N805 - of a metaclass
        # The first thing that tells `@dataclass` above the class; `attrs` makes another class.
        if name == "__dataclass_fields__":
            raise DefinitionError(
                f"{cls.__module__}.{cls.__qualname__} is below @dataclass, and is a message "
                f"already: remove @dataclass, since what is annotated in the class is a field, and "
                f"a message is immutable and compares by value by itself"
            )
        super().__setattr__(name, value)


def _bring_defaults(namespace: dict[str, Any]) -> None:
    """Make defaults values of their annotated types, so that a new message has what is read back.

    What cannot be read yet, or does not fit, is told when the class is registered.
    """
    module = sys.modules.get(namespace.get("__module__", ""))
    for name, hint in namespace.get("__annotations__", {}).items():
        default = namespace.get(name)
        kind = type(default)
        if default is None or kind is _SPECIFIED or hint in {kind, kind.__name__}:
            continue
        # One by one: another annotation may name what is defined further below.
        said = SimpleNamespace(__annotations__={name: hint})
        with suppress(Exception):
            hints = get_type_hints(said, vars(module), include_extras=True)
            namespace[name] = bring(hints, {name: default})[name]


_SPECIFIED = type(msgspec.field())


def _is_code(value: object) -> bool:
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, metaclass=MessageMeta, frozen=True):
    """Base of `Event` and `Command`."""

    __wire_name__: ClassVar[str | None]
    __wire_version__: ClassVar[int]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: `from_dict` of the class makes an equal message of them."""
        values: dict[str, Any] = plain(self)
        return values

    def to_json(self) -> str:
        """As `to_dict`, as JSON."""
        return as_json(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A message of its fields, as `to_dict` gives them or as a person writes them.

        Args:
            values: by field; those of no field are left out. A number may stand for a `Decimal`

        Raises:
            InvalidMessage: one does not fit, or is missing

        """
        refuse_other(values, cls.__qualname__)
        return from_plain(cls, dict(values), cls.__qualname__)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """What pydantic asks a class that it does not know, such as the type of a FastAPI body."""
        # Here, since it imports pydantic.
        from .pydantic_schema import schema_of  # noqa: PLC0415

        return schema_of(cls, handler)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """As above, for its documents."""
        described = handler.resolve_ref_schema(handler(schema))
        described["title"] = cls.__name__
        said = cls.__dict__.get("__doc__")
        if said:
            described["description"] = inspect.cleandoc(said)
        return described


class Event(Message, frozen=True):
    """A fact, named in the past tense.

    A subclass is a plain annotated class; it is built by keyword or in field order, is immutable
    and compares by value. Class keywords: `name`, the whole wire name, or `version`, a whole
    number from 1; without them the wire name is ``<Domain>.<Class>.v1``.

    Raises:
        DefinitionError: a field has no annotation, or the name or version is malformed

    """


class Command(Message, Generic[R_co], frozen=True):
    """A request to one aggregate, named in the imperative. Defined as an `Event` is.

    ``class Pay(Command[Paid | Failed])`` says which events come of it: `ask` answers with a list of
    those, and a type checker holds the handler to them.
    """


class UnknownEvent(Event, frozen=True):
    """An event whose class is not here: what is read in its place.

    Its `type` is the wire name, its `data` the fields as plain values.
    """

    type: str
    data: dict[str, Any]


class UnknownCommand(Command, frozen=True):
    """A command whose class is not here: what is read in its place. As `UnknownEvent`."""

    type: str
    data: dict[str, Any]
