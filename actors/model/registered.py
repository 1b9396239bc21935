"""What a domain has registered, as those see it who put several together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..authoring.aggregate import Aggregate
    from ..authoring.decorators import Handler
    from ..authoring.process_manager import ProcessManager
    from ..authoring.projection import Projection
    from ..messages.types import Event, Message
    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition
    from .projection_definition import ProjectionDefinition

__all__ = ["Listener", "Registered"]


class Listener(Protocol):
    """A class that takes events: a process manager or a projection."""

    cls: type[Any]
    name: str
    externals: Mapping[type, str]
    streams: list[str | type[Aggregate]]

    def events(self) -> Iterable[type]:
        """Every event class that it takes."""
        ...


class Registered(Protocol):
    """A domain, without what can be asked of it."""

    name: str
    aggregates: dict[type[Aggregate], AggregateDefinition]
    processes: dict[type[ProcessManager], ProcessDefinition]
    projections: dict[type[Projection], ProjectionDefinition]
    messages: set[type[Message]]
    externals: dict[type[Event], str]
    upcasters: dict[str, Handler]

    def commands(self) -> Iterator[tuple[type, AggregateDefinition]]:
        """Every command that an aggregate of this domain takes."""
        ...

    def opened_by(self, runtime: object) -> None:
        """A runtime is open on it: nothing more may be registered."""
        ...

    def closed_by(self, runtime: object) -> None:
        """A runtime that was open on it is closed."""
        ...
