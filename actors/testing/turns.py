"""One turn after the other: what may happen next, what does, and what goes wrong."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections import deque
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from store import Step

from ..clock import from_micros, to_micros
from ..errors import WaitingInHandler
from ..ingress import Ingress, Receipt
from ..messages import Command, Event
from ..operations import Operations
from ..reading import Reader
from .faults import Crash, InjectedFailure, InjectedStoreError, RuntimeBroke, SimulatedStore
from .outside import Answer, Publish, clients_of, told_of
from .scheduler import SimulatedClock
from .simulated_engine import SimulatedEngine
from .telling import Line, Trace, elapsed, short, when

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from store import TimerRecord

    from ..catalog import Catalog
    from ..engine import Options
    from .deviations import Deviations
    from .outside import Client, Item, Program

__all__ = ["Turns"]

logger = logging.getLogger("procession")

FAST = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it, if it is there
"""Where files live in memory: the store of a simulated run is thrown away at once."""

RECENT = 8
"""How many of the things that were brought last may be brought again."""


class _Move(NamedTuple):
    """One thing that may happen next."""

    kind: str
    what: Any = None


class Turns:
    """The runtime's parts, and the scheduler that lets one thing happen at a time.

    Args:
        catalog: all classes
        program: what comes from outside
        deviations: from the ordinary run
        start: the clock's first time
        stream: of events in the program that do not say theirs
        options: as for the engine

    """

    def __init__(
        self,
        catalog: Catalog,
        program: Program,
        deviations: Deviations,
        *,
        start: datetime | None,
        stream: str | None,
        options: Options,
    ) -> None:
        self._catalog = catalog
        self._options = options
        self._stream = stream
        self._deviations = deviations
        self._clients = clients_of(program)
        self._clock = SimulatedClock(start)
        self._trace = Trace()
        self._turn = 0
        self._crashes = 0
        # Actors that wait until nothing else is to be done.
        self._held: list[object] = []
        # What was brought of late, by the kind of deviation that brings it again.
        self._recent: dict[str, deque[tuple[str, Callable[[], None]]]] = {}
        self._outside: list[tuple[Item, str]] = []
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
                    self._receipt(item, "checked", Answer(self._engine.courier))

    def _open(self) -> None:
        self._store = SimulatedStore(self._folder, self)
        self._end = weakref.finalize(self, _clean_up, self._store, self._folder)
        self._reader = Reader(self._store, self._catalog)
        self._ingress = Ingress(self._catalog, self._clock, run=f"{self._crashes:012x}")
        self._engine = SimulatedEngine(
            self._store, self._catalog, self._clock, self._options, self
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

    def note(self, text: str, *, is_detail: bool = False) -> None:
        """Add a line to the trace."""
        self._trace.add(Line(self._turn, self._clock.elapsed, text, is_detail))

    # What may happen

    def _next(self, *, brings: bool, waits: bool, end: datetime | None = None) -> bool:
        """Let one thing happen; false if there is nothing.

        Args:
            brings: whether something may come from outside
            waits: whether time may pass when nothing else is to be done
            end: how far

        """
        self._turn += 1
        self._deviations.arm(self._turn)
        if self._deviations.armed and self._deviate():
            return True
        moves = self._moves(brings=brings) or self._when_quiet(waits=waits, end=end)
        if not moves:
            self._turn -= 1
            return False
        move = moves[0]
        if len(moves) > 1 and (other := self._deviations.take("turn")) is not None:
            move = moves[1 + other.which % (len(moves) - 1)]
        self._guarded(self._perform, move)
        return True

    def _moves(self, *, brings: bool) -> list[_Move]:
        """What may happen now, the ordinary next thing first."""
        engine = self._engine
        moves = [
            _Move("turn", actor) for actor in engine.scheduler.ready if actor not in self._held
        ]
        if moves and (held := self._deviations.take("hold")) is not None:
            self._held.append(moves.pop(held.which % len(moves)).what)
        if engine.wants_commit:
            moves.append(_Move("commit"))
        if engine.effects_ready:
            moves.append(_Move("effect"))
        if self._may_be_parked and not moves:
            self._may_be_parked = bool(self._parked_by_accident())
            if self._may_be_parked:
                moves.append(_Move("retry"))
        if brings:
            moves += [
                _Move("bring", client)
                for client in self._clients
                if client.item is not None and client.answer is None and client.wakes_at is None
            ]
        return moves

    def _when_quiet(self, *, waits: bool, end: datetime | None) -> list[_Move]:
        """What happens when nothing else can: what was held back goes on, or time passes."""
        if not (waits and any(client.wakes_at is not None for client in self._clients)):
            if self._held:
                self._held.clear()
                return self._moves(brings=False)
            if not waits:
                return []
            # Everything came and everything is settled.
            self._deviations.stop()
        due = self._next_due()
        return [] if due is None or (end is not None and due > end) else [_Move("time", due)]

    def _perform(self, move: _Move) -> None:
        if move.kind == "turn":
            self._engine.scheduler.give_turn(move.what)
        elif move.kind == "commit":
            self._engine.scheduler.idle()
            self.has_changed = True
        elif move.kind == "effect":
            self._run_effect()
            self.has_changed = True
        elif move.kind == "retry":
            self._retry_accidents()
        elif move.kind == "bring":
            self._bring(move.what)
        else:
            self._move_clock(move.what)

    def _guarded(self, do: Callable[..., Any], *arguments: Any) -> bool:
        """Do something that may end in a crash; false if it did."""
        disabled, logger.disabled = logger.disabled, True
        try:
            do(*arguments)
        except Crash:
            self._restart()
            return False
        except RuntimeBroke as error:
            raise AssertionError(str(error)) from error.__cause__
        finally:
            logger.disabled = disabled
        return True

    # What goes wrong

    def _deviate(self) -> bool:
        """Let something happen that is not ordinary; false if there is no chance for it now."""
        take = self._deviations.take
        if take("crash") is not None:
            self.note("crash: what was not committed is gone")
            self._restart()
            return True
        due = self._next_due()
        if due is not None and take("time") is not None:
            self._guarded(self._move_clock, due)
            return True
        for kind in ("repeat_event", "repeat_command"):
            recent = self._recent.get(kind)
            if recent and (one := take(kind)) is not None:
                what, again = recent[-1 - one.which % len(recent)]
                self.note(f"{what} is brought again")
                again()
                return True
        if self._outside and (one := take("repeat_outside")) is not None:
            item, name = self._outside[-1 - one.which % len(self._outside)]
            self.note(f"outside: {told_of(item)} comes again, under the same id")
            self._engine.journal.add(self._receipt(item, name, Answer(self._engine.courier)))
            return True
        if len(self._engine.population) and take("sleep") is not None:
            count = self._engine.put_to_sleep()
            self.note(f"{count} idle actors leave memory", is_detail=not count)
            return True
        return False

    def _run_effect(self) -> None:
        def run(job: Any) -> bool:
            who = f"{job.feed.definition.cls.__name__} {job.instance}"
            what = f"the after-effect of {short(job.record.type)}"
            accident = self.accident("fails_before", "fails_after")
            if accident == "fails_before":
                self.note(f"{who} failed before {what}")
                raise InjectedFailure("the after-effect failed before it ran")
            try:
                is_there: bool = job.feed.run(job)
            except Exception as error:
                self.note(f"{who} failed at {what}: {error!r}")
                raise
            if accident:
                self.note(f"{who} failed after {what} had run")
                raise InjectedFailure("the after-effect failed after it ran")
            self.note(f"{who} ran {what}", is_detail=not is_there)
            return is_there

        self._engine.effects.run_next(run)

    def _parked_by_accident(self) -> list[int]:
        mine = InjectedFailure.__name__
        page = self._store.read_parked(0, 256)
        return [one.number for one in page if one.error_type.rpartition(".")[2] == mine]

    def _retry_accidents(self) -> None:
        for number in self._parked_by_accident():
            self.note("somebody has what was made to fail tried again")
            # When the disk refuses, there is another time.
            with suppress(InjectedStoreError):
                self._operate(partial(Operations.retry, number=number, by=None))

    # From outside

    def _bring(self, client: Client) -> None:
        item = client.item
        if isinstance(item, timedelta):
            client.wakes_at = to_micros(self._clock.now() + item)
            self.note(f"{client.name} waits for {when(item)}", is_detail=True)
            return
        assert item is not None
        name = client.item_id
        self.note(f"outside: {told_of(item)}" + (", again" if client.has_tried else ""))
        client.has_tried = True

        def then(answer: Answer) -> None:
            if answer.error is not None:
                # Whoever hears that it failed tries again, as one who hears nothing does.
                client.answer = None
                return
            self._outside.append((item, name))
            client.done()

        client.answer = Answer(self._engine.courier, then)
        self._engine.journal.add(self._receipt(item, name, client.answer))

    def _receipt(self, item: Command | Event | Publish, name: str, answer: Answer) -> Receipt:
        """The step that stores what comes from outside, under an id of its own."""
        if isinstance(item, Command):
            record = self._ingress.command(item, name)
            return Receipt(Step(enqueue=[record], command_id=name), answer)
        if isinstance(item, Event):
            item = Publish(item)
        stream = item.stream or self._stream
        if stream is None:
            domain = self._catalog.name_of(type(item.event)).partition(".")[0]
            stream = f"{domain}::outside-1"
        work = self._ingress.publication(item.event, stream, item.event_id or name, item.headers)
        work.receipts = answer
        return work

    def _operate(self, do: Callable[[Operations], Any], *, fully: bool = False) -> Any:
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
            return do(Operations(self._engine, self._store))
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
            for _, timer in self._store.read_timers(b"", to_micros(moment), 8)
        )
        told = f"time moves to {elapsed(self._clock.elapsed)}"
        self.note(f"{told}: {due}" if due else told)
        for client in self._clients:
            if client.wakes_at is not None and client.wakes_at <= to_micros(moment):
                client.done()


def _what(timer: TimerRecord) -> str:
    if timer.command is not None:
        return short(timer.command.type)
    return f"timeout {timer.name}" if timer.kind == "timeout" else "another attempt"


def _clean_up(store: SimulatedStore, folder: Path) -> None:
    store.close()
    shutil.rmtree(folder, ignore_errors=True)
