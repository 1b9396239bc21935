"""What is appended to the log when an instance ends to whose end other classes listen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..model.completions import stream_for
from ..store import BY_PEOPLE, Append, EventRecord, transition_id_at

if TYPE_CHECKING:
    from ..authoring.cause import Cause
    from ..store import TransitionRecord

__all__ = ["completion_of"]


def completion_of(
    wire_name: str, process: str, instance: str, cause: Cause, transition: TransitionRecord
) -> Append:
    """The event that an instance has ended, for its step.

    Args:
        wire_name: of the event
        process: the process manager's name
        instance: the instance's id
        cause: what ended it, whose chain goes on
        transition: that ended it

    """
    said = {
        "id": instance,
        # As it is packed already.
        "state": msgspec.Raw(transition.state),
        "handler": transition.handler,
        "version": transition.version,
        "is_by_operator": transition.cause in BY_PEOPLE,
        "state_version": transition.state_version,
    }
    stream = stream_for(process, instance)
    event = EventRecord(
        wire_name,
        stream,
        0,
        0,
        msgspec.msgpack.encode(said),
        "",
        cause.correlation_id,
        transition_id_at(process, instance, transition.version),
        cause.headers if cause.event is None else cause.event.headers,
        cause.depth + 1,
    )
    return Append(stream, None, [event])
