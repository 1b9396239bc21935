"""An id that is started again: what an ended run left behind never reaches the next one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    Indexed,
    ProcessManager,
    Rejected,
    Runtime,
    handle,
    rejected,
    timeout,
)
from procession.testing import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)

hotel = Domain("hotel")
inn = Domain("inn")


class Booked(Event):
    room: str
    guest: str


class Left(Event):
    room: str


class Clean(Command):
    room: str
    guest: str


class Cleaned(Event):
    room: str
    guest: str


@hotel.register
class Staff(Aggregate, identity="room"):
    @handle(Clean)
    def clean(self, command: Clean) -> Cleaned:
        if command.guest == "messy":
            raise Rejected("not for this guest")
        return Cleaned(self.id, command.guest)


@hotel.register
class Stay(ProcessManager, correlate="room", restart=True):
    room: str = ""
    guest: str = ""
    seen: list[str] = []

    @handle(Booked, start=True)
    def on_booked(self, event: Booked) -> None:
        self.guest = event.guest
        self.issue(Clean(event.room, event.guest), after=HOUR)
        self.set_timeout("checkout", 3 * HOUR)

    @handle(Cleaned)
    def on_cleaned(self, event: Cleaned) -> None:
        self.seen.append(f"cleaned for {event.guest}")

    @rejected(Clean)
    def on_refused(self, command: Clean, reason: str) -> None:
        self.seen.append(f"refused for {command.guest}")

    @timeout("checkout")
    def on_checkout(self) -> None:
        self.seen.append("checkout")

    @handle(Left, end=True)
    def on_left(self, event: Left) -> None: ...


def happen(runtime: Runtime, *events: Event) -> None:
    for event in events:
        runtime.publish(event, stream="desk-1")
    runtime.settle(timeout=10)


@pytest.mark.parametrize("is_awake", [True, False])
@pytest.mark.parametrize("first", ["tidy", "messy"])
def test_an_answer_to_a_run_that_has_ended_does_not_reach_the_next(
    first: str, is_awake: bool
) -> None:
    clock = VirtualClock()
    with Runtime.ephemeral(hotel, clock=clock) as runtime:
        happen(runtime, Booked("7", first), Left("7"), Booked("7", "next"))
        if not is_awake:
            runtime.ref(Stay, "7").stop()
        clock.advance(HOUR)
        view = runtime.get(Stay, "7")
        assert view is not None
        assert view.state["guest"] == "next"
        assert view.state["seen"] == ["cleaned for next"]
        assert runtime.stats()["skipped_complete"] == 1
        assert list(runtime.parked()) == []


class Ordered(Event):
    guest: str
    table: str


class Serve(Command):
    table: str


class Served(Event):
    table: str


class Paid(Event):
    guest: str


@inn.register
class Kitchen(Aggregate, identity="table"):
    @handle(Serve)
    def serve(self, command: Serve) -> Served:
        return Served(self.id)


@inn.register
class Meal(ProcessManager, correlate="guest", restart=True):
    """The answer finds it by what it has learnt."""

    guest: str = ""
    table: Indexed[str] = ""
    served: list[str] = []

    @handle(Ordered, start=True)
    def on_ordered(self, event: Ordered) -> None:
        self.table = event.table
        self.issue(Serve(event.table), after=HOUR)

    @handle(Served, correlate={"table": "table"})
    def on_served(self, event: Served) -> None:
        self.served.append(event.table)

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None: ...


def test_an_answer_that_finds_its_instance_by_a_learnt_key_does_not_reach_the_next_run() -> None:
    clock = VirtualClock()
    with Runtime.ephemeral(inn, clock=clock) as runtime:
        happen(runtime, Ordered("ann", "7"), Paid("ann"), Ordered("ann", "7"))
        clock.advance(HOUR)
        view = runtime.get(Meal, "ann")
        assert view is not None
        assert view.state["served"] == ["7"]
        assert runtime.stats()["skipped_complete"] == 1


def test_each_run_hears_of_its_own() -> None:
    clock = VirtualClock()
    with Runtime.ephemeral(hotel, clock=clock) as runtime:
        for guest in ("tidy", "messy", "last"):
            happen(runtime, Booked("7", guest))
            clock.advance(2 * HOUR)
            expected = "refused" if guest == "messy" else "cleaned"
            view = runtime.get(Stay, "7")
            assert view is not None
            assert view.state["seen"] == [f"{expected} for {guest}"]
            happen(runtime, Left("7"))
        clock.advance(10 * HOUR)
        view = runtime.get(Stay, "7")
        assert view is not None
        assert view.state["seen"] == ["cleaned for last"]
        assert list(runtime.timeouts()) == []


def test_runs_are_told_apart_after_the_store_was_opened_again_and_after_a_refresh(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    with Runtime(tmp_path, hotel, clock=clock) as runtime:
        happen(runtime, Booked("7", "messy"), Left("7"), Booked("7", "next"))
        runtime.refresh(Stay, "7")
    with Runtime(tmp_path, hotel, clock=clock) as runtime:
        clock.advance(HOUR)
        view = runtime.get(Stay, "7")
        assert view is not None
        assert view.state["seen"] == ["cleaned for next"]
