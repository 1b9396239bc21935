"""What can happen to an instance, as plain data. Each carries the time at which it is decided."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from ..messages.types import Event
from ..store import EventRecord, RefusalRecord, TimerRecord
from .process_state import ProcessState

__all__ = [
    "Adjust",
    "Amend",
    "CommandDue",
    "CommandRefused",
    "End",
    "Erase",
    "EventDelivered",
    "Operation",
    "Rebuilt",
    "Refresh",
    "Reload",
    "RetryDue",
    "Stimulus",
    "TimeoutDue",
]


class EventDelivered(Struct, gc=False):
    """An event for one instance.

    Attributes:
        record: as it is stored
        event: this instance's own copy; None while it is still to be read
        learnt: the field, and the values of it, by which the instance was found, if so
        was_held: whether it waited in the store for this instance
        is_shared: whether other instances are given the same object, so that this one's own copy
            is made when it is handled
        now: the time, in microseconds
        refreshing: whether state is being rebuilt, so that nothing comes of it but state

    """

    record: EventRecord
    event: Event | None = None
    learnt: tuple[str, list[str]] | None = None
    was_held: bool = False
    now: int = 0
    refreshing: bool = False
    is_shared: bool = False


class TimeoutDue(Struct, gc=False):
    """The time of a timeout has come.

    Attributes:
        timer: which
        now: the time, in microseconds
        refreshing: as that of an event
        is_first: whether it goes before the event in hand, which was stored after it was due

    """

    timer: TimerRecord
    now: int = 0
    refreshing: bool = False
    is_first: bool = False


class CommandDue(Struct, gc=False):
    """The time of a command that was held back has come; the instance may have taken it back."""

    timer: TimerRecord
    now: int = 0
    refreshing: bool = False


class RetryDue(Struct, gc=False):
    """The wait before another attempt at what failed is over."""

    timer: TimerRecord
    now: int = 0
    refreshing: bool = False


class CommandRefused(Struct, gc=False):
    """An aggregate refused a command that the instance issued."""

    refusal: RefusalRecord
    now: int = 0
    refreshing: bool = False


class Reload(Struct, gc=False):
    """Something was changed in the store for this instance: it is to be read again."""

    now: int = 0


class Rebuilt(Struct, gc=False):
    """What an instance comes to when it is decided anew, from the beginning of the log.

    Attributes:
        version: of the instance as its log was read; of a later one, this is not what it comes to
        state: the instance, whose fields and learnt keys count; None if nothing concerned it
        seen: the highest position of an event that made no transition then, and was handled now

    """

    version: int
    state: ProcessState | None = None
    seen: int = 0


class Refresh(Struct, gc=False):
    """An operator has the state rebuilt from the events.

    Attributes:
        until: the position up to which all that concerns the instance is replayed; 0 for what made
            its transitions
        rebuilt: what it comes to, if that was found out before
        handler: what the transition says of it: ``"refresh"`` or ``"rebuild"``
        by: who asks

    """

    now: int = 0
    until: int = 0
    rebuilt: Rebuilt | None = None
    handler: str = "refresh"
    by: str | None = None


class Adjust(Struct, gc=False):
    """An operator moves what is due to another time, or cancels it with 0."""

    name: str
    due: int
    by: str | None
    now: int = 0


class End(Struct, gc=False):
    """An operator ends the instance.

    Attributes:
        reason: why
        by: who asks
        version: of the instance as the operator saw it; None for whatever it is
        compensates: whether the class's method for that runs, if it has one
        now: the time, in microseconds
        refreshing: as that of an event

    """

    reason: str
    by: str | None
    version: int | None = None
    compensates: bool = True
    now: int = 0
    refreshing: bool = False


class Amend(Struct, gc=False):
    """An operator gives fields other values.

    Attributes:
        fields: the new values, by name
        by: who asks
        version: as that of an end
        retries: whether what holds up the instance is tried again
        now: the time, in microseconds

    """

    fields: dict[str, Any]
    by: str | None
    version: int | None = None
    retries: bool = False
    now: int = 0


class Erase(Struct, gc=False):
    """An operator has what the instance knew erased; it ends with that."""

    by: str | None
    now: int = 0


Stimulus: TypeAlias = EventDelivered | TimeoutDue | RetryDue | CommandDue | CommandRefused | Reload
"""What happens by itself; an instance that fails at it tries again, skips it or parks it."""

Operation: TypeAlias = Refresh | Adjust | End | Amend | Erase
"""What an operator asks for, who waits for the answer and hears of an error."""
