"""The post: sends what was written, once it is on disk.

Sending is the one thing here that no store can take back, so it is done by after-effects: never
for a letter that a crash could still undo, and at least once. A crash between sending and noting
it sends again, under the same key: the post office sees by it that it is the same one.
"""

from datetime import timedelta

from procession import ProcessManager, Retry, after

from .letters import CodeWritten, WelcomeWritten


class Outbox:
    """Stands for a mail server: keeps the text of each letter by its key and address."""

    def __init__(self) -> None:
        self.letters: dict[tuple[str, str], str] = {}

    def send(self, key: str, email: str, text: str) -> None:
        """Send a letter; one that was sent under this key before is not sent again."""
        self.letters.setdefault((key, email), text)


outbox = Outbox()
"""A service puts its mail server here."""


class Post(ProcessManager, stateless=True, retry=Retry(attempts=5, first=timedelta(seconds=10))):
    @after(CodeWritten)
    def send_code(self, event: CodeWritten) -> None:
        outbox.send(self.context.event_id, event.email, f"Your code is {event.code}.")

    @after(WelcomeWritten)
    def send_welcome(self, event: WelcomeWritten) -> None:
        outbox.send(self.context.event_id, event.email, f"Welcome! Come in: {event.url}")
