"""What is set aside for a person: how an error and its cause become a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import ParkedRecord

if TYPE_CHECKING:
    from store import CommandRecord, EventRecord

    from .stepping import Cause

__all__ = ["parked_command", "parked_effect", "parked_event", "parked_work"]


def parked_event(
    error: BaseException, process: str, instance: str, event: EventRecord, now: int
) -> ParkedRecord:
    """An event whose instances could not be found."""
    return ParkedRecord(
        process,
        instance,
        event.event_id,
        _type(error),
        _text(error),
        attempts=1,
        time=now,
        position=event.position,
    )


def parked_work(
    error: BaseException,
    process: str,
    instance: str,
    cause: Cause,
    attempts: int,
    now: int,
    *,
    blocks: bool,
) -> ParkedRecord:
    """What an instance failed at; `blocks` if it is suspended by it."""
    return ParkedRecord(
        process,
        instance,
        cause.id,
        _type(error),
        _text(error),
        attempts,
        now,
        position=cause.position,
        name=cause.name,
        ticket=cause.ticket,
        blocks=blocks,
    )


def parked_effect(
    error: BaseException,
    process: str,
    instance: str,
    event: EventRecord,
    effect: str,
    attempts: int,
    now: int,
) -> ParkedRecord:
    """An after-effect that failed, or whose instances could not be found; it blocks nobody."""
    return ParkedRecord(
        process,
        instance,
        event.event_id,
        _type(error),
        _text(error),
        attempts,
        now,
        position=event.position,
        effect=effect,
    )


def parked_command(error: BaseException, command: CommandRecord, now: int) -> ParkedRecord:
    """A command that its aggregate refused or failed at, and that nobody waits for."""
    return ParkedRecord(
        command.process or "",
        command.instance or "",
        command.command_id,
        _type(error),
        _text(error),
        attempts=1,
        time=now,
        command=command,
    )


def _type(error: BaseException) -> str:
    cls = type(error)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def _text(error: BaseException) -> str:
    # An error's text may quote anything, and what is stored must be UTF-8.
    return str(error).encode("utf-8", "backslashreplace").decode()
