"""The runtime itself under exploration: a domain that uses all of it, and what it promises."""

import os
from collections import Counter
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    Retry,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.engine.instance_actor import InstanceActor
from procession.testing import Publish, Simulation, at_end, explore

EXAMPLES = 5_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 50

mill = Domain("mill")


class Grind(Command):
    sack: str
    kilos: int


class Ground(Event):
    sack: str
    kilos: int


class Fetch(Command):
    sack: str
    times: int


class Fetched(Event):
    sack: str
    times: int


class Stamp(Command):
    sack: str
    number: str


class Stamped(Event):
    sack: str
    number: str


class Weighed(Event):
    number: str


class Rained(Event):
    sacks: list[str]


class Knocked(Event):
    sack: str


class Sweep(Command):
    sack: str


class Swept(Event):
    sack: str


@mill.register
class Stone(Aggregate, identity="sack", snapshot_every=2):
    total: int = 0

    @handle(Grind)
    def grind(self, command: Grind) -> Any:
        if command.kilos > 100:
            raise Rejected("too heavy")
        yield Ground(self.id, command.kilos)

    @handle(Stamp)
    def stamp(self, command: Stamp) -> Stamped:
        return Stamped(self.id, command.number)

    @apply(Ground)
    def _ground(self, event: Ground) -> None:
        self.total += event.kilos


@mill.register
class Cart(Aggregate, identity="sack"):
    times: int = 0

    @handle(Fetch)
    def fetch(self, command: Fetch) -> Fetched:
        if self.times >= 2:
            raise Rejected("the cart is tired")
        return Fetched(self.id, command.times)

    @handle(Sweep)
    def sweep(self, command: Sweep) -> Swept:
        return Swept(self.id)

    @apply(Fetched)
    def _fetched(self, event: Fetched) -> None:
        self.times += 1


@mill.register
class Sack(ProcessManager, correlate="sack", early="hold", retry=Retry(attempts=9)):
    sack: str = ""
    log: list[str] = []
    number: Indexed[str] = ""

    @handle(Ground, start=True)
    def on_ground(self, event: Ground) -> None:
        self.log.append(f"ground {event.kilos}")
        self.number = f"n-{self.sack}"
        self.issue(Stamp(self.sack, self.number), Fetch(self.sack, len(self.log)))
        self.set_timeout("dry", timedelta(hours=1))
        self.issue(Sweep(self.sack), after=timedelta(hours=2))

    @handle(Stamped)
    def on_stamped(self, event: Stamped) -> None:
        self.log.append(f"stamped {event.number}")

    @handle(Fetched)
    def on_fetched(self, event: Fetched) -> None:
        self.log.append(f"fetched {event.times}")

    @handle(Knocked)
    def on_knocked(self, event: Knocked) -> None:
        self.log.append("knocked")
        self.set_timeout("dry", timedelta(hours=3))

    @handle(Weighed, correlate={"number": "number"})
    def on_weighed(self, event: Weighed) -> None:
        self.log.append("weighed")

    @handle(Rained, correlate=lambda event: event.sacks)
    def on_rained(self, event: Rained) -> None:
        self.log.append("rained")

    @handle(Swept, end=True)
    def on_swept(self, event: Swept) -> None:
        self.log.append("swept")

    @rejected(Fetch)
    def on_tired(self, command: Fetch, reason: str) -> None:
        self.log.append(f"refused {command.times}")

    @timeout("dry")
    def on_dry(self) -> None:
        self.log.append("dry")


@mill.register
class Diary(ProcessManager, stateless=True):
    written: ClassVar[Counter[str]] = Counter()

    @handle(Ground)
    @handle(Swept)
    def on_any(self, event: Event) -> None: ...

    @after(Swept)
    def write(self, event: Swept) -> None:
        self.written[event.sack] += 1


PROGRAM = [
    [
        Grind("a", 5),
        Publish(Rained(["a", "b"]), stream="mill::sky-1"),
        Grind("a", 500),
        timedelta(minutes=70),
        Publish(Knocked("a"), stream="mill::door-1"),
    ],
    [
        Publish(Knocked("b"), stream="mill::door-1"),
        Grind("b", 7),
        Grind("a", 3),
        timedelta(minutes=30),
        Publish(Knocked("b"), stream="mill::door-1"),
    ],
]


def history_is_in_order_and_each_cause_once(simulation: Simulation) -> None:
    """Promises 3 and 4, whenever something was committed."""
    positions = {one.event_id: one.position for one in simulation.events()}
    for view in simulation.find(Sack):
        history = list(simulation.history(Sack, view.id))
        assert [step.version for step in history] == list(range(1, len(history) + 1))
        causes = [step.cause for step in history if not step.cause.startswith("timeout:")]
        assert len(set(causes)) == len(causes), f"{view.id} handled one twice: {causes}"
        # Those that came before the start are taken up behind it, and in order.
        seen = [positions[one] for one in causes if one in positions]
        first = seen[:1]
        late = [one for one in seen[1:] if one < first[0]]
        others = [one for one in seen[1:] if one > first[0]]
        assert late == sorted(late), f"{view.id} took up early ones in the order {late}"
        assert others == sorted(others), f"{view.id} saw {others}"


@at_end
def every_command_was_carried_out_once(simulation: Simulation) -> None:
    issued = Counter(
        type(command).__name__
        for view in simulation.find(Sack)
        for step in simulation.history(Sack, view.id)
        for command in step.commands
    )
    made = Counter(type(one.event).__name__ for one in simulation.events())
    refused = sum(
        text.startswith("refused") for view in simulation.find(Sack) for text in view.state["log"]
    )
    assert made["Ground"] == 3
    assert made["Stamped"] == issued["Stamp"]
    assert made["Swept"] == issued["Sweep"]
    assert made["Fetched"] + refused + skipped_refusals(simulation) == issued["Fetch"]


def skipped_refusals(simulation: Simulation) -> int:
    """A refusal that comes when the process has ended is passed over."""
    return sum("the refusal of Fetch (the cart is tired), since" in one for one in told(simulation))


def told(simulation: Simulation) -> list[str]:
    return [line.text for line in simulation.trace.essential]


@at_end
def nothing_is_left_in_hand(simulation: Simulation) -> None:
    """Everything is delivered, and what is in memory says so."""
    store, engine = simulation._world.store, simulation._world.engine
    assert store.read_queue(0, 9) == []
    assert store.read_refusals(0, 9) == []
    assert list(store.scan_timers(1 << 62)) == []
    assert list(simulation.parked()) == []
    for router in engine.routers:
        assert router._under_way == {}
        assert router.done_up_to == store.last_position()
    assert engine.command_queue.in_flight == 0
    assert engine.timers._in_hand == set()
    assert all(actor.is_done for actor in engine.residency._awake.values())
    assert not simulation._world.scheduler.ready
    assert not engine.journal.has_work
    assert not engine.journal.intake.works


@at_end
def memory_is_what_the_log_says(simulation: Simulation) -> None:
    """Promise 7."""
    store = simulation._world.store
    for (kind, name), actor in simulation._world.engine.residency._awake.items():
        if kind == "mill.Sack" and isinstance(actor, InstanceActor) and actor._is_loaded:
            last, state = store.last_transition(kind, name), actor.state
            assert state.version == (0 if last is None else last.version)
            if last is not None:
                assert state.fields == last.state
                assert state.is_complete == last.is_complete
                assert (state.timers or {}) == (last.timers or {})


@at_end
def every_effect_ran(simulation: Simulation) -> None:
    swept = Counter(one.event.sack for one in simulation.events() if isinstance(one.event, Swept))
    assert all(Diary.written[sack] >= count for sack, count in swept.items())


INVARIANTS = [
    history_is_in_order_and_each_cause_once,
    every_command_was_carried_out_once,
    nothing_is_left_in_hand,
    memory_is_what_the_log_says,
    every_effect_ran,
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "options",
    [{}, {"max_in_flight": 1}, {"max_awake": 1, "largest_commit": 1}],
    ids=["usual", "one in flight", "one awake"],
)
def test_nothing_that_may_happen_breaks_what_is_promised(
    seed: int, options: dict[str, Any]
) -> None:
    explore(
        mill,
        PROGRAM,
        INVARIANTS,
        before_each=Diary.written.clear,
        max_examples=EXAMPLES,
        seed=seed,
        **options,
    )
