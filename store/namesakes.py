"""Namesakes: streams and instances that have one id, and are asked for one after the other.

In most designs an order's stream, the process of that order and the streams of what this issues
have the order's id. So when the first of them is asked for, it is known what comes next, and where
a look is a trip, one trip does for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Namesakes"]

IDS_KEPT = 2_048
"""Ids of which it is remembered what was asked for first, at most."""

WORTH = 2
"""What it is worth if one was asked for after another, in a wave; to ask for it costs 1."""

MOST = 16
"""What one can be worth: in so many waves it is asked for in vain before it is left."""


class Namesakes:
    """Learns which namesakes are asked for when one was, by what their keys begin with.

    That is the id, and behind it a kind: a category of streams, or a process manager.
    """

    def __init__(self) -> None:
        # By id, the kind that was asked for first.
        self._first: dict[bytes, bytes] = {}
        # By that kind, those that came after it, with what each is worth.
        self._after: dict[bytes, dict[bytes, int]] = {}

    def next_of(self, prefixes: Iterable[bytes]) -> list[bytes]:
        """Note what a wave asks for.

        Args:
            prefixes: what the keys begin with

        Returns:
            what the keys of those begin with that are likely to be asked for next

        """
        firsts = self._first
        if len(firsts) > IDS_KEPT:
            firsts.clear()
        likely: list[bytes] = []
        begun: dict[bytes, list[bytes]] = {}
        followed: set[tuple[bytes, bytes]] = set()
        for prefix in prefixes:
            name, _, kind = prefix.partition(b"\0")
            if not name:
                # Streams without an id have none in common, and may be of any number of kinds.
                continue
            first = firsts.setdefault(name, kind)
            if first is not kind:
                if first != kind:
                    followed.add((first, kind))
                continue
            if kind not in begun:
                begun[kind] = self._worth_asking(kind)
            likely += [name + b"\0" + one for one in begun[kind]]
        for first, kind in followed:
            after = self._after.setdefault(first, {})
            after[kind] = min(after.get(kind, 0) + WORTH, MOST)
        return likely

    def _worth_asking(self, first: bytes) -> list[bytes]:
        """The kinds that are likely to come after one; to ask for them is paid for."""
        after = self._after.get(first, {})
        kinds = [kind for kind, worth in after.items() if worth > 0]
        for kind in kinds:
            after[kind] -= 1
        return kinds

    def were_there(self, prefixes: Iterable[bytes]) -> None:
        """Note which have rows: to know so is of no use, since they are asked for once more."""
        pairs = set()
        for prefix in prefixes:
            name, _, kind = prefix.partition(b"\0")
            pairs.add((self._first.get(name, b""), kind))
        for first, kind in pairs:
            after = self._after.get(first, {})
            if kind in after:
                after[kind] -= WORTH
