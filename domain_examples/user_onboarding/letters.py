"""The letters to one user: a code to verify the email with, and a welcome."""

from actors import Aggregate, Command, Event, apply, handle


class SendCode(Command):
    account_id: str
    email: str
    code: str


class SendWelcome(Command):
    account_id: str
    email: str
    url: str


class VerificationCodeSent(Event):
    account_id: str
    email: str
    code: str


class WelcomeSent(Event):
    account_id: str
    email: str
    url: str


class Letters(Aggregate, identity="account_id"):
    sent: int = 0

    @handle(SendCode)
    def send_code(self, command: SendCode) -> VerificationCodeSent:
        return VerificationCodeSent(account_id=self.id, email=command.email, code=command.code)

    @handle(SendWelcome)
    def send_welcome(self, command: SendWelcome) -> WelcomeSent:
        return WelcomeSent(account_id=self.id, email=command.email, url=command.url)

    # One method may apply several events that change the state in the same way.
    @apply(VerificationCodeSent)
    @apply(WelcomeSent)
    def _sent(self, event: VerificationCodeSent | WelcomeSent) -> None:
        self.sent += 1
