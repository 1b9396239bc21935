"""What came of the last thing in a scenario, and what a test expects of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, overload

from ..authoring.process_manager import due_time
from ..clock import from_micros
from ..errors import InvalidMessage
from ..messages.codec import differ
from ..messages.types import Command, Event
from .diff import fields, sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from ..authoring.decorators import Due, Refused
    from ..errors import Rejected
    from .rehearsal import Change

__all__ = ["AggregateOutcome", "Delayed", "ProcessOutcome", "delayed"]


@dataclass(frozen=True, slots=True)
class Delayed:
    """A command that is held back: `until` is a delay, or a moment."""

    command: Command
    until: timedelta | datetime


def delayed(command: Command, until: timedelta | datetime) -> Delayed:
    """In `issues`: a command that was issued with `after=` or `at=`.

    Args:
        command: which
        until: how long it is held back, or the moment at which it leaves

    """
    return Delayed(command, until)


_HELD = ("held", "unmatched")


class GoesOn(Protocol):
    """What an outcome needs of the scenario that it came of."""

    @property
    def timeouts(self) -> Iterable[str]:
        """The timeouts that there are."""
        ...

    @overload
    def when(
        self, what: Command, *, headers: Mapping[str, Any] | None = None
    ) -> AggregateOutcome: ...

    @overload
    def when(
        self, what: Event | Due | Refused, *, headers: Mapping[str, Any] | None = None
    ) -> ProcessOutcome: ...

    def end(self, reason: str, *, by: str | None = None, compensate: bool = True) -> ProcessOutcome:
        """An operator ends the instance."""
        ...

    def amend(
        self, fields: Mapping[str, Any] | None = None, /, *, by: str | None = None, **more: Any
    ) -> ProcessOutcome:
        """An operator gives fields of the instance other values."""
        ...


class _Outcome:
    """What both kinds share."""

    def __init__(self, scenario: GoesOn, of: str, what: object) -> None:
        self._scenario = scenario
        self._where = f"{of}, when {what!r}"

    @overload
    def when(
        self, what: Command, *, headers: Mapping[str, Any] | None = None
    ) -> AggregateOutcome: ...

    @overload
    def when(
        self, what: Event | Due | Refused, *, headers: Mapping[str, Any] | None = None
    ) -> ProcessOutcome: ...

    def when(
        self,
        what: Command | Event | Due | Refused,
        *,
        headers: Mapping[str, Any] | None = None,
    ) -> AggregateOutcome | ProcessOutcome:
        """Go on: what happened so far is given, and this happens next."""
        return self._scenario.when(what, headers=headers)

    def _fail(self, said: str, *more: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError("\n".join((f"{self._where}: {said}", *(one for one in more if one))))

    def _compare_state(
        self, name: str, found: Mapping[str, Any], expected: Mapping[str, Any]
    ) -> None:
        __tracebackhide__ = True
        for field in expected:
            if field not in found:
                raise TypeError(
                    f"{name} has no field {field!r}; it has {', '.join(found) or 'none'}"
                )
        if any(differ(found[field], value) for field, value in expected.items()):
            self._fail(f"the state of {name} is not as expected", fields(expected, found))


class AggregateOutcome(_Outcome):
    """What an aggregate made of a command. Every method returns it again, or raises.

    Raises:
        AssertionError: it is not as expected

    """

    def __init__(
        self,
        scenario: GoesOn,
        name: str,
        what: Command,
        made: Sequence[Event],
        refusal: Rejected | None,
        state: Mapping[str, Any],
    ) -> None:
        super().__init__(scenario, name, what)
        self._name = name
        self._made = made
        self._refusal = refusal
        self._state = state

    def emits(self, *events: Event) -> Self:
        """It made exactly these events, in this order."""
        __tracebackhide__ = True
        if self._refusal is not None or list(events) != list(self._made):
            more = ""
            if self._refusal is not None:
                more = f"  it was rejected: {self._refusal.reason!r}"
            difference = sequences([*map(repr, events)], [*map(repr, self._made)], "emitted")
            self._fail("the events are not as expected", difference, more)
        return self

    def rejects(self, reason: str | None = None) -> Self:
        """It refused the command, for this reason if one is given."""
        __tracebackhide__ = True
        if self._refusal is None:
            made = sequences([], [*map(repr, self._made)], "emitted")
            self._fail("it was expected to be rejected, and was carried out", made)
        if reason is not None and reason != self._refusal.reason:
            difference = sequences([repr(reason)], [repr(self._refusal.reason)], "said")
            self._fail("it was rejected for another reason", difference)
        return self

    def state(self, **expected: Any) -> Self:
        """These fields have these values now; a command that was refused changed none."""
        __tracebackhide__ = True
        self._compare_state(self._name, self._state, expected)
        return self


class ProcessOutcome(_Outcome):
    """What a process manager made of an event. Every method returns it again, or raises.

    Where one event reached several instances, the commands and timeouts are those of all, by
    instance, and what is said of the state holds for each.

    Raises:
        AssertionError: it is not as expected

    """

    def __init__(
        self,
        scenario: GoesOn,
        name: str,
        what: object,
        now: int,
        changes: Sequence[Change],
        states: Mapping[str, Mapping[str, Any] | None],
        reasons: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__(scenario, name, what)
        self._name = name
        self._now = now
        self._changes = changes
        # Of the instances that it reached; None where there is none yet.
        self._states = states
        # Why nothing, or not everything, came of it: a key of the router's counters, and in words.
        self._reasons = reasons

    def end(self, reason: str, *, by: str | None = None, compensate: bool = True) -> ProcessOutcome:
        """Go on: what happened so far is given, and an operator ends the instance."""
        return self._scenario.end(reason, by=by, compensate=compensate)

    def amend(
        self, fields: Mapping[str, Any] | None = None, /, *, by: str | None = None, **more: Any
    ) -> ProcessOutcome:
        """Go on: what happened so far is given, and an operator gives fields other values."""
        return self._scenario.amend(fields, by=by, **more)

    # What it did

    def issues(self, *commands: Command | Delayed) -> Self:
        """It issued exactly these commands, in this order; none are given for none issued.

        What is held back is written ``delayed(command, timedelta(...))``.
        """
        __tracebackhide__ = True
        expected = [self._timed(one) for one in commands]
        found = [pair for change in self._changes for pair in change.issued]
        if expected != found:
            self._fail(
                "the commands are not as expected",
                sequences([*map(self._told, expected)], [*map(self._told, found)], "issued"),
                self._why(),
            )
        return self

    def cancels(self, *commands: Command) -> Self:
        """It took back exactly these commands, which were held back until then."""
        __tracebackhide__ = True
        found = [command for change in self._changes for command in change.withdrawn]
        if list(commands) != found:
            difference = sequences([*map(repr, commands)], [*map(repr, found)], "cancelled")
            self._fail(
                "the commands that were taken back are not as expected", difference, self._why()
            )
        return self

    def sets_timeout(self, name: str, when: timedelta | datetime | None = None) -> Self:
        """It set this timeout, or moved it, to this delay or moment if one is given."""
        __tracebackhide__ = True
        self._check_timeout(name)
        expected = None if when is None else due_time(self._now, when)
        found = [(one, due) for change in self._changes for one, due in change.set.items()]
        if not any(one == name and expected in {None, due} for one, due in found):
            text = f"timeout({name!r})" if when is None else self._told_timeout((name, expected))
            difference = sequences([text], [*map(self._told_timeout, found)], "set")
            self._fail("the timeouts are not as expected", difference, self._why())
        return self

    def cancels_timeout(self, name: str) -> Self:
        """It took back this timeout, which was set until then, itself or by completing."""
        __tracebackhide__ = True
        self._check_timeout(name)
        found = [one for change in self._changes for one in change.cancelled]
        if name not in found:
            texts = [f"timeout({one!r})" for one in found]
            difference = sequences([f"timeout({name!r})"], texts, "cancelled")
            self._fail("no such timeout was taken back", difference, self._why())
        return self

    # What it is now

    def state(self, **expected: Any) -> Self:
        """These fields have these values now."""
        __tracebackhide__ = True
        if not self._states:
            self._fail("there is no instance whose state could be looked at", self._why())
        for instance, found in self._states.items():
            if found is None:
                self._fail(f"there is no instance {instance!r}", self._why())
            self._compare_state(f"{self._name} {instance!r}", found, expected)
        return self

    def completes(self) -> Self:
        """The process has ended with this."""
        __tracebackhide__ = True
        self._check_end(is_complete=True)
        return self

    def continues(self) -> Self:
        """Something came of it, and the process has not ended."""
        __tracebackhide__ = True
        self._check_end(is_complete=False)
        return self

    def ignores(self) -> Self:
        """Nothing came of it: it is for no instance, or too early, or the process had ended."""
        __tracebackhide__ = True
        if self._changes:
            self._fail("it was expected to be ignored, and was handled", self._handled())
        if any(reason in _HELD for reason, _ in self._reasons):
            self._fail("it was expected to be ignored", self._why())
        return self

    def holds(self) -> Self:
        """It is kept until the start, by ``early="hold"``, or until an instance learns its key."""
        __tracebackhide__ = True
        if self._changes:
            self._fail("it was expected to be held, and was handled", self._handled())
        if not self._reasons or any(reason not in _HELD for reason, _ in self._reasons):
            self._fail("it was expected to be held", self._why())
        return self

    def _check_end(self, *, is_complete: bool) -> None:
        __tracebackhide__ = True
        last = {one.instance: one for one in self._changes}
        if not last:
            wanted = "end" if is_complete else "go on"
            self._fail(f"the process was expected to {wanted} with this", self._why())
        for instance, change in last.items():
            if change.transition.is_complete is not is_complete:
                isnt = "has not ended" if is_complete else "has ended"
                self._fail(f"{self._name} {instance!r} {isnt}", self._handled())

    # In words

    def _timed(self, one: Command | Delayed) -> tuple[Command, int]:
        if isinstance(one, Delayed):
            return one.command, due_time(self._now, one.until)
        given: object = one
        if not isinstance(given, Command):
            raise InvalidMessage(f"issues takes commands and delayed(...), not {one!r}")
        return one, 0

    def _told(self, timed: tuple[Command, int]) -> str:
        command, due = timed
        return f"delayed({command!r}, {self._delay(due)})" if due else repr(command)

    def _told_timeout(self, set_: tuple[str, int | None]) -> str:
        name, due = set_
        return f"timeout({name!r}, {self._delay(due or 0)})"

    def _delay(self, due: int) -> str:
        # As one would write it.
        return repr(from_micros(due) - from_micros(self._now)).removeprefix("datetime.")

    def _check_timeout(self, name: str) -> None:
        known = self._scenario.timeouts
        if name not in known:
            raise InvalidMessage(
                f"{self._name} has no @timeout({name!r}) method; "
                f"it has {', '.join(known) or 'none'}"
            )

    def _handled(self) -> str:
        return "\n".join(
            f"  {one.instance!r} was handled by {one.transition.handler}" for one in self._changes
        )

    def _why(self) -> str:
        return "\n".join(f"  nothing came of it: {said}" for _, said in self._reasons)
