"""Nodes that share a database, killed and hindered in turn, and what they leave."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from procession import Runtime
from procession.store import divided_store, verify_open
from tests.actors.cluster.crossing import Case, Note, Part, crossing
from tests.nodes.worker import parts_of
from tests.postgresql import Server, new_server
from tests.proxy import proxy_to

ROOT = Path(__file__).parents[2]

PARTITIONS = 8

PATIENCE = 120

KINDS = ("killed", "stopped", "cut off", "server ended", "answer lost", "joined")


class Node:
    """A worker, and what it has said."""

    def __init__(self, url: str, name: str, *, pause: float = 0.0) -> None:
        self.name = name
        self.asks: list[str] = []
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.runs = threading.Event()
        self._acknowledged = threading.Condition()
        command = [sys.executable, "-m", "tests.nodes.worker", url, name]
        self.process = subprocess.Popen(
            [*command, "--partitions", str(PARTITIONS), "--pause", str(pause)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self._take(said)

    def _take(self, said: Iterable[str]) -> None:
        for line in said:
            word, *rest = line.split()
            if word == "runs":
                self.runs.set()
            elif word == "error":
                self.errors.append(" ".join(rest))
            elif word == "asks":
                self.asks.append(rest[0])
            elif word == "asked":
                with self._acknowledged:
                    self.asked.append(rest[0])
                    self._acknowledged.notify_all()

    def wait(self, more: int) -> None:
        """Return when so many more cases were acknowledged."""
        wanted = len(self.asked) + more
        with self._acknowledged:
            done = self._acknowledged.wait_for(lambda: len(self.asked) >= wanted, PATIENCE)
        if not done:
            # It says where its threads are, and why it does not go on.
            self.signal(signal.SIGUSR1)
            time.sleep(5.0)
        assert done, (
            f"{self.name} asked for {len(self.asked)}, said {self.errors[-3:]}, and ended with "
            f"{self.process.poll()}"
        )

    def signal(self, how: int) -> None:
        self.process.send_signal(how)

    def end(self) -> None:
        """Have it end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0
        self._reader.join(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._reader.join(PATIENCE)


class Campaign:
    """Hinders nodes so many times.

    Args:
        times: how often
        seed: of what is chosen
        count: of nodes
        tell: called after each time

    """

    def __init__(
        self,
        times: int,
        seed: int,
        count: int = 3,
        kinds: tuple[str, ...] = KINDS,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._times = times
        self._random = random.Random(seed)
        self._count = count
        self._kinds = kinds
        self._tell = tell
        self._numbers = iter(range(1_000_000))
        self.kinds = Counter[str]()
        self.errors = Counter[str]()
        self.acknowledged = 0
        self.wrong: list[str] = []
        self._ended: list[Node] = []
        self._nodes: list[Node] = []

    def run(self) -> "Campaign":
        with ExitStack() as stack:
            self._server = server = stack.enter_context(new_server())
            self._proxy = stack.enter_context(proxy_to(server.port))
            self._schema = server.new_url().partition("schema=")[2]
            stack.callback(self._end_all)
            for _ in range(self._count):
                self._start()
            for node in self._nodes:
                assert node.runs.wait(PATIENCE)
            for time_ in range(self._times):
                kind = self._kinds[time_ % len(self._kinds)]
                self._hinder(kind)
                self.kinds[kind] += 1
                self._random.choice(self._nodes).wait(self._random.randrange(1, 10))
                self._tell(time_ + 1)
            for node in self._nodes:
                node.wait(3)
            for node in list(self._nodes):
                self._nodes.remove(node)
                self._ended.append(node)
                node.end()
            self._check(server)
        return self

    def _start(self) -> Node:
        name = f"n{next(self._numbers)}"
        through = self._server.url(self._schema, self._proxy.port)
        node = Node(through, name)
        self._nodes.append(node)
        return node

    def _end_all(self) -> None:
        for node in self._nodes:
            node.kill()

    def _hinder(self, kind: str) -> None:
        node = self._random.choice(self._nodes)
        if kind == "killed":
            self._replace(node)
        elif kind == "stopped":
            node.signal(signal.SIGSTOP)
            time.sleep(self._random.choice([0.5, 5.0]))
            node.signal(signal.SIGCONT)
        elif kind == "cut off":
            self._server.ask(
                self._server.url(self._schema),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'procession' AND random() < 0.5",
            )
        elif kind == "server ended":
            self._server.stop()
            time.sleep(self._random.choice([0.0, 1.0]))
            self._server.start()
        elif kind == "answer lost":
            self._proxy.has_lost.clear()
            self._proxy.loses_answer_to = b"crossing.Opened"
            self._proxy.has_lost.wait(PATIENCE)
        else:
            more = self._start()
            assert more.runs.wait(PATIENCE)
            self._nodes.remove(node)
            self._ended.append(node)
            node.end()

    def _replace(self, node: Node) -> None:
        self._nodes.remove(node)
        self._ended.append(node)
        node.kill()
        self._start()

    def _check(self, server: Server) -> None:
        url = server.url(self._schema)
        acknowledged = {case for node in self._ended for case in node.asked}
        tried = {case for node in self._ended for case in node.asks}
        self.acknowledged = len(acknowledged)
        for node in self._ended:
            self.errors.update(error.split()[1] for error in node.errors)
        with Runtime(url, crossing) as runtime:
            runtime.settle(timeout=PATIENCE)
            for case in sorted(tried):
                self._check_case(runtime, case, is_acknowledged=case in acknowledged)
        divided = divided_store(url)
        assert divided is not None
        for number in range(divided.count):
            with divided.open(number, read_only=True) as store:
                self.wrong += map(str, verify_open(store).findings)
        left = server.ask(url, "SELECT count(*) FROM calls WHERE answer IS NULL")
        if left != [(0,)]:
            self.wrong.append(f"calls that were not answered: {left}")

    def _check_case(self, runtime: Runtime, case: str, *, is_acknowledged: bool) -> None:
        view = runtime.get(Case, case)
        if view is None:
            if is_acknowledged:
                self.wrong.append(f"{case} was acknowledged, and is not there")
            return
        *good, bad = parts_of(case)
        if sorted(view.state["made"]) != sorted(good) or view.state["refused"] != (bad,):
            self.wrong.append(f"{case}: {view.state}")
        for part in good:
            made, note = runtime.get(Part, part), runtime.get(Note, f"note-{case}-{part}")
            if made is None or made.state != {"made": 1}:
                self.wrong.append(f"{part}: {made}")
            if note is None or note.state != {"count": 1}:
                self.wrong.append(f"the note of {part}: {note}")
