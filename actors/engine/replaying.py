"""The reply to a command that was carried out before, made again of what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Pruned
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
        Pruned: its events are gone

    """
    if result.refusal is not None:
        raise refused_again(result.refusal, result.error)
    if not result.events:
        return Reply(position=0, command_id=command_id)
    page = store.read_log(result.first_position - 1, result.events)
    if not page or page[-1].position != result.first_position + result.events - 1:
        raise Pruned(
            f"command {command_id!r} was carried out before, and the events that it made were "
            f"pruned since; it is not carried out again"
        )
    return Reply(map(registry.load_event, page), position=page[-1].position, command_id=command_id)
