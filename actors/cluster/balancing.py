"""Which partitions a node takes, and which it hands over: decided from what all nodes can see.

Each node decides for itself, by the same rule, and a partition is taken by who raises its epoch
first. So it does not matter who looks when, as long as nodes come and go less often than they look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..core.ownership import Version, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..store.postgresql.lease import NodeRow, OwnerRow

__all__ = ["Decision", "Look", "decide"]


class Look(NamedTuple):
    """What was seen at one moment."""

    owners: Sequence[OwnerRow]
    nodes: Sequence[NodeRow]


class Decision(NamedTuple):
    """What a node does.

    Attributes:
        take: partitions, with the epochs that they have now
        leave: partitions that are for others
        waits_for: the name of a node that does not read what this one writes, or the other way
            round; empty if there is none

    """

    take: Mapping[int, int]
    leave: Sequence[int]
    waits_for: str = ""


def decide(me: str, look: Look, before: Look | None) -> Decision:
    """What a node does after it has looked.

    Args:
        me: its id
        look: what it sees
        before: what it saw the last time, if it did: who seems to be gone must seem so twice

    """
    nodes = _living(me, look, before)
    waits_for = waiting({one.id: Version(one.reads, one.writes) for one in nodes})
    mine = [one.part for one in look.owners if one.token == me]
    # One that is drained hands all over, and so does one that does not fit.
    ready = [one.id for one in nodes if one.id not in waits_for and not one.is_drained]
    if me not in ready:
        names = {one.id: one.name for one in nodes}
        return Decision({}, mine, names.get(waits_for.get(me, ""), ""))
    asked_for = [
        one.part
        for one in look.owners
        if one.token == me and one.wanted_by in ready and one.wanted_by != me
    ]
    share = -(-len(look.owners) // len(ready))
    others = [part for part in mine if part not in asked_for]
    leave = [*asked_for, *others[share:]] if len(ready) > 1 else []
    gone = _gone(look, before)
    free = {
        one.part: one.epoch
        for one in look.owners
        if one.token != me and (not one.token or one.part in gone)
    }
    wanted = [one.part for one in look.owners if one.part in free and one.wanted_by == me]
    # Those that another node waits for are left to it.
    open_to_all = [
        one.part
        for one in look.owners
        if one.part in free and (not one.wanted_by or one.wanted_by not in ready)
    ]
    room = max(0, share - len(mine))
    # Nodes that come at the same time begin at different places.
    place = ready.index(me) * share
    open_to_all = sorted(open_to_all, key=lambda part: (part - place) % len(look.owners))
    return Decision({part: free[part] for part in [*wanted, *open_to_all[:room]]}, leave)


def _living(me: str, look: Look, before: Look | None) -> list[NodeRow]:
    unlocked = set() if before is None else {one.id for one in before.nodes if one.is_unlocked}
    return [
        one
        for one in look.nodes
        if one.id == me or (one.is_alive and not (one.is_unlocked and one.id in unlocked))
    ]


def _gone(look: Look, before: Look | None) -> set[int]:
    """Partitions whose owners seem to be gone, now and before."""
    if before is None:
        return set()
    then = {
        (one.part, one.epoch, one.token)
        for one in before.owners
        if one.token and (one.is_over or one.is_unlocked)
    }
    return {
        one.part
        for one in look.owners
        if (one.is_over or one.is_unlocked) and (one.part, one.epoch, one.token) in then
    }
