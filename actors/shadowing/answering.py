"""A command that an instance issued, carried out again by the aggregate that it was for."""

from __future__ import annotations

import copy
from bdb import BdbQuit
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..authoring.aggregate import copy_of_aggregate
from ..errors import InvalidMessage, Rejected, UnknownMessage, type_of_error
from ..messages.types import UnknownCommand
from ..model.aggregate_definition import CANNOT_CHANGE
from ..store import place_of_effect, place_of_issue
from .differences import Found, Said, of_messages, said_of
from .guard import guard
from .outcomes import Kind

if TYPE_CHECKING:
    from ..authoring.aggregate import Aggregate
    from ..messages.types import Command
    from ..model.plans import AggregatePlan
    from ..model.registry import Registry
    from ..store import EffectRecord, EventRecord, PageReads, TransitionRecord

__all__ = ["Answer", "Answered", "Kept", "answer", "between", "kept_command", "refusal", "stored"]


class Kept(Struct, frozen=True, gc=False):
    """A command that is kept, since an instance issued it, and when that was."""

    type: str
    data: bytes
    time: int


class Answer(Struct, frozen=True, gc=False):
    """What came of a command: events, or why there are none.

    Attributes:
        events: that it made
        packed: the same by type and bytes
        kind: of what it is a difference if the other has events
        subject: why there are none: an error, or the command's type
        how: the same for people
        said: more about that, such as the reason of a refusal

    """

    events: Sequence[Said] = ()
    packed: Sequence[tuple[str, bytes]] = ()
    kind: Kind = "events"
    subject: str = ""
    how: str = ""
    said: str = ""


class Answered(Struct, frozen=True, gc=False):
    """An answer, the method that gave it, and what that reached for outside and was refused."""

    answer: Answer
    handler: str = ""
    reached: Sequence[str] = ()


def kept_command(stores: Sequence[PageReads], command_id: str) -> Kept | None:
    """The command with that id, if an instance or an after-effect issued it.

    Args:
        stores: one, or the partitions of a divided store
        command_id: of a command, whoever sent it

    Raises:
        CorruptRecord: what issued it is damaged

    """
    issue = place_of_issue(command_id)
    effect = None if issue is not None else place_of_effect(command_id)
    if issue is None and effect is None:
        return None
    partition = stores[0].partition
    if issue is not None and partition is not None:
        # An instance of a stateless process manager is where its event is, so it may be elsewhere.
        likely = stores[partition.of(issue.instance)]
        stores = (likely, *(one for one in stores if one is not likely))
    for store in stores:
        made: TransitionRecord | EffectRecord | None
        if issue is not None:
            made = store.stored_transition(issue.process, issue.instance, issue.version)
        else:
            assert effect is not None
            made = store.effect_at(effect.position, effect.process, effect.instance)
        for one, kind, data in made.commands if made is not None else ():
            # What looks like such an id may have come from outside all the same.
            if made is not None and one == command_id:
                return Kept(kind, data, made.time)
    return None


def answer(plan: AggregatePlan, aggregate: Aggregate, kept: Kept, stream: str) -> Answered:
    """Have a copy of an aggregate carry out a command, with nothing of the world in reach.

    Args:
        plan: of the aggregate's class
        aggregate: as its events had left it; it stays so
        kept: the command
        stream: whose aggregate it was for

    """
    definition, kind = plan.definition, plan.registry.name_today(kept.type)
    try:
        command = plan.registry.load_command(kept.type, kept.data)
    except (InvalidMessage, UnknownMessage) as error:
        how = f"{kind} cannot be read"
        return Answered(Answer(kind="unreadable", subject=kind, how=how, said=str(error)))
    handler = definition.handlers.get(type(command))
    if handler is None or type(command) is UnknownCommand:
        return Answered(Answer(kind="unhandled", subject=kind, how=f"{kind} has no handler"))
    watch, refused = guard(), list[str]()
    watch.refused = refused
    try:
        given = _decided(plan, aggregate, command, stream, kind)
    except (KeyboardInterrupt, BdbQuit):
        raise
    except Rejected as error:
        given = refusal(error.reason)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what comes of it
        why = type_of_error(error)
        given = Answer(kind="refusals", subject=why, how=f"raises {why}", said=f"{why}: {error}")
    finally:
        watch.refused = None
    return Answered(given, handler.name, tuple(dict.fromkeys(refused)) if refused else ())


def refusal(reason: str) -> Answer:
    """What comes of a command that is refused."""
    return Answer(kind="refusals", subject="Rejected", how="refuses the command", said=reason)


def stored(registry: Registry, records: Sequence[EventRecord]) -> Answer:
    """What came of a command that made these events.

    Raises:
        InvalidMessage: one cannot be read by the given code

    """
    said = [Said(registry.name_today(one.type), registry.load_event(one)) for one in records]
    return Answer(said)


def between(was: Answer, now: Answer) -> list[Found]:
    """All that differs between two answers to one command."""
    if was.kind == now.kind == "events":
        return list(of_messages("events", "make", was.events, now.events))
    if (was.kind, was.subject, was.how) == (now.kind, now.subject, now.how):
        if was.subject == "Rejected" and was.said != now.said:
            how = "refuses for another reason"
            return [Found("refusals", "reason", how, was.said, now.said)]
        return []
    if now.kind == "events":
        how = f"{was.how} no more"
        return [Found(was.kind, was.subject, how, was.said, said_of(now.events))]
    return [Found(now.kind, now.subject, now.how, was.said or said_of(was.events), now.said)]


def _decided(
    plan: AggregatePlan, aggregate: Aggregate, command: Command, stream: str, kind: str
) -> Answer:
    definition, names = plan.definition, plan.names
    if definition.stream_of(command) != stream:
        return Answer(kind="passed over", subject=kind, how=f"{kind} is for another aggregate")
    # What its handler does to the fields, or to what is in them, stays with the copy.
    values = _copied(aggregate.__dict__)
    mine = copy_of_aggregate(definition.cls, aggregate.id, aggregate.version, values)
    made = definition.decide(mine, command)
    return Answer(
        [Said(names[type(event)], event) for event, _, _ in made],
        [(names[type(event)], packed) for event, packed, _ in made],
    )


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    if all(type(one) in CANNOT_CHANGE for one in values.values()):
        return values.copy()
    return copy.deepcopy(values)
