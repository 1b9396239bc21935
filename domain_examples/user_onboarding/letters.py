"""The letters to one user: a code to verify the email with, and a welcome.

They are written here, so that they are in the log with everything else; `post` sends them.
"""

from procession import Aggregate, Command, Event, apply, handle


class WriteCode(Command):
    account_id: str
    email: str
    code: str


class WriteWelcome(Command):
    account_id: str
    email: str
    url: str


class CodeWritten(Event):
    account_id: str
    email: str
    code: str


class WelcomeWritten(Event):
    account_id: str
    email: str
    url: str


class Letters(Aggregate, identity="account_id"):
    written: int = 0

    @handle(WriteCode)
    def write_code(self, command: WriteCode) -> CodeWritten:
        return CodeWritten(account_id=self.id, email=command.email, code=command.code)

    @handle(WriteWelcome)
    def write_welcome(self, command: WriteWelcome) -> WelcomeWritten:
        return WelcomeWritten(account_id=self.id, email=command.email, url=command.url)

    # One method may apply several events that change the state in the same way.
    @apply(CodeWritten)
    @apply(WelcomeWritten)
    def _written(self, event: CodeWritten | WelcomeWritten) -> None:
        self.written += 1
