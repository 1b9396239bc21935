"""What is wrong or doubtful in a design, read from its classes before anything runs.

A finding is no error: what cannot work at all is refused when a class is registered. What is found
here works, and probably does not do what was meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..authoring.decorators import ALL, Handler, methods_of
from ..authoring.process_manager import ProcessManager
from ..messages.types import Command, Event
from .code_scan import classes_named_in, first_arguments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition

__all__ = ["DesignFinding", "ends_in", "findings_in", "timeouts_set_in", "unheard_categories"]


@dataclass(frozen=True, slots=True)
class DesignFinding:
    """One thing that is wrong or doubtful in a design.

    `code` says what kind of thing, such as ``"no-end"``; `place` is the class or the
    ``Class.method`` that it is about; `message` says what is there, `mend` what to do.
    """

    code: str
    place: str
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}; {self.mend} [{self.code}]"


def findings_in(
    domain: str,
    aggregates: Collection[AggregateDefinition],
    processes: Iterable[ProcessDefinition],
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
    made = {event for aggregate in aggregates for event in aggregate.makes}
    found: list[DesignFinding] = []
    for aggregate in aggregates:
        found += _never_made(aggregate)
    for process in processes:
        found += _unmade_events(domain, process, made.union(from_outside))
        found += _timeouts(process)
        found += _unheard_categories(domain, process, aggregates, from_outside)
        found += _unheard_events(process, aggregates, from_outside)
        found += _Course(process, takers).findings()
    return sorted(found, key=lambda one: (one.place, one.code, one.message))


def ends_in(handler: Handler, cls: type[ProcessManager]) -> bool:
    """Whether a handler ends the process, or may."""
    return handler.end or bool(first_arguments([handler.function], "mark_as_complete", of=cls))


def timeouts_set_in(cls: type[ProcessManager]) -> dict[str | None, list[str]]:
    """The names of the timeouts that a class sets, and in which methods.

    The name is None where the code does not show which one is meant.
    """
    found: dict[str | None, list[str]] = {}
    for method, function in methods_of(cls, ProcessManager).items():
        for name in first_arguments([function], "set_timeout"):
            found.setdefault(name, []).append(method)
    return found


def _unmade_events(
    domain: str, process: ProcessDefinition, made: Collection[type]
) -> Iterator[DesignFinding]:
    for event in process.events():
        wire_name = getattr(event, "__wire_name__", None) or f"{domain}."
        if event in made or not wire_name.startswith(f"{domain}."):
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
        domains: whose aggregates are all known; a category of another may be anyone's

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
    first = min(process.events(), key=_name)
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


@dataclass(frozen=True, slots=True)
class _Step:
    """What one handler of a process manager does, as far as its code shows."""

    handler: Handler
    issued: frozenset[type[Command]]
    ends: bool
    sets_timeout: bool

    @property
    def key(self) -> tuple[str, Any]:
        return self.handler.role, self.handler.subject


class _Course:
    """How the steps of one process manager can follow one another."""

    def __init__(
        self, process: ProcessDefinition, takers: Mapping[type, AggregateDefinition]
    ) -> None:
        self.process = process
        self.takers = takers
        self.steps = [
            self._step(handler)
            for handlers in (process.handlers, process.timeouts, process.rejections)
            for handler in handlers.values()
        ]
        self.answers = {
            command: self._answers(command)
            for command in sorted(
                {command for step in self.steps for command in step.issued}, key=_name
            )
            if command in takers
        }
        self.answered = {event for events in self.answers.values() for event in events}

    def findings(self) -> Iterator[DesignFinding]:
        """What is wrong or doubtful about the course of the process."""
        yield from self._ignored_outcomes()
        # One that handles each event by itself, or all of them for ever, waits for nothing.
        if not self.process.stateless and not self._is_for_ever():
            yield from self._no_end()
            yield from self._unanswered_commands()

    def _no_end(self) -> Iterator[DesignFinding]:
        cls = self.process.cls
        methods = methods_of(cls, ProcessManager).values()
        if any(step.handler.end for step in self.steps) or first_arguments(
            methods, "mark_as_complete"
        ):
            return
        yield DesignFinding(
            "no-end",
            cls.__name__,
            "nothing ends this process, so each instance stays open for ever",
            "give `end=True` to the handler of the last event, or call `self.mark_as_complete()`",
        )

    def _unanswered_commands(self) -> Iterator[DesignFinding]:
        for step in self.steps:
            if step.ends or step.sets_timeout or not self._is_deaf(step):
                continue
            if self._awaits_others(step):
                continue
            for command in sorted(step.issued, key=_name):
                events = self.answers[command]
                answers = _either(events)
                yield DesignFinding(
                    "unanswered-command",
                    f"{self.process.cls.__name__}.{step.handler.name}",
                    f"issues {command.__name__}, and then nothing goes on: "
                    + (
                        f"the answer, {answers}, is not handled"
                        if events
                        else f"{self._place_of(command)} answers with no event"
                    ),
                    (
                        f"handle {answers}"
                        if events
                        else f"make an event in {self._place_of(command)}, and handle it"
                    )
                    + "; or end the process in this step, or set a timeout",
                )

    def _ignored_outcomes(self) -> Iterator[DesignFinding]:
        cls = self.process.cls
        heard = set(self.process.events())
        for command, events in self.answers.items():
            handled = events & heard
            if not handled or all(step.ends for step in self.steps if command in step.issued):
                continue
            for event in sorted(events - heard, key=_name):
                yield DesignFinding(
                    "ignored-outcome",
                    cls.__name__,
                    f"issues {command.__name__} and handles {_either(handled)}, but not "
                    f"{event.__name__}, with which {self._place_of(command)} may answer as well",
                    f"mark a method with `@handle({event.__name__})`; one that does nothing says "
                    f"that this is meant",
                )

    def _is_for_ever(self) -> bool:
        default = self.process.cls.__procession_options__.get("correlate")
        ways = [
            default if handler.correlate is None else handler.correlate
            for handler in self.process.handlers.values()
        ]
        return all(way is ALL for way in ways)

    def _is_deaf(self, step: _Step) -> bool:
        """Whether no answer to any of the step's commands is handled."""
        return bool(step.issued) and all(
            # An aggregate of another domain may answer with anything.
            command in self.answers and not self.answers[command] & self.process.handlers.keys()
            for command in step.issued
        )

    def _awaits_others(self, step: _Step) -> bool:
        """Whether what comes next may be an event that others cause, such as a person's doing.

        An event whose handler ends the process is no such event: it is rather a way out, such as
        a customer's cancelling. Nor is one that must have come already for this step to happen.
        """
        return any(
            event not in self.answered
            and not handler.end
            and step.key in self._reachable_without(event)
            for event, handler in self.process.handlers.items()
        )

    def _reachable_without(self, missing: type) -> set[tuple[str, Any]]:
        """The steps that can happen before an event has come."""
        steps = {step.key: step for step in self.steps}
        starts = {event for event, handler in self.process.handlers.items() if handler.start}
        todo: list[tuple[str, Any]] = []
        if starts != {missing}:
            todo += [("handle", event) for event in starts]
            todo += [("handle", event) for event in self.process.handlers.keys() - self.answered]
        reached: set[tuple[str, Any]] = set()
        while todo:
            key = todo.pop()
            if key in reached or key not in steps or key == ("handle", missing):
                continue
            reached.add(key)
            for command in steps[key].issued:
                todo.append(("rejected", command))
                todo += [("handle", event) for event in self.answers.get(command, ())]
            if steps[key].sets_timeout:
                todo += [("timeout", name) for name in self.process.timeouts]
        return reached

    def _step(self, handler: Handler) -> _Step:
        cls = self.process.cls
        return _Step(
            handler,
            frozenset(classes_named_in([handler.function], Command, of=cls)),
            ends_in(handler, cls),
            bool(first_arguments([handler.function], "set_timeout", of=cls)),
        )

    def _answers(self, command: type[Command]) -> set[type[Event]]:
        taker = self.takers[command]
        return classes_named_in([taker.handlers[command].function], Event, of=taker.cls)

    def _place_of(self, command: type[Command]) -> str:
        taker = self.takers[command]
        return f"{taker.cls.__name__}.{taker.handlers[command].name}"


def _name(cls: type) -> str:
    return cls.__name__


def _either(classes: Iterable[type]) -> str:
    return " or ".join(sorted(cls.__name__ for cls in classes))
