"""For tests of what people build on `procession`."""

from typing import TYPE_CHECKING, Any

from .clock import VirtualClock
from .explore.counterexample import CounterExample
from .explore.coverage import Coverage
from .explore.deadlines import ends_within, within
from .explore.explore import NEEDED, explore
from .explore.invariants import at_end
from .outcomes import AggregateOutcome, ProcessOutcome, delayed
from .reproducing import Reproduction, reproduce
from .scenario import Scenario
from .simulation.deviations import ALL_FAULTS, FAULTS
from .simulation.program import Publish, Tell
from .simulation.services import Service
from .simulation.simulation import Simulation

if TYPE_CHECKING:
    from .explore.machine import ProcessMachine

__all__ = [
    "ALL_FAULTS",
    "FAULTS",
    "AggregateOutcome",
    "CounterExample",
    "Coverage",
    "ProcessMachine",
    "ProcessOutcome",
    "Publish",
    "Reproduction",
    "Scenario",
    "Service",
    "Simulation",
    "Tell",
    "VirtualClock",
    "at_end",
    "delayed",
    "ends_within",
    "explore",
    "reproduce",
    "within",
]


def __getattr__(name: str) -> Any:
    # Its base class is Hypothesis's, which tests without it need not install.
    if name != "ProcessMachine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .explore.machine import ProcessMachine  # noqa: PLC0415
    except ImportError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(NEEDED) from error
    return ProcessMachine
