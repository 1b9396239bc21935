"""A part of what is stored, gone through by one process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from msgspec import Struct

from ..model.plans import ProcessPlan
from ..store import CorruptRecord
from .replaying import Lives
from .report import Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..model.registry import Registry
    from ..store import Store

__all__ = ["Part", "go_through"]

TOGETHER = 64
"""Instances that one process takes in a row."""

TOLD = 256
"""Instances after which it is said how many there were."""


class Part(Struct, frozen=True):
    """Which instances one process goes through.

    Attributes:
        number: which part it is
        of: how many parts there are
        strides: by process manager, every how many instances one is taken
        is_live: whether only those are taken that are not complete

    """

    number: int
    of: int
    strides: dict[str, int]
    is_live: bool


def go_through(
    stores: Sequence[Store], registry: Registry, part: Part, told: Callable[[int], object]
) -> Findings:
    """Decide the instances of a part again.

    Args:
        stores: one, or the partitions of a divided store; they are only read
        registry: the classes that decide
        part: which instances
        told: is called with how many instances it went through, now and then

    Returns:
        what was found

    Raises:
        StoreError: a store cannot be read any more

    """
    findings = Findings()
    for definition in registry.processes.values():
        # Whether a chain is too long was decided then.
        plan = ProcessPlan(definition, registry, max_chain=sys.maxsize)
        for index, store in enumerate(stores):
            lives = Lives(plan, store)
            for place, name in _instances(store, plan.name, part):
                if isinstance(name, CorruptRecord):
                    findings.add_damaged(f"started with transition {place}", name)
                    continue
                try:
                    if part.is_live and _is_complete(store, plan.name, name):
                        continue
                    life = lives.of(name)
                except CorruptRecord as error:
                    findings.add_damaged(name, error)
                else:
                    findings.add_life(plan.name, name, place * len(stores) + index, life)
                if findings.instances % TOLD == 0:
                    told(findings.instances)
            findings.handled |= {(plan.name, one) for one in lives.handled}
    told(findings.instances)
    return findings


def _instances(store: Store, process: str, part: Part) -> Iterator[tuple[int, str | CorruptRecord]]:
    stride = part.strides.get(process, 1)
    for count, started in enumerate(store.scan_started(process)):
        turn, rest = divmod(count, stride)
        if not rest and turn // TOGETHER % part.of == part.number:
            yield started


def _is_complete(store: Store, process: str, instance: str) -> bool:
    last = store.last_transition(process, instance)
    return last is not None and last.is_complete
