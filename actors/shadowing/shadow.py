"""What other code would do, tried on all that is stored: `shadow`."""

from __future__ import annotations

import os
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
    """Try code on what is stored: decide again all that instances did, and say what differs.

    The store is only read, and a service may have it open. Each step is decided from the state that
    is stored before it; where that comes to another state, the state is led along as well. While a
    handler runs, it is refused sockets, files for writing, and processes. What differs is decided
    twice, so that what differs by chance is told apart.

    Args:
        store: its folder, its address in a database, or a storage engine, which stays open
        domains: with the code that is to be tried
        sample: most instances of each process manager, evenly chosen in the order of their starts;
            all of them when it is not given
        live: whether only instances are gone through that are not complete
        processes: how many processes share the work; 0 for none but this one. When it is not given,
            one, or none where the domains are in no module by which another process finds them
        codec: of a store that has one; this process alone has it, and does the work
        on_progress: is called with how many instances were gone through, and how many there are

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
        counts = _counts(stores)
        strides = {
            name: 1 if sample is None else max(1, -(-sum(count) // sample))
            for name, count in counts.items()
        }
        total = sum(
            -(-(count[0] if live else sum(count)) // strides[name])
            for name, count in counts.items()
            if registry.process_named(name) is not None
        )

        def told(done: int) -> None:
            if on_progress is not None:
                on_progress(min(done, total), total)

        told(0)
        count = processes or 1
        parts = [Part(number, count, strides, live) for number in range(count)]
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
    return findings.report(list(_unreached(registry, findings)) if is_whole else [])


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


def _counts(stores: Sequence[Store]) -> dict[str, tuple[int, int]]:
    """How many instances each process manager has that are not complete, and that are."""
    counts: dict[str, tuple[int, int]] = {}
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
    return counts


def _unreached(registry: Registry, findings: Findings) -> Iterator[str]:
    """Handlers that no stored step came to."""
    for definition in registry.processes.values():
        handlers = (
            *definition.handlers.values(),
            *definition.timeouts.values(),
            *definition.rejections.values(),
        )
        for name in dict.fromkeys(one.name for one in handlers):
            if (definition.name, name) not in findings.handled:
                yield f"{definition.name}.{name}"
