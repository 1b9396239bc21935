"""A node goes on with a standby of its database that was promoted, and nothing is lost by it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

pytest.importorskip("psycopg")

from procession import ProcessionError, Runtime
from procession.clock import seconds
from procession.store.interrupts import Latch
from tests.actors.cluster.crossing import Case, Note, Open, Part, crossing
from tests.postgresql import Server, new_server, programs, standby_of
from tests.proxy import proxy_to

PATIENCE = 60

there = programs()
if there is not None and not (there / "pg_basebackup").exists():
    pytest.skip("this PostgreSQL has no pg_basebackup", allow_module_level=True)


def until_waits_for_the_standby(primary: Server) -> None:
    end = seconds() + PATIENCE
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    while not primary.ask(primary.url("public"), waits):
        assert seconds() < end
        Latch().wait(0.01)


def settle_with_effects(runtime: Runtime, cases: list[str]) -> None:
    """Settle, and wait for effects that met no database, which are tried again after a second."""
    end = seconds() + PATIENCE
    runtime.settle(timeout=PATIENCE)
    while any(runtime.get(Note, f"note-{one}-p-{one}") is None for one in cases):
        assert seconds() < end
        Latch().wait(0.01)
        runtime.settle(timeout=PATIENCE)


class Caller(threading.Thread):
    """Opens cases one after the other until it is told to end; asks again after an error."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._is_over = threading.Event()
        self.answered: list[str] = []
        self.start()

    def run(self) -> None:
        while not self._is_over.is_set():
            case = f"c{len(self.answered)}"
            try:
                self._runtime.ask(Open(case, (f"p-{case}",)), command_id=case, timeout=PATIENCE)
            except ProcessionError:
                Latch().wait(0.01)
            else:
                self.answered.append(case)

    def wait(self, more: int) -> None:
        wanted, end = len(self.answered) + more, seconds() + PATIENCE
        while len(self.answered) < wanted:
            assert seconds() < end
            Latch().wait(0.01)

    def end(self) -> None:
        self._is_over.set()
        self.join()


def test_a_standby_that_is_promoted_has_all_that_was_acknowledged() -> None:
    with (
        new_server() as primary,
        standby_of(primary) as standby,
        proxy_to(primary.port) as proxy,
    ):
        primary.follow(standby)
        url = primary.url("shop", proxy.port)
        with Runtime(url, crossing, partitions=4) as runtime:
            caller = Caller(runtime)
            caller.wait(10)
            receiving = "SELECT pid FROM pg_stat_wal_receiver"
            ((receiver,),) = standby.ask(standby.url("public"), receiving)
            # What is committed now no standby has, and no caller may hear of it.
            os.kill(receiver, signal.SIGSTOP)
            until_waits_for_the_standby(primary)
            primary.stop()
            os.kill(receiver, signal.SIGCONT)
            standby.promote()
            proxy.server_port = standby.port
            caller.wait(10)
            caller.end()
            settle_with_effects(runtime, caller.answered)
            for case in caller.answered:
                view = runtime.get(Case, case)
                assert view is not None
                assert view.state["made"] == (f"p-{case}",)
                made = runtime.get(Part, f"p-{case}")
                assert made is not None
                assert made.state == {"made": 1}
                note = runtime.get(Note, f"note-{case}-p-{case}")
                assert note is not None
                assert note.state == {"count": 1}
