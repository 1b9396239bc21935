"""A counterexample says what was broken, how it came to that, and how to have that run again."""

import pytest

from procession.testing import CounterExample
from procession.testing.explore.counterexample import Failure, reason
from procession.testing.simulation.run_log import Line, Trace


def test_its_text_has_the_invariant_the_trace_and_the_seed() -> None:
    trace = Trace([Line(1, 0, "outside: tell Place", False), Line(2, 0, "commit of 1 step", True)])
    found = CounterExample(Failure("all_is_packed", " at last", "o1 is not", trace, None), "eNo")
    assert (found.invariant, found.trace, found.seed) == ("all_is_packed", trace, "eNo")
    assert str(found) == (
        "all_is_packed does not hold at last: o1 is not\n\n"
        "   1  00:00:00  outside: tell Place\n\n"
        "To have this run again:\n\n"
        '    explore(shop, program, invariants, seed="eNo")'
    )


def test_an_error_is_told_with_its_class_in_one_line() -> None:
    assert reason(ValueError("not today\nand not tomorrow")) == "ValueError: not today"


def test_an_assertion_is_told_by_its_text() -> None:
    assert reason(AssertionError("o1 is not packed\nassert False")) == "o1 is not packed"
    assert reason(AssertionError()) == "it was asserted"


def test_a_bare_assertion_is_told_by_its_line() -> None:
    with pytest.raises(AssertionError) as raised:
        raise AssertionError
    assert reason(raised.value) == "raise AssertionError"
