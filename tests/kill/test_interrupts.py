"""Promise 15: an interrupt in any call leaves nothing hanging, and a signal handler may read."""

import pytest

from tests.kill.interrupts import NAMES, interrupt


@pytest.mark.parametrize("call", NAMES)
def test_a_call_interrupted_at_each_of_its_lines_leaves_nothing_hanging_nor_do_handlers_that_read(
    call: str,
) -> None:
    tally = interrupt(call, "lines,handlers,signals", trials=8)
    assert tally["wrong"] == []
    # Nothing is shown by a call that came to no line of the package.
    assert tally["interrupts"] > 30
    assert tally["handlers"] > 30
