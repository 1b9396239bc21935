"""What to do when a handler fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["PARK", "SKIP", "Decision", "Retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, waiting longer each time.

    Args:
        attempts: how often to try in all, the first time included
        first: the wait before the second attempt
        factor: how many times longer each further wait is
        maximum: the longest wait

    Raises:
        ValueError: a number makes no sense

    """

    attempts: int = 3
    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    maximum: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts}; give a whole number from 1")
        if self.first < timedelta(0) or self.maximum < timedelta(0) or self.factor < 1:
            raise ValueError(
                f"first={self.first}, factor={self.factor}, maximum={self.maximum}: waits are not "
                f"negative and do not get shorter"
            )

    def wait(self, attempt: int) -> timedelta | None:
        """How long to wait after that attempt failed; None when it was the last.

        Args:
            attempt: 1 for the first

        """
        if attempt >= self.attempts:
            return None
        # In floats, and with a bounded exponent, so that a thousand attempts do not overflow.
        seconds = self.first.total_seconds() * self.factor ** min(attempt - 1, 60)
        return timedelta(seconds=min(seconds, self.maximum.total_seconds()))


@dataclass(frozen=True, slots=True)
class Decision:
    """What else `on_error` may return."""

    name: str

    def __repr__(self) -> str:
        return self.name


SKIP = Decision("SKIP")
"""Go on as if the event had not come."""

PARK = Decision("PARK")
"""Set the event aside for a person, and suspend the instance."""
