"""Changes to an instance that no event makes: its state is rebuilt, or what is due is moved."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..authoring.cause import Cause
from ..authoring.process_manager import ProcessManager, SkippedWhileRefreshing
from ..store import Step, StepExtras, TimerRecord, TransitionRecord
from .decide import learn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.instance_actor import InstanceActor

__all__ = ["adjust", "refresh"]

PAGE = 64


def refresh(actor: InstanceActor) -> Step:
    """Rebuild the state by handling the same causes again, letting nothing out.

    What the handlers issue and set is dropped; what is due later stays as it is. Everything that
    the actor handed over must be on disk.

    Returns:
        a step whose transition records the new state; an empty one if there is no instance

    """
    if not actor.version:
        return Step()
    process = _handled_again(actor)
    state = actor.router.definition.state.dump(process.__dict__)
    actor.state_version = actor.router.definition.state_version
    return _record(actor, "refresh", "refresh", state, None, learn(actor, process, None))


def adjust(actor: InstanceActor, name: str, due: int, by: str | None) -> Step:
    """Move what is due to another time, or cancel it.

    Args:
        actor: of the instance
        name: of the timeout, or the id of the command that is held back
        due: the new time in microseconds, or 0 to cancel it
        by: who asked

    Returns:
        a step whose transition records it; an empty one if nothing of that name is set

    """
    before = actor.timers.get(name)
    if before is None:
        return Step()
    definition = actor.router.definition
    kind = "timeout" if name in definition.timeouts else "command"
    old = TimerRecord(before, definition.name, actor.instance, name, kind)
    command = actor.router.timer_service.held_back(old) if kind == "command" else None
    if kind == "command" and command is None:
        # It has left already.
        return Step()
    extras = StepExtras(due=old, timers=[])
    if due:
        extras.timers = [TimerRecord(due, definition.name, actor.instance, name, kind, command)]
    timers = {other: when for other, when in actor.timers.items() if other != name}
    actor.timers = timers | ({name: due} if due else {})
    note = f"{name} {'moved' if due else 'cancelled'} by {by or 'an operator'}"
    handler = "move_timeout" if due else "cancel_timeout"
    return _record(actor, handler, "operator", actor.state, note, extras)


def _record(
    actor: InstanceActor,
    handler: str,
    cause: str,
    state: bytes,
    note: str | None,
    extras: StepExtras | None,
) -> Step:
    actor.version += 1
    actor.state = state
    actor.drop_process()
    return Step(
        process=actor.router.definition.name,
        instance=actor.instance,
        transition=TransitionRecord(
            actor.version,
            actor.router.now(),
            handler,
            actor.is_complete,
            cause,
            actor.correlation_id,
            actor.seen,
            state,
            [],
            actor.timers or None,
            note,
            actor.state_version,
        ),
        extras=extras,
    )


def _handled_again(actor: InstanceActor) -> ProcessManager:
    definition = actor.router.definition
    process: ProcessManager | None = None
    was_complete = False
    issued: dict[str, tuple[str, bytes, TransitionRecord]] = {}
    for transition in _history(actor):
        issued |= {
            command_id: (kind, data, transition) for command_id, kind, data in transition.commands
        }
        found = _again(actor, transition, issued)
        if found is None:
            continue
        cause, function, arguments = found
        if process is None or was_complete:
            if cause.event is not None:
                process = definition.begin(actor.instance, arguments[0])
            elif process is None:
                continue
        unit = process._unit  # noqa: SLF001 - a friend
        unit.version = transition.version - 1
        unit.now = transition.time
        unit.context = cause.context(1, refreshing=True)
        with suppress(SkippedWhileRefreshing):
            function(process, *arguments)
        unit.clear()
        was_complete = transition.is_complete
    if process is None:
        return definition.restore(actor.instance, actor.version, actor.state, actor.state_version)
    return process


def _again(
    actor: InstanceActor,
    transition: TransitionRecord,
    issued: dict[str, tuple[str, bytes, TransitionRecord]],
) -> tuple[Cause, Callable[..., Any], tuple[Any, ...]] | None:
    """What made a transition, its handler and arguments; None if there is none any more."""
    router = actor.router
    definition = router.definition
    cause = transition.cause
    if cause.startswith("timeout:"):
        name = cause.removeprefix("timeout:")
        handler = definition.timeouts.get(name)
        if handler is None:
            return None
        timer = TimerRecord(transition.time, definition.name, actor.instance, name, "timeout")
        return Cause.of_timer(timer, transition.correlation_id), handler.function, ()
    if cause in issued:
        kind, data, issuer = issued[cause]
        command = router.registry.load_command(kind, data)
        handler = definition.rejections.get(type(command))
        if handler is None:
            return None
        made = Cause(
            cause,
            kind,
            transition.correlation_id,
            note=transition.note,
            time=issuer.time,
            causation_id=issuer.cause,
        )
        return made, handler.function, (command, transition.note or "")
    position = router.store.position_of(cause)
    if not position:
        return None
    record = router.store.read_log(position - 1, 1)[0]
    event = router.load(record)
    handler = definition.handlers.get(type(event))
    if handler is None:
        return None
    return Cause.of_event(record), handler.function, (event,)


def _history(actor: InstanceActor) -> Iterator[TransitionRecord]:
    after = 0
    name, store = actor.router.definition.name, actor.router.store
    while page := store.read_transitions(name, actor.instance, after, PAGE):
        yield from page
        after = page[-1].version
