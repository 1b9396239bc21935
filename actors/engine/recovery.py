"""What an earlier run left instances to do, brought to them bit by bit when a store is opened."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ..core.stimuli import CommandRefused, Reload
from .instance_actor import InstanceMessage
from .pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ..core.decision import Decision
    from .ahead_reads import AheadReads
    from .instance_actor import Deliver
    from .services import Services

    Left: TypeAlias = tuple[str, str, InstanceMessage]

__all__ = ["Recovery"]


class Recovery(PooledActor):
    """Wakes instances that were cut off in what had waited for them, or know nothing of a refusal.

    There may be any number of them, so no more are under way at once than of anything else.

    Args:
        services: of the engine
        reads: the log with all that was handed over
        deliver: gives an instance a message
        max_in_flight: most of them at once

    """

    is_part = True

    def __init__(
        self, services: Services, reads: AheadReads, deliver: Deliver, *, max_in_flight: int
    ) -> None:
        super().__init__(services.dispatcher)
        self._store = services.store
        self._residency = services.residency
        self._reads = reads
        self._journal = services.journal
        self._deliver = deliver
        self._max_in_flight = max_in_flight
        self.is_closed = False
        self.start_over()

    def start_over(self) -> None:
        """Begin again with all that is left; with the journal's lock held, if anything runs."""
        self._left = self._messages()
        self._in_hand = 0
        self._is_over = False

    def has_work(self) -> bool:
        """Whether there may be more, and room for it."""
        return not (self._is_over or self.is_closed) and self._room > 0

    def work(self) -> None:
        """Bring as much as there is room for."""
        if self.is_closed:
            return
        generation, room = self._journal.generation, self._room
        some = list(islice(self._left, room))
        self._is_over = len(some) < room
        asleep = self._residency.asleep([one[:2] for one in some])
        if asleep:
            self._reads.gather_instances(asleep)
        for process, instance, message in some:
            with self._journal.lock:
                if generation != self._journal.generation:
                    # A commit failed meanwhile; what was taken here may be of the new beginning.
                    self.start_over()
                    return
                # What is left to a process manager that is not registered stays until it is.
                if self._deliver(process, instance, message):
                    self._in_hand += 1

    def done(self, message: InstanceMessage, decision: Decision) -> None:
        """An instance has taken up what was left to it; called with the journal's lock."""
        del message, decision
        self._in_hand -= 1
        if not self.scheduled and self.has_work():
            self.wake()

    @property
    def _room(self) -> int:
        return self._max_in_flight - self._in_hand

    def _messages(self) -> Iterator[Left]:
        for process, instance in self._store.scan_ready():
            yield process, instance, InstanceMessage(Reload(), self)
        for refusal in self._store.scan_refusals():
            issuer = refusal.command
            message = InstanceMessage(CommandRefused(refusal), self)
            yield issuer.process or "", issuer.instance or "", message
