"""The process: from a registered account to a welcomed user.

    AccountRegistered -> CodeWritten
                         EmailConfirmed -.
                         EmailVerified <-' -> WorkspaceProvisioned -> WelcomeWritten
                         RegistrationWithdrawn    ProvisioningFailed -> AccountClosed

The process asks for the code to be written, and then waits for a person, who verifies the email or
withdraws. That the code was written leads to nothing here; the post sends it. A person may do
neither: when `PATIENCE` is over, the process withdraws the registration itself, and ends.

An identity provider may confirm the email instead, and its word may be here before the account is
registered. `early="hold"` keeps it until there is a process that it can be for.
"""

from datetime import timedelta

from procession import ProcessManager, handle, rejected, timeout

from .accounts import (
    AccountClosed,
    AccountRegistered,
    CloseAccount,
    EmailVerified,
    RegistrationWithdrawn,
    VerifyEmail,
    WithdrawRegistration,
)
from .identity import EmailConfirmed
from .letters import WelcomeWritten, WriteCode, WriteWelcome
from .workspaces import ProvisioningFailed, ProvisionWorkspace, WorkspaceProvisioned

PATIENCE = timedelta(days=14)
"""How long a person has to verify the email."""


class UserOnboarding(ProcessManager, correlate="account_id", early="hold"):
    account_id: str = ""
    email: str = ""
    seats: int = 0
    code: str = ""
    status: str = "new"

    @handle(AccountRegistered, start=True)
    def on_account_registered(self, event: AccountRegistered) -> None:
        self.status = "awaiting_verification"
        self.email = event.email
        self.seats = event.seats
        self.code = event.code
        self.issue(WriteCode(account_id=event.account_id, email=event.email, code=event.code))
        self.set_timeout("verification", PATIENCE)

    @handle(EmailConfirmed)
    def on_email_confirmed(self, event: EmailConfirmed) -> None:
        # The account decides, as it does for a person who types the code.
        self.issue(VerifyEmail(account_id=self.account_id, code=self.code))

    @rejected(VerifyEmail)
    def on_verification_refused(self, command: VerifyEmail, reason: str) -> None:
        """The person was quicker, who verified or withdrew: that goes on from here."""

    @handle(EmailVerified)
    def on_email_verified(self, event: EmailVerified) -> None:
        self.cancel_timeout("verification")
        self.status = "provisioning"
        self.issue(ProvisionWorkspace(owner_id=self.account_id, seats=self.seats))

    @timeout("verification")
    def on_verification_timeout(self) -> None:
        # The account decides here too: its `RegistrationWithdrawn` ends the process.
        self.status = "withdrawing"
        self.issue(WithdrawRegistration(account_id=self.account_id))

    @rejected(WithdrawRegistration)
    def on_withdrawal_refused(self, command: WithdrawRegistration, reason: str) -> None:
        """The person was quicker by a moment: `EmailVerified` goes on from here."""

    @handle(RegistrationWithdrawn, end=True)
    def on_registration_withdrawn(self, event: RegistrationWithdrawn) -> None:
        self.status = "withdrawn"

    # A workspace's events name the account by another field: {ours: theirs}.
    @handle(WorkspaceProvisioned, correlate={"account_id": "owner_id"})
    def on_workspace_provisioned(self, event: WorkspaceProvisioned) -> None:
        self.status = "welcoming"
        self.issue(WriteWelcome(account_id=self.account_id, email=self.email, url=event.url))

    @handle(ProvisioningFailed, correlate={"account_id": "owner_id"})
    def on_provisioning_failed(self, event: ProvisioningFailed) -> None:
        self.status = "closing"
        self.issue(CloseAccount(account_id=self.account_id, reason=event.reason))

    @handle(WelcomeWritten, end=True)
    def on_welcome_written(self, event: WelcomeWritten) -> None:
        self.status = "onboarded"

    @handle(AccountClosed, end=True)
    def on_account_closed(self, event: AccountClosed) -> None:
        self.status = "closed"
