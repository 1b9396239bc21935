"""What a type checker says about a user's domain: the right is accepted, the wrong is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).parents[2]

DOMAIN = """
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pykka

from procession import (
    Aggregate, AsyncRuntime, Command, Context, Domain, Event, ProcessManager, Rejected, Runtime,
    apply, handle
)
from procession import rejected, timeout
from procession.testing import Scenario, VirtualClock, delayed

shop = Domain("shop")


class Placed(Event):
    order_id: str
    total: Decimal
    tags: list[str] = []


class Paid(Event, version=2):
    order_id: str


class Failed(Event, name="Billing.PaymentFailed.v1"):
    order_id: str
    reason: str | None = None


class Refunded(Event):
    order_id: str


class Pay(Command):
    order_id: str
    amount: Decimal


class Refund(Command[Refunded | Failed]):
    order_id: str


class Forget(Command[Refunded]):
    order_id: str


@shop.register
class Payment(Aggregate, identity="order_id"):
    status: str = "new"

    @handle(Pay)
    def pay(self, command: Pay) -> Paid | Failed:
        if self.status != "new":
            raise Rejected("payment was already requested")
        if command.amount > 1_000:
            return Failed(self.id, reason="over the limit")
        return Paid(order_id=self.id)

    @handle(Refund)
    def refund(self, command: Refund) -> Refunded | None:
        return Refunded(self.id) if self.status == "paid" else None

    @handle(Forget)
    def forget(self, command: Forget) -> Iterator[Refunded]:
        yield Refunded(self.id)

    @apply(Paid)
    def _paid(self, event: Paid) -> None:
        self.status = "paid"


@shop.register
class Fulfilment(ProcessManager, correlate="order_id", idle_timeout=timedelta(minutes=1)):
    order_id: str = ""
    log: list[str] = []

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.log.append(self.context.event_id)
        self.issue(Pay(event.order_id, event.total))

    @handle(Paid, end=True, correlate={"order_id": "order_id"})
    def on_paid(self, event: Paid) -> None: ...

    @handle(Failed, correlate=lambda event: [event.order_id])
    def on_failed(self, event: Failed) -> None:
        self.mark_as_complete()
"""

RIGHT = """

Placed("o1", Decimal(9))
Placed("o1", Decimal(9), ["new"])
Placed(order_id="o1", total=Decimal(9))
Placed("o1", total=Decimal(9), tags=[])
Failed("o1")


def send(command: Command) -> None: ...


def refund(command: Command[Refunded | Failed | Paid]) -> None: ...


async def wait() -> None:
    async with AsyncRuntime("var/shop", shop) as runtime:
        reveal_type(await runtime.ask(Refund("o1")))  # = Reply[Refunded | Failed]
        reveal_type(await runtime.ask(Pay("o1", Decimal(9))))  # = Reply[Any]
        reveal_type(await runtime.get(Fulfilment, "o1"))  # = InstanceView[Fulfilment] | None
        reveal_type([stored.event async for stored in runtime.events()])  # = list[Event]
        reveal_type(await runtime.wait(Fulfilment, "o1"))  # = InstanceView[Fulfilment]
        reveal_type(await runtime.tell(Pay("o1", Decimal(9))))  # = str


def main() -> None:
    send(Refund("o1"))
    refund(Refund("o1"))
    with Runtime("var/shop", shop, clock=VirtualClock()) as runtime:
        events = runtime.ask(Pay("o1", Decimal(9)), timeout=5)
        reveal_type(events)  # = Reply[Any]
        reveal_type(events.position)  # = int
        reveal_type(runtime.ask(Pay("o1", Decimal(9)), block=False))  # = Future[Reply[Any]]
        reveal_type(runtime.ask(Refund("o1")))  # = Reply[Refunded | Failed]
        reveal_type(runtime.ask(Refund("o1"), block=False))  # = Future[Reply[Refunded | Failed]]
        reveal_type(runtime.ask(Forget("o1"))[0])  # = Refunded
        reveal_type(runtime.tell(Pay("o1", Decimal(9))))  # = str
        reveal_type(runtime.tell_many([Pay("o1", Decimal(9))]))  # = list[str]
        reveal_type(runtime.publish(Paid("o1"), stream="a-b"))  # = int
        reveal_type(runtime.publish_many([Paid("o1")], stream="a-b"))  # = list[int]
        process = runtime.get(Fulfilment, "o1")
        reveal_type(process)  # = InstanceView[Fulfilment] | None
        assert process is not None
        reveal_type(process.is_complete)  # = bool
        reveal_type(process.state)  # = dict[str, Any]
        reveal_type(process.copy.log)  # = list[str]
        reveal_type([one.copy for one in runtime.find(Fulfilment)])  # = list[Fulfilment]
        reveal_type(runtime.get(Payment, "o1"))  # = AggregateView[Payment] | None
        reveal_type([t.version for t in runtime.history(Fulfilment, "o1")])  # = list[int]
        reveal_type([stored.event for stored in runtime.events()])  # = list[Event]
    reveal_type(Payment)  # = def (id: str =) -> Payment
    reveal_type(Payment("o1").pay(Pay("o1", Decimal(9))))  # = Paid | Failed
    reveal_type(Payment("o1").refund(Refund("o1")))  # = Refunded | Failed | None
    reveal_type(Fulfilment("o1").context)  # = Context
    reveal_type(Placed("o1", Decimal(9)).total)  # = Decimal
    reveal_type(shop.register(Paid))  # = def (order_id: str) -> Paid
    paid = Scenario(shop).given(Placed("o1", Decimal(9)), timeout("late")).when(Paid("o1"))
    reveal_type(paid)  # = ProcessOutcome
    reveal_type(paid.issues(Pay("o1", Decimal(9))).completes())  # = ProcessOutcome
    reveal_type(paid.issues(delayed(Pay("o1", Decimal(9)), timedelta(days=1))))  # = ProcessOutcome
    reveal_type(paid.when(timeout("late")))  # = ProcessOutcome
    reveal_type(paid.when(rejected(Pay("o1", Decimal(9)), reason="no")))  # = ProcessOutcome
    reveal_type(Scenario(shop, Payment).when(Pay("o1", Decimal(9))))  # = AggregateOutcome
    Scenario(shop).when(Pay("o1", Decimal(9))).emits(Paid("o1")).state(status="paid")
    with Runtime.ephemeral(shop) as small:
        small.clock.advance(timedelta(days=1))
        reveal_type(small)  # = Runtime
"""

WRONG = """

Placed("o1", "9")  # ! arg-type
Placed(order_id=1, total=Decimal(9))  # ! arg-type
Placed("o1")  # ! call-arg
Placed("o1", Decimal(9), colour="red")  # ! call-arg
Placed("o1", Decimal(9)).total = Decimal(1)  # ! misc
Placed("o1", Decimal(9)).colour  # ! attr-defined
handle(str)  # ! arg-type
handle("Placed")  # ! call-overload
apply(Pay)  # ! arg-type
Payment("o1").version = 7  # ! misc
Fulfilment("o1").id = "o2"  # ! misc


def wrong(runtime: Runtime, process: Fulfilment) -> None:
    runtime.ask(Paid("o1"))  # ! call-overload
    runtime.tell(Paid("o1"))  # ! arg-type
    runtime.publish(Pay("o1", Decimal(9)), stream="a-b")  # ! arg-type
    runtime.publish(Paid("o1"))  # ! call-arg
    runtime.get(Placed, "o1")  # ! type-var
    process.issue(Paid("o1"))  # ! arg-type
    process.status = "paid"  # ! attr-defined
    process.order_id = 7  # ! assignment
    runtime.ask(Pay("o1", Decimal(9)), block=False).reason  # ! attr-defined
    Scenario(shop).when(Pay)  # ! call-overload
    Scenario(shop).given(rejected(Pay))  # ! arg-type
    Scenario(shop).when(Paid("o1")).emits(Paid("o1"))  # ! attr-defined
    Scenario(shop).when(Paid("o1")).issues(Paid("o1"))  # ! arg-type
    Scenario(shop).when(Pay("o1", Decimal(9))).emits(Pay("o1", Decimal(9)))  # ! arg-type


class Refunds(Aggregate, identity="order_id"):
    @handle(Refund)  # ! arg-type
    def refund(self, command: Refund) -> Paid:
        return Paid(self.id)

    @handle(Forget)  # ! arg-type
    def forget(self, command: Forget) -> Iterator[Paid]:
        yield Paid(self.id)

    @handle(Pay)
    def pay(self, command: Pay) -> Refunded:
        return Refunded(self.id)


def only(command: Command[Refunded]) -> None: ...


only(Refund("o1"))  # ! arg-type
only(Pay("o1", Decimal(9)))


class Misspelt(ProcessManager, corelate="order_id"):
    @handle(Placed, begin=True)  # ! call-overload
    def on_placed(self, event: Placed) -> None: ...
"""


@pytest.fixture(scope="module")
def report(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> dict[str, dict[int, list[str]]]:
    """What `mypy --strict` says, by file and line."""
    folder = tmp_path_factory.mktemp("user")
    names = []
    for name, source in {"right": DOMAIN + RIGHT, "wrong": DOMAIN + WRONG}.items():
        (folder / f"{name}.py").write_text(dedent(source))
        names.append(f"{name}.py")
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    command += ["--config-file=", f"--cache-dir={cache}", "--no-error-summary", *names]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    found: dict[str, dict[int, list[str]]] = {name: {} for name in names}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"(\w+\.py):(\d+): (error|note): (.*)", line)
        assert match is not None, done.stdout
        found[match[1]].setdefault(int(match[2]), []).append(match[4])
    return found


def marked(source: str, mark: str) -> dict[int, str]:
    """What stands behind a mark, by line."""
    lines = enumerate(source.splitlines(), 1)
    return {number: line.split(mark)[1] for number, line in lines if mark in line}


def test_a_users_domain_and_its_use_pass_strict_checking(
    report: dict[str, dict[int, list[str]]],
) -> None:
    expected = marked(DOMAIN + RIGHT, "# = ")
    assert {
        number: re.sub(
            r"\b[a-z_]+\.(?=[\w.]*[A-Z])", "", text.partition('"')[2].rstrip('"')
        ).replace("builtins.", "")
        for number, [text] in report["right.py"].items()
    } == expected


def test_every_mistake_is_reported_where_it_is_made_and_nothing_else_is(
    report: dict[str, dict[int, list[str]]],
) -> None:
    found = {}
    for number, texts in report["wrong.py"].items():
        codes = [code for text in texts for code in re.findall(r"\[([a-z-]+)\]$", text)]
        found[number] = codes[0] if codes else texts[0]
    assert found == marked(DOMAIN + WRONG, "# ! ")
