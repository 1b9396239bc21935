"""Whatever a handler returns, issues, sets or raises is kept, or parked where a person sees it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Runtime,
    apply,
    handle,
    rejected,
    timeout,
)
from tests.actors.bad_input import fixed, odd, told

works = Domain("works")


class Go(Event):
    key: str


class Do(Command):
    key: str
    what: Any = None


class Done(Event):
    key: str
    what: Any = None


class Unknown(Command):
    key: str


class Try(Command):
    key: str


@works.register
class Doer(Aggregate, identity="key"):
    last: Any = None

    # What a test wants its handlers to do.
    tries: ClassVar[Callable[[Any], Any]]

    @handle(Do)
    def do(self, command: Do) -> Done:
        return Done(self.id, command.what)

    @handle(Try)
    def attempt(self, command: Try) -> Any:
        return Doer.tries(self)

    @apply(Done)
    def _done(self, event: Done) -> None:
        self.last = event.what


def everywhere(event: Go) -> Any:
    return Process.correlates(event)


@works.register
class Process(ProcessManager, correlate=everywhere):
    text: str = ""
    what: Any = None
    log: list[str] = []

    tries: ClassVar[Callable[[Any], Any]]
    correlates: ClassVar[Callable[[Go], Any]]

    @handle(Go, start=True)
    def on_go(self, event: Go) -> None:
        Process.tries(self)
        self.log.append("went")

    @timeout("late")
    def on_late(self) -> None:
        pass

    @rejected(Try)
    def on_rejected(self, command: Try, reason: str) -> None:
        self.log.append("rejected")


def values() -> list[Any]:
    # Made anew, so that they are gone when other tests look at all that there is.
    return [*fixed(), Do("k"), Unknown("k"), Go("k"), Done("k"), Do, Done]


def by_key(event: Go) -> str:
    return event.key


def raises(error: Any) -> Callable[[Any], Any]:
    def handler(_: Any) -> Any:
        raise error

    return handler


class TouchyError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it will not be told")


class Quoting(Exception):
    """Says what cannot be written."""

    def __str__(self) -> str:
        return "\ud800" + "x" * 1_000_000


Named = type("Named", (Exception,), {"__module__": "\ud800", "__qualname__": "\udfff"})

ERRORS: list[BaseException] = [
    TouchyError(),
    Quoting(),
    Named(),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    StopIteration(),
    RecursionError(),
    MemoryError(),
    ExceptionGroup("many", [ValueError("one")]),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"),
]

# What an instance's handler does with an odd value.
IN_PROCESS: dict[str, Callable[[Process, Any], Any]] = {
    "issue": lambda process, x: process.issue(x),
    "issue: field": lambda process, x: process.issue(Do("k", x)),
    "issue: id": lambda process, x: process.issue(Do(x)),
    "issue: after": lambda process, x: process.issue(Do("k"), after=x),
    "issue: at": lambda process, x: process.issue(Do("k"), at=x),
    "cancel": lambda process, x: process.cancel(x),
    "set_timeout": lambda process, x: process.set_timeout(x, timedelta(days=1)),
    "set_timeout: when": lambda process, x: process.set_timeout("late", x),
    "cancel_timeout": lambda process, x: process.cancel_timeout(x),
    "field": lambda process, x: setattr(process, "what", x),
    "text": lambda process, x: setattr(process, "text", x),
    "a name of its own": lambda process, x: setattr(process, "stray", x),
    "its insides": lambda process, x: process.__dict__.update({"log": x}),
    "rejected": lambda process, x: raises(Rejected(x))(process),
}

# What an aggregate's handler returns.
IN_AGGREGATE: dict[str, Callable[[Doer, Any], Any]] = {
    "returned": lambda doer, x: x,
    "yielded": lambda doer, x: iter([Done(doer.id), x]),
    "field": lambda doer, x: Done(doer.id, x),
    "rejected": lambda doer, x: raises(Rejected(x))(doer),
}


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    for owner, name in ((Process, "tries"), (Process, "correlates"), (Doer, "tries")):
        setattr(owner, name, staticmethod(lambda _: None))


class Bench:
    """A runtime, and instances with names of their own for each attempt."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.count = 0

    def settle(self) -> None:
        self.runtime.settle(timeout=20)

    def go(self, instances: Callable[[Go], Any] = by_key) -> str:
        """Have one event handled; the ordinary one after it must be, whatever came of it."""
        self.count += 1
        name = f"k{self.count}"
        Process.correlates = staticmethod(instances)
        self.runtime.publish(Go(name), stream="feed::x-1", event_id=name)
        self.settle()
        Process.tries = staticmethod(lambda process: process.issue(Do(process.id)))
        Process.correlates = staticmethod(by_key)
        self.runtime.publish(Go(f"ordinary{self.count}"), stream="feed::x-1")
        self.settle()
        assert self.log_of(f"ordinary{self.count}") == ["went"]
        doer = self.runtime.get(Doer, f"ordinary{self.count}")
        assert doer is not None
        assert doer.version == 1
        return name

    def log_of(self, name: str) -> Any:
        view = self.runtime.get(Process, name)
        return view.state["log"] if view is not None and view.version else None

    def parked(self, name: str) -> list[str]:
        return [one.error for one in self.runtime.parked() if name in (one.instance, one.cause)]


@pytest.mark.parametrize("how", IN_PROCESS)
def test_whatever_an_instance_does_with_an_odd_value_is_kept_or_parked(how: str) -> None:
    with Runtime.ephemeral(works) as runtime:
        bench = Bench(runtime)

        def attempt(value: Any) -> None:
            Process.tries = staticmethod(lambda process: IN_PROCESS[how](process, value))
            name = bench.go()
            if bench.log_of(name) is None:
                (error,) = bench.parked(name)
                assert 0 < len(error) < 11_000, told(value)
            else:
                assert bench.parked(name) == [] or how.startswith("issue")
                assert next(iter(runtime.history(Process, name))).handler == "on_go"

        for value in values():
            attempt(value)
        settings(max_examples=20)(given(odd)(attempt))()


@pytest.mark.parametrize("how", IN_AGGREGATE)
def test_whatever_an_aggregate_returns_is_an_answer_or_an_error_of_whoever_asked(how: str) -> None:
    with Runtime.ephemeral(works) as runtime:
        bench = Bench(runtime)

        def attempt(value: Any) -> None:
            Doer.tries = staticmethod(lambda doer: IN_AGGREGATE[how](doer, value))
            key = f"d{bench.count}"
            last = runtime._store.last_position()
            Process.tries = staticmethod(lambda process: process.issue(Try(process.id)))
            name = bench.go()
            future = runtime.ask(Try(key), block=False)
            try:
                made = future.get(timeout=20)
            except Exception:  # noqa: BLE001 - it may be the handler's own
                made = None
                assert runtime.get(Doer, key) is None
                # One that was issued has nobody who waits for it.
                assert bench.parked(name) or bench.log_of(name) == ["went", "rejected"]
            else:
                assert not bench.parked(name)
            made_here = [one.event for one in runtime.events(f"works::doer-{key}", after=last)]
            assert made_here == (made or [])

        for value in values():
            attempt(value)
        settings(max_examples=20)(given(odd)(attempt))()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_error_a_handler_raises_is_parked(error: BaseException) -> None:
    with Runtime.ephemeral(works) as runtime:
        bench = Bench(runtime)
        Process.tries = staticmethod(raises(error))
        name = bench.go()
        (text,) = bench.parked(name)
        assert 0 < len(text) < 11_000
        Doer.tries = staticmethod(raises(error))
        told_id = runtime.tell(Try("d1"))
        bench.settle()
        (text,) = bench.parked(told_id)
        assert 0 < len(text) < 11_000
        bench.go()


def test_whatever_a_correlation_returns_names_instances_or_is_parked() -> None:
    with Runtime.ephemeral(works) as runtime:
        bench = Bench(runtime)

        def attempt(value: Any) -> None:
            before = runtime.stats()
            Process.tries = staticmethod(lambda process: None)
            bench.go(lambda event: value)
            now = runtime.stats()
            assert now["parked"] + now["transitions"] + now["not_for_us"] > (
                before["parked"] + before["transitions"] + before["not_for_us"] + 1
            ), told(value)

        for value in values():
            attempt(value)
        settings(max_examples=40)(given(odd)(attempt))()
