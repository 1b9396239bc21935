"""Whether the names that a store has seen still have their classes, asked before anything runs.

A name that lost its class is most often that of a class which was renamed or moved. A process
manager under a new name would take every event a second time, and what is stored under the old name
of a message would reach nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..errors import DefinitionError, shown
from ..messages.types import Event
from ..store import CorruptRecord
from .upcasting import split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..messages.types import Message
    from ..store import NameKind
    from .process_definition import ProcessDefinition
    from .registry import Registry

__all__ = ["check_stored_names", "retired_names"]

logger = logging.getLogger("procession")


def retired_names(retired: Iterable[str], registry: Registry) -> frozenset[str]:
    """The names that are accepted as gone.

    Args:
        retired: names of process managers, and wire names of events and commands
        registry: of the runtime that is to be opened

    Raises:
        DefinitionError: a class bears or reads one of them, or they are no list of names

    """
    if isinstance(retired, str) or not isinstance(retired, Iterable):
        raise DefinitionError(f"retired={retired!r}; give a list of names, such as [{retired!r}]")
    given: tuple[object, ...] = tuple(retired)
    names = frozenset(name for name in given if isinstance(name, str))
    wrong = [name for name in given if not isinstance(name, str)]
    if wrong:
        raise DefinitionError(
            f'retired has {shown(wrong[0])}, which is no name; give names, such as "Shop.Old"'
        )
    for name in sorted(names):
        found = registry.named(name)
        cls = registry.classes().get(name) if found is None else found.cls
        if cls is not None:
            raise DefinitionError(
                f"retired has {name!r}, which is the name of {cls.__qualname__}; remove it from "
                f"`retired`, or the class from its domain"
            )
        if registry.can_read("event", name) or registry.can_read("command", name):
            raise DefinitionError(
                f"retired has {name!r}, which is read here, by an upcaster or as an external "
                f"event; remove it from `retired`, or the upcaster or the external event"
            )
    return names


def check_stored_names(
    names: Iterable[tuple[NameKind, str]],
    with_effects: Iterable[str],
    registry: Registry,
    retired: frozenset[str],
    projections: Iterable[str] = (),
) -> None:
    """Refuse to open a store for writing while one of its names seems to have lost its class.

    Args:
        names: that the store has seen, by kind
        with_effects: names of process managers that had after-effects, and perhaps nothing else
        registry: all classes
        retired: the names that are accepted as gone
        projections: names of projections that were folded from the store's log

    Raises:
        DefinitionError: for all of these names, with what to do about each

    """
    seen = dict.fromkeys(_readable(names))
    folded = frozenset(projections)
    seen |= {("process", name): None for name in (*with_effects, *folded)}
    processes = {name for kind, name in seen if kind == "process"}
    wrong: list[str] = []
    for kind, name in seen:
        if name in retired or registry.can_read(kind, name):
            continue
        if name in folded:
            wrong.append(_lost_projection(name, registry))
        elif kind == "process":
            wrong.append(_lost_process(name, registry, processes))
        else:
            namesakes = _namesakes(kind, name, registry)
            if namesakes:
                wrong.append(_lost_message(kind, name, namesakes, registry))
    if wrong:
        raise DefinitionError("\n".join(wrong))


def _readable(names: Iterable[tuple[NameKind, str]]) -> Iterator[tuple[NameKind, str]]:
    try:
        yield from names
    except CorruptRecord as error:
        # The store writes a damaged name again when the name is used next, and goes on till then.
        logger.warning("the names behind this one are not compared with the classes: %s", error)


def _lost_process(name: str, registry: Registry, seen: set[str]) -> str:
    likely = _likely(name, [one for one in registry.processes.values() if one.name not in seen])
    if likely is None:
        renamed, cls = "the class was renamed", "NewName"
    else:
        cls = likely.cls.__name__
        renamed = f"{likely.cls.__qualname__} is that class under a new name"
    return (
        f"the store holds the work of a process manager called {name}, and no class here is "
        f"called so. If {renamed}, keep the old one: `class {cls}(ProcessManager, "
        f'name="{name}", ...)`; {_missing(name, registry)}; if the class is gone for good, open '
        f'the store with `retired=["{name}"]`'
    )


def _lost_projection(name: str, registry: Registry) -> str:
    return (
        f"the store's log was folded into tables by a projection called {name}, and no class here "
        f"is called so. If the class was renamed, keep the old name: `class NewName(Projection, "
        f'name="{name}", ...)`; {_missing(name, registry)}; if it is gone for good, open the store '
        f'with `retired=["{name}"]`'
    )


def _missing(name: str, registry: Registry) -> str:
    domain = name.partition(".")[0]
    if any(one.name == domain for one in registry.domains):
        return f"if the class is not registered, `{domain}.register(...)` it"
    return f"if the class is elsewhere, give the runtime its domain {domain} as well"


def _likely(name: str, fresh: list[ProcessDefinition]) -> ProcessDefinition | None:
    """The class that probably bore the name: one that is new to the store and called alike."""
    by_name = {one.name.partition(".")[2]: one for one in fresh}
    found = get_close_matches(name.partition(".")[2], by_name, n=1, cutoff=0.0)
    return by_name[found[0]] if found else None


def _namesakes(kind: NameKind, name: str, registry: Registry) -> dict[str, type[Message]]:
    """Classes of the same short name in other domains, by their wire names.

    There are none for another version of a class of today: it is said wherever such a message is
    met that nothing turns it into one of today, and the message is parked.
    """
    base, _ = split(name)
    known = {
        split(other)[0]: (other, cls)
        for other, cls in registry.classes().items()
        if issubclass(cls, Event) == (kind == "event")
    }
    externals = {split(one)[0] for domain in registry.domains for one in domain.externals.values()}
    if base in known or base in externals:
        return {}
    short = base.partition(".")[2]
    return {
        other: cls
        for other_base, (other, cls) in known.items()
        if other_base.partition(".")[2] == short
    }


def _lost_message(
    kind: NameKind, name: str, namesakes: dict[str, type[Message]], registry: Registry
) -> str:
    base, version = split(name)
    domain, _, short = base.partition(".")
    other, cls = min(namesakes.items())
    what = "events" if kind == "event" else "commands"
    kept = f'name="{domain}.{short}.v{cls.__wire_version__}"'
    older = (
        f', with `@upcast("{name}", from_version={version})` for the older ones'
        if version < cls.__wire_version__
        else ""
    )
    return (
        f"the store holds {what} called {name}, which no class here reads; {cls.__qualname__} is "
        f"called {other}. If they are of that class, keep their name: `class {cls.__name__}"
        f"({cls.__mro__[1].__name__}, {kept})` or `{domain}.register({cls.__name__})` alone"
        f"{older}; {_missing(name, registry)}; if the class is gone for good, open the store with "
        f'`retired=["{name}"]`'
    )
