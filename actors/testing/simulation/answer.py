"""What a caller outside a simulated runtime waits for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pykka

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ...store import ProcessionError

__all__ = ["Answer", "Then"]

Then: TypeAlias = Callable[[BaseException | None], None]
"""Is called when an answer comes, with the error if it is one."""


class Answer(pykka.Future[Any]):
    """Stands where the runtime's receipts and futures stand; the caller looks whether it is there.

    Args:
        engine: which carries out what the caller asks for; a crash ends it, and the caller is
            told as one is whose runtime is closed
        then: is called when the answer comes

    """

    def __init__(self, engine: Engine, then: Then | None = None) -> None:
        super().__init__()
        self.command_queue = engine.command_queue
        self._replies = engine.services.replies
        self._then = then
        self.is_there = False
        self.error: BaseException | None = None
        self.value: Any = None
        self._replies.add(self)

    # As receipts

    def count(self, error: ProcessionError | None = None) -> None:
        self._come(error)

    # As a future

    def set(self, value: Any = None) -> None:
        self.value = value
        self._come(None)

    def set_exception(self, exc_info: Any = None) -> None:
        self._come(sys.exception() if exc_info is None else exc_info[1])

    # As a pending reply

    def give_up(self, error: BaseException) -> None:
        self._come(error)

    def _come(self, error: BaseException | None) -> None:
        self._replies.remove(self)
        self.error = error
        self.is_there = True
        if self._then is not None:
            self._then(error)
