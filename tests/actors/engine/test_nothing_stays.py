"""Promise 8: what was refused or failed is gone from memory when its answer was looked at.

Requests and stimuli are not looked at by Python's cycle collector, so no circle may go through one.
"""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from procession import Aggregate, Command, Domain, Event, ProcessManager, Rejected, Runtime, handle
from procession.store import StoreError

WAIT = 30

TIMES = 5

domain = Domain("staying")


class Ask(Command):
    name: str


class Answered(Event):
    name: str


class Failure(Exception):
    """Told apart from all others."""


class Refusal(Rejected):
    """Told apart from all others."""


class DiskFailure(StoreError):
    """Told apart from all others."""


@domain.register
class Asked(Aggregate, identity="name"):
    @handle(Ask)
    def ask(self, command: Ask) -> Answered:
        if self.id == "refused":
            raise Refusal("no")
        if self.id == "failed":
            raise Failure("broken")
        return Answered(self.id)


@domain.register
class Listener(ProcessManager, correlate="name"):
    @handle(Answered, start=True)
    def on_answered(self, event: Answered) -> None:
        if self.context.refreshing:
            raise Failure("not again")


def alive(kind: type[BaseException]) -> int:
    gc.collect()
    # Errors are tracked whatever refers to them.
    return sum(1 for one in gc.get_objects() if isinstance(one, kind))


def ask_refused(runtime: Runtime) -> None:
    with pytest.raises(Refusal):
        runtime.ask(Ask("refused"))


def ask_failed(runtime: Runtime) -> None:
    with pytest.raises(Failure):
        runtime.ask(Ask("failed"))


def tell_refused(runtime: Runtime) -> None:
    runtime.tell(Ask("refused"))
    runtime.settle(WAIT)


def refresh_failed(runtime: Runtime) -> None:
    runtime.ask(Ask("a"))
    runtime.settle(WAIT)
    with pytest.raises(Failure):
        runtime.refresh(Listener, "a")


def refused_by_the_disk(call: Callable[[Runtime], Any]) -> Callable[[Runtime], None]:
    def run(runtime: Runtime) -> None:
        store: Any = runtime._store
        close_commit = store.close_commit

        def refuse(*_: object) -> None:
            store.close_commit = close_commit
            store.drop_commit()
            raise DiskFailure("refused")

        store.close_commit = refuse
        with pytest.raises(DiskFailure):
            call(runtime)
        runtime.settle(WAIT)

    return run


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (ask_refused, Refusal),
        (tell_refused, Refusal),
        (ask_failed, Failure),
        (refresh_failed, Failure),
        (refused_by_the_disk(lambda runtime: runtime.tell(Ask("a"))), DiskFailure),
        (refused_by_the_disk(lambda runtime: runtime.ask(Ask("a"))), DiskFailure),
    ],
    ids=["ask", "tell", "a failing ask", "refresh", "tell and the disk", "ask and the disk"],
)
def test_an_error_does_not_stay_in_memory(
    call: Callable[[Runtime], None], kind: type[BaseException]
) -> None:
    with Runtime.ephemeral(domain) as runtime:
        for _ in range(TIMES):
            call(runtime)
        # The newest may still be in some thread's hand.
        assert alive(kind) <= 2
