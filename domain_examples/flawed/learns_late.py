"""Learns a key too late, and misses the event that names it.

The bank says at once under which number a transfer runs, and later that it is settled, naming only
the number. The flawed one notes the number when the invoice was found.
"""

from procession import Aggregate, Command, Domain, Event, Indexed, ProcessManager, handle
from procession.testing import Publish, Simulation, at_end


class FindInvoice(Command):
    payment_id: str


class TransferStarted(Event):
    payment_id: str
    number: str


class TransferSettled(Event):
    number: str


class InvoiceFound(Event):
    payment_id: str


class Invoices(Aggregate, identity="payment_id"):
    @handle(FindInvoice)
    def find(self, command: FindInvoice) -> InvoiceFound:
        return InvoiceFound(self.id)


class Late(ProcessManager, correlate="payment_id"):
    payment_id: str = ""
    told: str = ""
    number: Indexed[str] = ""
    is_settled: bool = False

    @handle(TransferStarted, start=True)
    def on_started(self, event: TransferStarted) -> None:
        self.told = event.number
        self.issue(FindInvoice(self.payment_id))

    @handle(InvoiceFound)
    def on_found(self, event: InvoiceFound) -> None:
        self.number = self.told

    @handle(TransferSettled, correlate={"number": "number"})
    def on_settled(self, event: TransferSettled) -> None:
        self.is_settled = True


class Early(ProcessManager, correlate="payment_id"):
    payment_id: str = ""
    number: Indexed[str] = ""
    is_settled: bool = False

    @handle(TransferStarted, start=True)
    def on_started(self, event: TransferStarted) -> None:
        self.number = event.number
        self.issue(FindInvoice(self.payment_id))

    @handle(InvoiceFound)
    def on_found(self, event: InvoiceFound) -> None:
        pass

    @handle(TransferSettled, correlate={"number": "number"})
    def on_settled(self, event: TransferSettled) -> None:
        self.is_settled = True


flawed = Domain("bank")
flawed.register(Invoices, Late)

correct = Domain("bank")
correct.register(Invoices, Early)

program = [
    Publish(TransferStarted("p1", "n7"), stream="bank::transfer-n7"),
    Publish(TransferSettled("n7"), stream="bank::transfer-n7"),
]


# Without failing handlers: while the process that would know the number is itself held up by a
# failure, an event that names only the number is parked, whenever the number is noted.
faults = ("order", "time", "crash", "commit", "duplicate", "sleep")


@at_end
def a_settled_transfer_is_known_to_be(simulation: Simulation) -> None:
    manager = Late if simulation.knows(Late) else Early
    view = simulation.get(manager, "p1")
    assert view is not None
    assert view.state["is_settled"], "the instance never learnt that n7 is settled"


invariants = [a_settled_transfer_is_known_to_be]
