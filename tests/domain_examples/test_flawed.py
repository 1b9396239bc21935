"""Each flaw is found with default settings, shown in its essential steps, and had again."""

from types import ModuleType
from typing import Any

import pytest

from domain_examples.flawed import ALL, compensates_in_any_order
from procession.testing import FAULTS, CounterExample, Simulation, at_end, explore

ESSENTIAL: dict[str, tuple[int, tuple[str, ...]]] = {
    "ships_twice": (11, ("timeout payment → issued Ship", "PaymentConfirmed → issued Ship")),
    "forgets_refund": (8, ("OrderCancelled → ended", "skipped PaymentTaken, since it has ended")),
    "never_ends": (9, ("o1 handled PaymentTaken\n", "o1 handled StockReserved")),
    "starts_too_early": (3, ("publish TransferReceived", "TransferReceived → issued Ship")),
    # What the attempt that failed had counted outside is counted once more.
    "counts_outside": (13, ("Outside ada failed at Bought", "Outside ada handled Bought")),
    "learns_late": (5, ("publish TransferSettled(number='n7')", "Late p1 handled InvoiceFound")),
    "compensates_in_any_order": (8, ("issued CancelFlight, CancelRoom", "→ RoomCancelled")),
    "waits_for_ever": (8, ("the bank breaks off its answer", "MoneyReserved → cancelled timeout")),
    "reminds_who_paid": (16, ("handled PaymentPromised", "Paid → ended", "carried out Remind")),
}
"""The most lines that the shortest run may have, and what it must tell, in this order."""


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def explored(module: Any, domain: Any, **options: Any) -> None:
    own: dict[str, Any] = {
        "before_each": getattr(module, "before_each", None),
        "faults": getattr(module, "faults", FAULTS),
        "services": getattr(module, "services", ()),
    }
    explore(domain, module.program, module.invariants, **(own | options))


def found(module: Any, **options: Any) -> CounterExample:
    with pytest.raises(CounterExample) as raised:
        explored(module, module.flawed, **options)
    return raised.value


@pytest.mark.parametrize("module", ALL, ids=name_of)
def test_the_flaw_is_found_and_shown_in_its_essential_steps(module: ModuleType) -> None:
    most, told = ESSENTIAL[name_of(module)]
    error = found(module)
    assert error.invariant in {one.__name__ for one in module.invariants}
    assert len(error.trace.essential) <= most, str(error)
    text = str(error)
    for part in told:
        assert part in text
        text = text[text.index(part) + 1 :]


def test_commands_that_were_issued_together_are_carried_out_in_either_order() -> None:
    @at_end
    def as_they_were_issued(simulation: Simulation) -> None:
        made = [one.type for one in simulation.events()]
        assert made[-2:] == ["travel.FlightCancelled.v1", "travel.RoomCancelled.v1"]

    module = compensates_in_any_order
    with pytest.raises(CounterExample) as raised:
        explore(module.flawed, module.program, [as_they_were_issued], faults=("order",))
    text = str(raised.value)
    assert text.index("→ RoomCancelled") < text.index("→ FlightCancelled")


@pytest.mark.parametrize("module", ALL, ids=name_of)
def test_the_seed_has_exactly_that_run_again(module: ModuleType) -> None:
    error = found(module)
    again = found(module, seed=error.seed)
    assert list(again.trace) == list(error.trace)
    assert str(again) == str(error)


@pytest.mark.parametrize("module", ALL, ids=name_of)
def test_the_correct_one_keeps_what_the_flawed_one_breaks(module: ModuleType) -> None:
    explored(module, module.correct)


@pytest.mark.parametrize("module", ALL, ids=name_of)
def test_the_flawed_one_passes_when_one_thing_happens_after_the_other(module: ModuleType) -> None:
    explored(module, module.flawed, faults=())
