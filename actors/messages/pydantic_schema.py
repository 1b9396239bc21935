"""Messages as pydantic sees them: what FastAPI takes in a body, and shows in its documents.

Nothing imports this but pydantic's own question for a schema, so pydantic need not be installed.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs
from pydantic_core import core_schema

from .fields import hints_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["schema_of"]

_open: ContextVar[dict[type, list[str]]] = ContextVar("_open")
"""The messages whose schemas are being made, and the names by which their own fields asked."""


def schema_of(cls: type[msgspec.Struct], handler: GetCoreSchemaHandler) -> CoreSchema:
    """What pydantic validates and writes a message by: its fields, each as pydantic has its type.

    Args:
        cls: the message
        handler: pydantic's own, which knows all other types

    Raises:
        DefinitionError: an annotation cannot be read

    """
    being_made = _open.get({})
    name = f"{cls.__module__}.{cls.__qualname__}:{id(cls)}"
    if cls in being_made:
        # It holds itself.
        being_made[cls].append(name)
        return core_schema.definition_reference_schema(name)
    token = _open.set(being_made | {cls: []})
    try:
        # Whichever kind of schema it is, it can have a name.
        made: Any = _schema_by_fields(cls, handler.generate_schema)
        is_recursive = bool(_open.get()[cls])
    finally:
        _open.reset(token)
    if not is_recursive:
        return made  # type: ignore[no-any-return] # as above
    made["ref"] = name
    return core_schema.definitions_schema(core_schema.definition_reference_schema(name), [made])


def _schema_by_fields(
    cls: type[msgspec.Struct], generate: Callable[[Any], CoreSchema]
) -> CoreSchema:
    hints = hints_of(cls)
    fields = {
        one.encode_name: core_schema.typed_dict_field(
            _with_default(one, generate(hints[one.name])), required=one.required
        )
        for one in structs.fields(cls)
    }
    by_fields = core_schema.typed_dict_schema(fields, cls_name=cls.__name__)

    def make(value: Any, validate: Callable[[Any], dict[str, Any]]) -> Any:
        return value if isinstance(value, cls) else cls(**validate(value))

    # Errors name it.
    make.__name__ = cls.__name__

    def take_apart(message: msgspec.Struct) -> dict[str, Any]:
        return {name: getattr(message, name) for name in cls.__struct_fields__}

    return core_schema.no_info_wrap_validator_function(
        make,
        by_fields,
        serialization=core_schema.plain_serializer_function_ser_schema(
            take_apart, return_schema=by_fields
        ),
    )


def _with_default(field: structs.FieldInfo, schema: CoreSchema) -> CoreSchema:
    if field.default_factory is not msgspec.NODEFAULT:
        return core_schema.with_default_schema(schema, default_factory=field.default_factory)
    if field.default is not msgspec.NODEFAULT:
        return core_schema.with_default_schema(schema, default=field.default)
    return schema
