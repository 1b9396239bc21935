"""What failed attempts leave in the log: each has a line with fields, and no line has a payload."""

import io
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter

from procession import (
    SKIP,
    Aggregate,
    Command,
    Context,
    Domain,
    Event,
    ProcessManager,
    Rejected,
    Retry,
    Runtime,
    StoreError,
    after,
    apply,
    handle,
    rejected,
    timeout,
)
from procession.clock import to_micros
from procession.engine.failure_log import KINDS, Failure, FailureLog
from procession.store import LmdbStore
from procession.testing import VirtualClock

SECRET = "sesame-4711"

bank = Domain("bank")


class Opened(Event):
    account: str
    pin: str


class Used(Event):
    account: str
    pin: str


class Lost(Event):
    account: str
    pin: str


class Charge(Command):
    account: str
    pin: str


class Charged(Event):
    account: str
    pin: str


class Close(Command):
    account: str
    pin: str


def raise_with(pin: str) -> None:
    """Fails as user code does, with what it was given in every place that an error has."""
    try:
        dict[str, str]()[pin]
    except KeyError as error:
        failure = ValueError(f"no such pin: {pin}")
        failure.add_note(f"tried {pin}")
        raise failure from error


@bank.register
class Account(Aggregate, identity="account", snapshot_every=1):
    pin: int = 0

    @handle(Charge)
    def charge(self, command: Charge) -> Charged:
        if self.version > 1:
            raise_with(command.pin)
        return Charged(self.id, command.pin)

    @handle(Close)
    def close(self, command: Close) -> None:
        raise Rejected(f"not with {command.pin}")

    @apply(Charged)
    def _charged(self, event: Charged) -> None:
        # It fits no int, so there is no snapshot.
        self.pin = event.pin  # type: ignore[assignment]


@bank.register
class Card(
    ProcessManager,
    correlate="account",
    retry=Retry(attempts=3, first=timedelta(seconds=10)),
):
    account: str = ""
    pin: str = ""

    decide: ClassVar[Any] = None

    @handle(Opened, start=True)
    def opened(self, event: Opened) -> None:
        self.pin = event.pin
        self.set_timeout("expires", timedelta(days=1))

    @handle(Used)
    def used(self, event: Used) -> None:
        raise_with(event.pin)

    @handle(Lost, correlate=lambda event: raise_with(event.pin))
    def lost(self, event: Lost) -> None:
        raise AssertionError("it is never found")

    @timeout("expires")
    def expires(self) -> None:
        raise_with(self.pin)

    @after(Opened)
    def send(self, event: Opened) -> None:
        raise_with(event.pin)

    def on_error(self, error: Exception, context: Context) -> Any:
        return Card.decide(error) if Card.decide is not None else None


@bank.register
class Clerk(ProcessManager, correlate="account"):
    account: str = ""

    @handle(Opened, start=True)
    def opened(self, event: Opened) -> None:
        self.issue(Charge(event.account, event.pin))
        self.issue(Charge(event.account, event.pin))
        self.issue(Charge(event.account, event.pin))
        self.issue(Close(event.account, event.pin))

    @rejected(Close)
    def not_closed(self, command: Close, reason: str) -> None:
        raise_with(reason)


class Lines(logging.Handler):
    """All that is logged by anyone."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, handler: str) -> list[logging.LogRecord]:
        return [one for one in self.records if getattr(one, "handler", "") == handler]

    def everything(self) -> str:
        """Each record as it could be written, with whatever it has."""
        said = []
        for one in self.records:
            said += [one.getMessage(), repr(one.__dict__)]
            if one.exc_info and one.exc_info[1] is not None:
                said += traceback.format_exception(one.exc_info[1])
        return "\n".join(said)


@pytest.fixture
def lines() -> Iterator[Lines]:
    found, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(found)
    root.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(found)
    root.setLevel(level)


@pytest.fixture(autouse=True)
def nothing_decided() -> Iterator[None]:
    Card.decide = None
    yield
    Card.decide = None


def use(runtime: Runtime, *accounts: str) -> None:
    headers = {"token": SECRET}
    for account in accounts:
        stream = f"bank::card-{account}"
        runtime.publish(Opened(account, SECRET), stream=stream, headers=headers)
        runtime.publish(Used(account, SECRET), stream=stream, headers=headers)
    runtime.settle(timeout=10)


def test_each_failed_attempt_has_a_line_that_says_when_the_next_one_is(
    clock: VirtualClock, lines: Lines
) -> None:
    with Runtime.ephemeral(bank, clock=clock) as runtime:
        use(runtime, "a1")
        for seconds in (10, 20):
            clock.advance(timedelta(seconds=seconds))
        runtime.settle(timeout=10)
    said: list[Any] = lines.of("used")
    assert [(one.attempt, one.outcome, one.next_try) for one in said] == [
        (1, "retried", "2024-02-29T12:00:10+00:00"),
        (2, "retried", "2024-02-29T12:00:30+00:00"),
        (3, "parked", None),
    ]
    assert {(one.process_manager, one.instance, one.event) for one in said} == {
        ("bank.Card", "a1", "bank::card-a1@2")
    }
    assert {one.error for one in said} == {"ValueError"}
    assert said[0].levelno == logging.WARNING
    assert said[0].place.endswith("in raise_with")
    assert __file__ in said[0].place
    message = said[0].getMessage()
    for part in (
        "bank.Card 'a1'",
        "used",
        "bank::card-a1@2",
        "attempt 1",
        "ValueError",
        "12:00:10",
    ):
        assert part in message


def formatted_by_structlog() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )


@pytest.mark.parametrize(
    "formatter",
    [JsonFormatter, formatted_by_structlog],
    ids=["python-json-logger", "structlog"],
)
def test_lines_of_json_have_the_fields_of_a_failed_attempt(
    clock: VirtualClock, formatter: Callable[[], logging.Formatter]
) -> None:
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter())
    logger = logging.getLogger("procession")
    logger.addHandler(handler)
    try:
        with Runtime.ephemeral(bank, clock=clock) as runtime:
            runtime.publish(Opened("a1", SECRET), stream="bank::card-a1")
            runtime.publish(Used("a1", SECRET), stream="bank::card-a1", event_id="use-1")
            runtime.settle(timeout=10)
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    (line,) = [one for one in lines if one.get("handler") == "used"]
    place = line.pop("place")
    assert place.endswith(" in raise_with")
    assert SECRET not in output.getvalue()
    expected = {
        "process_manager": "bank.Card",
        "instance": "a1",
        "event": "use-1",
        "handler": "used",
        "attempt": 1,
        "error": "ValueError",
        "outcome": "retried",
        "next_try": (clock.now() + timedelta(seconds=10)).isoformat(),
        "left_out": 0,
    }
    assert {name: line.get(name) for name in expected} == expected


def test_each_failed_attempt_of_an_after_effect_has_a_line(
    clock: VirtualClock, lines: Lines
) -> None:
    with Runtime.ephemeral(bank, clock=clock) as runtime:
        use(runtime, "a1")
        for seconds in (10, 20):
            clock.advance(timedelta(seconds=seconds))
        runtime.settle(timeout=10)
    said: list[Any] = lines.of("send")
    assert [(one.attempt, one.outcome) for one in said] == [
        (1, "retried"),
        (2, "retried"),
        (3, "parked"),
    ]
    assert said[1].next_try == "2024-02-29T12:00:30+00:00"


def test_what_on_error_passes_over_has_a_line(clock: VirtualClock, lines: Lines) -> None:
    Card.decide = lambda error: SKIP
    with Runtime.ephemeral(bank, clock=clock) as runtime:
        use(runtime, "a1")
    (said,) = lines.of("used")
    assert said.__dict__["outcome"] == "skipped"


def test_there_is_one_line_a_second_of_each_kind_and_the_next_says_how_many_were_left_out(
    clock: VirtualClock, lines: Lines
) -> None:
    with Runtime.ephemeral(bank, clock=clock) as runtime:
        use(runtime, *(f"a{number}" for number in range(5)))
        assert [one.__dict__["left_out"] for one in lines.of("used")] == [0]
        clock.advance(timedelta(seconds=1))
        use(runtime, "b")
        first, second = lines.of("used")
        assert second.__dict__["left_out"] == 4
        assert "4 more like it were left out" in second.getMessage()
        assert "left out" not in first.getMessage()


def test_what_was_left_out_last_is_told_of_when_the_runtime_is_closed(
    clock: VirtualClock, lines: Lines
) -> None:
    with Runtime.ephemeral(bank, clock=clock) as runtime:
        use(runtime, "a", "b", "c")
    assert [one.__dict__["left_out"] for one in lines.of("used")] == [0, 2]


def test_no_line_has_anything_of_a_payload_a_header_or_the_text_of_an_error(
    tmp_path: Path, clock: VirtualClock, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(error: Exception) -> Any:
        if clock.now() > datetime(2024, 3, 1, tzinfo=UTC):
            raise_with(str(error))

    Card.decide = decide
    disk = {"is_full": False}
    close_commit = LmdbStore.close_commit

    def refuse(store: LmdbStore, checkpoints: Any = None) -> None:
        if disk["is_full"]:
            disk["is_full"] = False
            store.drop_commit()
            raise StoreError("committing: No space left on device")
        close_commit(store, checkpoints)

    monkeypatch.setattr(LmdbStore, "close_commit", refuse)
    with Runtime(tmp_path / "store", bank, clock=clock) as runtime:
        runtime.publish(Lost("a1", SECRET), stream="bank::card-a1", headers={"token": SECRET})
        use(runtime, "a1", "a2")
        for seconds in (10, 20):
            clock.advance(timedelta(seconds=seconds))
        disk["is_full"] = True
        with pytest.raises(StoreError):
            use(runtime, "a3")
        # The timeout fails, and on_error with it.
        use(runtime, "a4")
        Card.decide = lambda error: SKIP
        clock.advance(timedelta(seconds=30))
        Card.decide = decide
        clock.advance(timedelta(days=2))
        runtime.settle(timeout=10)
        parked = list(runtime.parked())
        assert any(SECRET in one.error for one in parked)
    everything = lines.everything()
    # Each way to the log was taken.
    for handler in ("used", "send", "correlate", "timeout:expires", "on_error", "a commit"):
        assert lines.of(handler), handler
    assert lines.of("bank.Charge.v1")
    assert lines.of("the refusal of bank.Close.v1")
    assert "no snapshot of Account" in everything
    assert SECRET not in everything


def test_a_fault_of_the_runtimes_own_is_told_with_its_lines_of_code_and_no_values(
    lines: Lines,
) -> None:
    log = FailureLog(lambda: 0)
    try:
        raise_with(SECRET)
    except ValueError as error:
        log.tell_fault("a step failed", error)
    (said,) = lines.records
    assert said.levelno == logging.CRITICAL
    assert "in raise_with" in said.getMessage()
    assert SECRET not in lines.everything()


def failed(handler: str = "used", error: BaseException | None = None) -> Failure:
    return Failure(error=error or ValueError(SECRET), handler=handler, process="bank.Card")


def test_a_clock_that_is_set_back_silences_nothing(lines: Lines) -> None:
    times = iter([5_000_000, 1_000_000])
    log = FailureLog(lambda: next(times))
    log.tell(failed())
    log.tell(failed())
    assert len(lines.records) == 2


def test_a_second_is_counted_by_the_clock_that_was_given(lines: Lines) -> None:
    now = to_micros(datetime(2024, 2, 29, tzinfo=UTC))
    times = iter([now, now + 999_999, now + 1_000_000])
    log = FailureLog(lambda: next(times))
    for _ in range(3):
        log.tell(failed())
    assert [one.__dict__["left_out"] for one in lines.records] == [0, 1]


def test_other_handlers_and_other_types_of_error_have_lines_of_their_own(lines: Lines) -> None:
    log = FailureLog(lambda: 0)
    log.tell(failed())
    log.tell(failed("lost"))
    log.tell(failed(error=KeyError()))
    log.tell(failed())
    assert len(lines.records) == 3


def test_a_bounded_number_of_kinds_is_kept_in_mind(lines: Lines) -> None:
    log = FailureLog(lambda: 0)
    for number in range(KINDS + 10):
        log.tell(failed(f"handler {number}"))
    assert len(log._kinds) == KINDS


def test_lines_left_out_by_many_threads_are_all_counted(lines: Lines) -> None:
    log = FailureLog(lambda: 0)

    def fail() -> None:
        for _ in range(200):
            log.tell(failed())

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert [one.__dict__["left_out"] for one in lines.records] == [0, 799]
