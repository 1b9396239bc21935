"""That an instance has ended is an event for the classes that listen to it, and for no other."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from procession import (
    Aggregate,
    Command,
    Completed,
    DefinitionError,
    Domain,
    Event,
    InvalidMessage,
    ProcessManager,
    Runtime,
    UnreadableRecord,
    ended,
    handle,
    timeout,
)
from procession.model.completions import stream_for
from procession.store import MAX_NAME_BYTES
from procession.testing import FAULTS, Scenario, Simulation

if TYPE_CHECKING:
    from pathlib import Path


class OrderCame(Event):
    order: str
    parts: int


class PickPart(Command):
    part: str
    order: str


class PartPicked(Event):
    part: str
    order: str


class PartWeighed(Event):
    part: str
    kilos: Decimal


class Shelf(Aggregate, identity="part"):
    @handle(PickPart)
    def pick(self, command: PickPart) -> PartPicked:
        return PartPicked(command.part, command.order)


class Picking(ProcessManager, correlate="part", restart=True):
    part: str = ""
    order: str = ""
    kilos: Decimal = Decimal(0)

    @handle(PartPicked, start=True)
    def on_picked(self, event: PartPicked) -> None:
        self.order = event.order
        self.set_timeout("late", timedelta(hours=1))

    @handle(PartWeighed)
    def on_weighed(self, event: PartWeighed) -> None:
        self.kilos = event.kilos
        self.mark_as_complete()

    @timeout("late")
    def on_late(self) -> None:
        self.mark_as_complete()


def order_of(event: Completed[Picking]) -> str:
    return event.copy.order


class Packing(ProcessManager, correlate="order"):
    order: str = ""
    missing: int = 0
    kilos: Decimal = Decimal(0)
    given_up: list[str] = []

    @handle(OrderCame, start=True)
    def on_came(self, event: OrderCame) -> None:
        self.missing = event.parts
        for number in range(event.parts):
            self.issue(PickPart(f"{event.order}.{number}", event.order))

    @handle(Completed[Picking], correlate=order_of)
    def on_part(self, event: Completed[Picking]) -> None:
        self.missing -= 1
        self.kilos += event.copy.kilos
        if event.is_by_operator:
            self.given_up.append(event.id)
        if not self.missing:
            self.mark_as_complete()


class Mourning(ProcessManager, correlate="id"):
    id_: str = ""
    count: int = 0

    @handle(Completed[Packing], start=True, end=True)
    def on_packed(self, event: Completed[Packing]) -> None:
        self.count += 1


def domain_of(*classes: type) -> Domain:
    depot = Domain("depot")
    depot.register(PartWeighed)
    depot.register(OrderCame)
    for one in classes:
        depot.register(one)
    return depot


whole = domain_of(Shelf, Picking, Packing, Mourning)
alone = domain_of(Shelf, Picking)


def weigh(runtime: Any, part: str, kilos: str) -> None:
    runtime.publish(PartWeighed(part, Decimal(kilos)), stream=f"depot::scale-{part}")


def ends_in(runtime: Runtime) -> list[Completed[Picking]]:
    return [
        one.event
        for one in runtime.events()
        if isinstance(one.event, Completed) and one.type == "depot.Completed[Picking].v1"
    ]


def test_a_process_hears_of_the_ends_of_those_that_it_started() -> None:
    with Runtime.ephemeral(whole) as runtime:
        runtime.publish(OrderCame("o1", 2), stream="depot::order-o1")
        runtime.settle(10)
        weigh(runtime, "o1.0", "1.5")
        weigh(runtime, "o1.1", "2")
        runtime.settle(10)
        view = runtime.get(Packing, "o1")
        assert view is not None
        assert (view.is_complete, view.state["kilos"]) == (True, Decimal("3.5"))
        told = runtime.get(Mourning, "o1")
        assert told is not None
        assert told.is_complete


def test_an_instance_is_found_by_the_id_of_the_one_that_ended() -> None:
    with Runtime.ephemeral(whole) as runtime:
        runtime.publish(OrderCame("o1", 1), stream="depot::order-o1")
        runtime.settle(10)
        weigh(runtime, "o1.0", "1")
        runtime.settle(10)
        assert [one.id for one in runtime.find(Mourning)] == ["o1"]


def test_an_end_by_an_operator_counts_and_says_so() -> None:
    with Runtime.ephemeral(whole) as runtime:
        runtime.publish(OrderCame("o1", 1), stream="depot::order-o1")
        runtime.settle(10)
        runtime.end(Picking, "o1.0", reason="lost")
        runtime.settle(10)
        view = runtime.get(Packing, "o1")
        assert view is not None
        assert view.state["given_up"] == ["o1.0"]


def test_each_run_of_an_instance_has_one_event_of_its_end() -> None:
    with Runtime.ephemeral(whole) as runtime:
        for _ in range(2):
            runtime.ask(PickPart("p", "o9"))
            runtime.settle(10)
            weigh(runtime, "p", "1")
            runtime.settle(10)
        assert [(one.id, one.version) for one in ends_in(runtime)] == [("p", 2), ("p", 4)]
        assert [one.handler for one in ends_in(runtime)] == ["on_weighed", "on_weighed"]


def test_without_a_class_that_listens_no_event_is_stored_and_from_then_on_there_is(
    tmp_path: Path,
) -> None:
    def run(domain: Domain, part: str) -> list[str]:
        with Runtime(tmp_path, domain, durability="none", control=False) as runtime:
            runtime.ask(PickPart(part, "o1"))
            runtime.settle(10)
            weigh(runtime, part, "1")
            runtime.settle(10)
            return [one.id for one in ends_in(runtime)]

    later = domain_of(Shelf, Picking)

    @later.register
    class Watching(ProcessManager, correlate="id", name="depot.Watching"):
        @handle(Completed[Picking], start=True, end=True)
        def on_end(self, event: Completed[Picking]) -> None: ...

    assert run(alone, "a") == []
    assert run(later, "b") == ["b"]
    retired = domain_of(Shelf, Picking)
    with Runtime(
        tmp_path, retired, durability="none", control=False, retired=["depot.Watching"]
    ) as runtime:
        # It is read as its class, although no class listens any more.
        assert [one.id for one in ends_in(runtime)] == ["b"]


def test_rebuilding_tells_of_no_end_again() -> None:
    with Runtime.ephemeral(whole) as runtime:
        runtime.ask(PickPart("p", "o1"))
        runtime.settle(10)
        weigh(runtime, "p", "1")
        runtime.settle(10)
        runtime.refresh(Picking, "p")
        runtime.refresh(Picking, "p", since="origin")
        runtime.settle(10)
        assert len(ends_in(runtime)) == 1


def test_a_chain_that_goes_on_behind_an_end_is_one_tree() -> None:
    with Runtime.ephemeral(whole) as runtime:
        runtime.publish(OrderCame("o1", 1), stream="depot::order-o1")
        runtime.settle(10)
        runtime.end(Picking, "o1.0", reason="lost")
        runtime.settle(10)
        last = list(runtime.events())[-1]
        assert last.type == "depot.Completed[Packing].v1"
        root = runtime.trace(last.event_id)
        assert root.type == "depot.OrderCame.v1"
        ends = [node.type for _, node in root.walk() if "Completed" in node.type]
        assert ends == ["depot.Completed[Picking].v1", "depot.Completed[Packing].v1"]
        [why] = runtime.why(last.event_id)
        assert (why.process, why.outcome) == ("depot.Mourning", "started")


def test_ends_cross_to_the_partition_of_who_listens(tmp_path: Path) -> None:
    with Runtime(tmp_path, whole, partitions=3, control=False) as runtime:
        runtime.publish(OrderCame("o1", 3), stream="depot::order-o1")
        runtime.settle(20)
        runtime.publish_many(
            [PartWeighed(f"o1.{number}", Decimal(1)) for number in range(3)],
            stream=lambda one: f"depot::scale-{one.part}",
        )
        runtime.settle(20)
        assert {one.id: one.state["kilos"] for one in runtime.find(Packing, complete=True)} == {
            "o1": Decimal(3)
        }
        told = [one for one in runtime.events() if one.type == "depot.Completed[Picking].v1"]
        assert len({one.partition for one in told}) > 1


def test_whatever_fails_and_crashes_each_end_is_told_once() -> None:
    for seed in range(6):
        simulation = Simulation(whole, seed=seed, faults=FAULTS)
        for order in ("o1", "o2"):
            simulation.publish(OrderCame(order, 2), stream=f"depot::order-{order}")
        simulation.settle()
        for order in ("o1", "o2"):
            for number in range(2):
                weigh(simulation, f"{order}.{number}", "1")
        simulation.settle()
        told = [one.event.id for one in simulation.events() if isinstance(one.event, Completed)]
        assert sorted(told) == ["o1", "o1.0", "o1.1", "o2", "o2.0", "o2.1"]


def test_a_scenario_is_given_an_end_as_any_event() -> None:
    scenario = Scenario(whole, Packing)
    state = {"part": "o1.0", "order": "o1", "kilos": "2.5"}
    then = scenario.given(OrderCame("o1", 1)).when(Completed[Picking]("o1.0", state))
    then.completes().state(kilos=Decimal("2.5"))


def test_the_design_shows_who_makes_the_event_and_who_hears_it() -> None:
    assert [one for one in whole.check() if "Completed" in str(one)] == []
    drawn = whole.graph()
    assert "process_Picking -.-> event_Completed_Picking_" in drawn
    assert 'event_Completed_Picking_ -->|"may end"| process_Packing' in drawn


def test_streams_of_a_class_leave_out_no_end_that_it_handles() -> None:
    depot = domain_of(Shelf, Picking)

    @depot.register
    class Narrow(ProcessManager, correlate="id", streams=["depot::order"]):
        @handle(Completed[Picking], start=True, end=True)
        def on_end(self, event: Completed[Picking]) -> None: ...

    with Runtime.ephemeral(depot) as runtime:
        runtime.ask(PickPart("p", "o1"))
        runtime.settle(10)
        weigh(runtime, "p", "1")
        runtime.settle(10)
        assert [one.id for one in runtime.find(Narrow)] == ["p"]


def test_the_method_of_an_operators_end_runs_before_the_event_is_made() -> None:
    desk = Domain("desk")
    desk.register(PartWeighed)

    @desk.register
    class Mended(ProcessManager, correlate="part"):
        part: str = ""
        note: str = ""

        @handle(PartWeighed, start=True)
        def on_weighed(self, event: PartWeighed) -> None: ...

        @ended
        def on_ended(self, reason: str) -> None:
            self.note = reason

    @desk.register
    class Listener(ProcessManager, correlate="id"):
        note: str = ""

        @handle(Completed[Mended], start=True)
        def on_end(self, event: Completed[Mended]) -> None:
            self.note = f"{event.handler}: {event.copy.note}"

    with Runtime.ephemeral(desk) as runtime:
        weigh(runtime, "p", "1")
        runtime.settle(10)
        runtime.end(Mended, "p", reason="broken")
        runtime.settle(10)
        view = runtime.get(Listener, "p")
        assert view is not None
        assert view.state["note"] == "ended: broken"


def test_a_copy_is_sealed_and_of_todays_version_only() -> None:
    event = Completed[Picking]("p", {"part": "p"})
    assert event.copy.part == "p"
    with pytest.raises(Exception, match=r"sealed|copy"):
        event.copy.mark_as_complete()
    with pytest.raises(UnreadableRecord, match="version 2"):
        _ = Completed[Picking]("p", {}, state_version=2).copy


def test_no_one_else_publishes_that_an_instance_has_ended() -> None:
    with (
        Runtime.ephemeral(whole) as runtime,
        pytest.raises(InvalidMessage, match="what the store itself says"),
    ):
        runtime.publish(Completed[Picking]("p"), stream="depot::fake-p")


def test_what_could_never_be_heard_is_refused() -> None:
    with pytest.raises(DefinitionError, match="give a process manager"):
        Completed["Picking"]

    unclear = Domain("unclear")
    with pytest.raises(DefinitionError, match=r"write for example `@handle\(Completed\["):

        @unclear.register
        class Unclear(ProcessManager, correlate="id"):
            @handle(Completed, start=True)
            def on_end(self, event: Completed[Any]) -> None: ...

    missing = Domain("missing")

    @missing.register
    class Missing(ProcessManager, correlate="id"):
        @handle(Completed[Picking], start=True)
        def on_end(self, event: Completed[Picking]) -> None: ...

    with pytest.raises(DefinitionError, match="Picking is in no domain of this runtime"):
        Runtime.ephemeral(missing)

    @missing.register
    class Stateless(ProcessManager, stateless=True):
        @handle(PartPicked)
        def on_picked(self, event: PartPicked) -> None: ...

    never = Domain("never")
    never.register(Stateless)

    @never.register
    class Never(ProcessManager, correlate="id"):
        @handle(Completed[Stateless], start=True)
        def on_end(self, event: Completed[Stateless]) -> None: ...

    with pytest.raises(DefinitionError, match="Stateless is stateless"):
        Runtime.ephemeral(never)


def test_an_id_that_is_too_long_for_a_stream_is_shortened() -> None:
    assert stream_for("a.B", "x") == "a.B:completed-x"
    long = stream_for("a.B", "x" * MAX_NAME_BYTES)
    assert len(long) < MAX_NAME_BYTES
    assert long != stream_for("a.B", "y" * MAX_NAME_BYTES)
