"""Where a chain ends is the same whatever order, crash, failure or duplicate there was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from procession.testing import explore
from tests.actors.core.test_replay_and_cycles import (
    Counting,
    Echo,
    HitBack,
    Patient,
    PingPong,
    Reflex,
    Restless,
    Stubborn,
    domain_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from procession import ProcessManager
    from procession.testing import Simulation

LIMIT = 12


def view_of(run: Simulation, cls: type[ProcessManager]) -> Any:
    view = run.get(cls, "b")
    assert view is not None
    return view


def parked_texts(run: Simulation) -> list[str]:
    return [one.error for one in run.parked()]


def is_stopped(cls: type[ProcessManager], version: int) -> Callable[[Simulation], None]:
    def check(run: Simulation) -> None:
        assert view_of(run, cls).version == version
        assert ["InfiniteLoopError" in text for text in parked_texts(run)] == [True]

    return check


def all_honest(run: Simulation) -> None:
    assert parked_texts(run) == []
    view = view_of(run, Patient)
    assert (view.is_complete, view.state["hits"]) == (True, Patient.limit)


def one_reflex(run: Simulation) -> None:
    assert run.stats()["transitions"] <= 1
    assert ["makes the very event" in text for text in parked_texts(run)] == [True]


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (Echo, is_stopped(Echo, 1)),
        (PingPong, is_stopped(PingPong, 2)),
        (Counting, is_stopped(Counting, LIMIT)),
        (Stubborn, is_stopped(Stubborn, LIMIT)),
        (Restless, is_stopped(Restless, LIMIT)),
        (Patient, all_honest),
        (Reflex, one_reflex),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_chain_ends_at_the_same_place_in_every_run(
    cls: type[ProcessManager],
    check: Callable[[Simulation], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Patient, "limit", 3)
    explore(
        domain_of(cls),
        [HitBack("b", 1)],
        at_end=[check],
        # A handler that fails by accident would be parked as well.
        faults=["order", "time", "crash", "commit", "duplicate", "sleep"],
        allow_parked=True,
        max_examples=60,
        max_chain=LIMIT,
        max_awake=1,
    )
