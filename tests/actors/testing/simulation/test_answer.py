"""An answer stands where receipts and futures of the runtime stand."""

from procession import Rejected
from procession.store import ClosedError
from procession.testing import Simulation
from procession.testing.simulation.answer import Answer
from tests.actors.testing.simulation.selling import shop


def test_a_caller_looks_whether_the_answer_is_there_and_hears_of_it_once() -> None:
    with Simulation(shop) as simulation:
        heard: list[BaseException | None] = []
        answer = Answer(simulation._world.engine, heard.append)
        assert not answer.is_there
        answer.set(["an event"])
        assert (answer.is_there, answer.value, answer.error, heard) == (
            True,
            ["an event"],
            None,
            [None],
        )
        simulation.crash()
        assert heard == [None]


def test_an_error_is_an_answer() -> None:
    with Simulation(shop) as simulation:
        refusal = Rejected("too much")
        answer = Answer(simulation._world.engine)
        answer.set_exception((Rejected, refusal, None))
        assert (answer.is_there, answer.error) == (True, refusal)


def test_a_crash_tells_the_callers_that_wait_that_no_answer_comes() -> None:
    with Simulation(shop) as simulation:
        answer = Answer(simulation._world.engine)
        simulation.crash()
        assert answer.is_there
        assert isinstance(answer.error, ClosedError)
