"""The parts of one simulated process: what a crash ends and what starts anew, and its clock."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import deque
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clock import from_micros, to_micros
from ..engine.admin import Admin
from ..engine.ingress import Ingress, Receipt
from ..errors import IdReused, WaitingInHandler
from ..messages.types import Command, Event
from ..queries.reader import Reader
from ..store import Step
from .faults import SimulatedStore
from .outside import Answer, Publish, clients_of, told_of
from .scheduler import SimulatedClock
from .simulated_engine import SimulatedEngine
from .telling import Line, Trace, elapsed, short, when

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..engine.engine import Options
    from ..model.registry import Registry
    from ..store import TimerRecord
    from .deviations import Deviations
    from .outside import Client, Message, Program

__all__ = ["Parts"]

FAST = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it, if it is there
"""Where files live in memory: the store of a simulated run is thrown away at once."""

RECENT = 8
"""How many of the things that were brought last may be brought again."""


class Parts:
    """The runtime's parts, the clients that bring a program, and what is noted of it all.

    Args:
        registry: all classes
        program: what comes from outside
        deviations: from the ordinary run
        start: the clock's first time
        stream: of events in the program that do not say theirs
        options: as for the engine

    """

    def __init__(
        self,
        registry: Registry,
        program: Program,
        deviations: Deviations,
        *,
        start: datetime | None,
        stream: str | None,
        options: Options,
    ) -> None:
        self._registry = registry
        self._options = options
        self._stream = stream
        self._deviations = deviations
        self._clients = clients_of(program)
        self._clock = SimulatedClock(start)
        self._trace = Trace()
        self._turn = 0
        self._crashes = 0
        self._asked = 0
        # Actors that wait until nothing else is to be done.
        self._held: list[object] = []
        # What was brought of late, by the kind of deviation that brings it again.
        self._recent: dict[str, deque[tuple[str, Callable[[], None]]]] = {}
        self._outside: list[tuple[Message, str]] = []
        # Whether a handler was made to fail, and may have been parked for it.
        self._may_be_parked = False
        self.has_changed = False
        """Whether what one can see may have changed since this was last set to false."""
        self._folder = Path(
            tempfile.mkdtemp(prefix="procession-", dir=FAST if FAST.is_dir() else None)
        )
        self._open()
        for client in self._clients:
            for item in client.items:
                if not isinstance(item, timedelta):
                    # What does not fit is refused before anything runs.
                    self._receipt(item, "checked", Answer(self._engine.command_queue))

    def _open(self) -> None:
        self._store = SimulatedStore(self._folder, self)
        self._end = weakref.finalize(self, _clean_up, self._store, self._folder)
        self._reader = Reader(self._store, self._registry)
        self._ingress = Ingress(self._registry, self._clock, run=f"{self._crashes:012x}")
        self._engine = SimulatedEngine(
            self._store, self._registry, self._clock, self._options, self
        )
        self._engine.start()

    def _restart(self) -> None:
        """The process is gone; another one starts on what was durable."""
        self._end.detach()
        self._store.close()
        self._crashes += 1
        self._clock.forget()
        self._held.clear()
        self._recent.clear()
        for client in self._clients:
            # Whoever got no answer asks again.
            client.answer = None
        self.has_changed = True
        self._open()

    # For the parts: see `Watch`

    def accident(self, *kinds: str) -> str:
        """The accident of one of these kinds that is to happen now, or nothing."""
        deviation = self._deviations.take(*kinds)
        if deviation is None:
            return ""
        if "fails_before" in kinds:
            self._may_be_parked = True
        return deviation.name

    def brought(self, kind: str, what: str, again: Callable[[], None]) -> None:
        """Note what can be brought again, and how."""
        self._recent.setdefault(kind, deque(maxlen=RECENT)).append((what, again))

    def note(self, text: str, is_detail: bool = False) -> None:
        """Add a line to the trace."""
        self._trace.add(Line(self._turn, self._clock.elapsed, text, is_detail))

    # From outside

    def _bring(self, client: Client) -> None:
        item = client.item
        if isinstance(item, timedelta):
            client.wakes_at = to_micros(self._clock.now() + item)
            self.note(f"{client.name} waits for {when(item)}", True)
            return
        assert item is not None
        message, name = item, client.item_id
        self.note(f"outside: {told_of(item)}" + (", again" if client.has_tried else ""))
        client.has_tried = True

        def then(answer: Answer) -> None:
            if isinstance(answer.error, IdReused):
                # It would be refused however often it came.
                self.note(f"{client.name} is refused: {answer.error}")
                client.done()
                return
            if answer.error is not None:
                # Whoever hears that it failed tries again, as one who hears nothing does.
                client.answer = None
                return
            self._outside.append((message, name))
            client.done()

        client.answer = Answer(self._engine.command_queue, then)
        self._engine.journal.add(self._receipt(item, name, client.answer))

    def _receipt(self, item: Message, name: str, answer: Answer) -> Receipt:
        """The step that stores what comes from outside, under an id of its own."""
        if isinstance(item, Command):
            record = self._ingress.command(item, name)
            return Receipt(Step(enqueue=[record], command_id=name), receipts=answer)
        if isinstance(item, Event):
            item = Publish(item)
        stream = item.stream or self._stream
        if stream is None:
            domain = self._registry.name_of(type(item.event)).partition(".")[0]
            stream = f"{domain}::outside-1"
        work = self._ingress.publication(item.event, stream, item.event_id or name, item.headers)
        work.receipts = answer
        return work

    def _operate(self, do: Callable[[Admin], Any], *, fully: bool = False) -> Any:
        """Carry out an operator's decision, who waits for it.

        Args:
            do: what is decided
            fully: whether actors must have turns for it; otherwise a commit is enough

        """
        scheduler, journal = self._engine.scheduler, self._engine.journal

        def drive() -> None:
            while journal.pending or (fully and scheduler.ready):
                if fully and scheduler.ready:
                    scheduler.give_turn(scheduler.ready[0])
                else:
                    scheduler.idle()

        scheduler.drive = drive
        try:
            return do(Admin(self._engine, self._store))
        finally:
            scheduler.drive = None
            self.has_changed = True

    def _refuse_in_turn(self, call: str) -> None:
        if self._engine.scheduler.in_turn:
            raise WaitingInHandler(
                f"{call}() was called from a handler. It lets other actors have their turns, and "
                f"what a handler makes must leave only with its step: use self.issue(...)"
            )

    # Time

    def _next_due(self) -> datetime | None:
        """The next moment for which somebody waits."""
        moments = [
            from_micros(client.wakes_at) for client in self._clients if client.wakes_at is not None
        ]
        due = self._clock.next_due()
        return min([*moments, due] if due is not None else moments, default=None)

    def _move_clock(self, moment: datetime) -> None:
        self._clock.move_to(moment)
        due = ", ".join(
            f"{_what(timer)} of {short(timer.process)} {timer.instance}"
            for _, timer in islice(self._store.scan_timers(to_micros(moment)), 8)
        )
        woken = [
            client
            for client in self._clients
            if client.wakes_at is not None and client.wakes_at <= to_micros(moment)
        ]
        for client in woken:
            client.done()
        told = f"time moves to {elapsed(self._clock.elapsed)}"
        # An alarm that was set for a timeout rings although the timeout was cancelled since.
        self.note(f"{told}: {due}" if due else told, not (due or woken))


def _what(timer: TimerRecord) -> str:
    if timer.command is not None:
        return short(timer.command.type)
    return f"timeout {timer.name}" if timer.kind == "timeout" else "another attempt"


def _clean_up(store: SimulatedStore, folder: Path) -> None:
    store.close()
    shutil.rmtree(folder, ignore_errors=True)
