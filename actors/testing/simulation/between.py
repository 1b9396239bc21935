"""What the partitions of a divided store say of one another: what two say must fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...store import StoreFinding, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...model.registry import Registry
    from ...store import Store

__all__ = ["check_between"]


def check_between(stores: Sequence[Store], registry: Registry) -> Iterator[StoreFinding]:
    """Check what must hold between partitions, as they are now.

    Args:
        stores: of all partitions, in order
        registry: all classes

    """
    yield from _check_cursors(stores)
    yield from _check_learnt_keys(stores, registry)


def _check_cursors(stores: Sequence[Store]) -> Iterator[StoreFinding]:
    """No partition has taken more than was sent to it."""
    for source, sender in enumerate(stores):
        for target, taker in enumerate(stores):
            taken, sent = taker.cursor_of(source), sender.last_sent(target)
            if taken > sent:
                problem = f"in partition {target}: says {taken} were taken, and {sent} were sent"
                yield StoreFinding("cursors", str(source), problem)


def _check_learnt_keys(stores: Sequence[Store], registry: Registry) -> Iterator[StoreFinding]:
    """The partition of a value knows who has learnt it, unless that is on its way."""
    for definition in registry.processes.values():
        if not definition.state.indexed:
            continue
        for source, store in enumerate(stores):
            for name, last in store.scan_instances(definition.name):
                if last.state_version != definition.state_version:
                    continue
                keys = definition.state.keys_of(definition.state_of(last))
                for field, value in ((one, each) for one, all_ in keys.items() for each in all_):
                    target = partition_of(value, len(stores))
                    knows = stores[target].read_index(definition.name, field, value)
                    if name not in knows and not _is_on_its_way(stores, source, target):
                        problem = (
                            f"in partition {target}: is missing for {name} of partition {source}, "
                            f"which has learnt {field} = {value!r}"
                        )
                        yield StoreFinding("index", definition.name, problem)


def _is_on_its_way(stores: Sequence[Store], source: int, target: int) -> bool:
    return source != target and stores[source].last_sent(target) > stores[target].cursor_of(source)
