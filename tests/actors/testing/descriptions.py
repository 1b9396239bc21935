"""Whole domains as plain data: what a strategy makes, what code is written of, what a model reads.

`n` of a message is how far what it sets off may go on: a process manager issues something and
sets a timeout only while it is above 0, with 1 less. So every domain comes to rest.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ACTIONS",
    "Action",
    "AggregateMade",
    "Correlating",
    "Decision",
    "DomainMade",
    "ManagerMade",
    "OnEvent",
    "OnRefusal",
    "OnTimeout",
]

Correlating = Literal["who", "others", "odd", "key", "ALL"]

ACTIONS = (
    "count",
    "total",
    "tag",
    "tally",
    "time",
    "stage",
    "pair",
    "learn",
    "issue",
    "set",
    "cancel",
    "take back",
    "complete",
    "fail",
)


@dataclass(frozen=True)
class Action:
    """One line of a handler.

    Attributes:
        kind: one of `ACTIONS`
        what: the command's or timeout's number
        to: whom a command is for: the instance's own id, that in the message, or a fixed one
        minutes: how long a command is held back, or until a timeout; 0 is at once
        times: how many attempts fail, or the count from which on the process is complete

    """

    kind: str
    what: int = 0
    to: Literal["own", "said", "fixed"] = "own"
    minutes: int = 0
    times: int = 0


@dataclass(frozen=True)
class OnEvent:
    """A handler of a process manager for an event."""

    event: int
    start: bool | Literal["only"]
    end: bool
    correlate: Correlating
    actions: tuple[Action, ...]

    @property
    def name(self) -> str:
        return f"on_event{self.event}"


@dataclass(frozen=True)
class OnTimeout:
    """One for a timeout."""

    number: int
    actions: tuple[Action, ...]

    @property
    def name(self) -> str:
        return f"on_timeout{self.number}"


@dataclass(frozen=True)
class OnRefusal:
    """One for a refused command."""

    command: int
    actions: tuple[Action, ...]

    @property
    def name(self) -> str:
        return f"on_refused{self.command}"


@dataclass(frozen=True)
class ManagerMade:
    """A process manager.

    Attributes:
        number: of it
        early: as the class keyword
        restart: as the class keyword
        attempts: of its `Retry`; 0 has none
        stateless: as the class keyword
        streams: the numbers of the aggregates that it listens to; None is to all
        is_indexed: whether its field `key` is a learnt one
        events: its handlers
        timeouts: more
        refusals: more
        unmatched: as the class keyword
        late: as the class keyword

    """

    number: int
    early: Literal["skip", "hold", "park"]
    restart: bool
    attempts: int
    stateless: bool
    streams: tuple[int, ...] | None
    is_indexed: bool
    events: tuple[OnEvent, ...]
    timeouts: tuple[OnTimeout, ...]
    refusals: tuple[OnRefusal, ...]
    unmatched: Literal["skip", "hold", "park"] = "hold"
    late: Literal["skip", "park"] = "skip"

    @property
    def name(self) -> str:
        return f"Manager{self.number}"

    @property
    def handlers(self) -> tuple[OnEvent | OnTimeout | OnRefusal, ...]:
        """All of them."""
        return (*self.events, *self.timeouts, *self.refusals)


@dataclass(frozen=True)
class Decision:
    """What an aggregate makes of a command.

    Attributes:
        command: its number
        limit: how many events the aggregate has when it refuses; None never refuses
        fails_at: the `n` of a command at which the handler fails; None never does
        is_late: whether it refuses and fails only when it has made its first event already
        emits: the numbers of the events that it makes

    """

    command: int
    limit: int | None
    fails_at: int | None
    is_late: bool
    emits: tuple[int, ...]


@dataclass(frozen=True)
class AggregateMade:
    """An aggregate."""

    number: int
    snapshot_every: int
    decisions: tuple[Decision, ...]

    @property
    def name(self) -> str:
        return f"Aggregate{self.number}"

    @property
    def category(self) -> str:
        return f"wild::aggregate{self.number}"


@dataclass(frozen=True)
class DomainMade:
    """A whole domain; its events are numbered from 0, its commands are those of its aggregates."""

    events: int
    aggregates: tuple[AggregateMade, ...]
    managers: tuple[ManagerMade, ...]

    def decision(self, command: int) -> tuple[AggregateMade, Decision]:
        """Who takes a command, and what it does."""
        return next(
            (aggregate, decision)
            for aggregate in self.aggregates
            for decision in aggregate.decisions
            if decision.command == command
        )
