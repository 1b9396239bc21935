"""What operators write into an instance's log: other values for its fields, and who asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..errors import InvalidMessage, shown
from ..messages.codec import dump_headers, load_headers
from ..store import BY_PEOPLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.process_definition import ProcessDefinition
    from ..store import TransitionRecord
    from .process_state import ProcessState

__all__ = [
    "BY_OPERATOR",
    "actor_in",
    "amended",
    "amendment_in",
    "checked",
    "headers_of",
    "with_values",
]

BY_OPERATOR = "operator"
"""The cause of what an operator did to one instance."""

_ACTOR, _AMENDED = "actor", "amended"
"""Headers of such a transition: who did it, and which fields have other values."""


def headers_of(by: str | None, fields: list[str] | None = None) -> bytes | None:
    """The headers of an operator's transition.

    Args:
        by: who asks
        fields: those that were given other values

    """
    said: dict[str, Any] = {} if by is None else {_ACTOR: by}
    if fields:
        said[_AMENDED] = fields
    return dump_headers(said)


def actor_in(transition: TransitionRecord) -> str | None:
    """Who asked for what an operator did, if that was said; None of all else."""
    if transition.cause not in BY_PEOPLE:
        return None
    by = load_headers(transition.headers).get(_ACTOR)
    return by if isinstance(by, str) else None


def amendment_in(definition: ProcessDefinition, transition: TransitionRecord) -> dict[str, Any]:
    """The values that an operator gave, of fields that there are today; none if that is not it.

    Raises:
        UnknownMessage: nothing turns fields of that version into today's
        InvalidMessage: the fields do not fit the class

    """
    names = load_headers(transition.headers).get(_AMENDED)
    if transition.cause != BY_OPERATOR or not names:
        return {}
    values = definition.state_of(transition)
    return {name: values[name] for name in names if name in values}


def checked(definition: ProcessDefinition, fields: Mapping[str, Any]) -> dict[str, Any]:
    """New values of their annotated types, which share nothing with what was given.

    Raises:
        InvalidMessage: there are none, a field is not there or names the instance, or a value does
            not fit

    """
    state, where = definition.state, definition.cls.__qualname__
    if not fields:
        raise InvalidMessage(f"nothing of {where} was to be amended; give fields with values")
    for name in fields:
        if name not in state.fields:
            there = ", ".join(state.fields) or "none"
            raise InvalidMessage(f"{where} has no field {shown(name)}; it has {there}")
        if name in definition.naming_fields:
            raise InvalidMessage(
                f"{where}.{name} says which instance it is, so it cannot be amended; end this one, "
                f"and start another"
            )
    return {name: state.brought(name, value) for name, value in fields.items()}


def amended(
    definition: ProcessDefinition, state: ProcessState, fields: dict[str, Any]
) -> ProcessState:
    """An instance whose fields have other values.

    Raises:
        InvalidMessage: a value does not fit its annotation

    """
    return with_values(definition, state, state.restore(definition).__dict__ | fields)


def with_values(
    definition: ProcessDefinition, state: ProcessState, values: dict[str, Any]
) -> ProcessState:
    """An instance with these fields, packed by its class and stored whole.

    Raises:
        InvalidMessage: a value does not fit its annotation

    """
    fields, back = definition.state.exchange(values)
    indexed = definition.state.keys_of(back) if definition.state.indexed else state.indexed
    return replace(
        state,
        fields=fields,
        fields_version=definition.state_version,
        indexed=indexed,
        values=None,
        base=0,
        weight=0,
        packed=None,
    )
