"""What other code would do, tried on all that is stored: `shadow`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DefinitionError
from ..model.registry import Registry
from ..model.whereabouts import where_is
from ..store import StorageEngine, is_address
from .opened import opened
from .part import Part, go_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..model.domain import Domain
    from ..store import PayloadCodec, Store
    from .report import Findings, ShadowReport

__all__ = ["shadow"]


def shadow(
    store: str | os.PathLike[str] | StorageEngine,
    *domains: Domain,
    sample: int | None = None,
    live: bool = False,
    processes: int | None = None,
    codec: PayloadCodec | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> ShadowReport:
    """Try code on what is stored: decide again all that was done, and say what differs.

    The store is only read, and a service may have it open. Each step of an instance is decided from
    the state that is stored before it; where that comes to another state, the state is led along as
    well. The events of aggregates are applied, and the commands that instances had issued are
    carried out again. Events that made no transition are tried where the code would take them up.
    While a method runs, it is refused sockets, files for writing, and processes. What differs is
    decided twice, so that what differs by chance is told apart.

    Args:
        store: its folder, its address in a database, or a storage engine, which stays open
        domains: with the code that is to be tried
        sample: most instances of each process manager, aggregates of each category, and events of
            each type, evenly chosen in the order in which they came; all of them when it is not
            given
        live: whether only instances are gone through that are not complete, and only events tried
            that these would take up; aggregates do not end
        processes: how many processes share the work; 0 for none but this one. When it is not given,
            one, or none where the domains are in no module by which another process finds them
        codec: of a store that has one; this process alone has it, and does the work
        on_progress: is called with how many instances and events were gone through, and how many
            there are

    Returns:
        what differs, with counts and examples

    Raises:
        DefinitionError: the domains do not fit together, or are in no module and `processes` is
            given
        StoreError: there is no store, it cannot be read, or a process failed
        ValueError: a number is out of range

    """
    _check(sample, processes)
    registry = Registry(domains)
    places = None
    if processes != 0:
        in_here = "a codec" if codec is not None else ""
        in_here = "a storage engine" if isinstance(store, StorageEngine) else in_here
        places = _places(in_here, domains, is_asked=processes is not None)
    with opened(store, codec=codec) as stores:
        counts, events = _counts(stores)
        strides = {
            name: 1 if sample is None else max(1, -(-sum(count) // sample))
            for name, count in counts.items()
        }
        total = sum(
            -(-(count[0] if live else sum(count)) // strides[name])
            for name, count in counts.items()
            if registry.process_named(name) is not None
        ) + sum(events.values())

        def told(done: int) -> None:
            if on_progress is not None:
                on_progress(min(done, total), total)

        told(0)
        count = processes or 1
        event_strides = {
            kind: 1 if sample is None else max(1, -(-count // sample))
            for kind, count in events.items()
        }
        parts = [
            Part(number, count, strides, event_strides, sample, live) for number in range(count)
        ]
        if places is None:
            findings = go_through(stores, registry, parts[0], told)
        else:
            # With what Python needs for processes, which most who import this do not.
            from .apart import go_apart  # noqa: PLC0415

            findings = go_apart(_text_of(store), places, parts, told)
    for name, (running, complete) in counts.items():
        if registry.process_named(name) is None:
            findings.add_gone(name, running + complete, running)
    is_whole = sample is None and not live
    return findings.report(list(_unknown(registry, findings)) if is_whole else [])


def _check(sample: int | None, processes: int | None) -> None:
    if sample is not None and sample < 1:
        raise ValueError(f"sample={sample}; give a whole number from 1")
    if processes is not None and processes < 0:
        raise ValueError(f"processes={processes}; give a whole number from 0")


def _text_of(store: str | os.PathLike[str] | StorageEngine) -> str:
    assert not isinstance(store, StorageEngine)
    return os.fspath(store) if is_address(store) else str(Path(store).absolute())


def _places(
    in_here: str, domains: Sequence[Domain], *, is_asked: bool
) -> list[tuple[str, str]] | None:
    """Where other processes find the domains; None if this one is to do the work."""
    if in_here:
        if is_asked:
            raise ValueError(
                f"{in_here} is in this process, and no other can have it; leave out processes"
            )
        return None
    try:
        return [where_is(one) for one in domains]
    except DefinitionError:
        if is_asked:
            raise
        return None


def _counts(
    stores: Sequence[Store],
) -> tuple[dict[str, tuple[int, int]], Counter[tuple[str, str]]]:
    """How much there is.

    Returns:
        of each process manager, how many instances are not complete, and how many are; and how many
        events there are by category and type

    """
    counts: dict[str, tuple[int, int]] = {}
    events: Counter[tuple[str, str]] = Counter()
    for store in stores:
        for of, names, count in store.read_counts():
            if of == "instance":
                process, status = names
                running, complete = counts.get(process, (0, 0))
                is_complete = status == "complete"
                counts[process] = (
                    running + (0 if is_complete else count),
                    complete + (count if is_complete else 0),
                )
            elif of == "event":
                category, kind = names
                events[category, kind] += count
    return counts, events


def _unknown(registry: Registry, findings: Findings) -> Iterator[str]:
    """What methods do that nothing stored came to."""
    for definition in registry.processes.values():
        handlers = (
            *definition.handlers.values(),
            *definition.timeouts.values(),
            *definition.rejections.values(),
        )
        for name in dict.fromkeys(one.name for one in handlers):
            if (definition.name, name) not in findings.handled:
                yield f"what {definition.name}.{name} does: no stored step came to it"
        for name in dict.fromkeys(
            one.name
            for event, one in definition.handlers.items()
            if event in definition.correlations and definition.correlations[event].learnt
        ):
            yield (
                f"which events {definition.name}.{name} would take up that made no transition: it "
                f"finds instances by a learnt key, and who had one then is not kept"
            )
    for aggregate in registry.aggregates.values():
        for name in dict.fromkeys(one.name for one in aggregate.handlers.values()):
            if (aggregate.category, name) not in findings.handled:
                yield (
                    f"what {aggregate.category}.{name} does: no command came to it from an "
                    f"instance, and of others the store keeps a digest"
                )
