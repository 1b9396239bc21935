"""What is known of a class once all domains of a runtime are known; put together once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .subscriptions import Subscription

if TYPE_CHECKING:
    from .aggregate_definition import AggregateDefinition
    from .process_definition import ProcessDefinition
    from .registry import Registry

__all__ = ["AggregatePlan", "ProcessPlan"]


class ProcessPlan:
    """Put together once, for everything that decides or routes for one process manager.

    Args:
        definition: of the process manager
        registry: all classes of the runtime
        max_chain: the longest chain of events that make one another by commands

    """

    def __init__(
        self, definition: ProcessDefinition, registry: Registry, *, max_chain: int
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.registry = registry
        self.max_chain = max_chain
        self.code = 0
        """The number of its code, which is looked up when a store is opened."""
        self.begun_at = 0
        """The position behind which it began in the store; as above."""
        self.subscription = Subscription(definition, registry, definition.handlers)
        self.after_effects = Subscription(definition, registry, definition.effects)
        """The same for what acts after an event was handled."""


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


class _Names(dict[type, str]):
    """Each found when the first of its class is made."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def __missing__(self, cls: type) -> str:
        name = self[cls] = self._registry.name_of(cls)
        return name
