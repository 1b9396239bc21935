"""A process that is interrupted inside one public call, again and again, and checks what is left.

    python interrupted.py FOLDER CALL MODE,MODE... TRIALS SEED

After each interrupt the same call must come to its end from another thread; in the end the runtime
must close, the store must be sound, and it must open again. If anything hangs, the process says
where all its threads are, and ends with 1. Modes:

- ``lines``: `KeyboardInterrupt` is raised at each line of the package that the call comes to in the
  calling thread, when it comes there first. So it is never raised on the way out of a `with` block
  on a lock, where no signal lands.
- ``handlers``: at each such line, what a signal handler may do is done: reading.
- ``signals``: SIGINT comes at random moments, so many times inside the call.
"""

import contextlib
import faulthandler
import gc
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import procession
from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Runtime,
    after,
    handle,
    timeout,
)
from procession.store import verify

PATIENCE = 60
"""Seconds after which something hangs."""

PACKAGE = tuple(
    str(Path(module.__file__ or "").parent) + os.sep for module in (procession, procession.store)
)

desk = Domain("desk")


class Open(Command):
    case: str


class Opened(Event):
    case: str


class Spoilt(Event):
    """Comes from outside, and its handler fails."""

    case: str


class Seen(Event):
    """Comes from outside, and its handler is well."""

    case: str


@desk.register
class Case(Aggregate, identity="case"):
    @handle(Open)
    def open(self, command: Open) -> Opened:
        return Opened(self.id)


@desk.register
class Care(ProcessManager, correlate="case"):
    case: str = ""
    seen: int = 0

    @handle(Opened, start=True)
    def on_opened(self, event: Opened) -> None:
        self.set_timeout("remind", timedelta(days=1))

    @handle(Spoilt, start=True)
    def on_spoilt(self, event: Spoilt) -> None:
        raise ValueError("spoilt")

    @handle(Seen, start=True)
    def on_seen(self, event: Seen) -> None:
        self.seen += 1

    @timeout("remind")
    def on_remind(self) -> None: ...

    @after(Seen)
    def tell_of_it(self, event: Seen) -> None: ...


@desk.register
class Ledger(ProcessManager, correlate="case"):
    """Rebuilt again and again: it has one instance."""

    case: str = ""
    seen: int = 0

    @handle(Seen, start=True, correlate=lambda event: "all" if event.case == "first" else None)
    def on_seen(self, event: Seen) -> None:
        self.seen += 1


# Each has what it needs by itself, and takes a number of its own.


def opened(runtime: Runtime, number: int) -> str:
    case = f"c{number}"
    runtime.ask(Open(case))
    return case


def handled(runtime: Runtime, number: int) -> str:
    case = opened(runtime, number)
    runtime.settle()
    return case


def spoilt(runtime: Runtime, number: int) -> int:
    case = f"s{number}"
    runtime.publish(Spoilt(case), stream=f"desk::spoilt-{case}")
    runtime.settle()
    return next(one.id for one in runtime.parked() if one.instance == case)


def nothing(runtime: Runtime, number: int) -> int:
    return number


def first_event(runtime: Runtime, number: int) -> str:
    return next(iter(runtime.events())).event_id


FOLDER = Path()

Prepare = Callable[[Runtime, int], Any]
Call = Callable[[Runtime, Any], object]

CALLS: dict[str, tuple[Prepare, Call]] = {
    "ask": (nothing, lambda runtime, n: runtime.ask(Open(f"c{n}"))),
    "ask under an id": (
        nothing,
        lambda runtime, n: runtime.ask(Open("same"), command_id="same"),
    ),
    "ask without waiting": (
        nothing,
        lambda runtime, n: runtime.ask(Open(f"c{n}"), block=False).get(timeout=PATIENCE),
    ),
    "tell": (nothing, lambda runtime, n: runtime.tell(Open(f"c{n}"), command_id=f"c{n}")),
    "tell_many": (
        nothing,
        lambda runtime, n: runtime.tell_many(
            [Open(f"c{n}"), Open(f"c{n}-2")], command_id=lambda command: command.case
        ),
    ),
    "publish": (
        nothing,
        lambda runtime, n: runtime.publish(
            Seen(f"c{n}"), stream=f"desk::seen-{n}", event_id=f"c{n}"
        ),
    ),
    "publish_many": (
        nothing,
        lambda runtime, n: runtime.publish_many(
            [Seen(f"c{n}"), Seen(f"c{n}-2")], stream=f"desk::seen-{n}"
        ),
    ),
    "settle": (opened, lambda runtime, _: runtime.settle(timeout=PATIENCE)),
    "get": (nothing, lambda runtime, _: (runtime.get(Care, "first"), runtime.get(Case, "first"))),
    "find": (nothing, lambda runtime, _: list(runtime.find(Care, complete=False))[:3]),
    "history": (nothing, lambda runtime, _: list(runtime.history(Care, "first"))),
    "events": (nothing, lambda runtime, _: list(runtime.events())),
    "timeouts": (nothing, lambda runtime, _: list(runtime.timeouts(Care, "first"))),
    "parked": (nothing, lambda runtime, _: list(itertools.islice(runtime.parked(), 3))),
    "trace": (first_event, lambda runtime, event: runtime.trace(event)),
    "why": (first_event, lambda runtime, event: runtime.why(event)),
    "stuck": (
        nothing,
        lambda runtime, _: list(itertools.islice(runtime.stuck(Care, timedelta(0)), 3)),
    ),
    "stats": (nothing, lambda runtime, _: runtime.stats()),
    "health": (nothing, lambda runtime, _: runtime.health()),
    "retry": (spoilt, lambda runtime, parked: runtime.retry(parked)),
    "skip": (spoilt, lambda runtime, parked: runtime.skip(parked)),
    "move_timeout": (
        handled,
        lambda runtime, case: runtime.move_timeout(Care, case, "remind", timedelta(days=2)),
    ),
    "cancel_timeout": (
        handled,
        lambda runtime, case: runtime.cancel_timeout(Care, case, "remind"),
    ),
    "refresh": (nothing, lambda runtime, _: runtime.refresh(Ledger, "all")),
    "refresh all": (nothing, lambda runtime, _: runtime.refresh(Ledger)),
    "rebuild": (nothing, lambda runtime, _: runtime.refresh(Ledger, since="origin")),
    "stop of a reference": (
        handled,
        lambda runtime, case: runtime.ref(Care, case).stop(timeout=PATIENCE),
    ),
    "verify": (nothing, lambda runtime, _: runtime.verify()),
    "backup": (
        nothing,
        lambda runtime, n: runtime.backup(Path(tempfile.mkdtemp(dir=FOLDER)) / "copy"),
    ),
    "close": (nothing, lambda runtime, _: runtime.close(timeout=PATIENCE)),
}

OPENING = "open"


def read(runtime: Runtime) -> None:
    """What a signal handler may do."""
    runtime.get(Care, "first")
    runtime.get(Case, "first")
    next(iter(runtime.find(Care, complete=False)), None)
    next(iter(runtime.events()), None)
    runtime.stats()
    runtime.health()


@dataclass
class Tally:
    """What came of it."""

    interrupts: int = 0
    handlers: int = 0
    wrong: list[str] = field(default_factory=list)


class Interrupted:
    """One store, and a runtime on it that is interrupted.

    Args:
        call: which
        tally: what comes of it

    """

    def __init__(self, call: str, tally: Tally) -> None:
        self.call = call
        self.tally = tally
        self.store = FOLDER / "store"
        self.numbers = itertools.count(1)
        self.ends_it = call == "close"
        self.runtime = self.open()
        self.runtime.ask(Open("first"))
        self.runtime.publish(Seen("first"), stream="desk::seen-first")
        spoilt(self.runtime, 0)
        self.runtime.settle()

    def open(self) -> Runtime:
        return Runtime(self.store, desk, durability="none")

    def prepared(self) -> Callable[[], object]:
        """The call, with what it needs."""
        if self.ends_it and self.runtime._is_closed:
            self.runtime = self.open()
        prepare, call = CALLS[self.call]
        runtime = self.runtime
        needs = prepare(runtime, next(self.numbers))
        return lambda: call(runtime, needs)

    def check(self, at: str) -> None:
        """The same call, from another thread."""
        self.tally.interrupts += 1
        errors: list[BaseException] = []

        def again() -> None:
            try:
                if self.ends_it:
                    # The very one that was interrupted; then another one on the same store.
                    self.runtime.close(timeout=PATIENCE)
                prepared = self.prepared()
                if isinstance(self, Opening):
                    self.runtime = self.open()
                else:
                    prepared()
            except BaseException as error:  # noqa: BLE001 - it is told
                errors.append(error)

        thread = threading.Thread(target=again, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            self.tally.wrong.append(f"hangs, after an interrupt at {at}")
            raise TimeoutError(at)
        self.tally.wrong += [f"{error!r}, after an interrupt at {at}" for error in errors]

    def end(self) -> None:
        if self.runtime._is_closed:
            self.runtime = self.open()
        self.runtime.settle(timeout=PATIENCE)
        self.runtime.close(timeout=PATIENCE)
        left = [one.name for one in threading.enumerate() if one.name.startswith("procession-w")]
        self.tally.wrong += [f"{one} is still there" for one in left]
        self.tally.wrong += [str(one) for one in verify(self.store)]
        with self.open() as runtime:
            runtime.settle(timeout=PATIENCE)
            read(runtime)


class Begun(Runtime):
    """One that is known here before its caller has it: an interrupt may come between the two."""

    last: Runtime | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        Begun.last = self
        super().__init__(*arguments, **options)


class Opening(Interrupted):
    """The call is opening itself; one that was interrupted has let go of the store."""

    def __init__(self, call: str, tally: Tally) -> None:
        super().__init__(call, tally)
        self.former: tuple[Runtime | None, ...] = ()
        self.runtime.close()

    def prepared(self) -> Callable[[], object]:
        self.runtime.close()
        # What goes away in the call takes threads with it, in which Python loses an interrupt.
        self.former = (self.runtime, Begun.last)

        def call() -> None:
            try:
                self.runtime = Begun(self.store, desk, durability="none")
            except KeyboardInterrupt as error:
                if not is_inside(error):
                    # It was open by then, and its caller did not get it.
                    assert Begun.last is not None
                    Begun.last.close()
                raise

        return call

    def open(self) -> Runtime:
        # What was interrupted is closed by another thread, in its own time.
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return super().open()
            except procession.store.LockedStore:
                if time.monotonic() > end:
                    raise
                time.sleep(0.002)

    def check(self, at: str) -> None:
        self.runtime = self.open()
        super().check(at)


class Lines:
    """Has something happen at the lines of the package that the calling thread comes to.

    Args:
        at: is called with each line, before it is carried out

    """

    def __init__(self, at: Callable[[tuple[str, int]], None]) -> None:
        self._at = at

    def run(self, call: Callable[[], object]) -> None:
        sys.settrace(self._calls)
        try:
            call()
        finally:
            sys.settrace(None)

    def _calls(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename.startswith(PACKAGE):
            return self._lines
        return None

    def _lines(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self._at((frame.f_code.co_filename, frame.f_lineno))
        return self._lines


def shown(place: tuple[str, int]) -> str:
    return f"{Path(place[0]).name}:{place[1]}"


def in_lines(interrupted: Interrupted) -> None:
    places: dict[tuple[str, int], None] = {}
    # Twice: what is made with the first call is there with the second.
    for _ in range(2):
        Lines(places.setdefault).run(interrupted.prepared())
    for place in places:
        hits: list[tuple[str, int]] = []

        def interrupt(
            here: tuple[str, int],
            place: tuple[str, int] = place,
            hits: list[tuple[str, int]] = hits,
        ) -> None:
            if here == place and not hits:
                hits.append(here)
                raise KeyboardInterrupt

        faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
        try:
            Lines(interrupt).run(interrupted.prepared())
        except KeyboardInterrupt:
            interrupted.check(shown(place))
        else:
            if hits:
                interrupted.tally.wrong.append(f"an interrupt at {shown(place)} was swallowed")


def in_handlers(interrupted: Interrupted) -> None:
    places: set[tuple[str, int]] = set()

    def handler(place: tuple[str, int]) -> None:
        if place in places:
            return
        places.add(place)
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        with contextlib.suppress(procession.ClosedError):
            read(interrupted.runtime)
        interrupted.tally.handlers += 1

    for _ in range(2):
        Lines(handler).run(interrupted.prepared())


def is_inside(error: KeyboardInterrupt) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
            return True
        trace = trace.tb_next
    return False


SHOOTER = """
import os, signal, sys, time
while line := sys.stdin.readline():
    time.sleep(float(line))
    os.kill(int(sys.argv[1]), signal.SIGINT)
"""
"""Another process: a thread of this one would run only where the calling thread lets it."""


def in_signals(interrupted: Interrupted, trials: int, seed: int) -> None:
    chance = random.Random(seed)
    took = []
    for _ in range(5):
        call = interrupted.prepared()
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    usual = sorted(took)[2]
    # The signal is late by as much as other processes let it be.
    repeats = (
        1 if interrupted.call in {"close", OPENING} else max(1, min(200, round(0.004 / usual)))
    )
    # Out of the reach of a Ctrl-C that is meant for this one.
    shooter = subprocess.Popen(
        [sys.executable, "-c", SHOOTER, str(os.getpid())],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert shooter.stdin is not None
    order = shooter.stdin.fileno()
    end = interrupted.tally.interrupts + trials
    gc.disable()
    while interrupted.tally.interrupts < end:
        faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
        error: KeyboardInterrupt | None = None
        call = interrupted.prepared()
        # An interrupt is lost in what Python calls when it collects the thread of a former trial.
        gc.collect()
        delay = chance.uniform(0, 1.2) * usual * repeats
        try:
            os.write(order, f"{delay}\n".encode())
            for _ in range(repeats):
                # Some can be done once only.
                with contextlib.suppress(procession.ProcessionError):
                    call()
            # It came to its end before. A signal that comes before a long sleep would not end it.
            for _ in range(PATIENCE * 1_000):
                time.sleep(0.001)
        except KeyboardInterrupt as raised:
            error = raised
        if error is None:
            interrupted.tally.wrong.append("an interrupt was swallowed")
        elif is_inside(error):
            interrupted.check("a random moment")
        else:
            # It takes less than it did.
            usual *= 0.98
    gc.enable()
    shooter.stdin.close()
    shooter.wait()


def main() -> None:
    global FOLDER  # noqa: PLW0603
    folder, call, modes, trials, seed = sys.argv[1:]
    FOLDER = Path(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tally = Tally()
    faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
    interrupted = (Opening if call == OPENING else Interrupted)(call, tally)
    with contextlib.suppress(TimeoutError):
        for mode in modes.split(","):
            if mode == "lines":
                in_lines(interrupted)
            elif mode == "handlers":
                in_handlers(interrupted)
            else:
                in_signals(interrupted, int(trials), int(seed))
        faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
        interrupted.end()
    faulthandler.cancel_dump_traceback_later()
    os.write(1, json.dumps(vars(tally)).encode())
    # What hangs must not keep it from ending.
    os._exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
