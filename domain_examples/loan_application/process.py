"""What happens to a loan application, and the process that follows it to its end.

An application is submitted, offers are made, people work on it, and it ends declined, cancelled or
activated (approved, and paid out). The bank goes on logging after that; a complete process skips
what comes late.
"""

from datetime import datetime

from procession import Domain, Event, ProcessManager, handle

CATEGORY = "bank::application"

bank = Domain("bank")


class Activity(Event):
    """One row of the log; every event of the bank has these fields."""

    seq: int
    time: datetime
    case: str
    activity: str
    lifecycle: str
    resource: str | None
    amount_requested: int


class ApplicationSubmitted(Activity):
    """A customer asks for a loan."""


class OfferCreated(Activity):
    """The bank makes an offer; a case may have several."""


class ApplicationDeclined(Activity):
    """The bank says no."""


class ApplicationCancelled(Activity):
    """The customer withdraws, or never answers."""


class ApplicationActivated(Activity):
    """The loan is approved and paid out."""


class ActivityRecorded(Activity):
    """Anything else that is logged for a case; `activity` says what."""


# All of them come from outside: no aggregate makes them, the program publishes what the log says.
bank.register(
    ApplicationSubmitted,
    OfferCreated,
    ApplicationDeclined,
    ApplicationCancelled,
    ApplicationActivated,
    ActivityRecorded,
)


@bank.register
class LoanApplication(ProcessManager, correlate="case"):
    """One application, from its submission to the first event that ends it."""

    case: str = ""
    amount_requested: int = 0
    offers_created: int = 0
    outcome: str = "open"

    @handle(ApplicationSubmitted, start=True)
    def on_submitted(self, event: ApplicationSubmitted) -> None:
        self.amount_requested = event.amount_requested

    @handle(OfferCreated)
    def on_offer_created(self, event: OfferCreated) -> None:
        self.offers_created += 1

    @handle(ActivityRecorded)
    def on_activity(self, event: ActivityRecorded) -> None:
        """Change nothing: that it happened is a step of the history all the same."""

    @handle(ApplicationDeclined, end=True)
    def on_declined(self, event: ApplicationDeclined) -> None:
        self.outcome = "declined"

    @handle(ApplicationCancelled, end=True)
    def on_cancelled(self, event: ApplicationCancelled) -> None:
        self.outcome = "cancelled"

    @handle(ApplicationActivated, end=True)
    def on_activated(self, event: ApplicationActivated) -> None:
        self.outcome = "approved"
