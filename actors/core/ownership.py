"""Which node is to have which partition: each has its share, and takes over what others leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["taker", "too_much"]


def taker(owned: Mapping[str, int]) -> str | None:
    """The node that takes a partition over which no node has: the one with the fewest.

    Args:
        owned: how many partitions each node has that lives, by its name

    Returns:
        its name; None if no node lives

    """
    return min(owned, key=lambda name: (owned[name], name), default=None)


def too_much(owned: Mapping[str, int]) -> tuple[str, str] | None:
    """A node that has too much, and the one that is to have one of its partitions.

    Args:
        owned: as for `taker`

    Returns:
        the two names; None if each has its share: no two differ by more than one

    """
    to = taker(owned)
    if to is None:
        return None
    most = max(owned, key=lambda name: (owned[name], name))
    return (most, to) if owned[most] - owned[to] > 1 else None
