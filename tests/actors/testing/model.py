"""What a description does, on plain dictionaries: no actor, no store, no order of turns."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from tests.actors.testing.descriptions import (
        Action,
        AggregateMade,
        Decision,
        ManagerMade,
        OnEvent,
        OnRefusal,
        OnTimeout,
    )

__all__ = [
    "Decided",
    "Handled",
    "Said",
    "StreamModel",
    "decide",
    "fails_for_good",
    "handle",
    "instances_named",
]

Said: TypeAlias = dict[str, Any]
"""The fields of a message."""

MINUTE = 60_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Handled(NamedTuple):
    """What a handler makes.

    Attributes:
        state: the fields afterwards
        issued: each command's number, its fields, and when it leaves; 0 is at once
        timers: what is set and, as None, cancelled
        is_complete: whether the process has ended

    """

    state: dict[str, Any]
    issued: list[tuple[int, Said, int]]
    timers: dict[str, int | None]
    is_complete: bool


def fails_for_good(manager: ManagerMade, actions: tuple[Action, ...]) -> bool:
    """Whether a handler fails however often it is tried."""
    return any(
        action.kind == "fail" and action.times >= max(manager.attempts, 1) for action in actions
    )


def fresh() -> dict[str, Any]:
    """The fields of a process manager before its first event."""
    return {
        "who": "",
        "log": [],
        "fuel": 0,
        "count": 0,
        "total": Decimal(0),
        "tags": set(),
        "by": {},
        "last": None,
        "stage": "new",
        "pair": (0, ""),
        "held": "",
        "key": "",
    }


def handle(
    manager: ManagerMade,
    handler: OnEvent | OnTimeout | OnRefusal,
    state: dict[str, Any] | None,
    *,
    instance: str,
    version: int,
    said: Said | None,
    reason: str,
    now: int,
    time: int,
) -> Handled:
    """Run a handler on plain fields.

    Args:
        manager: whose it is
        handler: to run
        state: the fields before; None starts anew
        instance: its id
        version: the one that is made
        said: the fields of the event, or of the refused command
        reason: of the refusal
        now: the time, in microseconds
        time: of the cause

    """
    after = fresh() if state is None else copy.deepcopy(state)
    if state is None and not manager.stateless:
        after["who"] = instance
    run = _Run(manager, instance, version, said, now, time, after)
    if manager.stateless:
        assert said is not None
        run.fuel = said["n"]
    else:
        run.fuel = after["fuel"] - 1 if said is None else said["n"]
        after["fuel"] = run.fuel
        told = "" if said is None else said["n"]
        after["log"].append(f"{handler.name} {told}" + (f" {reason}" if reason else ""))
    for action in handler.actions:
        run.act(action)
    is_end = getattr(handler, "end", False) or manager.stateless
    return Handled(
        {} if manager.stateless else after, run.issued, run.timers, is_end or run.is_complete
    )


@dataclass
class _Run:
    """One handler's run."""

    manager: ManagerMade
    instance: str
    version: int
    said: Said | None
    now: int
    time: int
    state: dict[str, Any]
    fuel: int = 0
    is_complete: bool = False
    issued: list[tuple[int, Said, int]] = field(default_factory=list)
    timers: dict[str, int | None] = field(default_factory=dict)

    @property
    def who(self) -> str:
        return self.instance if self.said is None else str(self.said["who"])

    def act(self, action: Action) -> None:
        state, said = self.state, self.said
        amount = Decimal("0.5") if said is None else said["amount"]
        match action.kind:
            case "count":
                state["count"] += 1
            case "total":
                state["total"] += amount
            case "tag":
                state["tags"].add(self.who)
            case "tally":
                state["by"][self.who] = state["by"].get(self.who, 0) + 1
            case "time":
                state["last"] = EPOCH + timedelta(microseconds=self.time)
            case "stage":
                state["stage"] = "old" if state["stage"] == "new" else "new"
            case "pair":
                state["pair"] = (state["pair"][0] + 1, self.instance)
            case "learn" if said is not None:
                state["key"] = said["key"]
            case "issue" if self.fuel > 0:
                self._issue(action, amount)
            case "set" if self.fuel > 0:
                self.timers[f"t{action.what}"] = self.now + action.minutes * MINUTE
            case "cancel":
                self.timers[f"t{action.what}"] = None
            case "take back" if state["held"]:
                self.timers[state["held"]] = None
            case "complete" if state["count"] >= action.times:
                self.is_complete = True

    def _issue(self, action: Action, amount: Decimal) -> None:
        said = self.said
        message = {
            "who": {"own": self.instance, "said": self.who, "fixed": "a"}[action.to],
            "n": self.fuel - 1,
            "others": [] if said is None else said["others"],
            "key": "" if said is None else said["key"],
            "amount": amount,
        }
        due = self.now + action.minutes * MINUTE if action.minutes else 0
        if due and action.times and not self.manager.stateless:
            self.state["held"] = (
                f"wild.{self.manager.name}-{self.instance}@{self.version}.{len(self.issued)}"
            )
        self.issued.append((action.what, message, due))


def instances_named(handler: OnEvent, said: Said) -> list[str] | None:
    """The instances that an event names; None if its names cannot be used."""
    match handler.correlate:
        case "who":
            return [said["who"]]
        case "others":
            return list(dict.fromkeys(said["others"]))
        case "odd":
            return [said["who"]] if said["n"] % 2 else []
        case "key":
            return None if said["key"] == "" else []
    return ["all"]


class Decided(NamedTuple):
    """What an aggregate answers: the numbers of the events, or why it makes none."""

    events: tuple[int, ...] = ()
    refusal: str | None = None
    is_failure: bool = False


def decide(decision: Decision, said: Said, count: int) -> Decided:
    """What comes of a command where the aggregate has applied that many events."""
    # An aggregate that refuses late, after its first event, counted before it.
    if decision.limit is not None and count >= decision.limit:
        return Decided(refusal=f"{count} are enough")
    if decision.fails_at is not None and said["n"] == decision.fails_at:
        return Decided(is_failure=True)
    return Decided(decision.emits)


@dataclass
class StreamModel:
    """The state of one aggregate."""

    made: AggregateMade
    version: int = 0
    state: dict[str, Any] = field(
        default_factory=lambda: {"count": 0, "names": [], "total": Decimal(0)}
    )

    def apply(self, event: int, said: Said) -> None:
        """Go on by one event of the stream."""
        self.version += 1
        if any(event in one.emits for one in self.made.decisions):
            self.state["count"] += 1
            self.state["names"].append(f"{event} {said['n']}")
            self.state["total"] += said["amount"]
