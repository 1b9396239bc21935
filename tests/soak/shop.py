"""The domain of the soak: small, with everything that can go on going on all the time."""

from datetime import timedelta

from procession import (
    Aggregate,
    Command,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Retry,
    after,
    apply,
    handle,
    rejected,
    timeout,
)

soaked = Domain("soaked")

mended: set[str] = set()
"""Orders whose events an operator has had retried, and which can be handled from then on."""


SHORT = timedelta(seconds=1)
"""How long aggregates are kept that nothing happens to, where anything is pruned at all."""


class Place(Command):
    order_id: str
    amount: int


class Placed(Event):
    order_id: str
    amount: int


class Charge(Command):
    order_id: str
    amount: int


class Charged(Event):
    order_id: str


class Send(Command):
    order_id: str


class Sent(Event):
    order_id: str


@soaked.register
class Order(Aggregate, identity="order_id", retention=SHORT):
    status: str = "new"

    @handle(Place)
    def place(self, command: Place) -> Placed:
        if self.status != "new":
            raise Rejected("placed before")
        return Placed(self.id, command.amount)

    @apply(Placed)
    def _placed(self, event: Placed) -> None:
        self.status = "placed"


@soaked.register
class Account(Aggregate, identity="order_id", retention=SHORT):
    charges: int = 0

    @handle(Charge)
    def charge(self, command: Charge) -> Charged:
        if command.amount % 10 == 0:
            raise Rejected("not that amount")
        return Charged(self.id)

    @apply(Charged)
    def _charged(self, event: Charged) -> None:
        self.charges += 1


@soaked.register
class Parcel(Aggregate, identity="order_id", retention=SHORT):
    sent: int = 0

    @handle(Send)
    def send(self, command: Send) -> Sent:
        return Sent(self.id)

    @apply(Sent)
    def _sent(self, event: Sent) -> None:
        self.sent += 1


@soaked.register
class Handling(
    ProcessManager,
    correlate="order_id",
    retry=Retry(attempts=2, first=timedelta(milliseconds=2)),
):
    order_id: str = ""
    amount: int = 0

    @handle(Placed, start=True)
    def on_placed(self, event: Placed) -> None:
        self.amount = event.amount
        self.set_timeout("slow", timedelta(milliseconds=3))
        # Moved again and again, and in the end not needed by most.
        self.set_timeout("never", timedelta(seconds=30))
        self.issue(Charge(self.id, event.amount))

    @handle(Charged)
    def on_charged(self, event: Charged) -> None:
        self.set_timeout("never", timedelta(seconds=60))
        if self.amount % 10 == 3 and self.context.attempt == 1:
            raise ConnectionError("try again")
        if self.amount % 100 == 7 and self.id not in mended:
            raise ValueError("a person must look at this")
        self.issue(Send(self.id), after=timedelta(milliseconds=2) if self.amount % 2 else None)

    @rejected(Charge)
    def on_refused(self, command: Charge, reason: str) -> None:
        self.mark_as_complete()

    @timeout("slow")
    def on_slow(self) -> None:
        self.amount += 0

    @timeout("never")
    def on_never(self) -> None:
        self.mark_as_complete()

    @handle(Sent, end=True)
    def on_sent(self, event: Sent) -> None:
        self.cancel_timeout("never")

    @after(Sent)
    def tell_the_world(self, event: Sent) -> None:
        if self.amount % 50 == 1 and self.context.attempt == 1:
            raise ConnectionError("the world does not answer")
