"""A runtime on a database: what people and commands see of it, and what happens around it."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from procession import (
    Aggregate,
    Command,
    DatabaseRefused,
    Domain,
    Event,
    LockedStore,
    ProcessManager,
    Runtime,
    StoreError,
    TakenOver,
    TimedOut,
    handle,
    timeout,
)
from procession.cli import main
from procession.control.client import connect
from procession.store import verify
from procession.store.layout.frames import frame, number
from procession.testing import VirtualClock
from tests.postgresql import Server, new_server, shared_server

trips = Domain("trips")
HOUR = timedelta(hours=1)
SECRET = "s3cret"


class Book(Command):
    trip: str


class Booked(Event):
    trip: str


class Left(Event):
    trip: str


@trips.register
class Trip(Aggregate, identity="trip"):
    @handle(Book)
    def book(self, command: Book) -> Booked:
        return Booked(command.trip)


@trips.register
class Travel(ProcessManager, correlate="trip"):
    trip: str = ""

    @handle(Booked, start=True)
    def on_booked(self, event: Booked) -> None:
        if event.trip == "fails":
            raise ValueError("no such trip")
        self.set_timeout("departure", HOUR)

    @handle(Left, end=True)
    def on_left(self, event: Left) -> None:
        self.cancel_timeout("departure")

    @timeout("departure")
    def on_departure(self) -> None:
        self.mark_as_complete()


@pytest.fixture
def server() -> Server:
    return shared_server()


@pytest.fixture
def url(server: Server) -> str:
    return server.new_url().replace("postgres@", f"postgres:{SECRET}@")


def travel(runtime: Runtime) -> None:
    for trip in ("é-1", "fails", "left"):
        runtime.ask(Book(trip))
    runtime.publish(Left("left"), stream="feed::trip-left", event_id="given", headers={"a": 1})
    runtime.settle(timeout=20)


# For people


def test_views_say_what_the_runtime_says(server: Server, url: str, clock: VirtualClock) -> None:
    with Runtime(url, trips, clock=clock) as runtime:
        travel(runtime)
        assert server.ask(
            url,
            "SELECT position, type, stream, version, time, event_id, correlation_id, causation_id "
            "FROM procession_events ORDER BY position",
        ) == [
            (
                one.position,
                one.type,
                one.stream,
                one.version,
                one.time,
                one.event_id,
                one.correlation_id,
                one.causation_id,
            )
            for one in runtime.events()
        ]
        assert server.ask(
            url,
            "SELECT process, instance, version, status FROM procession_instances ORDER BY instance",
        ) == sorted(
            ("trips.Travel", view.id, view.version, view.status)
            for view in runtime.find(Travel)
            if view.version
        )
        assert server.ask(
            url,
            "SELECT id, process, instance, cause, error_type || ': ' || error_text, attempts, time "
            "FROM procession_parked",
        ) == [
            (one.id, one.process, one.instance, one.cause, one.error, one.attempts, one.time)
            for one in runtime.parked()
        ]
        assert server.ask(url, "SELECT due, process, instance, name FROM procession_timeouts") == [
            (one.due, one.process, one.instance, one.name) for one in runtime.timeouts()
        ]


@pytest.mark.parametrize(
    "value",
    [
        [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1],
        [-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63)],
        ["", "é", "x" * 31, "x" * 32, "日" * 100, "y" * 70_000, True, False, None],
        ["a", b"", b"x" * 300, b"y" * 70_000, "b"],
        list(range(20)),
        [],
    ],
    ids=["numbers", "below zero", "texts", "bytes", "many", "none"],
)
def test_a_row_is_unpacked_in_sql_as_it_was_packed(server: Server, url: str, value: Any) -> None:
    Runtime(url, trips).close()
    said = {True: "true", False: "false"}
    assert server.ask(url, "SELECT unpack(%b, 100)", frame(b"key", value)) == [
        (
            [
                None
                if one is None or isinstance(one, bytes)
                else said.get(one, str(one))
                if isinstance(one, bool)
                else str(one)
                for one in value
            ],
        )
    ]


def test_a_row_is_unpacked_up_to_what_sql_does_not_look_at(server: Server, url: str) -> None:
    Runtime(url, trips).close()
    for behind in ([1, 2], {"a": 1}, 1.5):
        row = frame(b"key", ["a", behind, "b"])
        assert server.ask(url, "SELECT unpack(%b, 9)", row) == [(["a"],)]


# Commands


def said_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(arguments)
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    return out + err


def test_the_commands_find_the_service_of_a_database(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Runtime(url, trips) as runtime:
        travel(runtime)
        assert SECRET not in repr(runtime) + repr(runtime._store) + repr(runtime.health())
        control = runtime.health().control
        assert control is not None
        assert control.is_socket()
        with connect(url) as client:
            assert client.is_service
        # Another user of the database, who is the same one on this machine.
        with connect(url.replace(f"postgres:{SECRET}@", "other@")) as client:
            assert client.is_service
        assert "trips.Travel" in said_by(capsys, "ls", "--store", url)
        assert "parked: 1 things wait" in said_by(capsys, "health", "--store", url)
        assert json.loads(said_by(capsys, "stats", "--store", url, "--json"))["events"] == 4
        assert "trips.Travel" in said_by(capsys, "parked", "--store", url)
    assert not control.exists()


def test_the_commands_open_a_database_that_no_service_has(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Runtime(url, trips) as runtime:
        travel(runtime)
    with connect(url) as client:
        assert not client.is_service
    assert "trips.Travel" in said_by(capsys, "ls", "--store", url)
    assert "0 findings" in said_by(capsys, "verify", url)
    assert "there is no store at" in said_by(capsys, "ls", "--store", f"{url}_none")


def test_a_backup_of_a_database_is_a_store_in_a_folder(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: VirtualClock
) -> None:
    def there(runtime: Runtime) -> list[Any]:
        return [list(runtime.events()), list(runtime.find(Travel)), list(runtime.timeouts())]

    with Runtime(url, trips, clock=clock) as runtime:
        travel(runtime)
        runtime.backup(tmp_path / "running")
        before = there(runtime)
        backup = runtime.health().last_backup
        assert backup is not None
        assert backup.path == str(tmp_path / "running")
    assert "copied from postgresql://postgres@" in said_by(
        capsys, "backup", url, str(tmp_path / "closed")
    )
    for name in ("running", "closed"):
        assert verify(tmp_path / name) == []
        with Runtime(tmp_path / name, trips, clock=clock) as runtime:
            assert there(runtime) == before


def test_a_damaged_row_is_found_in_a_database(server: Server, url: str) -> None:
    with Runtime(url, trips) as runtime:
        travel(runtime)
    server.ask(url, "UPDATE log SET value = set_byte(value, 6, 0) WHERE key = %b", number(2))
    assert any(one.table == "log" for one in verify(url))


def test_what_is_of_files_alone_is_refused_for_a_database(url: str) -> None:
    with pytest.raises(ValueError, match="what is scrubbed is a store in a folder"):
        Runtime(url, trips, scrub=100)


# Faults


def test_a_runtime_whose_store_was_taken_over_acknowledges_nothing(
    server: Server, url: str
) -> None:
    with Runtime(url, trips) as runtime:
        runtime.ask(Book("a"))
        runtime.settle(timeout=20)
        server.ask(url, "UPDATE owners SET epoch = epoch + 1, token = 'another', owner = 'another'")
        with pytest.raises(TakenOver, match="taken over the store"):
            runtime.ask(Book("b"))
        with Runtime(url, trips, read_only=True) as reader:
            assert [one.stream for one in reader.events()] == ["trips::trip-a"]
        assert [one.name for one in runtime.health().problems] == ["commits_failing"]
        # So that the check of the store at the end can be made.
        server.ask(url, "UPDATE owners SET token = NULL")


def test_a_runtime_goes_on_when_its_server_is_there_again() -> None:
    with new_server() as server:
        url = server.new_url()
        with Runtime(url, trips) as runtime:
            runtime.ask(Book("a"))
            server.stop()
            with pytest.raises((DatabaseRefused, TimedOut)):
                runtime.ask(Book("b"), timeout=0.2)
            with pytest.raises(DatabaseRefused):
                runtime.get(Travel, "a")
            server.start()
            # The first call to settle tells of what stopped meanwhile.
            for call in (lambda: runtime.ask(Book("c")), lambda: runtime.settle(timeout=60)):
                while True:
                    try:
                        call()
                    except StoreError:
                        continue
                    break
            assert {one.id for one in runtime.find(Travel)} >= {"a", "c"}


SERVICE = """
import sys
sys.path.insert(0, sys.argv[2])
from procession import Runtime
from tests.actors.test_postgresql import Book, trips
with Runtime(sys.argv[1], trips) as runtime:
    number = 0
    while True:
        runtime.ask(Book(f"t{number}"))
        print(number, flush=True)
        number += 1
"""


def test_another_process_takes_up_what_one_left_that_was_killed(url: str) -> None:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", SERVICE, url, root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as service:
        assert service.stdout is not None
        for _ in range(5):
            service.stdout.readline()
        with pytest.raises(LockedStore):
            Runtime(url, trips)
        service.kill()
        told = 5 + len(service.stdout.read().split())
    with Runtime(url, trips) as runtime:
        runtime.settle(timeout=20)
        booked = [one.event.trip for one in runtime.events() if isinstance(one.event, Booked)]
        assert booked == [f"t{number}" for number in range(len(booked))]
        assert len(booked) in {told, told + 1}
        assert {one.id for one in runtime.find(Travel)} == set(booked)
