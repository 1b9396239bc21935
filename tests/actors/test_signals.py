"""SIGTERM and Ctrl-C: the process ends by itself, in order, and nothing acknowledged is lost."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from procession.store import LmdbStore, verify

WAIT = 60

SHOP = '''
import os, signal, sys, threading

from procession import Aggregate, ClosedError, Command, Domain, Event, ProcessManager, Runtime
from procession import handle

shop = Domain("signalled")
entered, release = threading.Event(), threading.Event()


class Place(Command):
    order: str


class Placed(Event):
    order: str


@shop.register
class Order(Aggregate, identity="order"):
    @handle(Place)
    def place(self, command: Place) -> Placed:
        if self.id == "slow":
            entered.set()
            release.wait()
        return Placed(self.id)


@shop.register
class Handling(ProcessManager, correlate="order"):
    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None: ...


def say(line):
    os.write(1, f"{line}\\n".encode())


def waits(runtime):
    """Whether somebody waits in a call, for whom there is nothing else to look at."""
    engine = runtime._running
    return len(engine.services.replies) or engine.dispatcher._latches


def until(holds):
    pause = threading.Event()
    while not holds():
        pause.wait(0.002)


def left():
    return sorted(one.name for one in threading.enumerate() if one.name.startswith("procession"))
'''

SERVICE = (
    SHOP
    + """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    with Runtime(sys.argv[1], shop) as runtime:
        for number in range(1_000_000):
            runtime.tell(Place(f"o{number}"))
            say(f"told o{number}")
finally:
    say(f"closed, {left()} left")
"""
)

UNWIRED = SERVICE.replace("signal.signal(", "print(").replace("lambda *_: sys.exit(0)", "end=''")

WAITING = (
    SHOP
    + """
def interrupt(runtime):
    entered.wait()
    until(lambda: waits(runtime))
    os.kill(os.getpid(), signal.SIGINT)
    if TWICE:
        until(lambda: runtime._running.is_closing)
        os.kill(os.getpid(), signal.SIGINT)
    else:
        until(lambda: runtime._running.is_closing)
        release.set()


try:
    with Runtime(sys.argv[1], shop) as runtime:
        slow = runtime.ask(Place("slow"), block=False)
        entered.wait()
        if CALL == "tell":
            # A commit that takes its time.
            close = runtime._store.close_commit
            runtime._store.close_commit = lambda *done: (release.wait(), close(*done))[1]
        threading.Thread(target=interrupt, args=(runtime,), daemon=True).start()
        {"ask": lambda: slow.get(), "settle": runtime.settle,
         "tell": lambda: runtime.tell(Place("o1"))}[CALL]()
except KeyboardInterrupt:
    try:
        slow.get(timeout=10)
        say("answered")
    except ClosedError:
        say("told that it is closed")
    say(f"closed: {runtime._is_closed}, {left() if not TWICE else []} left")
"""
)


def start(program: str, store: Path, **settings: object) -> subprocess.Popen[str]:
    head = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    return subprocess.Popen(
        [sys.executable, "-c", head + program, str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def finish(child: subprocess.Popen[str]) -> tuple[list[str], str]:
    try:
        out, err = child.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise
    return out.splitlines(), err


def told(lines: list[str]) -> set[str]:
    return {line.removeprefix("told ") for line in lines if line.startswith("told o")}


def stored(path: Path) -> set[str]:
    """The orders that are in the log or in the queue."""
    with LmdbStore(path, read_only=True) as store:
        found = {event.stream.partition("-")[2] for event in store.read_log(0, 1_000_000)}
        return found | {one.stream.partition("-")[2] for one in store.read_queue(0, 1_000_000)}


@pytest.mark.parametrize("after", [1, 40, 300])
@pytest.mark.parametrize(
    ("program", "number", "code"),
    [
        pytest.param(SERVICE, signal.SIGTERM, 0, id="sigterm, wired as the guide says"),
        pytest.param(SERVICE, signal.SIGINT, -signal.SIGINT, id="ctrl-c"),
        pytest.param(UNWIRED, signal.SIGTERM, -signal.SIGTERM, id="sigterm, not wired"),
    ],
)
def test_a_service_in_the_middle_of_its_work_ends_when_it_is_told_to(
    tmp_path: Path, program: str, number: signal.Signals, code: int, after: int
) -> None:
    child = start(program, tmp_path / "store")
    assert child.stdout is not None
    lines = [child.stdout.readline().strip() for _ in range(after)]
    child.send_signal(number)
    rest, err = finish(child)
    lines += rest
    assert child.returncode == code, err
    assert told(lines) <= stored(tmp_path / "store")
    assert verify(tmp_path / "store") == []
    if program is SERVICE:
        assert lines[-1] == "closed, [] left"


@pytest.mark.parametrize("call", ["ask", "settle", "tell"])
def test_ctrl_c_ends_the_wait_and_closes_in_order(tmp_path: Path, call: str) -> None:
    child = start(WAITING, tmp_path / "store", CALL=call, TWICE=False)
    lines, err = finish(child)
    assert lines == ["answered", "closed: True, [] left"], err
    assert child.returncode == 0
    assert "slow" in stored(tmp_path / "store")
    assert verify(tmp_path / "store") == []


@pytest.mark.parametrize("call", ["ask", "settle", "tell"])
def test_a_second_ctrl_c_does_not_wait_for_handlers(tmp_path: Path, call: str) -> None:
    child = start(WAITING, tmp_path / "store", CALL=call, TWICE=True)
    lines, err = finish(child)
    assert lines == ["told that it is closed", "closed: True, [] left"], err
    assert child.returncode == 0
    assert "slow" not in stored(tmp_path / "store")
    assert verify(tmp_path / "store") == []
