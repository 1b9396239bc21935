"""A Pykka actor without a thread of its own: an inbox that stands in a run queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pykka

if TYPE_CHECKING:
    from collections import deque

__all__ = ["TURN", "PooledActor", "Scheduler"]

TURN = 64
"""Messages that an actor handles before the next one has its turn."""


class Scheduler(Protocol):
    """What an actor needs of the dispatcher."""

    turns: int
    """How many turns were given; another thread that takes over gives more."""

    urgent: deque[PooledActor]
    """Those for whose turn a caller waits."""

    is_commit_due: bool
    """Whether the open commit is to close although there is more to do."""

    commit_by: float | None
    """When the open commit is to close at the latest."""

    def schedule(self, actor: PooledActor) -> None:
        """Put an actor at the end of the run queue, unless it stands there already."""
        ...

    def schedule_from_outside(self, actor: PooledActor) -> None:
        """As `schedule`, for a thread that may be interrupted anywhere."""
        ...

    def nudge(self) -> None:
        """Make sure that some worker looks at the run queue and at what there is to commit."""
        ...


class Envelope(Protocol):
    """What Pykka's references put into an inbox."""

    @property
    def message(self) -> Any:
        """What was sent."""
        ...

    @property
    def reply_to(self) -> pykka.Future[Any] | None:
        """The future of the caller who asked."""
        ...


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message that came through a reference."""

    message: Any
    reply_to: pykka.Future[Any] | None


class _Flag:
    """The part of `threading.Event` that Pykka uses, at a tenth of its size."""

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True


class PooledActor(pykka.Actor):
    """A Pykka actor that runs on a dispatcher's threads and is in no global registry.

    It is its own inbox: one object less for each of many thousands, and no reference cycle.
    """

    scheduled = False
    """Whether it stands in the run queue or is having its turn."""

    is_urgent = False
    """Whether a caller waits for what it does, so that it need not wait for all others."""

    is_part = False
    """Whether it is a part of the engine, which calls no handler."""

    def __init__(self, dispatcher: Scheduler) -> None:
        # Pykka's own __init__ makes a UUID and a threading.Event, 20 µs and 1 KB for each actor.
        # A list, since most hold one message at a time, and an empty deque is 600 bytes.
        self.dispatcher = dispatcher
        self.envelopes: list[Any] = []

    # What Pykka asks of an actor

    @property
    def actor_inbox(self) -> PooledActor:  # type: ignore[override]
        """The actor itself."""
        return self

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """Names the actor in logs."""
        return f"urn:procession:{id(self):x}"

    @property
    def actor_ref(self) -> pykka.ActorRef[Any]:
        """A reference, made when it is asked for; most actors are never sent any."""
        if "actor_stopped" not in self.__dict__:
            self.actor_stopped = _Flag()  # type: ignore[assignment]
        return pykka.ActorRef(self)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> pykka.ActorRef[Any]:
        """Make an actor; nothing else is needed, it runs when it has messages."""
        return cls(*args, **kwargs).actor_ref

    @staticmethod
    def _create_actor_inbox() -> PooledActor:
        raise NotImplementedError("a pooled actor is its own inbox")

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        raise NotImplementedError("a pooled actor has no loop of its own")

    def _stop(self) -> None:
        self.actor_stopped.set()
        self.on_stop()

    # The inbox

    def put(self, envelope: Envelope, /) -> None:
        """Add what a reference sends; the actor then stands in the run queue."""
        self.post(_Sent(envelope.message, envelope.reply_to))

    def get(self) -> Any:
        """Take the oldest message."""
        return self.envelopes.pop(0)

    def empty(self) -> bool:
        """Whether there is no message."""
        return not self.envelopes

    def post(self, message: Any) -> None:
        """Add a message as `ActorRef.tell` does, without a reference and an envelope."""
        self.envelopes.append(message)
        self.wake()

    def wake(self) -> None:
        """Stand in the run queue, unless it stands there already or is having its turn."""
        if not self.scheduled:
            self.dispatcher.schedule(self)

    # Its turn

    def take_turn(self) -> None:
        """Called by a worker when the actor has come to the head of the run queue."""
        try:
            self.work()
        except BaseException:
            self.scheduled = False
            # The message that failed is gone. What is looked for in the store is still there, and
            # would fail again at once; the part that has something new wakes the actor.
            if self.envelopes:
                self.wake()
            raise
        self.scheduled = False
        # Something may have come after `work` looked and before the flag was cleared.
        if self.has_work():
            self.wake()

    def work(self) -> None:
        """Handle what is in the inbox, at most `TURN` messages."""
        envelopes = self.envelopes
        left = TURN
        while envelopes and left:
            left -= 1
            message = envelopes.pop(0)
            if type(message) is _Sent:
                self.open(message)
            else:
                self.on_receive(message)

    def has_work(self) -> bool:
        """Whether another turn is needed; changes nothing."""
        return bool(self.envelopes)

    def open(self, sent: _Sent) -> None:
        """Handle what came through a reference, as Pykka's own actors do."""
        try:
            answer = self._handle_receive(sent.message)
        except BaseException:
            if sent.reply_to is None:
                raise
            sent.reply_to.set_exception()
        else:
            if sent.reply_to is not None:
                sent.reply_to.set(answer)
