"""The reply to a command that was carried out before, made again of what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages.refusals import refused_again
from ..messages.reply import Reply

if TYPE_CHECKING:
    from ..messages.types import Event
    from ..model.registry import Registry
    from ..store import CommandResult, Reads

__all__ = ["replayed"]


def replayed(
    store: Reads, registry: Registry, result: CommandResult, command_id: str
) -> Reply[Event]:
    """The reply.

    Args:
        store: has the events
        registry: reads them
        result: what came of the command
        command_id: its id

    Raises:
        Rejected: the command was refused

    """
    if result.refusal is not None:
        raise refused_again(result.refusal, result.error)
    if not result.events:
        return Reply(position=0, command_id=command_id)
    page = store.read_log(result.first_position - 1, result.events)
    return Reply(map(registry.load_event, page), position=page[-1].position, command_id=command_id)
