"""Domains, programs and schedules that Hypothesis makes up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hypothesis import strategies as st

from procession.testing import Publish
from procession.testing.simulation.deviations import FAULTS, KINDS, Deviation
from tests.actors.testing.descriptions import (
    Action,
    AggregateMade,
    Correlating,
    Decision,
    DomainMade,
    ManagerMade,
    OnEvent,
    OnRefusal,
    OnTimeout,
)

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = [
    "Brought",
    "Example",
    "deviations",
    "domains",
    "examples",
    "items_of",
    "learning",
    "programs",
    "restarting",
]

WHOS = ("a", "a", "b")
KEYS = ("k", "k", "l", "")
AMOUNTS = (Decimal(0), Decimal("0.25"), Decimal("1.50"))
EARLY: tuple[Literal["skip", "hold", "park"], ...] = ("skip", "hold", "park")
UNMATCHED: tuple[Literal["skip", "hold", "park"], ...] = ("hold", "hold", "skip", "park")
LATE: tuple[Literal["skip", "park"], ...] = ("skip", "skip", "park")
STARTS: tuple[bool | Literal["only"], ...] = (True, True, False, "only")
WAYS: tuple[Correlating, ...] = ("who", "who", "others", "odd", "ALL")
PLAIN = ("count", "total", "tag", "tally", "time", "stage", "pair")


class Example(NamedTuple):
    """A domain, what comes from outside, how its run differs from the ordinary, its bounds."""

    made: DomainMade
    program: list[list[Brought]]
    deviations: list[Deviation]
    options: dict[str, Any]


class Brought(NamedTuple):
    """One thing that comes from outside: a command or event by its number, or a wait."""

    kind: str
    number: int = 0
    who: str = ""
    n: int = 0
    others: tuple[str, ...] = ()
    key: str = ""
    amount: Decimal = Decimal(0)
    stream: str = ""
    event_id: str | None = None
    minutes: int = 0


@st.composite
def domains(draw: DrawFn) -> DomainMade:
    """A domain of up to three aggregates and three process managers."""
    events = draw(st.integers(2, 4))
    aggregates: list[AggregateMade] = []
    commands = 0
    for number in range(draw(st.integers(1, 3))):
        decisions = []
        for _ in range(draw(st.integers(1, 2))):
            decisions.append(draw(_decisions(commands, events)))
            commands += 1
        every = draw(st.sampled_from([0, 1, 2]))
        aggregates.append(AggregateMade(number, every, tuple(decisions)))
    managers = tuple(
        draw(_managers(number, events, commands, len(aggregates)))
        for number in range(draw(st.integers(1, 3)))
    )
    return DomainMade(events, tuple(aggregates), managers)


@cache
def _decisions(command: int, events: int) -> SearchStrategy[Decision]:
    return st.builds(
        Decision,
        st.just(command),
        st.sampled_from([None, None, 1, 2, 4]),
        st.sampled_from([None, None, None, 0, 1]),
        st.booleans(),
        # One that makes nothing is dull, and comes as the last choice.
        st.lists(st.integers(0, events - 1), min_size=1, max_size=3).map(tuple) | st.just(()),
    )


@st.composite
def _managers(
    draw: DrawFn,
    number: int,
    events: int,
    commands: int,
    aggregates: int,
) -> ManagerMade:
    stateless = draw(st.sampled_from([False, False, False, False, True]))
    is_indexed = not stateless and draw(st.booleans())
    timeouts = 0 if stateless else draw(st.integers(0, 2))
    attempts = draw(st.sampled_from([0, 0, 2, 3]))
    kinds = _kinds(stateless, is_indexed, timeouts)
    early = draw(st.sampled_from(EARLY))
    listened = draw(st.sampled_from([None, None, None, "some"]))
    streams = None
    if listened is not None:
        streams = tuple(
            sorted(draw(st.sets(st.integers(0, aggregates - 1), min_size=1, max_size=2)))
        )
    handled = draw(st.lists(st.integers(0, events - 1), min_size=1, max_size=4, unique=True))
    on_events = [
        draw(_on_event(event, place, len(handled), kinds, commands, timeouts))
        for place, event in enumerate(handled)
    ]
    finds_by_key = any(one.correlate == "key" for one in on_events)
    # What is learnt is learnt from events: when a timeout comes is a matter of the schedule.
    others = tuple(kind for kind in kinds if kind != "learn")
    on_timeouts = tuple(
        OnTimeout(one, draw(_actions(others, commands, timeouts))) for one in range(timeouts)
    )
    refused: list[int] = []
    if not stateless:
        refused = sorted(draw(st.sets(st.integers(0, commands - 1), max_size=2)))
    on_refusals = tuple(
        OnRefusal(one, draw(_actions(others, commands, timeouts))) for one in refused
    )
    return ManagerMade(
        number,
        early,
        draw(st.booleans()),
        attempts,
        stateless,
        streams,
        is_indexed,
        tuple(on_events),
        on_timeouts,
        on_refusals,
        draw(st.sampled_from(UNMATCHED)) if finds_by_key else "hold",
        "skip" if stateless else draw(st.sampled_from(LATE)),
    )


@st.composite
def _on_event(
    draw: DrawFn,
    event: int,
    place: int,
    handlers: int,
    kinds: tuple[str, ...],
    commands: int,
    timeouts: int,
) -> OnEvent:
    actions = draw(_actions(kinds, commands, timeouts))
    if "count" not in kinds:
        # Of a stateless one.
        return OnEvent(event, False, False, "who", actions)
    end = draw(st.sampled_from([False, False, False, True]))
    if "learn" in kinds and place and place == handlers - 1:
        return OnEvent(event, False, end, "key", actions)
    # The first one starts, or nothing would ever begin.
    start = draw(st.sampled_from(STARTS[:1] if not place else STARTS))
    if "learn" in kinds and not place:
        actions = (Action("learn"), *actions)
    return OnEvent(event, start, end, draw(st.sampled_from(WAYS)), actions)


def _kinds(stateless: bool, is_indexed: bool, timeouts: int) -> tuple[str, ...]:
    kinds = ["issue", "issue", "issue"]
    if not stateless:
        kinds += [*PLAIN, "complete", "take back"]
    if is_indexed:
        kinds += ["learn", "learn"]
    if timeouts:
        kinds += ["set", "set", "set", "cancel"]
    return (*kinds, "fail")


@cache
def _actions(
    kinds: tuple[str, ...], commands: int, timeouts: int
) -> SearchStrategy[tuple[Action, ...]]:
    @cache
    def one(kind: str) -> SearchStrategy[Action]:
        if kind == "issue":
            return st.builds(
                Action,
                st.just(kind),
                st.integers(0, commands - 1),
                st.sampled_from(["own", "said", "fixed"]),
                st.sampled_from([0, 0, 0, 5, 20]),
                # Without state, no instance remembers what could be taken back.
                st.integers(0, 1 if "take back" in kinds else 0),
            )
        if kind in {"set", "cancel"}:
            return st.builds(
                Action,
                st.just(kind),
                st.integers(0, timeouts - 1),
                minutes=st.sampled_from([1, 10, 30]),
            )
        if kind in {"complete", "fail"}:
            return st.builds(Action, st.just(kind), times=st.integers(1, 3))
        return st.just(Action(kind))

    return st.lists(st.sampled_from(kinds).flatmap(one), min_size=1, max_size=6).map(tuple)


def programs(made: DomainMade, *, waits: bool = True) -> SearchStrategy[list[list[Brought]]]:
    """What up to three clients bring."""
    commands = sum(len(one.decisions) for one in made.aggregates)
    return _programs(made.events, commands, len(made.aggregates), waits=waits)


@cache
def _programs(
    events: int, commands: int, aggregates: int, *, waits: bool
) -> SearchStrategy[list[list[Brought]]]:
    # Some are imported beside an aggregate's own events: there, only the category is said.
    streams = [f"wild::aggregate{one}" for one in range(aggregates)] + ["wild::outside-1"]
    message = (
        st.sampled_from(WHOS),
        st.sampled_from([2, 2, 1, 0]),
        st.lists(st.sampled_from(WHOS), max_size=3).map(tuple),
        st.sampled_from(KEYS),
        st.sampled_from(AMOUNTS),
    )
    tells = st.tuples(st.just("tell"), st.integers(0, commands - 1), *message)
    publishes = st.tuples(
        st.just("publish"),
        st.integers(0, events - 1),
        *message,
        st.sampled_from(streams),
        st.sampled_from([None, None, None, "twice"]),
    )
    items = (tells | publishes | tells).map(lambda made: Brought(*made))
    if waits:
        items |= st.sampled_from([Brought("wait", minutes=minutes) for minutes in (1, 7, 25)])
    return st.lists(st.lists(items, min_size=2, max_size=5), min_size=1, max_size=3)


def items_of(classes: dict[str, Any], program: list[list[Brought]]) -> list[list[Any]]:
    """A program of the classes that were made."""
    return [[_item_of(classes, one) for one in client] for client in program]


def _item_of(classes: dict[str, Any], one: Brought) -> Any:
    if one.kind == "wait":
        return timedelta(minutes=one.minutes)
    name = "Event" if one.kind == "publish" else "Command"
    message = classes[f"{name}{one.number}"](one.who, one.n, list(one.others), one.key, one.amount)
    if one.kind == "tell":
        return message
    if "-" in one.stream:
        return Publish(message, one.stream, one.event_id)
    return Publish(message, f"{one.stream}-{one.who}", one.event_id, as_import=True)


@cache
def deviations(faults: tuple[str, ...] = FAULTS) -> SearchStrategy[list[Deviation]]:
    """What goes another way than the ordinary."""
    kinds = [number for number, (_, fault) in enumerate(KINDS) if fault in faults]
    return st.lists(
        st.builds(
            Deviation,
            st.integers(1, 12) | st.integers(1, 150),
            st.sampled_from(kinds or [0]),
            st.integers(0, 7),
        ),
        max_size=10 if kinds else 0,
    )


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"max_in_flight": 1},
    {"max_in_flight": 2, "largest_commit": 3},
    {"max_awake": 1},
    {"max_awake": 2, "largest_commit": 1},
)
"""Bounds of a run, often tight ones."""


@st.composite
def examples(draw: DrawFn, faults: tuple[str, ...] = FAULTS, *, waits: bool = True) -> Example:
    """All that makes a run."""
    made = draw(domains())
    return Example(
        made,
        draw(programs(made, waits=waits)),
        draw(deviations(faults)),
        draw(st.sampled_from(OPTIONS)),
    )


def _published(
    number: int, who: str, key: str = "", event_id: str | None = None, n: int = 0
) -> Brought:
    fields = number, who, n, (), key, Decimal(0), "wild::outside-1"
    return Brought("publish", *fields, event_id and f"{number} {who} {event_id}")


@st.composite
def learning(draw: DrawFn, faults: tuple[str, ...] = FAULTS) -> Example:
    """One process manager that learns keys, and events by them that come before or after."""
    fail = Action("fail", times=draw(st.sampled_from([1, 9])))
    learn, note = Action("learn"), (Action("count"), Action("tally"))
    teach = draw(st.sampled_from([(learn,), (learn,), (learn, fail)]))
    use = draw(st.sampled_from([note, note, (*note, fail)]))
    manager = ManagerMade(
        0,
        draw(st.sampled_from(EARLY)),
        draw(st.booleans()),
        draw(st.sampled_from([0, 2])),
        False,
        None,
        True,
        (
            OnEvent(0, True, False, "who", note),
            OnEvent(1, False, False, "who", teach),
            OnEvent(2, False, False, "key", use),
            OnEvent(3, False, True, "who", note),
        ),
        (),
        (),
        draw(st.sampled_from(UNMATCHED)),
        draw(st.sampled_from(LATE)),
    )
    aggregate = AggregateMade(0, 0, (Decision(0, None, None, False, (0,)),))
    whose = {"a": "k", "b": draw(st.sampled_from(["l", "l", "k"]))}
    first = [_published(0, who, key) for who, key in whose.items()]
    then = [
        _published(number, who, key, draw(st.sampled_from([None, None, "twice"])))
        for who, key in whose.items()
        for number in (1, 2, 2, draw(st.sampled_from([0, 1, 2, 3])))
    ]
    rest = draw(st.permutations(then))
    if draw(st.booleans()):
        rest.insert(draw(st.integers(0, len(rest))), Brought("wait", minutes=1))
    at = draw(st.integers(0, len(rest)))
    return Example(
        DomainMade(4, (aggregate,), (manager,)),
        [one for one in ([*first, *rest[at:]], rest[:at]) if one],
        draw(deviations(faults)),
        draw(st.sampled_from(OPTIONS)),
    )


@st.composite
def restarting(draw: DrawFn, faults: tuple[str, ...] = FAULTS) -> Example:
    """One process manager that ends and starts anew, with timeouts and answers of each run."""
    note = (Action("count"), Action("tally"))
    minutes = st.sampled_from([1, 10])
    ask = Action("issue", 0, minutes=draw(st.sampled_from([0, 0, 5])))
    begin: tuple[Action, ...] = (Action("set", 0, minutes=draw(minutes)), ask, *note)
    is_found = draw(st.booleans())
    if is_found:
        begin = (Action("learn"), *begin)
    manager = ManagerMade(
        0,
        "skip",
        True,
        draw(st.sampled_from([0, 2])),
        False,
        None,
        is_found,
        (
            OnEvent(0, True, False, "who", begin),
            OnEvent(1, False, True, "who", note),
            OnEvent(2, False, False, "key" if is_found else "who", note),
            OnEvent(3, False, False, "who", (Action("set", 1, minutes=draw(minutes)), *note)),
        ),
        (OnTimeout(0, note), OnTimeout(1, (*note, Action("complete", times=2)))),
        (OnRefusal(0, note),),
        draw(st.sampled_from(UNMATCHED)) if is_found else "hold",
        draw(st.sampled_from(LATE)),
    )
    limit = draw(st.sampled_from([None, None, 0, 1]))
    aggregate = AggregateMade(0, 0, (Decision(0, limit, None, False, (2,)),))
    wait = st.sampled_from([Brought("wait", minutes=minutes) for minutes in (1, 7, 25)])
    brought = st.sampled_from([0, 0, 1, 1, 3]).flatmap(
        lambda number: st.builds(
            _published, st.just(number), st.sampled_from(WHOS), st.just("k"), n=st.just(2)
        )
    )
    client = st.lists(brought | brought | wait, min_size=3, max_size=8)
    first = [_published(0, "a", "k", n=2)]
    return Example(
        DomainMade(4, (aggregate,), (manager,)),
        [first + draw(client), *draw(st.lists(client, max_size=1))],
        draw(deviations(faults)),
        draw(st.sampled_from(OPTIONS)),
    )
