"""Ids and names as text: the one place that makes them and takes them apart.

The store names an event `stream@version` and an instance's command
`process-instance@version.number`, or `process-instance@after<position>.number` if an after-effect
issued it; a stream is called `category-id`. Taking apart is total: any
text gives its parts, or None if no id that is made here looks like it. What looks like one may
have come from outside all the same, so a caller checks that what the text names has that id.
"""

from __future__ import annotations

from typing import NamedTuple

from .errors import InvalidName

__all__ = [
    "BY_PEOPLE",
    "ENDS",
    "MAX_NAME_BYTES",
    "PRUNED",
    "EffectIssue",
    "EventPlace",
    "Issue",
    "category_of",
    "check_name",
    "command_id_at",
    "effect_command_id_at",
    "effect_id_at",
    "event_id_at",
    "id_in_stream",
    "is_issued_by",
    "place_of_effect",
    "place_of_event",
    "place_of_issue",
    "place_of_transition",
    "stream_of_event",
    "transition_id_at",
]

MAX_NAME_BYTES = 400
"""The longest stream name, and the longest process name and id together, in bytes of UTF-8.

An LMDB key holds 511 bytes. The rest is for the version that follows the name and for what later
formats may need."""

PRUNED = "pruned"
"""The cause of the transition that stays of an instance whose others were pruned."""

BY_PEOPLE = frozenset({"refresh", "operator", PRUNED})
"""The causes of transitions that an operator made."""

ENDS = frozenset({"end", "ended"})
"""What an operator's transition has for a handler if it ended its instance.

``"ended"`` if the class's own method for that ran, and else ``"end"``."""

LAST_NUMBER = (1 << 63) - 1
"""The highest version; a longer number in an id names nothing."""

AFTER = "after"
"""What stands before the position of the event, in the id of a command of an after-effect."""

EVADES = "+"
"""Stands behind an id that the store makes, once for each id from outside that was in its way."""


class EventPlace(NamedTuple):
    """What the id of an event says that the store named."""

    stream: str
    version: int


class Issue(NamedTuple):
    """What the id of a command says that an instance issued: the transition, and which of its."""

    process: str
    instance: str
    version: int
    number: int


class EffectIssue(NamedTuple):
    """What the id of a command says that an after-effect issued: after which event, in whom."""

    process: str
    instance: str
    position: int
    number: int


def event_id_at(stream: str, version: int) -> str:
    """The id of an event that was given none: it says where the event is."""
    return f"{stream}@{version}"


def place_of_event(event_id: str) -> EventPlace | None:
    """Where the event with that id is, if the store named it."""
    stream, _, version = event_id.rstrip(EVADES).rpartition("@")
    number = _number(version)
    return EventPlace(stream, number) if stream and number else None


def stream_of_event(event_id: str) -> str | None:
    """The stream of the event with that id, if the store named it."""
    stream, _, version = event_id.rstrip(EVADES).rpartition("@")
    return stream if stream and _number(version) else None


def command_id_at(process: str, instance: str, version: int, number: int) -> str:
    """The id of a command that an instance issued.

    Args:
        process: the process manager's name
        instance: the instance's id
        version: of the transition that issued it
        number: its place among what the transition issued, from 0

    """
    return f"{process}-{instance}@{version}.{number}"


def place_of_issue(command_id: str) -> Issue | None:
    """The transition that issued the command with that id, if an instance issued it."""
    owner, _, place = command_id.rpartition("@")
    process, _, instance = owner.partition("-")
    version_text, _, number_text = place.partition(".")
    version = _number(version_text)
    number = 0 if number_text == "0" else _number(number_text)
    if not (process and instance and version) or number is None:
        return None
    return Issue(process, instance, version, number)


def effect_command_id_at(process: str, instance: str, position: int, number: int) -> str:
    """The id of a command that an after-effect issued: the same whenever the effect runs.

    Args:
        process: the process manager's name
        instance: the instance's id
        position: of the event that it acts after
        number: its place among what the effect issued, from 0

    """
    return f"{effect_id_at(process, instance, position)}.{number}"


def effect_id_at(process: str, instance: str, position: int) -> str:
    """The id under which people see an after-effect."""
    return f"{process}-{instance}@{AFTER}{position}"


def place_of_effect(command_id: str) -> EffectIssue | None:
    """The after-effect that issued the command with that id, if one did."""
    owner, _, place = command_id.rpartition("@")
    if not place.startswith(AFTER):
        return None
    process, _, instance = owner.partition("-")
    position_text, _, number_text = place.removeprefix(AFTER).partition(".")
    position = _number(position_text)
    number = 0 if number_text == "0" else _number(number_text)
    if not (process and instance and position) or number is None:
        return None
    return EffectIssue(process, instance, position, number)


def is_issued_by(command_id: str, process: str, instance: str) -> bool:
    """Whether the id is one of a command that this instance issued."""
    issue = place_of_issue(command_id)
    return issue is not None and issue[:2] == (process, instance)


def transition_id_at(process: str, instance: str, version: int) -> str:
    """The id under which people see a transition."""
    return f"{process}-{instance}@{version}"


def place_of_transition(transition_id: str) -> tuple[str, str, int] | None:
    """The process manager's name, the instance's id and the version that such an id says."""
    owner, _, version = transition_id.rpartition("@")
    process, _, instance = owner.partition("-")
    number = _number(version)
    return (process, instance, number) if process and instance and number else None


def category_of(stream: str) -> str:
    """The part of a stream's name before the first dash."""
    return stream.partition("-")[0]


def id_in_stream(stream: str) -> str:
    """The part of a stream's name behind the first dash: the aggregate's id."""
    return stream.partition("-")[2]


def _number(text: str) -> int | None:
    """A number from 1 as the ids have it; None for any other text."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 19 or text[0] == "0":
        return None
    number = int(text)
    return number if number <= LAST_NUMBER else None


def check_name(kind: str, name: str) -> None:
    """Refuse a name that cannot be part of a key.

    Args:
        kind: what the name is, for the message, such as ``"stream"``
        name: the name

    Raises:
        InvalidName: it is empty, holds a NUL, is not valid Unicode, or is too long

    """
    if type(name) is not str:
        raise InvalidName(f"a {kind} is a str, and this is a {type(name).__name__}")
    if name.isascii():
        size = len(name)
    else:
        try:
            size = len(name.encode())
        except UnicodeEncodeError as error:
            raise InvalidName(
                f"{kind} {name[:40]!r}… is not valid Unicode: {error.reason} at {error.start}"
            ) from None
    if not size:
        raise InvalidName(f"the {kind} is empty; give it at least one character")
    if size > MAX_NAME_BYTES:
        raise InvalidName(
            f"{kind} {name[:40]!r}… is {size} bytes long; at most {MAX_NAME_BYTES} are possible, "
            f"so shorten the id or use a digest of it"
        )
    if "\0" in name:
        raise InvalidName(f"{kind} {name!r} holds a NUL character, which ends a name in the store")
