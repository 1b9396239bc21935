"""The events that say that instances have ended: what they are called, and who listens to them."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ..authoring.completed import Completed
from ..errors import DefinitionError
from ..store import MAX_NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..authoring.process_manager import ProcessManager
    from .process_definition import ProcessDefinition
    from .registered import Listener

__all__ = ["category_for", "completed_of", "heard_in", "process_of", "stream_for", "wire_name_for"]


def completed_of(definition: ProcessDefinition) -> type[Completed[Any]]:
    """The class of the event for the instances of a process manager."""
    found: type[Completed[Any]] = Completed[definition.cls]  # type: ignore[name-defined]
    return found


def process_of(event: type) -> type | None:
    """The process manager of whose instances an event says that they ended; None of others."""
    return event.__process__ if issubclass(event, Completed) and event is not Completed else None


def wire_name_for(process: str) -> str:
    """The wire name of the event.

    Args:
        process: the process manager's name

    """
    domain, _, name = process.partition(".")
    return f"{domain}.Completed[{name}].v1"


def category_for(process: str) -> str:
    """The category of its streams; no aggregate has one without ``::``."""
    return f"{process}:completed"


def stream_for(process: str, instance: str) -> str:
    """The stream of one instance; it is in the partition of the instance.

    Where the id is so long that no stream can be called by it, its digest stands for it.
    """
    stream = f"{category_for(process)}-{instance}"
    if len(stream.encode()) <= MAX_NAME_BYTES:
        return stream
    digest = blake2b(instance.encode(), digest_size=16).hexdigest()
    return f"{category_for(process)}-{digest}"


def heard_in(
    listeners: Iterable[Listener], processes: Mapping[type[ProcessManager], ProcessDefinition]
) -> frozenset[type]:
    """The process managers to whose completions some classes listen.

    Args:
        listeners: process managers and projections
        processes: all process managers that are registered

    Raises:
        DefinitionError: one of them is not registered, or its instances never end by themselves

    """
    heard: set[type] = set()
    for listener in listeners:
        for event in listener.events():
            process = process_of(event)
            if process is None:
                continue
            where = f"{listener.cls.__qualname__} listens to {event.__name__}"
            definition = processes.get(process)
            if definition is None:
                raise DefinitionError(
                    f"{where}, and {process.__qualname__} is in no domain of this runtime; "
                    f"register it, since its completions are stored where it runs"
                )
            if definition.stateless:
                raise DefinitionError(
                    f"{where}, and {process.__qualname__} is stateless: it has no instance that "
                    f"goes on and ends; handle the event that it handles"
                )
            heard.add(process)
    return frozenset(heard)
