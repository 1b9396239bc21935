"""Deviations: what makes a run another than the ordinary one, and the word that says it."""

import pytest

from procession.testing.simulation.deviations import (
    ALL_FAULTS,
    FAULTS,
    KINDS,
    Deviation,
    Planned,
    Schedule,
    Seeded,
    deviation,
    kinds_of,
    seed_of,
    unpacked,
)

CRASH, TIME = 3, 2
SOME = [Deviation(4, CRASH, 0), Deviation(2, TIME, 7)]


SCHEDULE = Schedule((1, 0, 1), tuple(SOME))
UNKNOWN = Schedule((), (Deviation(1, 99, 0),))


def test_a_seed_holds_the_order_the_deviations_by_their_turns_and_the_program() -> None:
    assert unpacked(seed_of(SCHEDULE)) == (Schedule((1, 0, 1), tuple(sorted(SOME))), None)
    assert unpacked(seed_of(Schedule(), ["a program"])) == (Schedule(), ["a program"])


@pytest.mark.parametrize("seed", ["", "word", seed_of(SCHEDULE)[:-4], seed_of(UNKNOWN)])
def test_a_word_that_is_no_seed_of_this_version_is_refused(seed: str) -> None:
    with pytest.raises(ValueError, match="was not made by this version of explore, or not copied"):
        unpacked(seed)


def test_a_planned_deviation_is_armed_at_its_turn_and_waits_for_its_chance() -> None:
    planned = Planned(SOME)
    planned.arm(1)
    assert planned.armed == []
    planned.arm(3)
    planned.arm(4)
    assert planned.take("sleep") is None
    assert planned.take("crash", "time") == SOME[1]
    assert planned.take("crash", "time") == SOME[0]
    assert planned.take("crash", "time") is None


def test_a_plan_goes_on_when_everything_has_settled_and_a_number_makes_no_more() -> None:
    planned, seeded = Planned(SOME), Seeded(1, kinds_of(FAULTS))
    for one in (planned, seeded):
        one.arm(1)
        one.stop()
        for turn in range(2, 100):
            one.arm(turn)
    assert planned.armed == sorted(SOME)
    assert seeded.armed == []


def test_a_number_makes_the_same_deviations_each_time_and_never_two_of_a_kind_at_once() -> None:
    runs = []
    for _ in range(2):
        seeded = Seeded(7, kinds_of(FAULTS))
        for turn in range(1, 200):
            seeded.arm(turn)
        runs.append(seeded.armed)
    assert runs[0] == runs[1]
    kinds = [one.kind for one in runs[0]]
    assert len(set(kinds)) == len(kinds)


def test_without_a_fault_a_number_makes_nothing() -> None:
    seeded = Seeded(7, kinds_of(()))
    seeded.arm(1_000)
    assert seeded.armed == []


def test_a_fault_stands_for_its_kinds_and_each_kind_belongs_to_a_fault() -> None:
    assert {KINDS[one][0] for one in kinds_of("duplicate")} == {
        "repeat_event",
        "repeat_command",
        "repeat_outside",
    }
    assert {fault for _, fault in KINDS} == set(ALL_FAULTS)
    assert set(kinds_of(ALL_FAULTS)) == set(range(len(KINDS)))


def test_what_may_rightly_break_an_invariant_is_only_let_happen_when_it_is_asked_for() -> None:
    assert set(ALL_FAULTS) - set(FAULTS) == {*("clock", "resend", "operator", "erasure", "pruning")}


def test_a_fault_or_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"there is no 'flood'; there are .*'sleep'"):
        kinds_of(["order", "flood"])
    with pytest.raises(ValueError, match=r"there is no 'flood'; there are .*sleep"):
        deviation("flood", 0)
