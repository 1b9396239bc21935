"""What an exploration covered of what there is, and what it never reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..simulation.reached import ACCIDENTS, handlers_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...model.registry import Registry
    from ..simulation.reached import HandlerId, Reached
    from .orders import Orders

__all__ = ["Coverage"]

SHOWN = 12
"""How much of what was never reached is told one by one."""


class Coverage:
    """What the runs of an exploration reached. As text, it is for people to read.

    Attributes:
        runs: how many there were
        orders: in how many orders the clients brought their messages
        orders_in_all: how many such orders the program has; None if a strategy makes programs
        kinds: of deviations that were let happen, and in how many runs each had its chance
        corpus: the seeds of the runs that reached something new, in order

    """

    def __init__(
        self, versions: Iterable[Registry], kinds: Iterable[str], orders: Orders | None
    ) -> None:
        self.kinds = dict.fromkeys(kinds, 0)
        accidents = [kind for kind in ACCIDENTS if kind in self.kinds]
        self._all = dict.fromkeys(one for version in versions for one in handlers_in(version))
        self._accidents = {
            (one, kind): None for one in self._all for kind in accidents if kind in one.accidents
        }
        self._orders = orders
        self._came: set[tuple[int, ...]] = set()
        self._reached: dict[object, None] = {}
        self.runs = 0
        self.orders_in_all = None if orders is None else orders.count
        self.corpus: list[str] = []

    def learn(self, reached: Reached, came: tuple[int, ...], happened: Iterable[str]) -> bool:
        """Take in what one run reached; returns whether some of it is new.

        Args:
            reached: handlers, accidents and successions of events
            came: the order in which the clients brought their messages
            happened: the kinds of deviations that had their chance

        """
        self.runs += 1
        for kind in happened:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self._orders is None or len(came) == sum(self._orders.messages):
            self._came.add(came)
        known = len(self._reached)
        for part in (reached.handlers, reached.accidents, reached.meetings):
            self._reached.update(dict.fromkeys(part))
        return len(self._reached) > known

    @property
    def orders(self) -> int:
        """In how many orders the clients brought their messages."""
        return len(self._came)

    def has_met(self, order: tuple[int, ...]) -> bool:
        """Whether the clients brought their messages in an order."""
        return order in self._came

    @property
    def handlers(self) -> list[str]:
        """The handlers that ran, as ``Class.method(what it handles)``."""
        return [str(one) for one in self._all if one in self._reached]

    @property
    def handlers_in_all(self) -> int:
        """How many handlers the domains have."""
        return len(self._all)

    @property
    def missed_accidents(self) -> list[tuple[HandlerId, str]]:
        """What was to go wrong once at handlers that ran, and did not."""
        return [
            one for one in self._accidents if one not in self._reached and one[0] in self._reached
        ]

    @property
    def never(self) -> list[str]:
        """What was never reached, in words: handlers, and what was to go wrong at others."""
        handlers = [str(one) for one in self._all if one not in self._reached]
        return handlers + [f"{ACCIDENTS[kind]}: {one}" for one, kind in self.missed_accidents]

    def __str__(self) -> str:
        total = "" if self.orders_in_all is None else f" of {self.orders_in_all:,}"
        at_handlers = [kind for kind in ACCIDENTS if any(one[1] == kind for one in self._accidents)]
        reached = [one for one in self._accidents if one[0] in self._reached]
        parts = [
            f"{self.runs:,} runs",
            f"{self.orders:,}{total} orders of the clients",
            f"{len(self.handlers):,} handlers of {self.handlers_in_all:,}",
        ]
        if reached and not self.missed_accidents:
            names = [ACCIDENTS[kind] for kind in at_handlers]
            parts.append(f"every one of them with {', '.join(names)}")
        elif reached:
            happened = len(reached) - len(self.missed_accidents)
            parts.append(f"{happened:,} of {len(reached):,} failures and crashes at them")
        if self.kinds:
            met = sum(map(bool, self.kinds.values()))
            parts.append(f"{met} of {len(self.kinds)} kinds of deviations")
        never = self.never
        text = "; ".join(parts)
        if never:
            shown = "\n".join(f"    {one}" for one in never[:SHOWN])
            more = f"\n    and {len(never) - SHOWN:,} more" if len(never) > SHOWN else ""
            text += f"\nnever reached:\n{shown}{more}"
        return text
