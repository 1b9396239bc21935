"""The test as a caller: it asks for something, and lets things happen until the answer is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ...store import ClosedError, FailingDisk, TakenOver
from .answer import Answer
from .faults import InjectedStoreError
from .program import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...messages.reply import Reply
    from ...messages.types import Command
    from .clients import Clients
    from .moves import Moves
    from .program import Publish, Tell
    from .world import World

__all__ = ["Caller"]

R = TypeVar("R")

UNANSWERED = (InjectedStoreError, FailingDisk, ClosedError, TakenOver)
"""Errors behind which it is not known what became of a call, and it is made again."""


class Caller:
    """Asks again under the same id when a crash or a refusing disk leaves it without an answer."""

    def __init__(self, world: World, clients: Clients, moves: Moves) -> None:
        self._world = world
        self._clients = clients
        self._moves = moves
        self._asked = 0

    def send(self, call: str, item: Tell | Publish, name: str | None) -> str:
        """Have a message written down; returns its id once it is durable.

        Raises:
            IdReused: the id is that of something else

        """
        name = name or self._new_id()
        self._world.log.note(f"outside: {in_words(item)}")

        def begin() -> Answer | None:
            return self._clients.send(item, name) if self._clients.can_send(item) else None

        self._wait(call, begin)
        self._clients.note_durable(item, name)
        return name

    def ask(
        self, command: Command[R], name: str | None, headers: Mapping[str, Any] | None
    ) -> Reply[R]:
        """Have a command carried out; returns the events once they are durable.

        Raises:
            Rejected: the aggregate refused
            IdReused: the id is that of another command

        """
        world = self._world
        name = name or self._new_id()

        def begin() -> Answer | None:
            record = world.ingress.command(world.today(command), name, headers)
            part = world.of_stream(record.stream)
            if part is None:
                return None
            if part.ingress is not world.ingress:
                record = part.ingress.command(world.today(command, part), name, headers)
            answer = Answer(part.engine)
            part.engine.command_queue.ask(record, answer, is_remembered=True)
            return answer

        world.log.note(f"outside: ask {command!r}")
        reply: Reply[R] = self._wait("ask", begin)
        return reply

    def _wait(self, call: str, begin: Callable[[], Answer | None]) -> Any:
        """Let things happen until an answer is there, and begin anew if it says that none comes."""
        self._world.refuse_in_turn(call)
        answer = begin()
        while answer is None or not answer.is_there or isinstance(answer.error, UNANSWERED):
            # Nothing may have been there yet that could answer.
            if answer is not None and answer.is_there:
                answer = begin()
            elif not self._moves.next(brings=True, waits=False) and (
                answer is None or not answer.is_there
            ):
                raise AssertionError(f"{call}: nothing is left to do, and no answer came")
            elif answer is None:
                answer = begin()
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _new_id(self) -> str:
        self._asked += 1
        return self._world.own_id(f"outside.{self._asked}")
