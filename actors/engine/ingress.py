"""What comes from outside: messages are checked, written, and only then acknowledged."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..clock import stopwatch
from ..errors import IdReused, InvalidMessage, shown
from ..messages.codec import dump_headers, exchange
from ..messages.content import digest_of
from ..messages.identifiers import check_stream, id_of, plain_text
from ..messages.types import Command, Event
from ..model.completions import process_of
from ..store import (
    Append,
    CommandRecord,
    Committed,
    Conflict,
    Duplicate,
    EventRecord,
    IdTaken,
    Step,
    StoreError,
    check_name,
    id_in_stream,
)
from ..store.interrupts import Latch
from .given_ids import judged
from .journal import PATIENCE_OF_MANY, PendingWrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..clock import Clock
    from ..model.aggregate_definition import AggregateDefinition
    from ..model.registry import Registry
    from ..store import ClosedError, Outcome, ProcessionError
    from .command_queue import CommandQueue
    from .pending_replies import PendingReplies

__all__ = ["Ingress", "Receipt", "Receipts"]

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)


class Receipts:
    """Waits for several steps that came in together.

    Args:
        works: the steps
        command_queue: hears of commands and of events that callers wrote
        replies: what the runtime answers for when it is closed
        patience_of_many: seconds after which the commit of several closes at the latest

    """

    def __init__(
        self,
        works: list[Receipt],
        command_queue: CommandQueue,
        replies: PendingReplies,
        patience_of_many: float = PATIENCE_OF_MANY,
    ) -> None:
        self.command_queue = command_queue
        self._replies = replies
        self._left = len(works)
        self._done = Latch()
        self.error: ProcessionError | None = None
        self.reused: list[IdReused] = []
        """Of steps whose id stands for something else; the others are on disk."""
        replies.add(self)
        is_many = len(works) > 1 or any(len(work.step.enqueue or ()) > 1 for work in works)
        for work in works:
            work.receipts = self
            if is_many:
                work.patience = patience_of_many
        if not works:
            self._end()

    def count(self, error: ProcessionError | None = None) -> None:
        """One of them was answered; called by the journal."""
        if isinstance(error, IdReused):
            self.reused.append(error)
        else:
            self.error = self.error or error
        self._left -= 1
        if not self._left:
            self._end()

    def _end(self) -> None:
        # Here, since a caller may be interrupted anywhere.
        self._replies.remove(self)
        self._done.open()

    def wait(self) -> None:
        """Return when all are on disk that are not refused.

        Raises:
            StoreError: the disk refused one of them
            ClosedError: the runtime was closed before that

        """
        self._done.wait()
        if self.error is not None:
            raise self.error

    async def waited(self) -> None:
        """As `wait`, in a coroutine."""
        await self._replies.loops.opened(self._done)
        self.wait()

    def give_up(self, error: ClosedError) -> None:
        """There will be no answer."""
        self.error = self.error or error
        self._done.open()


class Counting(Protocol):
    """What a receipt tells when it is answered."""

    @property
    def command_queue(self) -> CommandQueue:
        """Hears of commands and of events that callers wrote."""
        ...

    def count(self, error: ProcessionError | None = None) -> None:
        """The step was answered."""
        ...


class Receipt(PendingWrite, gc=False):
    """One message from outside on its way to disk.

    It forgets the callers who wait before these hear of an error: an error knows the frames it
    came through, and these know this, which Python's cycle collector does not look at.
    """

    receipts: Counting | None = None
    position: int = 0
    place: int | None = None
    """In a batch, if it came in one."""

    def handed_over(self, outcome: Outcome) -> None:
        """What it brings goes on its way at once; called with the journal's lock."""
        super().handed_over(outcome)
        receipts, step = self.receipts, self.step
        assert receipts is not None
        if type(outcome) is not Committed:
            return
        if step.append is not None:
            receipts.command_queue.published(step.append.stream)
        elif step.enqueue:
            receipts.command_queue.queued(step.enqueue)

    def durable(self) -> None:
        """It is on disk, or was before."""
        receipts, step, outcome = self.receipts, self.step, self.outcome
        assert receipts is not None
        if type(outcome) is Conflict:
            self.failed(StoreError(outcome.reason))
            return
        if type(outcome) is IdTaken:
            record = step.append.events[0] if step.append is not None else step.given
            assert record is not None
            judgement = judged(receipts.command_queue.registry, outcome, record)
            if isinstance(judgement, IdReused):
                judgement.places = () if self.place is None else (self.place,)
                self.failed(judgement)
                return
            outcome = judgement
        if type(outcome) is Duplicate:
            self.position = outcome.position
        elif step.append is not None:
            self.position = step.append.events[0].position
        receipts.count()

    def failed(self, error: ProcessionError) -> bool:
        """The disk refused, or the id is another event's; the caller is told."""
        receipts, self.receipts = self.receipts, None
        assert receipts is not None
        receipts.count(error)
        return False


class Ingress:
    """Makes records of messages, and refuses what must not be stored.

    Args:
        registry: all classes
        clock: where the time comes from
        secret: the store's, by which it tells what an id stands for
        run: what tells this run's ids from those of others; random when it is not given

    """

    def __init__(
        self, registry: Registry, clock: Clock, secret: bytes, run: str | None = None
    ) -> None:
        self._registry = registry
        self._secret = secret
        self._now = stopwatch(clock)
        # Ids ascend, so that they are written side by side; the random part is this run's.
        self._run = run or secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._started = self._now() // 1000

    def command(
        self,
        command: Command,
        command_id: str | None,
        headers: Mapping[str, Any] | None = None,
        *,
        is_remembered: bool = True,
    ) -> CommandRecord:
        """The record of a command from outside.

        Args:
            command: what to do
            command_id: its id, if it was given one
            headers: plain values for all that comes of it
            is_remembered: whether its id is

        Raises:
            InvalidMessage: a field or a header does not fit
            UnknownMessage: no aggregate takes it

        """
        if not issubclass(type(command), Command):
            raise InvalidMessage(
                f"{shown(command)} is no command; publish events, ask or tell commands"
            )
        name, stream = self._registry.address(command)
        data, shared, back = exchange(command)
        command_id = self._new_id() if command_id is None else _check_id("command_id", command_id)
        return CommandRecord(
            command_id,
            name,
            stream,
            self._now(),
            data,
            correlation_id=command_id,
            headers=None if headers is None else dump_headers(headers),
            message=shared,
            digest=digest_of(self._secret, name, back) if is_remembered else b"",
        )

    def commands(
        self,
        commands: Iterable[C],
        command_id: Callable[[C], str | None] | None,
        headers: Mapping[str, Any] | Callable[[C], Mapping[str, Any] | None] | None,
    ) -> list[CommandRecord]:
        """The records of many commands from outside, of which each fits, or none is made.

        Args:
            commands: what to do
            command_id: a function of the command, if they are given ids
            headers: the same for all, or a function of the command

        Raises:
            InvalidMessage: a field or a header of one does not fit
            UnknownMessage: no aggregate takes one

        """
        return [
            self.command(
                one,
                None if command_id is None else command_id(one),
                headers(one) if callable(headers) else headers,
            )
            for one in commands
        ]

    def publications(
        self,
        events: Iterable[E],
        stream: str | Callable[[E], str],
        event_id: Callable[[E], str | None] | None,
        headers: Mapping[str, Any] | Callable[[E], Mapping[str, Any] | None] | None,
        *,
        as_import: bool,
    ) -> list[Receipt]:
        """The steps that store many events from outside, of which each fits, or none is made.

        Args:
            events: what happened
            stream: of all, or a function of the event
            event_id: a function of the event, if they are given ids
            headers: the same for all, or a function of the event
            as_import: as for `publication`, for all

        Raises:
            InvalidMessage: a field, a header or the stream of one does not fit
            UnknownMessage: no domain knows one

        """
        return [
            self.publication(
                one,
                stream(one) if callable(stream) else stream,
                None if event_id is None else event_id(one),
                headers(one) if callable(headers) else headers,
                as_import=as_import,
            )
            for one in events
        ]

    def publication(
        self,
        event: Event,
        stream: str,
        event_id: str | None,
        headers: Mapping[str, Any] | None,
        *,
        as_import: bool = False,
    ) -> Receipt:
        """The step that stores an event from outside.

        Raises:
            InvalidMessage: a field or a header does not fit, the stream is no stream's name, or an
                aggregate's own
            UnknownMessage: no domain knows the event

        """
        if not issubclass(type(event), Event):
            raise InvalidMessage(
                f"{shown(event)} is no event; publish events, ask or tell commands"
            )
        process = process_of(type(event))
        if process is not None:
            raise InvalidMessage(
                f"{type(event).__name__} is what the store itself says when an instance of "
                f"{process.__name__} ends; publish an event of your own"
            )
        stream = check_stream(stream)
        owner = self._registry.owner_of(stream)
        if owner is not None or as_import:
            _check_import(event, stream, owner, as_import=as_import)
        if event_id is not None:
            event_id = _check_id("event_id", event_id)
        data, shared, back = exchange(event)
        name = self._registry.name_of(type(event))
        record = EventRecord(
            name,
            stream,
            0,
            0,
            data,
            event_id or "",
            "",
            headers=dump_headers(headers),
            message=shared,
            digest=b"" if event_id is None else digest_of(self._secret, name, back, stream),
        )
        return Receipt(Step(append=Append(stream, None, [record], unique=event_id is not None)))

    def _new_id(self) -> str:
        return f"{self._started:012x}-{self._run}-{next(self._numbers):08x}"


def _check_import(
    event: Event, stream: str, owner: AggregateDefinition | None, *, as_import: bool
) -> None:
    """Only an aggregate writes to its stream, unless its past is brought from elsewhere."""
    if owner is None:
        raise InvalidMessage(
            f"as_import=True, and {stream!r} is the stream of no aggregate that is registered "
            f"here; register the aggregate, or publish without it"
        )
    name = owner.cls.__qualname__
    if not as_import:
        raise InvalidMessage(
            f"{stream!r} is the stream of {name}, which alone writes to it: it would decide "
            f"without knowing of a {type(event).__qualname__} from outside. Send {name} a command; "
            f"or publish what happened elsewhere into a stream of its own category. With "
            f"as_import=True, the event becomes part of what {name} has done"
        )
    missing = object()
    value, own = getattr(event, owner.identity, missing), id_in_stream(stream)
    if value is not missing and id_of(value, owner.identity) != own:
        raise InvalidMessage(
            f"{stream!r} is the stream of {name} {own!r}, and {owner.identity}={shown(value)} of "
            f"the {type(event).__qualname__} names another; publish it into the stream of that one"
        )


def _check_id(kind: str, value: object) -> str:
    name = plain_text(value)
    if name is None:
        raise InvalidMessage(f"{kind}={shown(value)} is no text; give a str")
    check_name(kind, name)
    return name
