"""Of timeouts due at one moment the one that was set first fires, whichever was brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from procession import Domain, Event, ProcessManager, handle, timeout
from procession.core.decide import decide
from procession.core.process_state import ProcessState
from procession.core.stimuli import TimeoutDue
from procession.model.plans import ProcessPlan
from procession.model.registry import Registry
from procession.store import TimerRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from procession.core.decision import Decision

ward = Domain("ward")
DUE = 5


class Begun(Event):
    bed: str


@ward.register
class Bed(ProcessManager, correlate="bed"):
    bed: str = ""
    rang: list[str] = []

    @handle(Begun, start=True)
    def on_begun(self, event: Begun) -> None: ...

    @timeout("a")
    def on_a(self) -> None:
        self.rang.append("a")

    @timeout("b")
    def on_b(self) -> None:
        self.rang.append("b")


plan = ProcessPlan(ward.processes[Bed], Registry([ward]), max_chain=10)


class Rows:
    """Answers from the timers that have rows, by name, each with the depth of its chain."""

    def __init__(self, depths: Mapping[str, int]) -> None:
        self._depths = depths

    def timer_of(self, timer: TimerRecord) -> TimerRecord | None:
        depth = self._depths.get(timer.name)
        return None if depth is None else set_to(timer.name, timer.due, depth)

    def held_back(self, timer: TimerRecord) -> None: ...


def set_to(name: str, due: int = DUE, depth: int = 0) -> TimerRecord:
    return TimerRecord(due, plan.name, "x", name, "timeout", None, depth)


def brought(name: str, timers: dict[str, int], **depths: int) -> Decision:
    """What comes of a timeout that is brought; those with a depth have rows."""
    state = ProcessState("x", version=1, fields=b"\x80")
    state.timers = timers
    rows: Any = Rows(depths)
    return decide(plan, state, TimeoutDue(set_to(name), now=DUE), rows)


def fired(decision: Decision) -> str:
    step = decision.step
    assert step.transition is not None
    assert step.extras is not None
    assert step.extras.due is not None
    assert step.transition.cause == f"timeout:{step.extras.due.name}"
    return step.extras.due.name


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_first_that_was_set_fires_whichever_is_brought(name: str, order: str) -> None:
    decision = brought(name, dict.fromkeys(order, DUE), a=0, b=0)
    assert fired(decision) == order[0]
    assert decision.step.transition is not None
    assert decision.step.transition.timers == {order[1]: DUE}


def test_one_that_fires_in_the_place_of_another_goes_on_with_its_own_chain() -> None:
    decision = brought("b", {"a": DUE, "b": DUE}, a=7, b=0)
    assert decision.cause is not None
    assert decision.cause.depth == 7


def test_the_message_of_one_that_fired_lets_the_next_one_fire() -> None:
    assert fired(brought("a", {"b": DUE}, b=0)) == "b"


def test_one_that_was_skipped_is_passed_over_although_the_state_has_it() -> None:
    assert fired(brought("b", {"a": DUE, "b": DUE}, b=0)) == "b"
    assert fired(brought("a", {"a": DUE, "b": DUE}, b=0)) == "b"


def test_one_of_another_moment_never_fires_in_the_place_of_another() -> None:
    assert fired(brought("b", {"a": DUE - 1, "b": DUE}, a=0, b=0)) == "b"
    decision = brought("b", {"a": DUE + 1}, a=0)
    assert decision.step.transition is None
    assert decision.step.extras is not None
    assert [one.name for one in decision.step.extras.cancel] == ["b"]


def test_a_command_that_is_held_back_to_the_same_moment_is_no_timeout() -> None:
    assert fired(brought("b", {"ward.Bed-x@1.0": DUE, "b": DUE}, b=0)) == "b"
