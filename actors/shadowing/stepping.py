"""The life of one instance, step by step under a debugger."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.process_state import ProcessState
from ..errors import UnknownInstance
from ..model.plans import ProcessPlan
from .differences import differences
from .outcomes import Outcome
from .replaying import stored_life
from .retaking import Retaking, is_by_people

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..authoring.decorators import Handler
    from ..model.process_definition import ProcessDefinition
    from ..model.registry import Registry
    from ..store import Store, TransitionRecord

__all__ = ["Stepped", "step_through"]


class Stepped(NamedTuple):
    """One transition that was decided again.

    Attributes:
        version: of the transition
        handler: the method that made it
        cause: the type of what happened, or its id
        differs: what differs from what is stored, in a line each; None where an operator made it,
            so that there was nothing to decide

    """

    version: int
    handler: str
    cause: str
    differs: list[str] | None


def step_through(
    store: Store,
    registry: Registry,
    definition: ProcessDefinition,
    instance: str,
    *,
    version: int | None = None,
    stop: Callable[[], object] | None = None,
) -> Iterator[Stepped]:
    """Decide an instance's transitions again, each from the state that is stored before it.

    The debugger stops before each handler, with the instance as `process` and what happened as
    `happened`: one step further is the handler's first line. Nothing is written; but what a handler
    does to the world, it does, since a debugger needs the world as well.

    Args:
        store: which is only read
        registry: with the code that decides
        definition: of the process manager
        instance: its id
        version: of the one transition that is decided; without it, all of them
        stop: what stops; without it, `breakpoint`, which does as ``PYTHONBREAKPOINT`` says

    Raises:
        UnknownInstance: there is no such instance, or it has no such version

    """
    stopping = _stopping(definition, stop)
    plan = ProcessPlan(stopping, registry, max_chain=sys.maxsize)
    retaking = Retaking(plan, store, is_guarded=False)
    before, found = ProcessState(instance), False
    for transition, event in stored_life(store, plan.name, instance):
        if version is None or transition.version == version:
            found = True
            cause = transition.cause if event is None else event.type
            differs = None
            if not is_by_people(transition):
                was = Outcome(transition)
                now = retaking.retake(before, transition, event)
                differs = [
                    f"{one.how}: {one.before or 'as stored'} → {one.now or 'none'}"
                    for one in differences(plan, instance, was, now)
                ]
            yield Stepped(transition.version, transition.handler, cause, differs)
        before = _after(plan, instance, transition)
    if not found:
        meant = f"{plan.name} {instance!r}"
        raise UnknownInstance(
            f"{meant} has no transition"
            if version is None
            else f"{meant} has no version {version}; `procession show` lists what it has"
        )


def _after(plan: ProcessPlan, instance: str, transition: TransitionRecord) -> ProcessState:
    return ProcessState.after(plan.definition, instance, transition)


def _stopping(
    definition: ProcessDefinition, stop: Callable[[], object] | None
) -> ProcessDefinition:
    """The same class, whose methods are stopped before."""
    made = copy.copy(definition)
    for name in ("handlers", "timeouts", "rejections", "endings"):
        handlers: dict[Any, Handler] = getattr(definition, name)
        setattr(
            made,
            name,
            {key: replace(one, function=_stopped(one, stop)) for key, one in handlers.items()},
        )
    return made


def _stopped(handler: Handler, stop: Callable[[], object] | None) -> Callable[..., object]:
    function = handler.function

    def before_handler(process: object, *happened: object) -> object:
        # The debugger stops here: one step into the next line is the handler.
        if stop is None:
            breakpoint()  # noqa: T100 - it is what was asked for
        else:
            stop()
        return function(process, *happened)

    return before_handler
