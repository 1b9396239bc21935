"""Reminds a customer who has paid: a command that is held back is not cancelled on one path.

The flawed one takes the reminder back only from an open invoice, and forgets that a promise to pay
makes it another.
"""

from datetime import timedelta

from procession import Aggregate, Command, Domain, Event, ProcessManager, Rejected, apply, handle
from procession.testing import Simulation

WEEK = timedelta(days=7)


class SendInvoice(Command):
    invoice_id: str


class PromiseToPay(Command):
    invoice_id: str


class Pay(Command):
    invoice_id: str


class Remind(Command):
    invoice_id: str


class InvoiceSent(Event):
    invoice_id: str


class PaymentPromised(Event):
    invoice_id: str


class Paid(Event):
    invoice_id: str


class Reminded(Event):
    invoice_id: str


class Invoice(Aggregate, identity="invoice_id"):
    is_sent: bool = False

    @handle(SendInvoice)
    def send(self, command: SendInvoice) -> InvoiceSent:
        return InvoiceSent(self.id)

    @handle(PromiseToPay)
    def promise(self, command: PromiseToPay) -> PaymentPromised:
        self._refuse_unless_sent()
        return PaymentPromised(self.id)

    @handle(Pay)
    def pay(self, command: Pay) -> Paid:
        self._refuse_unless_sent()
        return Paid(self.id)

    @handle(Remind)
    def remind(self, command: Remind) -> Reminded:
        return Reminded(self.id)

    @apply(InvoiceSent)
    def _sent(self, event: InvoiceSent) -> None:
        self.is_sent = True

    def _refuse_unless_sent(self) -> None:
        if not self.is_sent:
            raise Rejected("there is no such invoice")


class Nagging(ProcessManager, correlate="invoice_id"):
    invoice_id: str = ""
    status: str = "open"
    reminder: str = ""

    @handle(InvoiceSent, start=True)
    def on_sent(self, event: InvoiceSent) -> None:
        self.reminder = self.issue(Remind(self.invoice_id), after=WEEK)

    @handle(PaymentPromised)
    def on_promised(self, event: PaymentPromised) -> None:
        self.status = "promised"

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None:
        if self.status == "open":
            self.cancel(self.reminder)


class Polite(ProcessManager, correlate="invoice_id"):
    invoice_id: str = ""
    reminder: str = ""

    @handle(InvoiceSent, start=True)
    def on_sent(self, event: InvoiceSent) -> None:
        self.reminder = self.issue(Remind(self.invoice_id), after=WEEK)

    @handle(PaymentPromised)
    def on_promised(self, event: PaymentPromised) -> None:
        pass

    @handle(Paid, end=True)
    def on_paid(self, event: Paid) -> None:
        # One that has left already stays: taking it back is no error then.
        self.cancel(self.reminder)


flawed = Domain("billing")
# A service sends both commands, sooner or later, for what every customer does.
flawed.register(Invoice, Nagging, Pay, PromiseToPay)

correct = Domain("billing")
correct.register(Invoice, Polite, Pay, PromiseToPay)

program = [
    [SendInvoice("i1"), timedelta(days=1), Pay("i1")],
    [timedelta(days=2), PromiseToPay("i1")],
]


def nobody_is_reminded_once_it_is_known_that_they_paid(simulation: Simulation) -> None:
    manager = Nagging if simulation.knows(Nagging) else Polite
    steps = list(simulation.history(manager, "i1"))
    due = [one.time + WEEK for one in steps if one.handler == "on_sent"]
    known = [one.time for one in steps if one.handler == "on_paid"]
    for one in simulation.events("billing::invoice-i1"):
        # What was due before may be on its way.
        if known and known[0] < due[0] and isinstance(one.event, Reminded):
            assert one.time <= known[0], f"reminded on {one.time}, paid on {known[0]}"


invariants = [nobody_is_reminded_once_it_is_known_that_they_paid]
