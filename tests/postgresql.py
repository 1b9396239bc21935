"""A PostgreSQL server for the tests: one for each process of pytest, on a disk in memory if there
is one, which listens at a port on loopback.

The program refuses to run as root, so it runs as another user then. It ends with the process that
started it, even if that is killed.
"""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from psycopg import OperationalError, connect

PROGRAMS = ("initdb", "postgres")

SETTINGS = {
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "60",
    "log_min_messages": "fatal",
}

STANDBY = "standby"
"""What a standby is known by at its primary."""

NEEDED = "PROCESSION_NEEDS_POSTGRESQL"
"""Set where a test must not be left out for want of a server."""

PR_SET_PDEATHSIG = 1

_numbers = count(1)


def programs() -> Path | None:
    """The folder with the server's programs; None if there is no PostgreSQL."""
    places = [Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places += sorted(Path("/usr").glob("pgsql*/bin"), reverse=True)
    for place in places:
        if all(os.access(place / one, os.X_OK) for one in PROGRAMS):
            # The others are where these really are.
            return (place / PROGRAMS[0]).resolve().parent
    return None


def _other_user() -> pwd.struct_passwd | None:
    """Whom the server runs as, if it cannot be this user."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("there is no user that PostgreSQL could run as")


def _end_with_parent() -> None:
    """Have the server end as soon as the process of the tests has, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


class Server:
    """A server with a folder of its own, which can be ended and started again.

    Args:
        folder: where all of it is
        programs: the folder with its programs
        primary: which it follows; it has tables of its own without one

    """

    def __init__(self, folder: Path, programs: Path, primary: "Server | None" = None) -> None:
        self._programs = programs
        self._folder = folder
        self.data = folder / "data"
        self._user = _other_user()
        self._running: subprocess.Popen[bytes] | None = None
        # Making the tables takes a hundred times as long as emptying them.
        self._free: list[str] = []
        self._taken: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        folder.chmod(0o755)
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        if primary is not None:
            come_in = f"host=127.0.0.1 port={primary.port} user=postgres application_name={STANDBY}"
            arguments = ("-D", self.data, "-R", "-c", "fast", "--no-sync", "-d", come_in)
            self._call("pg_basebackup", *arguments)
            return
        self._call(
            "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"
        )

    def _command(self, program: str, *arguments: object) -> list[str]:
        return [str(self._programs / program), *map(str, arguments)]

    def _options(self) -> dict[str, object]:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        options: dict[str, object] = {"cwd": self._folder, "env": environment}
        if self._user is not None:
            options |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return options

    def _call(self, program: str, *arguments: object) -> None:
        subprocess.run(
            self._command(program, *arguments),
            check=True,
            capture_output=True,
            timeout=60,
            **self._options(),  # type: ignore[call-overload]
        )

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def start(self, **settings: str) -> None:
        given = [f"{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
        arguments = [part for one in given for part in ("-c", one)]
        place = ("-D", self.data, "-p", self.port, "-h", "127.0.0.1", "-k", self._folder)
        with (self._folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                self._command("postgres", *place, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call of C
                **self._options(),  # type: ignore[call-overload]
            )
        self._wait()

    def _wait(self) -> None:
        assert self._running is not None
        while True:
            try:
                connect(self.url(), connect_timeout=30).close()
            except OperationalError:
                assert self._running.poll() is None, (self._folder / "log").read_text()
            else:
                return

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """End it; with SIGQUIT at once, as if the machine lost power."""
        if self._running is not None:
            self._running.send_signal(how)
            self._running.wait(timeout=60)
            self._running = None

    def follow(self, standby: "Server") -> None:
        """Acknowledge nothing from now on that the standby has not on its disk."""
        self.ask(self.url("public"), f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
        self.ask(self.url("public"), "SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Be a primary from now on, and no standby any more."""
        assert self.ask(self.url("public"), "SELECT pg_promote()") == [(True,)]

    def url(self, schema: str | None = None, port: int | None = None) -> str:
        """An address by which its superuser comes in, with a schema."""
        place = f"127.0.0.1:{port or self.port}"
        address = f"postgresql://postgres@{place}/postgres?sslmode=disable"
        return address if schema is None else f"{address}&schema={schema}"

    def new_url(self, *, without_tables: bool = False) -> str:
        """An address with a schema that no other test has; without tables, or with empty ones."""
        if self._free and not without_tables:
            schema = self._free.pop()
            self._clear(schema)
        else:
            schema = f"test_{os.getpid()}_{next(_numbers)}"
        self._taken.append(schema)
        return self.url(schema)

    def take_back(self) -> None:
        """The test has ended: others may have its schemas."""
        self._free += self._taken
        self._taken.clear()

    def ask(self, url: str, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the server says to SQL about the tables of a store."""
        with connect(self.url(), autocommit=True) as connection:
            schema = url.partition("schema=")[2].partition("&")[0]
            connection.execute(f'SET search_path = "{schema}"')
            found = connection.execute(sql, parameters)
            return found.fetchall() if found.description else []

    def _clear(self, schema: str) -> None:
        with connect(self.url(), autocommit=True) as connection:
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]
            ).fetchall()
            tables = {table for (table,) in found}
            divided = f'SELECT FROM "{schema}".store WHERE partitions > 1'
            # How many partitions there are is for good; and what is no store is no test's to find.
            if "store" not in tables or connection.execute(divided).fetchall():
                connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
                return
            gone = (f'DELETE FROM "{schema}"."{one}";' for one in tables - {"store", "owners"})
            connection.execute(
                f'{" ".join(gone)} UPDATE "{schema}".owners SET token = NULL, epoch = epoch + 1'
            )


def new_server(folder: str | None = None, **settings: str) -> AbstractContextManager[Server]:
    """A server that runs as long as the block lasts.

    Args:
        folder: in which its own is made; of a disk in memory if it is not given
        settings: of the server

    """
    return _running(folder, None, settings)


def standby_of(primary: Server) -> AbstractContextManager[Server]:
    """A server that follows another one for as long as the block lasts, or until it is promoted."""
    return _running(None, primary, {})


@contextmanager
def _running(
    folder: str | None, primary: Server | None, settings: dict[str, str]
) -> Iterator[Server]:
    there = programs()
    if there is None:
        leave_out = pytest.fail if os.environ.get(NEEDED) else pytest.skip
        leave_out("there is no PostgreSQL here: its initdb and postgres are in no folder of PATH")
    memory = Path("/dev/shm")
    place = folder or (memory if os.access(memory, os.W_OK) else None)
    own = Path(tempfile.mkdtemp(prefix="procession-postgresql-", dir=place))
    try:
        server = Server(own, there, primary)
        server.start(**settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(own, ignore_errors=True)


@cache
def _shared() -> tuple[Server, object]:
    block = new_server()
    return block.__enter__(), block


def shared_server() -> Server:
    """The one of this process, which is started when it is first wanted."""
    return _shared()[0]


def take_back_schemas() -> None:
    """A test has ended."""
    if _shared.cache_info().currsize:
        shared_server().take_back()


def stop_shared_server() -> None:
    """End it, if it was started."""
    if _shared.cache_info().currsize:
        _shared()[1].__exit__(None, None, None)  # type: ignore[attr-defined]
        _shared.cache_clear()
