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
    from collections.abc import Iterator

    from ..messages.types import Command
    from ..model.plans import ProcessPlan
    from ..store import TransitionRecord
    from .outcomes import Kind, Outcome

__all__ = ["Found", "differences"]


class Found(NamedTuple):
    """One difference.

    Attributes:
        kind: in what
        subject: in which: a field, a type of command, the name of a timeout
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


# Commands


class _Issued(NamedTuple):
    """A command: its type today, what it says, and when it leaves, 0 for at once."""

    type: str
    command: Command | bytes
    due: int


def _of_commands(
    plan: ProcessPlan, then: TransitionRecord, made: TransitionRecord
) -> Iterator[Found]:
    if then.commands == made.commands and (not then.commands or then.timers == made.timers):
        return
    before, after = _issued(plan, then), _issued(plan, made)
    counts = Counter(one.type for one in before)
    counts.subtract(one.type for one in after)
    for kind, count in counts.items():
        olds = [one for one in before if one.type == kind]
        news = [one for one in after if one.type == kind]
        if count:
            how = f"issues {kind}" if count < 0 else f"does not issue {kind}"
            yield Found("commands", kind, how, _said(olds), _said(news))
        for old, new in zip(olds, news, strict=False):
            yield from _of_command(old, new)
    if [one.type for one in before] != [one.type for one in after] and not any(counts.values()):
        yield Found("commands", "", "issues in another order", _said(before), _said(after))


def _of_command(old: _Issued, new: _Issued) -> Iterator[Found]:
    if old.due != new.due:
        how = f"{old.type} leaves at another time"
        yield Found("commands", old.type, how, _when(old.due), _when(new.due))
    if not differ(old.command, new.command):
        return
    if type(old.command) is not type(new.command) or isinstance(old.command, bytes):
        yield Found(
            "commands", old.type, f"{old.type} says something else", *map(shown, (old[1], new[1]))
        )
        return
    for field in type(old.command).__struct_fields__:
        one, other = getattr(old.command, field, None), getattr(new.command, field, None)
        if differ(one, other):
            how = f"{old.type} has another {field}"
            yield Found("commands", f"{old.type} {field}", how, shown(one), shown(other))


def _issued(plan: ProcessPlan, transition: TransitionRecord) -> list[_Issued]:
    registry, timers = plan.registry, transition.timers or {}
    found: list[_Issued] = []
    for command_id, kind, data in transition.commands:
        command: Command | bytes
        try:
            command = registry.load_command(kind, data)
        except (InvalidMessage, UnknownMessage):
            command = data
        found.append(_Issued(registry.name_today(kind), command, timers.get(command_id, 0)))
    return found


def _said(issued: list[_Issued]) -> str:
    return ", ".join(shown(one.command) for one in issued) or "none"


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
    for field, value in after.items():
        if differ(before.get(field), value):
            yield Found(
                "state", field, f"{field} is another", shown(before.get(field)), shown(value)
            )
    if then.state_version == made.state_version:
        for field, value in _dropped(then, after).items():
            yield Found("state", field, f"{field} is not kept", shown(value), "none")


def _dropped(then: TransitionRecord, after: dict[str, Any]) -> dict[str, Any]:
    """The stored fields that the class does not have any more."""
    stored: dict[str, Any] = msgpack.unpackb(then.state, strict_map_key=False)
    return {name: value for name, value in stored.items() if name not in after}
