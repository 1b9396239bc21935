"""The socket in a store's folder: where it is, who may use it, and what it costs."""

import http.client
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from procession import Domain, Runtime
from procession.listening import place
from procession.listening.listener import MISSING_EXTRA, Listener, Serve
from procession.listening.place import (
    LONGEST_PATH,
    POINTER,
    UnfitFolder,
    folders_for,
    private_folder,
    sockets_of,
)
from tests.actors.control.service import short_folder

nothing = Domain("nothing")


@pytest.fixture
def store() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder / "store"


def missing() -> Serve:
    raise ModuleNotFoundError("No module named 'starlette'")


def socket_of(runtime: Runtime) -> Path:
    found = runtime.health().control
    assert found is not None
    return found


def asked(path: Path, request: str = "/stats") -> tuple[int, object]:
    calling = socket.socket(socket.AF_UNIX)
    calling.connect(str(path))
    connection = http.client.HTTPConnection("store")
    connection.sock = calling
    connection.request("GET", request)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def test_the_owner_of_a_store_listens_in_a_folder_that_keeps_all_others_out(store: Path) -> None:
    with Runtime(store, nothing) as runtime:
        found = socket_of(runtime)
        assert found == store / "control" / "socket"
        assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
        assert asked(found)[0] == 200
    assert not found.parent.exists()


def test_a_runtime_that_is_told_so_listens_nowhere(store: Path) -> None:
    with Runtime(store, nothing, control=False) as runtime:
        assert runtime.health().control is None
        assert runtime.health().control_problem == ""
    with Runtime(store, nothing, read_only=True):
        assert not (store / "control").exists()
    with Runtime.ephemeral(nothing) as runtime:
        assert runtime.health().control is None


def test_a_socket_that_a_dead_owner_left_is_replaced(store: Path) -> None:
    (store / "control").mkdir(parents=True, mode=0o755)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(store / "control" / "socket"))
    left.close()
    with Runtime(store, nothing) as runtime:
        found = socket_of(runtime)
        assert asked(found)[0] == 200
        assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700


def test_a_long_path_moves_the_socket_to_the_runtime_folder_and_the_store_says_where(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(store.parent))
    deep = store / ("x" * LONGEST_PATH)
    with Runtime(deep, nothing) as runtime:
        found = socket_of(runtime)
        assert found.parent.parent == store.parent
        assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        assert sockets_of(deep)[0] == found
        assert asked(found)[0] == 200
    assert not found.parent.exists()
    assert not (deep / POINTER).exists()


def test_where_the_store_cannot_have_a_socket_clients_look_where_the_owner_looked(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(store.parent / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", str(store.parent))
    store.mkdir()
    (store / "control").write_text("no folder")
    with Runtime(store, nothing) as runtime:
        found = socket_of(runtime)
        (store / POINTER).unlink()
        assert found in sockets_of(store)
        assert found.parent.parent == store.parent


def test_a_folder_of_another_user_gets_no_socket(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = next(folders_for(store))
    folder.mkdir(parents=True)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(UnfitFolder, match="is no folder of this user's"):
        private_folder(folder)


def test_a_client_trusts_no_socket_in_a_folder_of_another_user(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.mkdir()
    (store / POINTER).write_text("/tmp/theirs/socket\n")
    owners = {store: os.geteuid(), store / "control": os.geteuid(), Path("/tmp/theirs"): 12_345}
    monkeypatch.setattr(place, "_owner_of", lambda folder: owners.get(Path(folder)))
    assert sockets_of(store) == [store / "control" / "socket"]


def test_where_no_socket_can_be_the_store_opens_and_health_and_the_log_say_why(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(store / ("x" * LONGEST_PATH)))
    store.mkdir()
    (store / "control").write_text("no folder")
    with caplog.at_level(logging.WARNING, "procession"), Runtime(store, nothing) as runtime:
        health = runtime.health()
        assert health.control is None
        assert "is no folder of this user's" in health.control_problem
        assert health.is_healthy
    [line] = [one for one in caplog.messages if "no client can call" in one]
    assert str(store) in line


def test_no_thread_is_told_as_well(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.mkdir()

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    listener = Listener(store, missing)
    listener.start()
    assert "can't start new thread" in listener.problem
    assert not (store / "control").exists()
    listener.close()


def test_without_the_extra_a_client_is_told_what_to_install(store: Path) -> None:
    store.mkdir()

    listener = Listener(store, missing)
    listener.start()
    assert listener.socket is not None
    for _ in range(2):
        status, body = asked(listener.socket)
        assert status == 503
        assert body == {"error": {"type": "MissingExtra", "message": MISSING_EXTRA}}
    listener.close()


def test_a_client_is_told_when_what_answers_ends_the_thread(store: Path) -> None:
    store.mkdir()

    def load() -> Serve:
        raise SystemExit(3)

    listener = Listener(store, load)
    listener.start()
    assert listener.socket is not None
    for _ in range(2):
        assert asked(listener.socket)[0] == 503
    listener.close()


def test_nothing_that_answers_is_imported_before_a_client_calls(store: Path) -> None:
    program = f"""
import sys
from procession import Domain, Runtime
with Runtime({str(store)!r}, Domain("nothing")):
    print([one for one in ("starlette", "uvicorn", "asyncio", "http") if one in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_closing_waits_for_no_client_that_stays(store: Path) -> None:
    runtime = Runtime(store, nothing)
    staying = socket.socket(socket.AF_UNIX)
    staying.connect(str(socket_of(runtime)))
    staying.sendall(b"GET /tail?follow=true HTTP/1.1\r\nHost: store\r\n\r\n")
    assert staying.recv(15) == b"HTTP/1.1 200 OK"
    runtime.close()
    while staying.recv(1 << 16):
        pass
    staying.close()
    assert not [one for one in threading.enumerate() if one.name == "procession-control"]


def test_a_child_that_was_forked_does_not_keep_the_socket_of_a_dead_parent(store: Path) -> None:
    program = f"""
import os, sys, time
from procession import Domain, Runtime
runtime = Runtime({str(store)!r}, Domain("nothing"))
read, write = os.pipe()
if os.fork():
    # The child has let go of what is its parent's.
    os.read(read, 1)
    os.kill(os.getpid(), 9)
os.write(write, b"x")
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    parent.wait(timeout=30)
    calling = socket.socket(socket.AF_UNIX)
    # The child lives until its input ends.
    with pytest.raises(ConnectionRefusedError):
        calling.connect(str(store / "control" / "socket"))
    calling.close()
    assert parent.stdin is not None
    parent.stdin.close()
