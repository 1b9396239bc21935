"""An id from outside that stands for something already: whether for the same, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import from_micros
from ..errors import IdReused
from ..messages.content import unversioned
from ..store import CommandRecord, CommandResult, Duplicate, IdTaken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model.registry import Registry
    from ..store import EventRecord, GivenCommand

__all__ = ["answer_before", "judged", "together"]

SHOWN = 5
"""Refused entries of a batch that its error speaks of one by one."""


def judged(
    registry: Registry, taken: IdTaken, record: CommandRecord | EventRecord
) -> Duplicate | IdReused:
    """What an id that stands for something else comes to.

    Another version of the same type, in the same stream, is the same: classes change, and what was
    sent before the change is sent again behind it. Its content cannot be compared.
    """
    is_same = (
        taken.is_given
        and taken.type != record.type
        and taken.stream == record.stream
        and unversioned(registry.name_today(taken.type)) == unversioned(record.type)
    )
    if is_same and (taken.position or taken.result is not None):
        return Duplicate(taken.position, taken.result)
    first = f"the {taken.type}"
    when = from_micros(taken.time).isoformat()
    if not taken.is_given:
        text = (
            f"event_id={taken.id!r} is the id that the store gave to {first} at position "
            f"{taken.position}, in stream {taken.stream!r}; publish this event under another id, "
            f"or under none"
        )
    elif taken.position:
        text = (
            f"event_id={taken.id!r} is that of {first} at position {taken.position}, in stream "
            f"{taken.stream!r}, published {when}; this {record.type} in {record.stream!r} is "
            f"another event, and was not stored: publish it under another id"
        )
    else:
        mend = "ask again when it is carried out" if is_same else "send it under another id"
        text = (
            f"command_id={taken.id!r} is that of {first} for {taken.stream!r}, sent {when}; this "
            f"{record.type} for {record.stream!r} is another command, and was not carried out: "
            f"{mend}"
        )
    error = IdReused(text)
    error.id, error.type, error.stream = taken.id, taken.type, taken.stream
    error.time, error.position = from_micros(taken.time), taken.position
    return error


def answer_before(
    registry: Registry, first: GivenCommand | None, record: CommandRecord
) -> CommandResult | IdReused | None:
    """What is answered to a command because of what its id stands for; None if nothing yet."""
    if first is None:
        return None
    if not first.digest or first.digest == record.digest:
        return first.result
    taken = IdTaken(record.command_id, first.type, first.stream, first.time, result=first.result)
    outcome = judged(registry, taken, record)
    return outcome if isinstance(outcome, IdReused) else outcome.result


def together(errors: Sequence[IdReused]) -> IdReused:
    """One error of those for single entries of a batch."""
    first = errors[0]
    said = [f"entry {error.places[0]}: {error}" for error in errors[:SHOWN]]
    if len(errors) > SHOWN:
        said.append(f"and {len(errors) - SHOWN} more, see `places`")
    error = IdReused("; ".join(said))
    error.id, error.type, error.stream = first.id, first.type, first.stream
    error.time, error.position = first.time, first.position
    error.places = tuple(place for one in errors for place in one.places)
    return error
