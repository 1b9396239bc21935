"""What is set aside for a person: how an error and its cause become a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..store import ParkedRecord

if TYPE_CHECKING:
    from ..authoring.cause import Cause
    from ..store import CommandRecord, EventRecord

__all__ = ["parked_command", "parked_effect", "parked_event", "parked_sequence", "parked_work"]

LONGEST_TEXT = 10_000
"""Characters that are kept of an error's text, which may quote a whole payload."""


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
        sequence=cause.sequence,
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


def parked_sequence(error: BaseException, sequence: int, now: int) -> ParkedRecord:
    """A queued command that cannot be read; nobody can tell whose it was."""
    return ParkedRecord(
        "", "", f"sequence {sequence}", _type(error), _text(error), attempts=1, time=now
    )


def _type(error: BaseException) -> str:
    cls = type(error)
    is_builtin = cls.__module__ == "builtins"
    return _utf8(cls.__qualname__ if is_builtin else f"{cls.__module__}.{cls.__qualname__}")


def _text(error: BaseException) -> str:
    try:
        return _utf8(str(error)[:LONGEST_TEXT])
    except Exception:  # noqa: BLE001 - an error of the user's may be broken itself
        return "its text cannot be read, since its __str__ fails"


def _utf8(text: str) -> str:
    # It may quote anything, and what is stored must be UTF-8.
    return str.encode(text, "utf-8", "backslashreplace").decode()
