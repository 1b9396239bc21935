"""How the steps of one process manager follow one another, and where nothing makes it go on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..authoring.decorators import ALL, Handler, methods_of
from ..authoring.process_manager import ProcessManager
from ..messages.types import Command, Event
from .code_scan import (
    attributes_used_in,
    classes_named_in,
    code_reached,
    first_arguments,
    instructions_of,
)
from .design_finding import DesignFinding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition

__all__ = ["Course", "ends_in", "timeouts_set_in"]

Key = tuple[str, Any]


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


@dataclass(frozen=True, slots=True)
class _Step:
    """What one handler of a process manager does, as far as its code shows."""

    handler: Handler
    issued: frozenset[type[Command]]
    ends: bool
    sets: frozenset[str | None]
    """The timeouts that it sets; None for one whose name does not show."""
    cancels: frozenset[str | None]
    is_open: bool
    """Whether it hands its object to code that cannot be followed, which may do anything."""

    @property
    def key(self) -> Key:
        return self.handler.role, self.handler.subject


class Course:
    """How the steps of one process manager can follow one another.

    Args:
        domain: the name of its domain
        process: the process manager
        takers: of the domain's commands
        answers: the events that may answer each of these
        from_elsewhere: events that are made, and commands that are issued, elsewhere than in the
            domain's aggregates and this process manager

    """

    def __init__(
        self,
        domain: str,
        process: ProcessDefinition,
        takers: Mapping[type, AggregateDefinition],
        answers: Mapping[type, set[type[Event]]],
        from_elsewhere: Collection[type],
    ) -> None:
        self.domain = domain
        self.process = process
        self.takers = takers
        self.all_answers = answers
        effects = [handler.function for handler in process.effects.values()]
        self.from_elsewhere = classes_named_in(effects, Command, of=process.cls).union(
            from_elsewhere
        )
        self.steps = [
            self._step(handler)
            for handlers in (process.handlers, process.timeouts, process.rejections)
            for handler in handlers.values()
        ]
        self.answers = {
            command: answers[command]
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
            endless = list(self._no_end())
            unanswered = list(self._unanswered_commands())
            yield from (*endless, *unanswered)
            if not endless:
                told = {finding.place for finding in unanswered}
                yield from (one for one in self._endless_waits() if one.place not in told)

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
            if step.ends or step.sets or not self._is_deaf(step):
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

    def _endless_waits(self) -> Iterator[DesignFinding]:
        """Steps after which only a person makes the process go on, who may never do it."""
        for step in self.steps:
            # A refusal tells that the aggregate went another way; that event goes on from here.
            if step.handler.role == "rejected" or step.ends or step.sets or step.is_open:
                continue
            if self._is_answered(step) or step.key not in self._reachable(()):
                continue
            awaited = self._awaited_of_people(step)
            if awaited and not self._goes_on_later(step):
                commands = {command for event in awaited for command in self._makers(event)}
                yield DesignFinding(
                    "endless-wait",
                    f"{self.process.cls.__name__}.{step.handler.name}",
                    f"after this step nothing that was issued or set here leads on: it waits for "
                    f"{_either(awaited)}, of {_either(commands)}, which nothing here issues, and "
                    f"no timeout is set, so it waits for ever if it is never sent",
                    f"set a timeout, and end the process when it is due; or, if a service surely "
                    f"sends {_either(commands)}, say so with "
                    f"`{self.domain}.register({min(map(_name, commands))})`",
                )

    def _is_answered(self, step: _Step) -> bool:
        """Whether an answer to one of the step's own commands makes the process go on."""
        return any(
            # An aggregate of another domain may answer with anything.
            command not in self.answers or self.answers[command] & self.process.handlers.keys()
            for command in step.issued
        )

    def _awaited_of_people(self, step: _Step) -> set[type[Event]]:
        """The events that may still come, of commands that nothing issues.

        There are none if another one may come by itself, of a command that something else issues.
        """
        found: set[type[Event]] = set()
        possible = self._reachable(())
        issued = {command for one in self.steps if one.key in possible for command in one.issued}
        for event, handler in self.process.handlers.items():
            is_past = event is step.handler.subject or self._must_precede(("handle", event), step)
            if handler.start or is_past:
                continue
            makers = self._makers(event)
            if makers & self.from_elsewhere:
                return set()
            if makers and event not in self.from_elsewhere and not makers & issued:
                found.add(event)
        return found

    def _makers(self, event: type[Event]) -> set[type[Command]]:
        """The commands that an aggregate of this domain may answer with an event."""
        makers = {command for command, events in self.all_answers.items() if event in events}
        return makers or {
            # A handler makes it in a way that its code does not show.
            command
            for command, taker in self.takers.items()
            if event in taker.makes
        }

    def _goes_on_later(self, step: _Step) -> bool:
        """Whether what an earlier step began may still make the process go on by itself."""
        past = self._may_precede(step)
        return any(
            other.is_open or self._has_answer_due(other, step) or self._has_timeout_due(other, step)
            for other in self.steps
            if other.key in past and other is not step
        )

    def _has_answer_due(self, other: _Step, step: _Step) -> bool:
        """Whether a command that another step issued may be unanswered when a step is over."""
        subject = step.handler.subject
        for command in other.issued:
            if command not in self.answers:
                return True
            events = self.answers[command] & self.process.handlers.keys()
            past = {one for one in events if self._must_precede(("handle", one), step)}
            past |= events & {subject}
            if self._is_answered_once(command):
                # With one of them, it has been answered.
                if not past and events:
                    return True
            elif events - past:
                return True
        return False

    def _has_timeout_due(self, other: _Step, step: _Step) -> bool:
        """Whether a timeout that another step set may still be set when a step is over."""
        return any(
            name is None
            or not (
                name in step.cancels
                or step.key == ("timeout", name)
                or any(
                    self._must_precede(one.key, step)
                    and self._must_precede(other.key, one)
                    and other.key not in self._following(one)
                    for one in self.steps
                    if name in one.cancels or one.key == ("timeout", name)
                )
            )
            for name in other.sets
        )

    def _is_answered_once(self, command: type[Command]) -> bool:
        """Whether a command's handler makes one event at most; no for what makes several."""
        taker = self.takers[command]
        module = taker.cls.__module__
        return not any(
            inspect.isgeneratorfunction(function)
            or any(
                one.opname.startswith(("BUILD_LIST", "BUILD_TUPLE", "BUILD_SET", "LIST_", "SET_"))
                for one in instructions_of(function.__code__)
            )
            for function in code_reached([taker.handlers[command].function], taker.cls)
            if function.__module__ == module
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
            and not self._must_precede(("handle", event), step)
            for event, handler in self.process.handlers.items()
        )

    def _must_precede(self, key: Key, step: _Step) -> bool:
        """Whether a step can happen only after that with this key, or is that."""
        return step.key not in self._reachable({key})

    def _may_precede(self, step: _Step) -> set[Key]:
        """The steps that can happen before a step, on a way that leads to it."""
        answered = {
            event
            for event in self.process.handlers
            if event is step.handler.subject or self._must_precede(("handle", event), step)
        }
        missed = {
            ("handle", other)
            for command, events in self.answers.items()
            if events & answered and self._is_answered_once(command)
            for other in events - answered
        }
        return self._reachable({step.key, *missed})

    def _following(self, step: _Step) -> set[Key]:
        """The steps that can come of a step, when nothing else comes from outside."""
        return self._closure(self._caused_by(step), ())

    def _reachable(self, missing: Collection[Key]) -> set[Key]:
        """The steps that can happen when those that are missing never do."""
        handlers = self.process.handlers
        starts = {("handle", event) for event, handler in handlers.items() if handler.start}
        if starts.issubset(missing):
            return set()
        others = [("handle", event) for event in handlers.keys() - self.answered]
        return self._closure([*starts, *others], missing)

    def _closure(self, todo: Iterable[Key], missing: Collection[Key]) -> set[Key]:
        steps = {step.key: step for step in self.steps}
        left = list(todo)
        reached: set[Key] = set()
        while left:
            key = left.pop()
            if key not in reached and key in steps and key not in missing:
                reached.add(key)
                left += self._caused_by(steps[key])
        return reached

    def _caused_by(self, step: _Step) -> list[Key]:
        """The steps that a step leads to by what it issues and sets."""
        found: list[Key] = []
        for command in step.issued:
            found.append(("rejected", command))
            found += [("handle", event) for event in self.answers.get(command, ())]
        names = self.process.timeouts if None in step.sets else step.sets
        return [*found, *(("timeout", name) for name in names)]

    def _step(self, handler: Handler) -> _Step:
        cls = self.process.cls
        functions = [handler.function]
        return _Step(
            handler,
            frozenset(classes_named_in(functions, Command, of=cls)),
            ends_in(handler, cls),
            frozenset(first_arguments(functions, "set_timeout", of=cls)),
            frozenset(first_arguments(functions, "cancel_timeout", of=cls)),
            attributes_used_in(functions, of=cls).is_open,
        )

    def _place_of(self, command: type[Command]) -> str:
        taker = self.takers[command]
        return f"{taker.cls.__name__}.{taker.handlers[command].name}"


def _name(cls: type) -> str:
    return cls.__name__


def _either(classes: Iterable[type]) -> str:
    return " or ".join(sorted(cls.__name__ for cls in classes))
