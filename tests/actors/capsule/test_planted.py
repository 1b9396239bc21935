"""What failed in a store fails in its capsule in the same way, also where fields are masked."""

from pathlib import Path

import pytest

from procession import Runtime
from procession.capsule import Failure, make_capsule
from procession.testing import Simulation, VirtualClock, reproduce
from tests.actors.capsule.planted import MASK, PLANTED, play, publish, shop_with


def failures(runtime: Runtime | Simulation) -> list[Failure]:
    found = []
    for one in runtime.parked():
        kind, _, text = one.error.partition(": ")
        found.append(
            Failure(one.process, one.instance, one.cause, one.handler, kind, text, one.place)
        )
    return found


@pytest.mark.parametrize("flaw", PLANTED)
def test_a_planted_failure_is_reproduced_exactly_masked_or_not(flaw: str, tmp_path: Path) -> None:
    shop, order = shop_with(flaw)
    clock = VirtualClock()
    with Runtime(tmp_path / "store", shop, clock=clock, durability="none") as runtime:
        play(runtime, clock, flaw)
        [happened, *_] = [one for one in failures(runtime) if "o3" in (one.instance + one.cause)]
        plain = make_capsule(tmp_path / "store", shop, order, "o3", tmp_path / "plain")
        masked = make_capsule(tmp_path / "store", shop, order, "o3", tmp_path / "masked", mask=MASK)

    assert plain.failures == [happened]
    assert reproduce(tmp_path / "plain", shop).failures == [happened]

    assert reproduce(tmp_path / "masked", shop).failures == masked.failures
    [found] = masked.failures
    assert (found.cause, found.handler, found.error_type, found.place) == (
        happened.cause,
        happened.handler,
        happened.error_type,
        happened.place,
    )


@pytest.mark.parametrize("flaw", PLANTED)
def test_a_failure_planted_in_a_divided_store_is_reproduced_exactly(
    flaw: str, tmp_path: Path
) -> None:
    shop, order = shop_with(flaw)
    clock, file = VirtualClock(), tmp_path / "capsule"
    with Runtime(tmp_path / "store", shop, clock=clock, partitions=3) as runtime:
        play(runtime, clock, flaw)
        [happened, *_] = [one for one in failures(runtime) if "o3" in (one.instance + one.cause)]
        made = make_capsule(tmp_path / "store", shop, order, "o3", file)

    assert made.failures == [happened]
    assert reproduce(file, shop).failures == [happened]

    with Simulation(shop, nodes=2, store=file) as simulation:
        assert failures(simulation) == [happened]
        for one in list(simulation.parked()):
            simulation.retry(one.id)
        simulation.run()
        assert failures(simulation) == [happened]
        assert simulation.verify() == []


@pytest.mark.parametrize("flaw", ["at the second event", "a state that an earlier step left"])
def test_what_is_mended_fails_no_more(flaw: str, tmp_path: Path) -> None:
    shop, order = shop_with(flaw)
    clock = VirtualClock()
    with Runtime(tmp_path / "store", shop, clock=clock, durability="none") as runtime:
        play(runtime, clock, flaw)
    make_capsule(tmp_path / "store", shop, order, "o3", tmp_path / "capsule", mask=MASK)

    again = reproduce(tmp_path / "capsule", shop_with(None)[0])

    assert not again.failures, again
    assert again.state is not None
    assert again.state["parcel"] == "parcel of o3"


def test_what_is_being_tried_again_is_tried_until_it_is_parked(tmp_path: Path) -> None:
    shop, order = shop_with("while it is tried again")
    with Runtime(tmp_path / "store", shop, clock=VirtualClock(), durability="none") as runtime:
        publish(runtime, 1)
        runtime.settle(timeout=20)
        made = make_capsule(tmp_path / "store", shop, order, "o0", tmp_path / "capsule")

    [under_way] = made.failures
    assert (under_way.cause, under_way.error_type) == ("shop::payment-o0@1", "")
    [failure] = reproduce(tmp_path / "capsule", shop).failures
    assert (failure.cause, failure.handler) == (under_way.cause, "paid")
    assert failure.error_type == "ValueError"


def test_there_are_twenty_planted_failures() -> None:
    assert len(PLANTED) >= 20
