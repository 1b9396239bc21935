"""For tests of what people build on `actors`."""

from .clock import VirtualClock
from .outcomes import AggregateOutcome, ProcessOutcome, delayed
from .scenario import Scenario

__all__ = ["AggregateOutcome", "ProcessOutcome", "Scenario", "VirtualClock", "delayed"]
