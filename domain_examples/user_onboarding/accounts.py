"""The account: who registered, and whether the email is theirs."""

from procession import Aggregate, Command, Event, Rejected, apply, handle


class RegisterAccount(Command):
    account_id: str
    email: str
    seats: int
    # Drawn by the sender of the command: what an aggregate decides follows from what it was given.
    code: str


class VerifyEmail(Command):
    account_id: str
    code: str


class WithdrawRegistration(Command):
    account_id: str


class CloseAccount(Command):
    account_id: str
    reason: str


class AccountRegistered(Event):
    account_id: str
    email: str
    seats: int
    code: str


class EmailVerified(Event):
    account_id: str


class RegistrationWithdrawn(Event):
    account_id: str


class AccountClosed(Event):
    account_id: str
    reason: str


class Account(Aggregate, identity="account_id"):
    status: str = "new"
    code: str = ""

    @handle(RegisterAccount)
    def register(self, command: RegisterAccount) -> AccountRegistered:
        # Refused at once: nothing is stored, no process starts.
        if self.status != "new":
            raise Rejected("the account was registered already")
        if "@" not in command.email:
            raise Rejected(f"{command.email!r} is no email address")
        return AccountRegistered(
            account_id=self.id, email=command.email, seats=command.seats, code=command.code
        )

    @handle(VerifyEmail)
    def verify(self, command: VerifyEmail) -> EmailVerified:
        # A wrong code is an answer for the one who typed it; for the process nothing has happened.
        self._refuse_unless("registered")
        if command.code != self.code:
            raise Rejected("the code is wrong")
        return EmailVerified(account_id=self.id)

    @handle(WithdrawRegistration)
    def withdraw(self, command: WithdrawRegistration) -> RegistrationWithdrawn:
        # Verifying and withdrawing meet here, in one aggregate: whichever comes first wins.
        self._refuse_unless("registered")
        return RegistrationWithdrawn(account_id=self.id)

    @handle(CloseAccount)
    def close(self, command: CloseAccount) -> AccountClosed:
        self._refuse_unless("verified")
        return AccountClosed(account_id=self.id, reason=command.reason)

    @apply(AccountRegistered)
    def _registered(self, event: AccountRegistered) -> None:
        self.status = "registered"
        self.code = event.code

    @apply(EmailVerified)
    def _verified(self, event: EmailVerified) -> None:
        self.status = "verified"

    @apply(RegistrationWithdrawn)
    def _withdrawn(self, event: RegistrationWithdrawn) -> None:
        self.status = "withdrawn"

    @apply(AccountClosed)
    def _closed(self, event: AccountClosed) -> None:
        self.status = "closed"

    def _refuse_unless(self, status: str) -> None:
        if self.status != status:
            raise Rejected(f"the account is {self.status}, not {status}")
