"""What an earlier run left instances to do, brought to them bit by bit when a store is opened."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ..core.stimuli import CommandRefused, Reload
from .dispatcher import PooledActor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..core.stimuli import InstanceStimulus
    from .command_queue import CommandQueue
    from .router import Router

__all__ = ["Recovery"]


class Recovery(PooledActor):
    """Wakes instances that were cut off in what had waited for them, or know nothing of a refusal.

    There may be any number of them, so no more are under way at once than of anything else.

    Args:
        command queue: has what is shared
        router_of: finds the router of a process manager, by name
        max_in_flight: most of them at once

    """

    def __init__(
        self, command_queue: CommandQueue, router_of: Mapping[str, Router], *, max_in_flight: int
    ) -> None:
        super().__init__(command_queue.dispatcher)
        self._store = command_queue.store
        self._router_of = router_of
        self._max_in_flight = max_in_flight
        self._left = self._stimuli()
        self._sent = 0
        self.finished = 0
        """How many are done; counted by the journal."""
        self._is_over = False
        self.is_closed = False

    def has_work(self) -> bool:
        """Whether there may be more, and room for it."""
        return not (self._is_over or self.is_closed) and self._room > 0

    def work(self) -> None:
        """Bring as much as there is room for."""
        if self.is_closed:
            return
        room = self._room
        some = list(islice(self._left, room))
        self._sent += len(some)
        self._is_over = len(some) < room
        for router, instance, stimulus in some:
            router.send(instance, stimulus)

    @property
    def _room(self) -> int:
        return self._max_in_flight - (self._sent - self.finished)

    def _stimuli(self) -> Iterator[tuple[Router, str, InstanceStimulus]]:
        for process, instance in self._store.scan_ready():
            router = self._router_of.get(process)
            if router is not None:
                yield router, instance, Reload(recovery=self)
        for refusal in self._store.scan_refusals():
            router = self._router_of.get(refusal.command.process or "")
            if router is not None:
                told = CommandRefused(refusal=refusal, recovery=self)
                yield router, refusal.command.instance or "", told
