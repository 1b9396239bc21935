"""What differs between two outcomes of one cause."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from ..clock import from_micros
from ..errors import InvalidMessage, UnknownMessage, shown
from ..messages.codec import differ
from ..store import is_issued_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..messages.types import Command, Message
    from ..model.plans import ProcessPlan
    from ..store import TransitionRecord
    from .outcomes import Kind, Outcome

__all__ = [
    "Found",
    "Said",
    "differences",
    "dropped_fields",
    "issued_by",
    "of_fields",
    "of_messages",
    "said_of",
]


class Found(NamedTuple):
    """One difference.

    Attributes:
        kind: in what
        subject: in which: a field, a type of message, the name of a timeout
        how: the same for people
        before: what is stored, cut short
        now: what comes of it now, cut short

    """

    kind: Kind
    subject: str
    how: str
    before: str
    now: str


def differences(plan: ProcessPlan, instance: str, was: Outcome, now: Outcome) -> list[Found]:
    """All that differs; nothing where the two come to the same.

    Args:
        plan: of the process manager; by its code both are read
        instance: its id
        was: what is stored, or was decided before
        now: what was decided now

    """
    then, made = was.transition, now.transition
    if then is None or made is None:
        if (was.kind, was.subject, was.how) == (now.kind, now.subject, now.how) and then is made:
            return []
        why = now if made is None else was
        return [Found(why.kind, why.subject, why.how, was.said, now.said)]
    if (
        made.state == then.state
        and made.state_version == then.state_version
        and made.commands == then.commands
        and made.timers == then.timers
        and made.is_complete is then.is_complete
    ):
        return []
    found = list(_of_completion(then, made))
    found += _of_commands(plan, then, made)
    found += _of_timeouts(plan, instance, then, made)
    found += _of_states(plan, then, made)
    return found


def _of_completion(then: TransitionRecord, made: TransitionRecord) -> Iterator[Found]:
    if then.is_complete is not made.is_complete:
        words = ("goes on", "ends")
        how = f"the process {words[made.is_complete]}, and {words[then.is_complete]} as stored"
        yield Found("completion", "", how, words[then.is_complete], words[made.is_complete])


# Messages


class Said(NamedTuple):
    """A command or an event: its type today, what it says, and when it leaves, 0 for at once."""

    type: str
    message: Message | bytes
    due: int = 0


def of_messages(
    kind: Kind, verb: str, before: Sequence[Said], after: Sequence[Said]
) -> Iterator[Found]:
    """What differs between the messages that came of one cause.

    Args:
        kind: of the differences
        verb: what is done to have such a message, as of many: ``"issue"`` or ``"make"``
        before: those that are stored, or were there before
        after: those that there are now

    """
    counts = Counter(one.type for one in before)
    counts.subtract(one.type for one in after)
    for name, count in counts.items():
        olds = [one for one in before if one.type == name]
        news = [one for one in after if one.type == name]
        if count:
            how = f"{verb}s {name}" if count < 0 else f"does not {verb} {name}"
            yield Found(kind, name, how, said_of(olds), said_of(news))
        for old, new in zip(olds, news, strict=False):
            yield from _of_message(kind, old, new)
    if [one.type for one in before] != [one.type for one in after] and not any(counts.values()):
        yield Found(kind, "", f"{verb}s in another order", said_of(before), said_of(after))


def said_of(messages: Sequence[Said]) -> str:
    """Messages as a report shows them."""
    return ", ".join(shown(one.message) for one in messages) or "none"


def _of_message(kind: Kind, old: Said, new: Said) -> Iterator[Found]:
    if old.due != new.due:
        how = f"{old.type} leaves at another time"
        yield Found(kind, old.type, how, _when(old.due), _when(new.due))
    if not differ(old.message, new.message):
        return
    if type(old.message) is not type(new.message) or isinstance(old.message, bytes):
        how = f"{old.type} says something else"
        yield Found(kind, old.type, how, shown(old.message), shown(new.message))
        return
    for field in type(old.message).__struct_fields__:
        one, other = getattr(old.message, field, None), getattr(new.message, field, None)
        if differ(one, other):
            how = f"{old.type} has another {field}"
            yield Found(kind, f"{old.type} {field}", how, shown(one), shown(other))


# Commands


def _of_commands(
    plan: ProcessPlan, then: TransitionRecord, made: TransitionRecord
) -> Iterator[Found]:
    if then.commands == made.commands and (not then.commands or then.timers == made.timers):
        return
    yield from of_messages("commands", "issue", issued_by(plan, then), issued_by(plan, made))


def issued_by(plan: ProcessPlan, transition: TransitionRecord) -> list[Said]:
    """The commands that a transition issued."""
    registry, timers = plan.registry, transition.timers or {}
    found: list[Said] = []
    for command_id, kind, data in transition.commands:
        command: Command | bytes
        try:
            command = registry.load_command(kind, data)
        except (InvalidMessage, UnknownMessage):
            command = data
        found.append(Said(registry.name_today(kind), command, timers.get(command_id, 0)))
    return found


# Timeouts


def _of_timeouts(
    plan: ProcessPlan, instance: str, then: TransitionRecord, made: TransitionRecord
) -> Iterator[Found]:
    if then.timers == made.timers:
        return
    before, after = then.timers or {}, made.timers or {}
    for name in dict.fromkeys((*before, *after)):
        if is_issued_by(name, plan.name, instance) or name not in plan.definition.timeouts:
            # What holds a command back is looked at with it; one without a method, at the end.
            continue
        old, new = before.get(name, 0), after.get(name, 0)
        if old != new:
            how = "is due at another time" if old and new else "is set" if new else "is not set"
            yield Found("timeouts", name, f"{name} {how}", _when(old), _when(new))


def _when(due: int) -> str:
    return from_micros(due).isoformat() if due else "none"


# State


def _of_states(
    plan: ProcessPlan, then: TransitionRecord, made: TransitionRecord
) -> Iterator[Found]:
    if then.state == made.state and then.state_version == made.state_version:
        return
    definition = plan.definition
    try:
        before = definition.state_of(then)
    except (InvalidMessage, UnknownMessage) as error:
        yield Found("unreadable", "state", "its state cannot be read", str(error), "")
        return
    after = definition.state_of(made)
    yield from of_fields(before, after)
    if then.state_version == made.state_version:
        stored: dict[str, Any] = msgpack.unpackb(then.state, strict_map_key=False)
        yield from dropped_fields(stored, after)


def of_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Found]:
    """What differs between two states in the fields that both have."""
    for field, value in after.items():
        if field in before and differ(before[field], value):
            how = f"{field} is another"
            yield Found("state", field, how, shown(before[field]), shown(value))


def dropped_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Found]:
    """The fields of a state that another has not."""
    for field, value in before.items():
        if field not in after:
            yield Found("state", field, f"{field} is not kept", shown(value), "none")
