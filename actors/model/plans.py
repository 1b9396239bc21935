"""What is known of a class once all domains of a runtime are known; put together once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..authoring.retry import draw_of
from .completions import wire_name_for
from .subscriptions import Listening, Subscription

if TYPE_CHECKING:
    from datetime import timedelta

    from ..authoring.retry import Retry
    from ..store import Partition
    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition
    from .projection_definition import ProjectionDefinition
    from .registry import Registry

__all__ = ["AggregatePlan", "ProcessPlan", "ProjectionPlan"]


class ProcessPlan:
    """Put together once, for everything that decides or routes for one process manager.

    Args:
        definition: of the process manager
        registry: all classes of the runtime
        max_chain: the longest chain of events that make one another by commands
        has_jitter: whether a wait before another attempt is drawn, where its `Retry` says so

    """

    def __init__(
        self,
        definition: ProcessDefinition,
        registry: Registry,
        *,
        max_chain: int,
        has_jitter: bool = False,
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.registry = registry
        self.max_chain = max_chain
        self.has_jitter = has_jitter
        self.code = 0
        """The number of its code, which is looked up when a store is opened."""
        self.begun_at = 0
        """The position behind which it began in the store; as above."""
        self.partition: Partition | None = None
        """Which one the store is, if it is one of several; as above."""
        self.stores_changes = True
        """Whether a large state may be stored as what changed; as above."""
        self.subscription = Subscription(definition, registry, definition.handlers)
        self.completion: str | None = None
        """The wire name of the event that an instance has ended; None if no class listens to it."""
        if definition.cls in registry.heard:
            self.completion = wire_name_for(definition.name)
        self.after_effects = Subscription(definition, registry, definition.effects)
        """The same for what acts after an event was handled."""

    def wait(self, retry: Retry, instance: str, cause: str, attempt: int) -> timedelta | None:
        """How long an instance waits before another attempt; None when that was the last.

        Args:
            retry: how it is tried again
            instance: its id
            cause: the id of what failed
            attempt: 1 for the first

        """
        draw = draw_of(self.name, instance, cause, attempt) if self.has_jitter else 1.0
        return retry.wait(attempt, draw)


class AggregatePlan:
    """What is known of an aggregate once all domains of a runtime are known.

    Args:
        definition: of the aggregate
        registry: all classes of the runtime

    """

    def __init__(self, definition: AggregateDefinition, registry: Registry) -> None:
        self.definition = definition
        self.registry = registry
        self.names = _Names(registry)
        """The wire names of what it makes, by class."""


class ProjectionPlan:
    """What is known of a projection once all domains of a runtime are known.

    Args:
        definition: of the projection
        registry: all classes of the runtime
        has_jitter: as that of a `ProcessPlan`

    """

    def __init__(
        self, definition: ProjectionDefinition, registry: Registry, *, has_jitter: bool = False
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.has_jitter = has_jitter
        self.listening = Listening(definition, registry, definition.handlers)

    def wait(self, stream: str, cause: str, attempt: int) -> timedelta | None:
        """As that of a `ProcessPlan`, for an event in a stream."""
        draw = draw_of(self.name, stream, cause, attempt) if self.has_jitter else 1.0
        return self.definition.retry.wait(attempt, draw)


class _Names(dict[type, str]):
    """Each found when the first of its class is made."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def __missing__(self, cls: type) -> str:
        name = self[cls] = self._registry.name_of(cls)
        return name
