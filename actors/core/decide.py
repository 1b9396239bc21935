"""From what a handler did to what is written: causes, transitions, commands, timers, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InfiniteLoopError
from ..store import (
    CommandRecord,
    EventRecord,
    Step,
    StepExtras,
    TimerRecord,
    TransitionRecord,
    command_id_at,
    is_issued_by,
)

if TYPE_CHECKING:
    from ..authoring.cause import Cause
    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from ..engine.instance_actor import InstanceActor
    from ..engine.router import Router

__all__ = ["learn", "make_step", "refuse_loop"]


def make_step(
    actor: InstanceActor, process: ProcessManager, cause: Cause, handler: Handler
) -> Step:
    """The transition that a handler made, with all that follows; the actor moves on to it."""
    router = actor.router
    definition = router.definition
    unit = process._unit  # noqa: SLF001 - a friend
    instance, correlation_id = actor.instance, cause.correlation_id
    is_complete = handler.end or unit.complete or definition.stateless
    version = actor.version + 1
    state = definition.state.dump(process.__dict__)
    now = unit.now
    commands: list[tuple[str, str, bytes]] = []
    queued: list[CommandRecord] = []
    extras: StepExtras | None = None
    for number, (command, data, shared, due) in enumerate(unit.issued):
        kind, stream = router.registry.address(command)
        command_id = command_id_at(definition.name, instance, version, number)
        commands.append((command_id, kind, data))
        record = CommandRecord(
            command_id,
            kind,
            stream,
            now,
            data,
            correlation_id,
            cause.id,
            definition.name,
            instance,
            version,
            cause.depth,
            0,
            shared,
        )
        if due:
            extras = extras or StepExtras(timers=[], cancel=[])
            extras.timers.append(
                TimerRecord(due, definition.name, instance, command_id, "command", record)
            )
        else:
            queued.append(record)
    timers = _without_left(actor, now) if actor.timers else actor.timers
    asked = unit.timers or {}
    if extras is not None or asked or (is_complete and timers):
        extras = extras or StepExtras(timers=[], cancel=[])
        timers = _set_timers(actor, timers, asked, extras, is_complete=is_complete)
    if cause.name and cause.name not in asked and timers.get(cause.name) == cause.due:
        timers = {name: due for name, due in timers.items() if name != cause.name}
    if definition.state.indexed:
        extras = learn(actor, process, extras)
    unit.clear()
    unit.version = actor.version = version
    actor.seen = max(actor.seen, cause.position)
    actor.state, actor.state_version = state, definition.state_version
    actor.is_complete = is_complete
    actor.timers = timers
    actor.correlation_id = correlation_id
    transition = TransitionRecord(
        version,
        now,
        handler.name,
        is_complete,
        cause.id,
        correlation_id,
        actor.seen,
        state,
        commands,
        timers or None,
        cause.note,
        definition.state_version,
    )
    return Step(None, definition.name, instance, transition, queued, extras=extras)


def _without_left(actor: InstanceActor, now: int) -> dict[str, int]:
    """What is due later, without the commands that were held back and have left since."""
    timers = actor.timers
    late = [(what, due) for what, due in timers.items() if due <= now]
    if not late or actor.handed != actor.answered:
        # Nothing, or some of it is not on disk yet; then it is looked for another time.
        return timers
    name, timer_service = actor.router.definition.name, actor.router.timer_service
    for what, due in late:
        if not is_issued_by(what, name, actor.instance):
            # A timeout: it goes when it fires.
            continue
        if timer_service.held_back(TimerRecord(due, name, actor.instance, what, "command")) is None:
            timers = {other: when for other, when in timers.items() if other != what}
    return timers


def _set_timers(
    actor: InstanceActor,
    before: dict[str, int],
    asked: dict[str, int | None],
    extras: StepExtras,
    *,
    is_complete: bool,
) -> dict[str, int]:
    """Note what is set and cancelled; returns all that is due later."""
    process, instance = actor.router.definition.name, actor.instance
    timeouts = actor.router.definition.timeouts
    timers = dict(before)
    for held in extras.timers:
        timers[held.name] = held.due
    for what, due in asked.items():
        if due is None:
            timers.pop(what, None)
        else:
            timers[what] = due
    if is_complete:
        # A timeout of a completed instance never fires; commands held back still leave.
        timers = {what: due for what, due in timers.items() if what not in timeouts}
    if extras.timers:
        # Without the commands that were taken back in the step that issued them.
        extras.timers = [held for held in extras.timers if held.name in timers]
    for what, due in asked.items():
        if due is not None and what in timers:
            extras.timers.append(TimerRecord(due, process, instance, what, "timeout"))
    for what, due in before.items():
        if timers.get(what) != due:
            kind = "timeout" if what in timeouts else "command"
            extras.cancel.append(TimerRecord(due, process, instance, what, kind))
    return timers


def learn(
    actor: InstanceActor, process: ProcessManager, extras: StepExtras | None
) -> StepExtras | None:
    """Note which learnt keys changed."""
    keys = actor.router.definition.state.keys_of(process.__dict__)
    before = actor.indexed
    changed = [
        (field, before.get(field), value)
        for field, value in keys.items()
        if before.get(field) != value
    ]
    if changed:
        extras = extras or StepExtras()
        extras.index = changed
        actor.indexed = keys
    return extras


SAMPLE = 8
"""Every so many links, a chain is looked at for coming back to itself."""


def refuse_loop(
    router: Router, record: EventRecord, handler: Handler, *, is_suspicious: bool
) -> None:
    """Stop a chain that is too long, or that made the very same event before.

    Args:
        router: of the process manager
        record: the event
        handler: that would run
        is_suspicious: whether the instance's last event was just the same

    Raises:
        InfiniteLoopError: with the chain

    """
    depth = record.depth
    if not is_suspicious and depth < router.max_chain and depth % SAMPLE:
        return
    chain = [record]
    seen = record
    while len(chain) <= SAMPLE:
        cause = router.cause_of(seen)
        if cause is None:
            break
        chain.append(cause)
        seen = cause
    same = any(
        (one.type, one.stream, one.data) == (record.type, record.stream, record.data)
        for one in chain[1:]
    )
    if same or depth >= router.max_chain:
        told = " <- ".join(f"{one.type.split('.')[1]} ({one.event_id})" for one in chain)
        why = "makes the very event that caused it" if same else f"is {depth} events long"
        raise InfiniteLoopError(
            f"{router.definition.name}.{handler.name}: the chain {why}: {told}. End it in the "
            f"handler, or raise max_chain if it is meant to be this long"
        )
