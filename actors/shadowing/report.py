"""What was found, put together: counted by kind and handler, with an example each."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..messages.plain import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .replaying import Life

__all__ = ["Findings", "ShadowDifference", "ShadowExample", "ShadowReport"]


@dataclass(frozen=True, slots=True)
class ShadowExample:
    """One step that differs.

    Attributes:
        instance: its id
        version: of the transition
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
            ``"unhandled"`` (it has no handler), ``"unreadable"``, or ``"outside"`` (the handler
            reaches for a socket, a file or a process)
        process: the name of the process manager
        handler: the method that made the transition
        how: what differs, for people
        steps: how many do
        instances: how many instances have such a step
        running: how many of these are not complete
        follows: whether the handler meets the stored state as before, and differs only where an
            earlier step left another one
        example: the first of them

    """

    kind: str
    process: str
    handler: str
    how: str
    steps: int
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
            f"{self.steps:,} steps of {self.instances:,} instances ({self.running:,} running), as "
            f"{example.instance!r} at version {example.version}{change}"
        )


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
        damaged: instances that cannot be read from the store, each with the error; at most a
            hundred of them

    """

    differences: tuple[ShadowDifference, ...]
    not_deterministic: tuple[ShadowDifference, ...]
    outside: tuple[ShadowDifference, ...]
    not_known: tuple[str, ...]
    instances: int
    steps: int
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
            f"{self.steps:,} steps of {self.instances:,} instances: "
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


@dataclass(slots=True)
class _Tally:
    """How often, and where first."""

    place: int
    example: ShadowExample
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
    tallies: dict[Key, _Tally] = field(default_factory=dict)
    by_chance: dict[Key, _Tally] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    handled: set[tuple[str, str]] = field(default_factory=set)
    """The handlers that were tried, by process."""

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
        is_running = life.last is not None and not life.last.is_complete
        met: dict[Key, tuple[bool, _Tally]] = {}
        for one in life.noted:
            made, found = one.transition, one.found
            self._note(
                met,
                (found.kind, process, made.handler, found.subject, found.how, one.follows),
                place,
                ShadowExample(instance, made.version, found.before, found.now),
                is_steady=one.is_steady,
            )
        for made, what in life.reached:
            self._note(
                met,
                ("outside", process, made.handler, what, f"reaches for {what}", False),
                place,
                ShadowExample(instance, made.version, "", ""),
                is_steady=True,
            )
        for key, (is_steady, tally) in met.items():
            tally.instances, tally.running = 1, int(is_running)
            _put(self.tallies if is_steady else self.by_chance, key, tally)

    @staticmethod
    def _note(
        met: dict[Key, tuple[bool, _Tally]],
        key: Key,
        place: int,
        example: ShadowExample,
        *,
        is_steady: bool,
    ) -> None:
        was_steady, tally = met.setdefault(key, (is_steady, _Tally(place, example)))
        tally.steps += 1
        if was_steady and not is_steady:
            met[key] = (False, tally)

    def add_damaged(self, name: str, error: Exception) -> None:
        """Take up that an instance cannot be read."""
        self.instances += 1
        if len(self.damaged) < DAMAGED:
            self.damaged[name] = str(error)

    def add_gone(self, process: str, instances: int, running: int) -> None:
        """Take up that no class has the name of a process manager any more."""
        if instances:
            key: Key = ("unhandled", process, "", process, f"no class is called {process}", False)
            example = ShadowExample("", 0, "", "")
            self.tallies[key] = _Tally(0, example, 0, instances, running)

    def add(self, other: Findings) -> None:
        """Take up what another part of the work found."""
        self.instances += other.instances
        self.steps += other.steps
        for key, tally in other.tallies.items():
            _put(self.tallies, key, tally)
        for key, tally in other.by_chance.items():
            _put(self.by_chance, key, tally)
        self.handled |= other.handled
        for name, error in other.damaged.items():
            if len(self.damaged) < DAMAGED:
                self.damaged[name] = error

    def report(self, unreached: list[str]) -> ShadowReport:
        """All that was found.

        Args:
            unreached: handlers that no stored step tried

        """
        # What differed from itself once says nothing wherever it differs.
        doubtful = {key[:4] for key in self.by_chance}
        steady = {key: one for key, one in self.tallies.items() if key[:4] not in doubtful}
        by_chance = dict(self.by_chance)
        for key, one in self.tallies.items():
            if key[:4] in doubtful:
                _put(by_chance, key, one)
        answered = sorted({key[3].split(" ")[0] for key in steady if _asks_anew(key)})
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
                *(f"what {one} does: no stored step came to it" for one in unreached),
            ),
            instances=self.instances,
            steps=self.steps,
            damaged=self.damaged,
        )


def _asks_anew(key: Key) -> bool:
    kind, _, _, subject, how, _ = key
    return kind == "commands" and bool(subject) and not how.startswith("does not")


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
            instances=tally.instances,
            running=tally.running,
            follows=key[5],
            example=tally.example,
        )
        for key, tally in sorted(tallies.items(), key=itemgetter(0))
        if wanted(key[0])
    )
