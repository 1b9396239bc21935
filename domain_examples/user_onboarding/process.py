"""The process: from a registered account to a welcomed user.

    AccountRegistered -> VerificationCodeSent
                         EmailVerified -> WorkspaceProvisioned -> WelcomeSent
                         RegistrationWithdrawn    ProvisioningFailed -> AccountClosed

The process asks for the code to be sent, and then waits for a person, who verifies the email or
withdraws. That the code was sent leads to nothing, so the process does not listen for it.
"""

from actors import ProcessManager, handle

from .accounts import (
    AccountClosed,
    AccountRegistered,
    CloseAccount,
    EmailVerified,
    RegistrationWithdrawn,
)
from .letters import SendCode, SendWelcome, WelcomeSent
from .workspaces import ProvisioningFailed, ProvisionWorkspace, WorkspaceProvisioned


class UserOnboarding(ProcessManager, correlate="account_id"):
    account_id: str = ""
    email: str = ""
    seats: int = 0
    status: str = "new"

    @handle(AccountRegistered, start=True)
    def on_account_registered(self, event: AccountRegistered) -> None:
        self.status = "awaiting_verification"
        self.email = event.email
        self.seats = event.seats
        self.issue(SendCode(account_id=event.account_id, email=event.email, code=event.code))

    @handle(EmailVerified)
    def on_email_verified(self, event: EmailVerified) -> None:
        self.status = "provisioning"
        self.issue(ProvisionWorkspace(owner_id=self.account_id, seats=self.seats))

    @handle(RegistrationWithdrawn, end=True)
    def on_registration_withdrawn(self, event: RegistrationWithdrawn) -> None:
        self.status = "withdrawn"

    # A workspace's events name the account by another field: {ours: theirs}.
    @handle(WorkspaceProvisioned, correlate={"account_id": "owner_id"})
    def on_workspace_provisioned(self, event: WorkspaceProvisioned) -> None:
        self.status = "welcoming"
        self.issue(SendWelcome(account_id=self.account_id, email=self.email, url=event.url))

    @handle(ProvisioningFailed, correlate={"account_id": "owner_id"})
    def on_provisioning_failed(self, event: ProvisioningFailed) -> None:
        self.status = "closing"
        self.issue(CloseAccount(account_id=self.account_id, reason=event.reason))

    @handle(WelcomeSent, end=True)
    def on_welcome_sent(self, event: WelcomeSent) -> None:
        self.status = "onboarded"

    @handle(AccountClosed, end=True)
    def on_account_closed(self, event: AccountClosed) -> None:
        self.status = "closed"
