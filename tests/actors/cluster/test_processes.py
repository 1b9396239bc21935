"""Several processes that each run a share of the partitions, killed for real."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procession import AsyncRuntime, Domain, PartitionDown, Runtime
from procession.cli import main
from procession.cluster.child import COLLECTED
from procession.store import LockedStore, divided_at, verify
from tests.actors.cluster.collecting import Look, Seen, collecting
from tests.actors.cluster.crossing import (
    Called,
    Case,
    Marked,
    Note,
    Numbered,
    Open,
    Opened,
    Part,
    crossing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procession import HealthProblem

ROOT = Path(__file__).parents[3]

PATIENCE = 60


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("divided") / "store"


@pytest.fixture(scope="module")
def runtime(path: Path) -> Iterator[Runtime]:
    """Two processes with two partitions each; each test has cases of its own."""
    with Runtime(path, crossing, partitions=4, processes=2) as opened:
        yield opened


def made_of(runtime: Runtime, cases: list[str]) -> dict[str, tuple[str, ...]]:
    views = {case: runtime.get(Case, case) for case in cases}
    return {case: tuple(sorted(view.state["made"])) for case, view in views.items() if view}


def test_calls_reach_the_partition_that_they_are_about(runtime: Runtime) -> None:
    assert runtime.ask(Open("one", ("p-one", "bad-one"))) == [Opened("one", ("p-one", "bad-one"))]
    ended = runtime.wait(
        Case,
        "one",
        until=lambda view: view.state["made"] and view.state["refused"],
        timeout=PATIENCE,
    )
    assert ended.state["made"] == ("p-one",)
    runtime.settle(timeout=PATIENCE)
    assert runtime.refresh(Case, "one", by="ann") == 1
    assert [one.by for one in runtime.history(Case, "one")] == [None, None, None, "ann"]
    part = runtime.get(Part, "p-one")
    assert part is not None
    assert part.state == {"made": 1}
    assert len(set(runtime.processes.values())) == 2  # type: ignore[attr-defined]
    assert os.getpid() not in runtime.processes.values()  # type: ignore[attr-defined]


def test_an_id_that_was_given_is_taken_once_whatever_process_takes_it(runtime: Runtime) -> None:
    first = runtime.ask(Open("once", ()), command_id="once-1")
    again = runtime.ask(Open("once", ()), command_id="once-1")
    assert first == again
    assert first.position == again.position


async def asked(runtime: Runtime) -> list[object]:
    async with AsyncRuntime.over(runtime) as coroutines:
        reply = await coroutines.ask(Open("coroutine", ()))
        await coroutines.tell(Open("told", ()))
        await coroutines.settle(timeout=PATIENCE)
        return list(reply)


def test_processes_of_the_runtime_collect_seldom_and_that_of_the_caller_as_before(
    tmp_path: Path,
) -> None:
    before = gc.get_threshold()
    with Runtime(tmp_path / "store", collecting, partitions=2, processes=2) as opened:
        assert opened.ask(Look("a"))[0] == Seen(list(COLLECTED))
    assert gc.get_threshold() == before


def test_coroutines_ask_as_threads_do(runtime: Runtime) -> None:
    import asyncio  # noqa: PLC0415 - for this test alone

    assert asyncio.run(asked(runtime)) == [Opened("coroutine", ())]
    assert runtime.get(Case, "told") is not None


def test_what_all_processes_did_is_told_put_together_by_their_parent(
    path: Path, runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [f"w{number}" for number in range(8)]
    for case in cases:
        runtime.ask(Open(case, (f"p-{case}", f"bad-{case}")))
        runtime.publish(Numbered(case, f"n-{case}"), stream=f"numbers-{case}")
    runtime.settle(timeout=PATIENCE)
    runtime.publish(Marked("n-w3"), stream="marks-1", event_id="a mark")
    runtime.publish(Called(tuple(cases)), stream="calls-1", event_id="a call")
    runtime.settle(timeout=PATIENCE)
    (row,) = runtime.why("a mark")
    assert (row.outcome, row.instance) == ("stepped", "w3")
    told = {row.instance: row.outcome for row in runtime.why("a call")}
    assert told == dict.fromkeys(cases, "stepped")
    opened = next(iter(runtime.events("crossing::desk-w3")))
    kinds = [node.kind for _, node in runtime.trace(opened.event_id).walk()]
    assert kinds.count("transition") == 3
    before = {view.id: view.state for view in runtime.find(Case)}
    assert runtime.rebuild(Case).rebuilt >= len(cases)
    assert {view.id: view.state for view in runtime.find(Case)} == before
    health = runtime.health()
    assert health.is_healthy
    assert health.backlog == {"crossing.Case": 0}
    states = runtime.partitions()
    assert {one.number: one.process for one in states} == runtime.processes  # type: ignore[attr-defined]
    assert main(["ls", "--store", str(path), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["running"] == len(before)
    runtime.backup(tmp_path / "copy")
    with Runtime(tmp_path / "copy", crossing, read_only=True) as copy:
        assert {view.id: view.state for view in copy.find(Case)} == before
        assert copy.verify() == []


def test_a_partition_whose_process_has_died_is_a_problem_and_keeps_no_one_waiting(
    runtime: Runtime,
) -> None:
    number, process = next(iter(runtime.processes.items()))  # type: ignore[attr-defined]
    os.kill(process, signal.SIGKILL)
    problems: tuple[HealthProblem, ...] = ()
    while not problems and runtime.processes[number] == process:  # type: ignore[attr-defined]
        problems = runtime.health().problems
    assert {one.name for one in problems} <= {"partition_down"}
    runtime.settle(timeout=PATIENCE)
    assert runtime.health().is_healthy


def test_killed_processes_lose_nothing_and_do_nothing_twice(path: Path, runtime: Runtime) -> None:
    cases = [f"k{number}" for number in range(300)]
    told: list[str] = []
    is_over = threading.Event()

    def tell() -> None:
        for case in cases:
            while not is_over.is_set():
                with suppress(PartitionDown):
                    runtime.tell(Open(case, (f"{case}-a", f"{case}-b")), command_id=case)
                    told.append(case)
                    break

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        for turn in range(4):
            while len(told) < 60 * (turn + 1) and teller.is_alive():
                teller.join(0.01)
            for number in {0: [0], 1: [1], 2: [0, 1], 3: [2]}[turn]:
                processes = runtime.processes  # type: ignore[attr-defined]
                with suppress(ProcessLookupError):
                    os.kill(processes[number], signal.SIGKILL)
        teller.join(PATIENCE)
    finally:
        is_over.set()
    assert told == cases
    while True:
        with suppress(PartitionDown):
            runtime.settle(timeout=PATIENCE)
            break
    assert made_of(runtime, cases) == {case: (f"{case}-a", f"{case}-b") for case in cases}
    for case in cases:
        for part in (f"{case}-a", f"{case}-b"):
            note = runtime.get(Note, f"note-{case}-{part}")
            made = runtime.get(Part, part)
            assert made is not None
            assert made.state == {"made": 1}
            assert note is not None
            assert note.state == {"count": 1}
    divided = divided_at(path)
    assert divided is not None
    for number in range(4):
        assert verify(divided.folder_of(number)) == []


def test_another_runtime_does_not_run_what_runs_already(path: Path, runtime: Runtime) -> None:
    del runtime
    with pytest.raises(LockedStore):
        Runtime(path, crossing)
    with Runtime(path, crossing, read_only=True) as looking:
        assert looking.get(Case, "nobody") is None


def test_a_domain_that_no_module_has_cannot_go_to_other_processes(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="in no module"):
        Runtime(tmp_path, Domain("lost"), partitions=2, processes=2)


def test_the_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from procession import Runtime\n"
        "from tests.actors.cluster.crossing import crossing\n"
        "if __name__ == '__main__':\n"
        f"    runtime = Runtime({str(tmp_path / 'store')!r}, crossing, partitions=2, processes=2)\n"
        "    print(*set(runtime.processes.values()), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    file = tmp_path / "service.py"
    file.write_text(script)
    with subprocess.Popen(
        [sys.executable, str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        children = [int(one) for one in service.stdout.readline().split()]
        assert len(children) == 2
        service.kill()
    # Their locks are free when they have ended.
    with Runtime(tmp_path / "store", crossing) if _free(tmp_path / "store") else _none() as again:
        again.settle(timeout=PATIENCE)


def _free(store: Path) -> bool:
    """Wait until the store can be opened."""
    for _ in range(PATIENCE * 20):
        try:
            Runtime(store, crossing).close()
        except LockedStore:
            threading.Event().wait(0.05)
        else:
            return True
    return False


def _none() -> Runtime:
    raise AssertionError("the children have not ended with their parent")


def test_a_service_of_the_command_line_runs_all_processes_and_ends_them(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "procession", "serve", str(store), "--partitions", "2"]
    command += ["--processes", "2", "--domain", "tests.actors.cluster.crossing:crossing"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        started = service.stdout.readline()
        listed = subprocess.run(
            [sys.executable, "-m", "procession", "partitions", "-s", str(store), "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        # Before anything is asserted, since a service that goes on would be waited for.
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE) == 0
    assert "runs, and answers at" in started
    processes = {json.loads(line)["process"] for line in listed.splitlines()}
    assert len(processes - {service.pid}) == 2
    # All locks are free: none of the processes is left.
    with Runtime(store, crossing):
        pass


def test_processes_that_end_when_they_are_asked_to_are_not_said_to_be_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with Runtime(tmp_path / "store", crossing, partitions=2, processes=2) as runtime:
            runtime.tell(Open("c1", ("p1",)), command_id="once")
    assert not [one for one in caplog.records if one.levelname in {"ERROR", "CRITICAL"}]
