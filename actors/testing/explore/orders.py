"""The orders in which clients can bring their messages, by number: of a multiset's permutations."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from math import factorial
from typing import TYPE_CHECKING, Any

from ..simulation.program import lists_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Orders"]


class Orders:
    """All orders of some clients, of which each keeps its own.

    An order says for each message which client brings it, by the clients' places. Order 0 has all
    of the first client's messages first; the last has all of the last client's first.

    Args:
        messages: how many each client brings

    """

    def __init__(self, messages: Iterable[int]) -> None:
        self.messages = tuple(messages)

    @classmethod
    def of(cls, program: Any) -> Orders:
        """The orders of a program. The times in it are no messages: a client waits by itself.

        Raises:
            TypeError: it is no program
            ValueError: a time in it is negative

        """
        lists = lists_of(program).values()
        return cls(sum(not isinstance(one, timedelta) for one in items) for items in lists)

    @cached_property
    def count(self) -> int:
        """How many there are."""
        return _ways(self.messages)

    def at(self, number: int) -> tuple[int, ...]:
        """The order with a number.

        Raises:
            IndexError: there are not so many

        """
        if not 0 <= number < self.count:
            raise IndexError(f"there are {self.count} orders, from 0; {number} is none")
        left, order, ways = list(self.messages), [], self.count
        for total in range(sum(left), 0, -1):
            client = 0
            # Of all ways to go on, a client begins as many as it has of the messages.
            while number >= (begun := ways * left[client] // total):
                number -= begun
                client += 1
            order.append(client)
            left[client] -= 1
            ways = begun
        return tuple(order)


def _ways(messages: Sequence[int]) -> int:
    ways = factorial(sum(messages))
    for one in messages:
        ways //= factorial(one)
    return ways
