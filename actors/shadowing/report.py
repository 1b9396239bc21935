"""What was found, put together: counted by kind and handler, with an example each."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ..messages.plain import as_json
from .differences import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .outcomes import Kind
    from .replaying import Life
    from .streams import Met, StreamLife
    from .untaken import TakenUp

Of: TypeAlias = Literal["instances", "aggregates", "events"]

__all__ = ["Findings", "ShadowDifference", "ShadowExample", "ShadowReport"]


@dataclass(frozen=True, slots=True)
class ShadowExample:
    """One step that differs.

    Attributes:
        instance: its id, or that of the aggregate
        version: of the transition, or of the first event in the stream
        stored: what is stored, cut short
        now: what comes of it now, cut short

    """

    instance: str
    version: int
    stored: str
    now: str


@dataclass(frozen=True, slots=True)
class ShadowDifference:
    """What differs in the same way in many steps. Its `str` is a line.

    Attributes:
        kind: ``"commands"``, ``"timeouts"``, ``"state"``, ``"completion"``, ``"refusals"`` (the
            handler raises), ``"passed over"`` (what happened does not come to the instance),
            ``"taken up"`` (an event that made no transition makes one), ``"events"`` (an aggregate
            makes others), ``"unhandled"`` (there is no handler), ``"unreadable"``, or
            ``"outside"`` (the handler reaches for a socket, a file or a process)
        process: the name of the process manager, or the category of the aggregate
        handler: the method that made the transition, carried the command out, or applied the event
        how: what differs, for people
        steps: how many do: transitions, commands or events
        of: ``"instances"``, ``"aggregates"`` or ``"events"``: what has these steps
        instances: how many instances or aggregates that are; 0 of events
        running: how many of the instances are not complete
        follows: whether the handler meets the stored state as before, and differs only where an
            earlier step left another one
        example: the first of them

    """

    kind: str
    process: str
    handler: str
    how: str
    steps: int
    of: Of
    instances: int
    running: int
    follows: bool
    example: ShadowExample

    def __str__(self) -> str:
        follows = ", since its state is another" if self.follows else ""
        example = self.example
        change = f": {example.stored or 'as stored'} → {example.now}" if example.now else ""
        return (
            f"{self.kind}: {self.process}.{self.handler or '?'}: {self.how}{follows}; "
            f"{self.steps:,} {self._counted()}, as "
            f"{example.instance!r} at version {example.version}{change}"
        )

    def _counted(self) -> str:
        if self.of == "events":
            return "events"
        running = f" ({self.running:,} running)" if self.of == "instances" else ""
        return f"steps of {self.instances:,} {self.of}{running}"


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What came of what is stored, decided again by other code. Its `str` has a line for each.

    Attributes:
        differences: what differs; none if the code does the same
        not_deterministic: what differs when it is decided a second time, and so says nothing
        outside: what handlers reached for, and was refused; what comes of these steps is not known
        not_known: what cannot be known, in sentences
        instances: how many were gone through
        steps: how many of their transitions were decided again
        streams: how many streams of aggregates were gone through
        events: how many of their events were applied
        commands: how many of the commands that made these were carried out again
        not_kept: how many were not, since they came from outside
        damaged: instances that cannot be read from the store, each with the error; at most a
            hundred of them

    """

    differences: tuple[ShadowDifference, ...]
    not_deterministic: tuple[ShadowDifference, ...]
    outside: tuple[ShadowDifference, ...]
    not_known: tuple[str, ...]
    instances: int
    steps: int
    streams: int
    events: int
    commands: int
    not_kept: int
    damaged: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from map(str, self.differences)
        for title, group in (
            ("not deterministic", self.not_deterministic),
            ("refused", self.outside),
        ):
            yield from (f"{title}: {one}" for one in group)
        yield from (f"cannot be read: {name}: {error}" for name, error in self.damaged.items())
        yield from (f"not known: {one}" for one in self.not_known)
        count = len(self.differences)
        yield (
            f"{self.steps:,} steps of {self.instances:,} instances, {self.events:,} events of "
            f"{self.streams:,} aggregates ({self.commands:,} commands carried out again, "
            f"{self.not_kept:,} not kept): "
            f"{f'{count:,}' if count else 'no'} difference{'s' * (count != 1)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    def to_json(self) -> str:
        """As `to_dict`, as JSON."""
        return as_json(self.to_dict())


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, ShadowDifference | ShadowExample):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return value


Key = tuple[str, str, str, str, str, bool]
"""Kind, process, handler, subject, how, and whether it follows."""

DAMAGED = 100
"""Most damaged instances that are kept."""


class _Step(NamedTuple):
    """One difference of a step, as it is counted."""

    handler: str
    version: int
    found: Found
    is_steady: bool = True
    follows: bool = False


@dataclass(slots=True)
class _Tally:
    """How often, and where first."""

    place: int
    example: ShadowExample
    of: Of = "instances"
    steps: int = 0
    instances: int = 0
    running: int = 0

    def add(self, other: _Tally) -> None:
        self.steps += other.steps
        self.instances += other.instances
        self.running += other.running
        if other.place < self.place:
            self.place, self.example = other.place, other.example


@dataclass(slots=True)
class Findings:
    """What was found so far, by a part of the work; parts are put together in any order."""

    instances: int = 0
    steps: int = 0
    streams: int = 0
    events: int = 0
    commands: int = 0
    not_kept: int = 0
    tallies: dict[Key, _Tally] = field(default_factory=dict)
    by_chance: dict[Key, _Tally] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    handled: set[tuple[str, str]] = field(default_factory=set)
    """The methods that were tried, by process manager or category."""

    def add_life(self, process: str, instance: str, place: int, life: Life) -> None:
        """Take up what came of an instance.

        Args:
            process: the name of the process manager
            instance: its id
            place: where it is in the order of all starts, by which the example is chosen
            life: what came of it

        """
        self.instances += 1
        self.steps += life.steps
        steps = [
            _Step(one.transition.handler, one.transition.version, *one[1:]) for one in life.noted
        ]
        steps += [_outside(made.version, made.handler, what) for made, what in life.reached]
        is_running = life.last is not None and not life.last.is_complete
        self._add(process, instance, place, steps, of="instances", is_running=is_running)

    def add_stream(self, category: str, name: str, place: int, life: StreamLife) -> None:
        """Take up what came of the stream of an aggregate.

        Args:
            category: of the stream
            name: the id of the aggregate
            place: the position of its first event
            life: what came of it

        """
        self.streams += 1
        self.events += life.events
        self.commands += life.commands
        self.not_kept += life.not_kept
        if life.met:
            self.add_met(category, name, place, life.met)
        if life.reached:
            self._add(category, name, place, [_outside(*one) for one in life.reached])

    def add_met(self, category: str, name: str, place: int, met: Iterable[Met]) -> None:
        """Take up what was found of an aggregate."""
        steps = [_Step(one.handler, one.version, one.found, one.is_steady) for one in met]
        self._add(category, name, place, steps)

    def add_taken_up(self, process: str, place: int, one: TakenUp) -> None:
        """Take up that an event would be taken up which was not.

        Args:
            process: the name of the process manager
            place: the position of the event
            one: what comes of it

        """
        step = _Step(one.handler, one.version, one.found, one.is_steady)
        self._add(process, one.instance, place, [step], of="events")

    def _add(
        self,
        process: str,
        instance: str,
        place: int,
        steps: Iterable[_Step],
        *,
        of: Of = "aggregates",
        is_running: bool = False,
    ) -> None:
        met: dict[Key, tuple[bool, _Tally]] = {}
        for one in steps:
            found = one.found
            key: Key = (found.kind, process, one.handler, found.subject, found.how, one.follows)
            example = ShadowExample(instance, one.version, found.before, found.now)
            was_steady, tally = met.setdefault(key, (one.is_steady, _Tally(place, example, of)))
            tally.steps += 1
            met[key] = (was_steady and one.is_steady, tally)
        for key, (is_steady, tally) in met.items():
            tally.instances, tally.running = int(of != "events"), int(is_running)
            _put(self.tallies if is_steady else self.by_chance, key, tally)

    def add_damaged(self, name: str, error: Exception) -> None:
        """Take up that an instance, a stream or an event cannot be read."""
        if len(self.damaged) < DAMAGED:
            self.damaged[name] = str(error)

    def add_gone(self, process: str, instances: int, running: int) -> None:
        """Take up that no class has the name of a process manager any more."""
        if instances:
            key: Key = ("unhandled", process, "", process, f"no class is called {process}", False)
            example = ShadowExample("", 0, "", "")
            self.tallies[key] = _Tally(0, example, "instances", 0, instances, running)

    def add_gone_stream(self, category: str, name: str, place: int) -> None:
        """Take up that no aggregate has the category of a stream any more."""
        found = Found("unhandled", category, f"no aggregate has the category {category}", "", "")
        self._add(category, name, place, [_Step("", 1, found)])

    def add(self, other: Findings) -> None:
        """Take up what another part of the work found."""
        self.instances += other.instances
        self.steps += other.steps
        self.streams += other.streams
        self.events += other.events
        self.commands += other.commands
        self.not_kept += other.not_kept
        for key, tally in other.tallies.items():
            _put(self.tallies, key, tally)
        for key, tally in other.by_chance.items():
            _put(self.by_chance, key, tally)
        self.handled |= other.handled
        for name, error in other.damaged.items():
            if len(self.damaged) < DAMAGED:
                self.damaged[name] = error

    def report(self, unknown: list[str]) -> ShadowReport:
        """All that was found.

        Args:
            unknown: what cannot be known besides, in sentences

        """
        # What differed from itself once says nothing wherever it differs.
        doubtful = {key[:4] for key in self.by_chance}
        steady = {key: one for key, one in self.tallies.items() if key[:4] not in doubtful}
        by_chance = dict(self.by_chance)
        for key, one in self.tallies.items():
            if key[:4] in doubtful:
                _put(by_chance, key, one)
        answered = sorted({key[3].split(" ")[0] for key in steady if _is_anew(key, "commands")})
        made = sorted({key[3].split(" ")[0] for key in steady if _is_anew(key, "events")})
        return ShadowReport(
            differences=_sorted(steady, lambda kind: kind != "outside"),
            not_deterministic=_sorted(by_chance, lambda _: True),
            outside=_sorted(steady, lambda kind: kind == "outside"),
            not_known=(
                *(
                    f"what an aggregate answers to a {one} that was not issued so before, and all "
                    f"that comes of the answer"
                    for one in answered
                ),
                *(f"what comes of a {one} that no aggregate made so before" for one in made),
                *unknown,
            ),
            instances=self.instances,
            steps=self.steps,
            streams=self.streams,
            events=self.events,
            commands=self.commands,
            not_kept=self.not_kept,
            damaged=self.damaged,
        )


def _outside(version: int, handler: str, what: str) -> _Step:
    return _Step(handler, version, Found("outside", what, f"reaches for {what}", "", ""))


def _is_anew(key: Key, kind: Kind) -> bool:
    """Whether messages are told of that were not there before; not those that are gone."""
    return key[0] == kind and bool(key[3]) and not key[4].startswith("does not")


def _put(tallies: dict[Key, _Tally], key: Key, tally: _Tally) -> None:
    known = tallies.setdefault(key, tally)
    if known is not tally:
        known.add(tally)


def _sorted(
    tallies: dict[Key, _Tally], wanted: Callable[[str], bool]
) -> tuple[ShadowDifference, ...]:
    """By kind, process manager and handler."""
    return tuple(
        ShadowDifference(
            kind=key[0],
            process=key[1],
            handler=key[2],
            how=key[4],
            steps=tally.steps,
            of=tally.of,
            instances=tally.instances,
            running=tally.running,
            follows=key[5],
            example=tally.example,
        )
        for key, tally in sorted(tallies.items(), key=itemgetter(0))
        if wanted(key[0])
    )
