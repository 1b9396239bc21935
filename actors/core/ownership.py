"""Which node is to have which partition: each has its share, and takes over what others leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Version", "taker", "too_much", "waiting"]


class Version(NamedTuple):
    """What the code of a node makes of what is stored, by the names of messages and of states.

    Attributes:
        reads: what it understands
        writes: what it may store

    """

    reads: frozenset[str]
    writes: frozenset[str]

    def fits(self, other: Version) -> bool:
        """Whether each of the two reads what the other one writes."""
        return self.writes <= other.reads and other.writes <= self.reads


def waiting(nodes: Mapping[str, Version]) -> dict[str, str]:
    """The nodes that own nothing until another one is gone, and which one that is.

    Args:
        nodes: those that live, in the order in which they came: who was there first goes on

    """
    fit: dict[str, Version] = {}
    found: dict[str, str] = {}
    for name, version in nodes.items():
        other = next((one for one, its in fit.items() if not version.fits(its)), None)
        if other is None:
            fit[name] = version
        else:
            found[name] = other
    return found


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
