"""The run log: what happened, a line for each turn, for people to read."""

from datetime import timedelta

from procession.testing import Simulation
from tests.actors.testing.simulation.selling import Place, shop

PLACED = (
    "Selling o1 handled Placed → issued Charge, issued Remind (in 1d 00:00:00), "
    "set timeout patience (in 00:30:00)"
)


def test_the_trace_reads_as_what_happened() -> None:
    with Simulation(shop, program=[Place("o1"), timedelta(hours=1)]) as simulation:
        simulation.provoke("crash_before_commit")
        simulation.run()
        told = [line.text for line in simulation.trace.essential]
        chain = [
            "Order o1 carried out Place → Placed",
            PLACED,
            "Account o1 carried out Charge → Charged",
            "Selling o1 handled Charged → cancelled timeout patience",
        ]
        assert told == [
            "outside: tell Place(order_id='o1', price=10)",
            *chain,
            "crash inside a commit of 5 steps: nothing of it is kept",
            "outside: tell Place(order_id='o1', price=10), again",
            *chain,
            "Selling o1 ran the after-effect of Charged",
            "time moves to 01:00:00",
            "time moves to 1d 00:00:00: Remind of Selling o1",
            "Order o1 carried out Remind → Reminded",
        ]
        assert str(simulation.trace).splitlines()[0].endswith(f"00:00:00  {told[0]}")
        assert str(simulation.trace) == str(simulation.trace.essential)
        assert simulation.trace[-1].is_detail
        assert len(simulation.trace[:2]) == 2
