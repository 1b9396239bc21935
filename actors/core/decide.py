"""From what a handler did to what is written: causes, transitions, commands, timers, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ..store import (
    Besides,
    Block,
    CommandRecord,
    EventRecord,
    RefusalRecord,
    Step,
    TimerRecord,
    TransitionRecord,
)

from ..clock import from_micros
from ..authoring.context import Context
from ..errors import InfiniteLoopError

if TYPE_CHECKING:
    from ..authoring.decorators import Handler
    from ..engine.process_actor import InstanceActor
    from ..authoring.process_manager import ProcessManager
    from ..engine.router import Router

__all__ = ["Cause", "learn", "make_step", "refuse_loop"]


class Cause(Struct, gc=False):
    """What made an instance do something: an event, a timeout, or a refusal.

    `id` is the event's id, ``timeout:<name>``, or the refused command's id.
    """

    id: str
    type: str
    correlation_id: str
    depth: int = 0
    position: int = 0
    event: EventRecord | None = None
    name: str = ""
    due: int = 0
    ticket: int = 0
    note: str | None = None
    time: int = 0
    causation_id: str | None = None

    @classmethod
    def of_event(cls, record: EventRecord) -> Cause:
        return cls(
            record.event_id,
            record.type,
            record.correlation_id,
            record.depth,
            record.position,
            record,
        )

    @classmethod
    def of_timer(cls, timer: TimerRecord, correlation_id: str) -> Cause:
        cause = f"timeout:{timer.name}"
        due = timer.due
        return cls(cause, "timeout", correlation_id, name=timer.name, due=due, time=due)

    @classmethod
    def of_refusal(cls, refusal: RefusalRecord) -> Cause:
        command = refusal.command
        return cls(
            command.command_id,
            command.type,
            command.correlation_id,
            command.depth,
            ticket=refusal.ticket,
            note=refusal.reason,
            time=command.time,
            causation_id=command.causation_id,
        )

    def context(self, attempt: int, *, refreshing: bool = False) -> Context:
        """What the handler may know of it."""
        if self.event is not None:
            return Context.of(self.event, attempt, refreshing=refreshing)
        return Context(
            event_id=self.id,
            type=self.type,
            stream="",
            position=0,
            time=from_micros(self.time),
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
            attempt=attempt,
            refreshing=refreshing,
        )

    def block(self, kind: str, attempts: int, due: int) -> Block:
        """Why the instance goes no further, when this failed."""
        return Block(kind, self.position, self.name, self.ticket, attempts, due)


def make_step(
    actor: InstanceActor, process: ProcessManager, cause: Cause, handler: Handler
) -> Step:
    """The transition that a handler made, with all that follows; the actor moves on to it."""
    router = actor.router
    definition = router.definition
    desk = process._desk  # noqa: SLF001 - a friend
    instance, correlation_id = actor.instance, cause.correlation_id
    is_complete = handler.end or desk.complete or definition.stateless
    version = actor.version + 1
    state = definition.state.dump(process.__dict__)
    now = desk.now
    commands: list[tuple[str, str, bytes]] = []
    queued: list[CommandRecord] = []
    besides: Besides | None = None
    for number, (command, data, shared, due) in enumerate(desk.issued):
        kind, stream = router.catalog.address(command)
        command_id = f"{definition.name}-{instance}@{version}.{number}"
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
            besides = besides or Besides(timers=[], cancel=[])
            besides.timers.append(
                TimerRecord(due, definition.name, instance, command_id, "command", record)
            )
        else:
            queued.append(record)
    timers = _without_left(actor, now) if actor.timers else actor.timers
    asked = desk.timers or {}
    if besides is not None or asked or (is_complete and timers):
        besides = besides or Besides(timers=[], cancel=[])
        timers = _set_timers(actor, timers, asked, besides, is_complete=is_complete)
    if cause.name and cause.name not in asked and timers.get(cause.name) == cause.due:
        timers = {name: due for name, due in timers.items() if name != cause.name}
    if definition.state.indexed:
        besides = learn(actor, process, besides)
    desk.clear()
    desk.version = actor.version = version
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
    return Step(None, definition.name, instance, transition, queued, besides=besides)


def _without_left(actor: InstanceActor, now: int) -> dict[str, int]:
    """What is due later, without the commands that were held back and have left since."""
    timers = actor.timers
    late = [(what, due) for what, due in timers.items() if due <= now]
    if not late or actor.handed != actor.answered:
        # Nothing, or some of it is not on disk yet; then it is looked for another time.
        return timers
    name, timekeeper = actor.router.definition.name, actor.router.timekeeper
    for what, due in late:
        if not what.startswith(f"{name}-{actor.instance}@"):
            # A timeout: it goes when it fires.
            continue
        if timekeeper.held_back(TimerRecord(due, name, actor.instance, what, "command")) is None:
            timers = {other: when for other, when in timers.items() if other != what}
    return timers


def _set_timers(
    actor: InstanceActor,
    before: dict[str, int],
    asked: dict[str, int | None],
    besides: Besides,
    *,
    is_complete: bool,
) -> dict[str, int]:
    """Note what is set and cancelled; returns all that is due later."""
    process, instance = actor.router.definition.name, actor.instance
    timeouts = actor.router.definition.timeouts
    timers = dict(before)
    for held in besides.timers:
        timers[held.name] = held.due
    for what, due in asked.items():
        if due is None:
            timers.pop(what, None)
        else:
            timers[what] = due
    if is_complete:
        # A timeout of a completed instance never fires; commands held back still leave.
        timers = {what: due for what, due in timers.items() if what not in timeouts}
    if besides.timers:
        # Without the commands that were taken back in the step that issued them.
        besides.timers = [held for held in besides.timers if held.name in timers]
    for what, due in asked.items():
        if due is not None and what in timers:
            besides.timers.append(TimerRecord(due, process, instance, what, "timeout"))
    for what, due in before.items():
        if timers.get(what) != due:
            kind = "timeout" if what in timeouts else "command"
            besides.cancel.append(TimerRecord(due, process, instance, what, kind))
    return timers


def learn(actor: InstanceActor, process: ProcessManager, besides: Besides | None) -> Besides | None:
    """Note which learnt keys changed."""
    keys = actor.router.definition.state.keys_of(process.__dict__)
    before = actor.indexed
    changed = [
        (field, before.get(field), value)
        for field, value in keys.items()
        if before.get(field) != value
    ]
    if changed:
        besides = besides or Besides()
        besides.index = changed
        actor.indexed = keys
    return besides


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
    while seen.causation_id is not None and len(chain) <= SAMPLE:
        cause = router.cause_of(seen.causation_id)
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
