"""What is wrong or doubtful in a design, read from its classes before anything runs.

A finding is no error: what cannot work at all is refused when a class is registered. What is found
here works, and probably does not do what was meant.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ..authoring.aggregate import Aggregate
from ..authoring.decorators import handlers_of
from ..messages.types import Event
from .code_scan import classes_named_in
from .completions import process_of
from .course import Course, timeouts_set_in
from .design_finding import DesignFinding
from .due_together import timeouts_due_together
from .outside_calls import Kind, outside_calls_in
from .unused_parts import fields_never_set, own_fields_never_set, uncalled_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition

__all__ = ["findings_in", "unheard_categories"]


def findings_in(
    domain: str,
    aggregates: Collection[AggregateDefinition],
    processes: Collection[ProcessDefinition],
    from_outside: Collection[type],
) -> list[DesignFinding]:
    """What is wrong or doubtful in the design of one domain.

    Args:
        domain: its name
        aggregates: that belong to it
        processes: that belong to it
        from_outside: message classes that are registered by name, so that no aggregate here need
            make them

    Returns:
        the findings, by place

    """
    takers = {command: taker for taker in aggregates for command in taker.handlers}
    answers = {
        command: classes_named_in([taker.handlers[command].function], Event, of=taker.cls)
        for command, taker in takers.items()
    }
    made = {event for aggregate in aggregates for event in aggregate.makes}
    found: list[DesignFinding] = []
    for aggregate in aggregates:
        found += _never_made(aggregate)
        found += fields_never_set(aggregate)
        found += _unrepeatable_aggregate(aggregate)
    for process in processes:
        others = {command for one in processes if one is not process for command in one.commands}
        found += _unmade_events(domain, process, made.union(from_outside))
        found += _timeouts(process)
        found += _unheard_categories(domain, process, aggregates, from_outside)
        found += _unheard_events(process, aggregates, from_outside)
        found += timeouts_due_together(process)
        found += own_fields_never_set(process)
        found += uncalled_ends(process)
        found += _unrepeatable_process(process)
        found += Course(domain, process, takers, answers, others.union(from_outside)).findings()
    return sorted(found, key=lambda one: (one.place, one.code, one.message))


def _unmade_events(
    domain: str, process: ProcessDefinition, made: Collection[type]
) -> Iterator[DesignFinding]:
    for event in process.events():
        wire_name = getattr(event, "__wire_name__", None) or f"{domain}."
        is_made = event in made or process_of(event) is not None
        if is_made or not wire_name.startswith(f"{domain}."):
            continue
        version = getattr(event, "__wire_version__", 1)
        handler = process.handlers.get(event) or process.effects[event]
        yield DesignFinding(
            "unmade-event",
            f"{process.cls.__name__}.{handler.name}",
            f"handles {event.__name__}, which no aggregate of {domain} makes",
            f"make it in an aggregate; or, if a service publishes it, register it with "
            f"`{domain}.register({event.__name__})`; or, if another domain makes it, with "
            f"`{domain}.register_external_event({event.__name__}, "
            f'"<that domain>.{event.__name__}.v{version}")`',
        )


def unheard_categories(
    process: ProcessDefinition,
    aggregates: Collection[AggregateDefinition],
    from_outside: Collection[type],
    domains: Collection[str],
) -> list[str]:
    """The categories in `streams` that no event can have which is handled, as far as code shows.

    Args:
        process: the process manager
        aggregates: that are known
        from_outside: message classes that need not be made by these
        domains: whose aggregates are all known; another category may be of any of them

    """
    heard = set(process.events())
    makers = {one.category: one for one in aggregates}
    of_outside = {
        event
        for event in heard
        if event in from_outside or not any(event in one.makes for one in aggregates)
    }
    found: list[str] = []
    for category in _categories_of(process, aggregates):
        maker = makers.get(category)
        possible = of_outside if maker is None else heard & maker.makes
        prefix = category.rpartition("::")[0]
        is_others = maker is None and prefix and prefix not in domains
        if not possible and not is_others:
            found.append(category)
    return found


def _unheard_categories(
    domain: str,
    process: ProcessDefinition,
    aggregates: Collection[AggregateDefinition],
    from_outside: Collection[type],
) -> Iterator[DesignFinding]:
    makers = {one.category: one.cls.__name__ for one in aggregates}
    first = min(process.events(), key=attrgetter("__name__"))
    for category in unheard_categories(process, aggregates, from_outside, [domain]):
        why = (
            f"{makers[category]} makes none of them"
            if category in makers
            else f"aggregates of {domain} make them all"
        )
        yield DesignFinding(
            "unheard-category",
            process.cls.__name__,
            f"streams has {category!r}, a category that none of the events can have which it "
            f"handles: {why}",
            f"name the category of what makes them, or remove it; or, if a service publishes such "
            f"an event there, register the event with `{domain}.register({first.__name__})`",
        )


def _unheard_events(
    process: ProcessDefinition,
    aggregates: Collection[AggregateDefinition],
    from_outside: Collection[type],
) -> Iterator[DesignFinding]:
    """Events that are handled, and are made in categories alone that are not listened to."""
    listened = set(_categories_of(process, aggregates))
    for event in process.events() if listened else ():
        makers = [one for one in aggregates if event in one.makes]
        if not makers or event in from_outside or any(one.category in listened for one in makers):
            continue
        handler = process.handlers.get(event) or process.effects[event]
        names = " and ".join(one.cls.__name__ for one in makers)
        categories = " and ".join(repr(one.category) for one in makers)
        yield DesignFinding(
            "unheard-event",
            f"{process.cls.__name__}.{handler.name}",
            f"handles {event.__name__}, which {names} makes, and streams leaves out {categories}",
            f"add {makers[0].cls.__name__} to streams, or remove the method",
        )


def _categories_of(
    process: ProcessDefinition, aggregates: Iterable[AggregateDefinition]
) -> list[str]:
    """The categories that a process manager names, as far as their aggregates are known."""
    by_class = {one.cls: one.category for one in aggregates}
    found = [one if isinstance(one, str) else by_class.get(one) for one in process.streams]
    return [one for one in found if one is not None]


def _never_made(aggregate: AggregateDefinition) -> Iterator[DesignFinding]:
    seen = ", ".join(sorted(event.__name__ for event in aggregate.events)) or "none"
    for event, applier in aggregate.appliers.items():
        if event in aggregate.events:
            continue
        yield DesignFinding(
            "applied-never-made",
            f"{aggregate.cls.__name__}.{applier.__name__}",
            f"applies {event.__name__}, which the code of the class's handlers does not name "
            f"(it names: {seen})",
            "make it in a handler; or, if a handler finds it in another way, name it in that "
            "handler's return annotation; or remove the method",
        )


def _timeouts(process: ProcessDefinition) -> Iterator[DesignFinding]:
    cls = process.cls
    is_set = timeouts_set_in(cls)
    for name, methods in is_set.items():
        if name is None or name in process.timeouts:
            continue
        for method in methods:
            yield DesignFinding(
                "timeout-not-handled",
                f"{cls.__name__}.{method}",
                f"sets the timeout {name!r}, which no method handles, so the step will fail",
                f"mark a method with `@timeout({name!r})`",
            )
    if None in is_set:
        return  # Any of them may be the one that is meant.
    for name, handler in process.timeouts.items():
        if name not in is_set:
            yield DesignFinding(
                "timeout-never-set",
                f"{cls.__name__}.{handler.name}",
                f"handles the timeout {name!r}, which no method sets",
                f"call `self.set_timeout({name!r}, ...)` where the waiting begins, or remove "
                f"the method",
            )


_WORDS: dict[Kind, tuple[str, str]] = {
    "clock": ("reads the clock", "not-repeatable"),
    "random": ("draws at random", "not-repeatable"),
    "connection": ("reaches outside", "outside-in-handler"),
    "wait": ("waits", "outside-in-handler"),
}
_IN_PROCESS: dict[Kind, str] = {
    "clock": "take `self.context.now`, which is the same at every replay",
    "random": "take `self.context.new_id()`, which is the same at every replay, or have the event "
    "bring it",
    "connection": "do it in an `@after` method, which runs once the step is on disk",
    "wait": "set a timeout, and go on in its `@timeout` method",
}
_IN_AGGREGATE: dict[Kind, str] = {
    "clock": "have the command bring it, in a field of its own",
    "random": "have the command bring it, in a field of its own",
    "connection": "do it in an `@after` method of a process manager, and have a command bring "
    "what came of it",
    "wait": "have a process manager set a timeout",
}
_IN_APPLY: dict[Kind, str] = dict.fromkeys(_WORDS, "have the event bring it, in a field of its own")


def _unrepeatable_process(process: ProcessDefinition) -> Iterator[DesignFinding]:
    """What a process manager decides with and finds otherwise when it decides again."""
    for handlers in (
        process.handlers,
        process.timeouts,
        process.rejections,
        process.endings,
        process.upcasters,
    ):
        for handler in handlers.values():
            functions = [handler.function]
            if callable(handler.correlate):
                functions.append(handler.correlate)
            yield from _unrepeatable(process.cls, handler.name, functions, _IN_PROCESS)
    way = process.cls.__procession_options__.get("correlate")
    if callable(way):
        name = getattr(way, "__name__", "correlate")
        yield from _unrepeatable(process.cls, name, [way], _IN_PROCESS)


def _unrepeatable_aggregate(aggregate: AggregateDefinition) -> Iterator[DesignFinding]:
    for handler in aggregate.handlers.values():
        yield from _unrepeatable(aggregate.cls, handler.name, [handler.function], _IN_AGGREGATE)
    for handler in handlers_of(aggregate.cls, Aggregate, "apply").values():
        yield from _unrepeatable(aggregate.cls, handler.name, [handler.function], _IN_APPLY)


def _unrepeatable(
    cls: type, method: str, functions: list[Callable[..., Any]], mends: dict[Kind, str]
) -> Iterator[DesignFinding]:
    for kind, names in outside_calls_in(functions, of=cls).items():
        words, code = _WORDS[kind]
        uses = ", ".join(
            name if where in {method, "<lambda>"} else f"{name} in {where}"
            for name, where in sorted(names.items())
        )
        yield DesignFinding(
            code,
            f"{cls.__name__}.{method}",
            f"{words} ({uses}), so what it decides is another thing when it is decided again"
            if code == "not-repeatable"
            else f"{words} ({uses}) before its step is on disk, holds up others, and does it again "
            "when it is decided again",
            mends[kind],
        )
