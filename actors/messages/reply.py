"""What `ask` answers: the events, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Reply"]

E = TypeVar("E")


class Reply(list[E]):
    """The events that a command made, in order.

    A list, and equal to one of the same events.

    Attributes:
        position: of the newest of them in the log, 0 if there is none. A reader that has seen
            the log up to there has seen them
        command_id: of the command, whether it was given or made by the runtime

    """

    __slots__ = ("command_id", "position")

    def __init__(self, events: Iterable[E] = (), *, position: int, command_id: str) -> None:
        super().__init__(events)
        self.position = position
        self.command_id = command_id

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (list(self), self.position, self.command_id)

    def __repr__(self) -> str:
        return (
            f"Reply({super().__repr__()}, position={self.position}, command_id={self.command_id!r})"
        )


def _restored(events: list[E], position: int, command_id: str) -> Reply[E]:
    """A reply that was pickled or copied."""
    return Reply(events, position=position, command_id=command_id)
