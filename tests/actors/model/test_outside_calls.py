"""What decides, and asks the world outside for what is another thing each time."""

import datetime as dt
import json
import logging
import os
import random
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
import types
import uuid
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen
from uuid import NAMESPACE_URL, uuid4, uuid5

import pytest

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    after,
    apply,
    handle,
    rejected,
    timeout,
    upcast,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Open(Command):
    order_id: str


class Opened(Event):
    order_id: str
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Closed(Event):
    order_id: str


def found(*classes: Any) -> list[tuple[str, str, str]]:
    """The codes, places and names of what `check` finds."""
    domain = Domain("shop")
    domain.register(Opened, Closed, *classes)
    return [
        (one.code, one.place, one.message.partition("(")[2].partition(")")[0])
        for one in domain.check()
    ]


def in_a_handler(function: Any) -> list[tuple[str, str, str]]:
    class Process(ProcessManager, correlate="order_id"):
        on_opened = handle(Opened, start=True, end=True)(
            types.FunctionType(
                function.__code__, function.__globals__, "on_opened", None, function.__closure__
            )
        )

    return found(Process)


GENERATOR = random.Random(7)
CONNECTION = sqlite3.connect(":memory:")
RATES = {"now": 1, "random": 2}


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


CLOCK = Clock()


def now(self: Any, event: Any) -> Any:
    return datetime.now(UTC)


def now_of_a_module(self: Any, event: Any) -> Any:
    return dt.datetime.now(UTC)


def utcnow(self: Any, event: Any) -> Any:
    return datetime.utcnow()  # noqa: DTZ003 - what is tested


def today(self: Any, event: Any) -> Any:
    return date.today(), dt.date.today()  # noqa: DTZ011 - what is tested


def seconds(self: Any, event: Any) -> Any:
    return time.time()


def counter(self: Any, event: Any) -> Any:
    return monotonic()


def in_a_comprehension(self: Any, event: Any) -> Any:
    return [time.time_ns() for _ in "ab"]


def handed_on(self: Any, event: Any) -> Any:
    return list(map(datetime.fromtimestamp, iter(time.time, 0.0)))


def imported_inside(self: Any, event: Any) -> Any:
    from datetime import datetime as when  # noqa: PLC0415 - what is tested

    return when.now(UTC)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (now, "datetime.now"),
        (now_of_a_module, "datetime.now"),
        (utcnow, "datetime.utcnow"),
        (today, "date.today"),
        (seconds, "time.time"),
        (counter, "time.monotonic"),
        (in_a_comprehension, "time.time_ns"),
        (handed_on, "time.time"),
        (imported_inside, "datetime.now"),
    ],
)
def test_a_handler_that_reads_the_clock_is_found(function: Any, names: str) -> None:
    assert in_a_handler(function) == [("not-repeatable", "Process.on_opened", names)]


def some_id(self: Any, event: Any) -> Any:
    return uuid4()


def some_id_of_a_module(self: Any, event: Any) -> Any:
    return str(uuid.uuid4()), uuid.uuid1()


def some_number(self: Any, event: Any) -> Any:
    return random.random() + random.randint(1, 6)


def one_of_many(self: Any, event: Any) -> Any:
    return GENERATOR.choice("ab")


def some_bytes(self: Any, event: Any) -> Any:
    return os.urandom(8)


def some_token(self: Any, event: Any) -> Any:
    return secrets.token_hex()


def from_the_system(self: Any, event: Any) -> Any:
    return random.SystemRandom().random()


def imported_as_needed(self: Any, event: Any) -> Any:
    import random as chance  # noqa: PLC0415 - what is tested

    return chance.choice("ab")


def in_a_lambda(self: Any, event: Any) -> Any:
    make: Callable[[], Any] = lambda: uuid4()  # noqa: E731, PLW0108 - what is tested
    return make()


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (some_id, "uuid.uuid4"),
        (some_id_of_a_module, "uuid.uuid1, uuid.uuid4"),
        (some_number, "random.randint, random.random"),
        (one_of_many, "random.Random.choice"),
        (some_bytes, "os.urandom"),
        (some_token, "secrets.token_hex"),
        (from_the_system, "random.SystemRandom"),
        (imported_as_needed, "random.choice"),
        (in_a_lambda, "uuid.uuid4"),
    ],
)
def test_a_handler_that_draws_at_random_is_found(function: Any, names: str) -> None:
    assert in_a_handler(function) == [("not-repeatable", "Process.on_opened", names)]


def a_file(self: Any, event: Any) -> Any:
    with open("orders") as file:  # noqa: PTH123 - what is tested
        return file.read()


def a_database(self: Any, event: Any) -> Any:
    return sqlite3.connect("orders")


def an_open_database(self: Any, event: Any) -> Any:
    return CONNECTION.execute("select 1")


def a_socket(self: Any, event: Any) -> Any:
    return socket.socket()


def a_site(self: Any, event: Any) -> Any:
    return urlopen("https://example.org")


def a_program(self: Any, event: Any) -> Any:
    subprocess.run(["true"], check=True)
    return subprocess.Popen(["true"])


def with_arguments_in_a_list(self: Any, event: Any) -> Any:
    return socket.socket(*event.order_id)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (a_file, "open"),
        (a_database, "sqlite3.connect"),
        (an_open_database, "sqlite3.Connection"),
        (a_socket, "socket.socket"),
        (a_site, "urllib.request.urlopen"),
        (a_program, "subprocess.Popen, subprocess.run"),
        (with_arguments_in_a_list, "socket.socket"),
    ],
)
def test_a_handler_that_opens_a_connection_is_found(function: Any, names: str) -> None:
    assert in_a_handler(function) == [("outside-in-handler", "Process.on_opened", names)]


def test_a_handler_that_sleeps_is_found() -> None:
    def sleeps(self: Any, event: Any) -> None:
        time.sleep(1)

    assert in_a_handler(sleeps) == [("outside-in-handler", "Process.on_opened", "time.sleep")]


def test_a_library_that_is_not_loaded_is_found_where_a_handler_imports_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "requests", raising=False)
    source = "def on_opened(self, event):\n import requests\n return requests.post(event.order_id)"
    made: dict[str, Any] = {"__name__": "service"}
    exec(source, made)
    assert in_a_handler(made["on_opened"]) == [
        ("outside-in-handler", "Process.on_opened", "requests.post")
    ]
    assert "requests" not in sys.modules


def test_a_library_that_the_program_has_loaded_is_found_by_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = types.ModuleType("httpx")

    class Client:
        def get(self, url: str) -> str:
            return url

    vars(library).update(get=lambda url: url, Client=Client, client=Client())
    monkeypatch.setitem(sys.modules, "httpx", library)
    get, client = vars(library)["get"], vars(library)["client"]

    def by_a_function(self: Any, event: Any) -> Any:
        return get("https://example.org")

    def by_an_open_client(self: Any, event: Any) -> Any:
        return client.get("https://example.org")

    assert in_a_handler(by_a_function) == [("outside-in-handler", "Process.on_opened", "httpx.get")]
    assert in_a_handler(by_an_open_client) == [
        ("outside-in-handler", "Process.on_opened", "httpx.Client")
    ]


# What it may use


def its_context(self: Any, event: Any) -> Any:
    return self.context.now, self.context.new_id(), self.context.time


def plain_arithmetic(self: Any, event: Any) -> Any:
    return event.at + timedelta(days=1), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)


def text_of_a_time(self: Any, event: Any) -> Any:
    return datetime.fromisoformat("2026-01-01"), event.at.isoformat(), date.fromordinal(3)


def an_id_of_a_name(self: Any, event: Any) -> Any:
    return uuid5(NAMESPACE_URL, event.order_id), uuid.UUID(int=3)


def a_seeded_generator(self: Any, event: Any) -> Any:
    return random.Random(event.order_id).random()


def its_own_clock(self: Any, event: Any) -> Any:
    return CLOCK.now(), RATES["now"], event.at.now


def what_only_has_the_name(self: Any, event: Any) -> Any:
    def uuid4() -> str:
        return "one"

    open = event.order_id  # noqa: A001 - what is tested
    return uuid4(), open


def only_compared(self: Any, event: Any) -> Any:
    return isinstance(event.order_id, (socket.socket, sqlite3.Connection, subprocess.Popen))


def errors_of_a_library(self: Any, event: Any) -> Any:
    try:
        return json.loads(event.order_id)
    except (sqlite3.Error, subprocess.CalledProcessError, OSError):
        return None


def a_note_in_the_log(self: Any, event: Any) -> Any:
    logging.info("opened %s", event.order_id)  # noqa: LOG015 - what is tested
    logging.getLogger("shop").info("opened")
    print(event.order_id)  # noqa: T201 - what is tested


def a_path(self: Any, event: Any) -> Any:
    return os.path.join("a", event.order_id), os.sep  # noqa: PTH118 - what is tested


@pytest.mark.parametrize(
    "function",
    [
        its_context,
        plain_arithmetic,
        text_of_a_time,
        an_id_of_a_name,
        a_seeded_generator,
        its_own_clock,
        what_only_has_the_name,
        only_compared,
        errors_of_a_library,
        a_note_in_the_log,
        a_path,
    ],
)
def test_what_comes_to_the_same_each_time_is_left_alone(function: Any) -> None:
    assert in_a_handler(function) == []


def test_an_effect_may_use_all_of_it() -> None:
    class Telling(ProcessManager, correlate="order_id"):
        @handle(Opened, start=True, end=True)
        def on_opened(self, event: Opened) -> None: ...

        @after(Opened)
        def tell(self, event: Opened) -> None:
            time.sleep(random.random())
            urlopen(f"https://example.org/{uuid4()}?at={datetime.now(UTC)}")

    assert found(Telling) == []


# Where it is found


def new_name() -> str:
    return str(uuid4())


def order_of(event: Any) -> str:
    return str(uuid4())


def test_it_is_found_in_what_a_handler_calls_and_told_where() -> None:
    class Calling(ProcessManager, correlate="order_id"):
        @handle(Opened, start=True, end=True)
        def on_opened(self, event: Opened) -> None:
            self._name()
            new_name()

        def _name(self) -> float:
            return time.time()

    assert found(Calling) == [
        ("not-repeatable", "Calling.on_opened", "uuid.uuid4 in new_name"),
        ("not-repeatable", "Calling.on_opened", "time.time in _name"),
    ]


def test_it_is_found_in_all_that_decides() -> None:
    class Deciding(ProcessManager, correlate=order_of, version=2):
        @handle(Opened, start=True)
        def on_opened(self, event: Opened) -> None:
            self.issue(Open("o1"))
            self.set_timeout("late", timedelta(days=1))

        @timeout("late")
        def on_late(self) -> None:
            time.time()
            self.mark_as_complete()

        @rejected(Open)
        def on_refused(self, command: Open, reason: str) -> None:
            uuid4()

        @handle(Closed, end=True, correlate=lambda event: f"{event.order_id}{uuid4()}")
        def on_closed(self, event: Closed) -> None: ...

        @staticmethod
        @upcast(from_version=1)
        def _from_1(old: dict[str, Any]) -> dict[str, Any]:
            return old | {"at": time.time()}

    assert [(code, place) for code, place, _ in found(Deciding)] == [
        ("not-repeatable", "Deciding._from_1"),
        ("not-repeatable", "Deciding.on_closed"),
        ("not-repeatable", "Deciding.on_late"),
        ("not-repeatable", "Deciding.on_refused"),
        ("not-repeatable", "Deciding.order_of"),
    ]


def test_it_is_found_in_aggregates_which_have_the_command_and_the_event_bring_it() -> None:
    class Order(Aggregate, identity="order_id"):
        seen: float = 0

        @handle(Open)
        def open(self, command: Open) -> Opened:
            return Opened(self.id, datetime.now(UTC))

        @apply(Opened)
        def _opened(self, event: Opened) -> None:
            self.seen = time.time()

    domain = Domain("shop")
    domain.register(Order)
    applied, decided = domain.check()
    assert (decided.code, decided.place) == ("not-repeatable", "Order.open")
    assert decided.mend == "have the command bring it, in a field of its own"
    assert (applied.code, applied.place) == ("not-repeatable", "Order._opened")
    assert applied.mend == "have the event bring it, in a field of its own"


def test_a_finding_says_what_to_use_instead() -> None:
    def all_of_it(self: Any, event: Any) -> Any:
        time.sleep(1)
        return time.time(), uuid4(), urlopen("https://example.org")

    class Process(ProcessManager, correlate="order_id"):
        on_opened = handle(Opened, start=True, end=True)(all_of_it)

    domain = Domain("shop")
    domain.register(Opened, Process)
    mends = sorted(finding.mend for finding in domain.check())
    assert "`@after` method" in mends[0]
    assert "set a timeout" in mends[1]
    assert "`self.context.new_id()`" in mends[2]
    assert "`self.context.now`" in mends[3]


def test_a_library_that_a_handler_calls_may_do_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = "import time\ndef worked_out(text):\n    return text, time.time()\n"
    library: dict[str, Any] = {"__name__": "library"}
    exec(compile(source, "/lib/python3/site-packages/library.py", "exec"), library)
    worked_out = library["worked_out"]

    def calls_it(self: Any, event: Any) -> Any:
        return worked_out(event.order_id)

    assert in_a_handler(calls_it) == []
