"""What to do when a handler fails."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

__all__ = ["PARK", "SKIP", "Decision", "Retry", "draw_of"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, waiting longer each time.

    Thousands of instances that fail at one moment, since a service that they call is down, would
    come again at one moment. So each waits a part of its delay, which is drawn for it. Only by a
    machine's clock: by one that tests move, each wait is the whole delay.

    Args:
        attempts: how often to try in all, the first time included
        first: the wait before the second attempt
        factor: how many times longer each further wait is
        maximum: the longest wait
        jitter: ``"full"``: a wait is drawn evenly between nothing and the delay; ``"none"``: it is
            the delay

    Raises:
        ValueError: a number makes no sense

    """

    attempts: int = 3
    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    maximum: timedelta = timedelta(minutes=1)
    jitter: Literal["full", "none"] = "full"

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts}; give a whole number from 1")
        if self.first < timedelta(0) or self.maximum < timedelta(0) or self.factor < 1:
            raise ValueError(
                f"first={self.first}, factor={self.factor}, maximum={self.maximum}: waits are not "
                f"negative and do not get shorter"
            )
        if self.jitter not in {"full", "none"}:
            raise ValueError(f'jitter={self.jitter!r}; give "full" or "none"')

    def wait(self, attempt: int, draw: float = 1.0) -> timedelta | None:
        """How long to wait after that attempt failed; None when it was the last.

        Args:
            attempt: 1 for the first
            draw: which part of the delay, from 0 to 1, if there is jitter

        """
        if attempt >= self.attempts:
            return None
        # In floats, and with a bounded exponent, so that a thousand attempts do not overflow.
        seconds = self.first.total_seconds() * self.factor ** min(attempt - 1, 60)
        delay = min(seconds, self.maximum.total_seconds())
        return timedelta(seconds=delay * draw if self.jitter == "full" else delay)


def draw_of(process: str, instance: str, cause: str, attempt: int) -> float:
    """An even draw from 0 to 1: always the same for one attempt, and another one for any other.

    Args:
        process: the process manager's name
        instance: its id
        cause: the id of what failed
        attempt: which attempt that was

    """
    said = "\0".join((process, instance, cause, str(attempt)))
    drawn = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return int.from_bytes(drawn, "big") / ((1 << 56) - 1)


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
