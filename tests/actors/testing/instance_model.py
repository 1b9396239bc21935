"""One instance as the model has it, moved along by the causes that its log names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.actors.testing.model import Said, fails_for_good, handle, instances_named

if TYPE_CHECKING:
    from tests.actors.testing.descriptions import (
        DomainMade,
        ManagerMade,
        OnEvent,
        OnRefusal,
        OnTimeout,
    )
    from tests.actors.testing.stored import StoredEvent, StoredStep

__all__ = ["InstanceModel", "Issued", "Point", "handler_of"]


class Point(NamedTuple):
    """Where an instance is between two transitions.

    `key` is the learnt one, and `run` the version at which it started for the last time.
    """

    is_started: bool
    is_complete: bool
    key: str
    run: int = 1


@dataclass
class Issued:
    """A command: from an instance, or from outside where that is None.

    `due` is when it leaves, 0 is at once; `taken_back_at` when it was taken back, if it was.
    """

    command_id: str
    number: int
    said: Said
    manager: ManagerMade | None
    instance: str
    correlation_id: str
    time: int
    due: int = 0
    taken_back_at: int | None = None


def handler_of(domain: DomainMade, manager: ManagerMade, event: StoredEvent) -> OnEvent | None:
    """The handler of an event, if the process manager listens to its stream."""
    if manager.streams is not None:
        heard = {domain.aggregates[one].category for one in manager.streams}
        if event.stream.partition("-")[0] not in heard:
            return None
    return next((one for one in manager.events if one.event == event.number), None)


@dataclass
class InstanceModel:
    """What its transitions should say."""

    domain: DomainMade
    manager: ManagerMade
    instance: str
    state: dict[str, Any] | None = None
    is_complete: bool = False
    version: int = 0
    timers: dict[str, int] = field(default_factory=dict)
    held: dict[str, Issued] = field(default_factory=dict)
    correlation_id: str = ""
    first: int = 0
    """The position of the event that started it."""
    handled: dict[int, int] = field(default_factory=dict)
    """The version that each event made, by its position."""
    newest: tuple[int, int] = (-1, 0)
    """The rank of the event handled last, in the order in which events are to be handled."""
    taken_up: int | None = None
    """The position of the event handled last since the key was learnt; None once it was not one."""
    skipped: set[str] = field(default_factory=set)
    """Timeouts that an operator skipped, of which no transition tells."""
    told: set[str] = field(default_factory=set)
    points: list[Point] = field(default_factory=lambda: [Point(False, False, "")])
    at_newest: int = 0
    """Which of the points comes behind the event handled last."""
    run: int = 1
    """The version at which it started, or started anew, for the last time."""
    fired: int = 0
    """When the timeout that it took last in this run was due."""
    was_set: bool = False
    """Whether the clock was ever set, so that times say nothing of what came first."""

    @property
    def who(self) -> str:
        return f"{self.manager.name} {self.instance}"

    def rank(self, position: int) -> tuple[int, int]:
        """The place of an event in the order of handling: what was held comes behind the start."""
        if self.manager.early != "hold" or not self.first:
            return (1, position)
        if position == self.first:
            return (0, 0)
        return (1 if position < self.first else 2, position)

    def move(
        self,
        step: StoredStep,
        event: StoredEvent | None,
        refused: Issued | None,
    ) -> list[Issued]:
        """Go on by one transition, which must be as the description says.

        Args:
            step: what is stored
            event: its cause, if it is one
            refused: the command, if its cause is a refusal

        Returns:
            what it issued

        """
        assert step.version == self.version + 1, f"{self.who} has a gap before {step}"
        handler: OnEvent | OnTimeout | OnRefusal
        said: Said | None
        if event is not None:
            handler, said, time = self._of_event(step, event)
            correlation_id = event.correlation_id
        elif refused is not None:
            handler, said, time = self._of_refusal(step, refused)
            correlation_id = refused.correlation_id
        else:
            handler, said, time = self._of_timeout(step)
            correlation_id = self.correlation_id
        assert step.handler == handler.name, f"{self.who}: {step} is not by {handler.name}"
        assert step.correlation_id == correlation_id, f"{self.who}: {step} is of another chain"
        assert not fails_for_good(self.manager, handler.actions), f"{self.who}: {step} cannot be"
        if self.is_complete:
            self.run, self.fired = step.version, 0
        made = handle(
            self.manager,
            handler,
            None if event is not None and self.is_complete else self.state,
            instance=self.instance,
            version=step.version,
            said=said,
            reason=step.note or "",
            now=step.time,
            time=time,
        )
        assert step.state == made.state, f"{self.who} at {step.version}: not {made.state}: {step}"
        assert step.is_complete == made.is_complete, f"{self.who}: {step}"
        named = f"wild.{self.who.replace(' ', '-')}@{step.version}"
        expected = [
            (f"{named}.{place}", number, fields)
            for place, (number, fields, _) in enumerate(made.issued)
        ]
        assert step.commands == expected, f"{self.who}: {step.commands} is not {expected}"
        self.version, self.state = step.version, made.state
        self.is_complete, self.correlation_id = made.is_complete, correlation_id
        issued = [
            Issued(
                command_id,
                number,
                fields,
                self.manager,
                self.instance,
                correlation_id,
                step.time,
                due,
            )
            for (command_id, number, fields), (_, _, due) in zip(expected, made.issued, strict=True)
        ]
        self._move_timers(step, issued, made.timers)
        key = "" if self.manager.stateless else made.state["key"]
        if key != self.points[-1].key:
            self.taken_up = 0
        elif event is None:
            self.taken_up = None
        self.points.append(Point(True, made.is_complete, key, self.run))
        if event is not None:
            self.at_newest = len(self.points) - 1
        return issued

    def _of_event(self, step: StoredStep, event: StoredEvent) -> tuple[OnEvent, Said, int]:
        handler = handler_of(self.domain, self.manager, event)
        assert handler is not None, f"{self.who} made {step} of {event}, which is not for it"
        assert event.position not in self.handled, f"{self.who} handled {event.event_id} twice"
        if self.manager.stateless:
            assert self.instance == event.event_id, f"{self.who} handled {event.event_id}"
        elif handler.correlate == "key":
            assert self.state is not None, f"{self.who} was found by a key before it had one"
            assert self.state["key"] == event.said["key"], f"{self.who} was not for {event}"
        else:
            named = instances_named(handler, event.said) or []
            assert self.instance in named, f"{self.who} was not for {event}"
        if not self.manager.stateless:
            answered = self.version_that_issued(event.causation_id)
            is_late = not self.is_complete and 0 < answered < self.run
            assert not is_late, f"{self.who} handled {event}, the answer to an ended run"
            if self.state is None:
                assert handler.start, f"{self.who} was started by {event}"
            elif self.is_complete:
                assert handler.start, f"{self.who} was started again by {event}"
                assert self.manager.restart, f"{self.who} was started again by {event}"
            else:
                assert handler.start != "only", f"{self.who} was started twice, by {event}"
        if self.state is None:
            self.first = event.position
        if not self.manager.stateless:
            late = {
                name: due
                for name, due in self.timers.items()
                if due < event.time and name not in self.skipped
            }
            assert not late, f"{self.who} handled {event} before {late}, which came first"
        rank = self.rank(event.position)
        if rank > self.newest:
            self.newest = rank
        else:
            # It was held, and comes when its key is learnt: in order, and before anything else.
            is_held = handler.correlate == "key" and self.manager.unmatched == "hold"
            is_next = self.taken_up is not None and event.position > self.taken_up
            assert is_held, f"{self.who} handled {event} out of order"
            assert is_next, f"{self.who} took up {event} out of order"
        if self.taken_up is not None:
            self.taken_up = event.position
        self.handled[event.position] = step.version
        return handler, event.said, event.time

    def version_that_issued(self, command_id: str | None) -> int:
        """The version of this instance that issued a command; 0 if none did."""
        own, _, place = (command_id or "").rpartition("@")
        if own != f"wild.{self.manager.name}-{self.instance}":
            return 0
        return int(place.partition(".")[0])

    def _of_refusal(self, step: StoredStep, refused: Issued) -> tuple[OnRefusal, Said, int]:
        assert (refused.manager, refused.instance) == (self.manager, self.instance), step
        assert refused.command_id not in self.told, f"{self.who} was told twice: {step}"
        assert not self.is_complete, f"{self.who} has ended: {step}"
        issued = self.version_that_issued(refused.command_id)
        assert issued >= self.run, f"{self.who} was told of a refusal to an ended run: {step}"
        self.told.add(refused.command_id)
        handler = next(one for one in self.manager.refusals if one.command == refused.number)
        return handler, refused.said, refused.time

    def _of_timeout(self, step: StoredStep) -> tuple[OnTimeout, None, int]:
        kind, _, name = step.cause.partition(":")
        assert kind == "timeout", f"{self.who}: nothing known has caused {step}"
        due = self.timers.pop(name, None)
        assert due is not None, f"{self.who}: {name} was not set: {step}"
        # What was due stays due when the clock is set back before it is handled.
        is_due = due <= step.time or self.was_set
        assert is_due, f"{self.who}: {name} came before its time: {step}"
        self.fired = due
        assert not self.is_complete, f"{self.who} has ended: {step}"
        return self.manager.timeouts[int(name[1:])], None, due

    def _move_timers(
        self, step: StoredStep, issued: list[Issued], asked: dict[str, int | None]
    ) -> None:
        self.held |= {one.command_id: one for one in issued if one.due}
        for name, due in asked.items():
            if name in self.held:
                self.held[name].taken_back_at = step.time
            elif due is None:
                self.timers.pop(name, None)
            else:
                self.timers[name] = due
        if step.is_complete:
            self.timers.clear()
        kept = {name: due for name, due in step.timers.items() if "@" not in name}
        assert kept == self.timers, f"{self.who}: {step.timers} is not {self.timers}"
