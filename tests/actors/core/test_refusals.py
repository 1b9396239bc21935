"""An aggregate refuses: whoever asked learns it, or the instance that issued the command."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

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
    handle,
    rejected,
)
from procession.store import LmdbStore
from procession.testing import VirtualClock

hotel = Domain("hotel")

FULL = "the hotel is full"


class Wanted(Event):
    guest: str
    rooms: list[str] = []
    after: int = 0
    end: bool = False
    fail: bool = False


class Book(Command):
    room: str
    guest: str


class Booked(Event):
    room: str
    guest: str


class Warn(Command):
    """Nobody handles its refusal."""

    room: str
    guest: str


class TooDear(Rejected):
    """A refusal of its own kind."""

    def __init__(self, price: int) -> None:
        super().__init__(f"it costs {price}")
        self.price = price


class Silent(Rejected):
    def __init__(self) -> None:
        """Tells its parent nothing."""


@hotel.register
class Room(Aggregate, identity="room"):
    guest: str = ""

    is_open: ClassVar[bool] = False

    @handle(Book)
    def book(self, command: Book) -> Booked:
        if self.id == "dear":
            raise TooDear(900)
        if self.id == "silent":
            raise Silent
        if self.id == "odd":
            raise Rejected(f"odd \udcff {7}")
        if self.id == "number":
            raise Rejected(42)  # type: ignore[arg-type]
        if self.id.startswith("full") and not Room.is_open:
            raise Rejected(FULL)
        return Booked(self.id, command.guest)

    @handle(Warn)
    def warn(self, command: Warn) -> Booked:
        if Room.is_open:
            return Booked(self.id, command.guest)
        raise Rejected("nobody is warned")


class Stay(ProcessManager, correlate="guest"):
    guest: str = ""
    notes: list[str] = []

    on_refusal: ClassVar[Any] = None

    @handle(Wanted, start=True)
    def want(self, event: Wanted) -> None:
        after = timedelta(seconds=event.after) if event.after else None
        for room in event.rooms:
            made = Warn if room.startswith("warn") else Book
            self.issue(made(room, self.guest), after=after)
        if event.end:
            self.mark_as_complete()
        if event.fail:
            raise ValueError("as the test wanted")
        self.notes.append("wanted")

    @rejected(Book)
    def refused(self, command: Book, reason: str) -> None:
        self.notes.append(f"{command.room}: {reason}")
        if Stay.on_refusal is not None:
            Stay.on_refusal(self, command, reason)


hotel.register(Stay)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    Room.is_open = False
    Stay.on_refusal = None
    yield
    Room.is_open = False
    Stay.on_refusal = None


def want(runtime: Runtime, *rooms: str, guest: str = "g", **more: Any) -> None:
    runtime.publish(Wanted(guest, list(rooms), **more), stream="feed::guest-1")
    runtime.settle(timeout=10)


def want_and_fail(runtime: Runtime, room: str) -> None:
    """The instance is suspended by the time at which the room refuses."""
    wanted = [Wanted("g", [room]), Wanted("g", fail=True)]
    runtime.publish_many(wanted, stream="feed::guest-1")
    runtime.settle(timeout=10)


def notes(runtime: Runtime, guest: str = "g", cls: type[Stay] = Stay) -> list[str]:
    view = runtime.get(cls, guest)
    assert view is not None
    found: list[str] = view.state["notes"]
    return found


def refusals(runtime: Runtime) -> int:
    return len(runtime._store.read_refusals(0, 100))


# Whoever asks


def test_whoever_asks_gets_the_refusal_with_its_reason() -> None:
    with Runtime.ephemeral(hotel) as runtime:
        with pytest.raises(Rejected, match=f"^{FULL}$") as caught:
            runtime.ask(Book("full", "g"))
        assert caught.value.reason == FULL
        with pytest.raises(Rejected, match=FULL):
            runtime.ask(Book("full", "g"), block=False).get(timeout=10)
        assert runtime.ask(Book("free", "g")) == [Booked("free", "g")]
        assert list(runtime.parked()) == []
        assert runtime.stats()["rejected"] == 2


def test_a_refusal_of_an_own_kind_reaches_whoever_asks_as_it_is() -> None:
    with Runtime.ephemeral(hotel) as runtime:
        with pytest.raises(TooDear) as caught:
            runtime.ask(Book("dear", "g"))
        assert (caught.value.price, caught.value.reason) == (900, "it costs 900")


@pytest.mark.parametrize(
    ("room", "reason"), [("silent", ""), ("odd", "odd \\udcff 7"), ("number", "42")]
)
def test_whatever_the_reason_is_it_harms_nothing(room: str, reason: str) -> None:
    with Runtime.ephemeral(hotel) as runtime:
        with pytest.raises(Rejected) as caught:
            runtime.ask(Book(room, "g"), command_id="1")
        assert caught.value.reason == reason
        want(runtime, room)
        assert notes(runtime) == ["wanted", f"{room}: {reason}"]


def test_asked_again_under_the_same_id_the_refusal_is_the_same(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            Runtime(tmp_path, hotel) as runtime,
            pytest.raises(Rejected, match=f"^{FULL}$"),
        ):
            runtime.ask(Book("full", "g"), command_id="once")
        Room.is_open = True


def test_a_told_command_that_is_refused_is_answered_and_not_parked() -> None:
    with Runtime.ephemeral(hotel) as runtime:
        runtime.tell(Book("full", "g"))
        runtime.settle(timeout=10)
        assert list(runtime.parked()) == []
        assert runtime.stats()["rejected"] == 1


# The instance that issued it


def test_the_instance_that_issued_it_is_told_in_a_step_of_its_own(clock: VirtualClock) -> None:
    with Runtime.ephemeral(hotel, clock=clock) as runtime:
        want(runtime, "full", "free")
        assert notes(runtime) == ["wanted", f"full: {FULL}"]
        first, second = runtime.history(Stay, "g")
        assert (second.handler, second.cause) == ("refused", "hotel.Stay-g@1.0")
        assert second.note == FULL
        assert first.note is None
        assert second.correlation_id == first.correlation_id
        assert refusals(runtime) == 0
        assert list(runtime.parked()) == []


def test_the_handler_may_issue_and_complete(clock: VirtualClock) -> None:
    def other_room(stay: Stay, command: Book, reason: str) -> None:
        stay.issue(Book("free", stay.guest))
        stay.mark_as_complete()

    Stay.on_refusal = other_room
    with Runtime.ephemeral(hotel, clock=clock) as runtime:
        want(runtime, "full")
        view = runtime.get(Stay, "g")
        assert view is not None
        assert view.is_complete
        booked = [one for one in runtime.events() if isinstance(one.event, Booked)]
        assert [one.event for one in booked] == [Booked("free", "g")]
        assert booked[0].correlation_id == next(iter(runtime.events())).correlation_id


def test_a_delayed_command_that_is_refused_is_told_too(clock: VirtualClock) -> None:
    with Runtime.ephemeral(hotel, clock=clock) as runtime:
        want(runtime, "full", after=60)
        clock.advance(timedelta(seconds=60))
        runtime.settle(timeout=10)
        assert notes(runtime) == ["wanted", f"full: {FULL}"]


def test_a_refusal_outlives_a_restart_wherever_the_program_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Path] = []

    class Recorded(LmdbStore):
        def __init__(self, path: Any, **options: Any) -> None:
            super().__init__(path, **options)
            self.path = path

        def close_commit(self, checkpoints: Any = None) -> None:
            super().close_commit(checkpoints)
            copies.append(tmp_path / str(len(copies)))
            shutil.copytree(self.path, copies[-1], ignore=shutil.ignore_patterns("control*"))

    with monkeypatch.context() as patch:
        patch.setattr("procession.runtime.open_store", Recorded)
        with Runtime(tmp_path / "source", hotel, largest_commit=1) as runtime:
            want(runtime, "full1", "full2")
    waited = 0
    for copy in copies:
        store = LmdbStore(copy)
        waited += bool(store.read_refusals(0, 10))
        store.close()
        with Runtime(copy, hotel, durability="none") as runtime:
            runtime.settle(timeout=10)
            assert sorted(notes(runtime)) == [f"full1: {FULL}", f"full2: {FULL}", "wanted"]
            assert refusals(runtime) == 0
    assert waited, "no copy was made between a refusal and its handling"


def test_a_refusal_after_completion_is_skipped(clock: VirtualClock) -> None:
    with Runtime.ephemeral(hotel, clock=clock) as runtime:
        want(runtime, "full", end=True)
        assert notes(runtime) == ["wanted"]
        assert refusals(runtime) == 0
        assert list(runtime.parked()) == []
        assert runtime.stats()["skipped_complete"] == 1


def test_a_refusal_while_the_instance_is_suspended_is_handled_after(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with Runtime(tmp_path, hotel, clock=clock) as runtime:
        want_and_fail(runtime, "full")
        assert notes(runtime) == ["wanted"]
        assert refusals(runtime) == 1
    with Runtime(tmp_path, hotel, clock=clock) as runtime:
        runtime.settle(timeout=10)
        assert notes(runtime) == ["wanted"]
        (parked,) = runtime.parked()
        runtime.skip(parked.id)
        runtime.settle(timeout=10)
        assert notes(runtime) == ["wanted", f"full: {FULL}"]
        assert refusals(runtime) == 0


def test_a_refusal_whose_handler_fails_is_parked_retried_and_skipped(clock: VirtualClock) -> None:
    def fail(stay: Stay, command: Book, reason: str) -> None:
        raise ValueError("cannot cope")

    Stay.on_refusal = fail
    with Runtime.ephemeral(hotel, clock=clock) as runtime:
        want(runtime, "full", guest="a")
        want(runtime, "full", guest="b")
        want(runtime, guest="a")
        first, second = runtime.parked()
        assert (first.cause, first.error) == ("hotel.Stay-a@1.0", "ValueError: cannot cope")
        assert notes(runtime, "a") == ["wanted"]
        Stay.on_refusal = None
        runtime.retry(first.id)
        runtime.skip(second.id)
        runtime.settle(timeout=10)
        assert sorted(notes(runtime, "a")) == [f"full: {FULL}", "wanted", "wanted"]
        assert notes(runtime, "b") == ["wanted"]
        assert refusals(runtime) == 0


inn = Domain("inn")


@inn.register
class Patient(Stay, retry=Retry(attempts=3, first=timedelta(seconds=1), factor=1)):
    """Copes at the third attempt."""


inn.register(Room)


def test_a_refusal_whose_handler_fails_is_tried_again_and_attempts_are_counted(
    clock: VirtualClock,
) -> None:
    attempts: list[int] = []

    def fail(stay: Stay, command: Book, reason: str) -> None:
        attempts.append(stay.context.attempt)
        if len(attempts) < 3:
            raise ValueError("not yet")

    Stay.on_refusal = fail
    with Runtime.ephemeral(inn, clock=clock) as runtime:
        want(runtime, "full")
        for _ in range(4):
            clock.advance(timedelta(seconds=1))
            runtime.settle(timeout=10)
        assert attempts == [1, 2, 3]
        assert notes(runtime, cls=Patient) == ["wanted", f"full: {FULL}"]
        assert refusals(runtime) == 0
        last = list(runtime.history(Patient, "g"))[-1]
        assert last.note == FULL


def test_a_retried_refusal_that_is_skipped_is_gone(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def fail(stay: Stay, command: Book, reason: str) -> None:
        attempts.append(stay.context.attempt)
        raise ValueError("never")

    def decide(stay: Stay, error: Exception, context: Context) -> Any:
        return SKIP if context.attempt == 2 else None

    Stay.on_refusal = fail
    monkeypatch.setattr(Patient, "on_error", decide)
    with Runtime.ephemeral(inn, clock=clock) as runtime:
        want(runtime, "full")
        for _ in range(3):
            clock.advance(timedelta(seconds=1))
            runtime.settle(timeout=10)
        assert attempts == [1, 2]
        assert refusals(runtime) == 0
        want(runtime)
        assert notes(runtime, cls=Patient) == ["wanted", "wanted"]


# Nobody listens


def test_without_a_handler_the_refusal_is_parked_and_suspends_nobody() -> None:
    with Runtime.ephemeral(hotel) as runtime:
        want(runtime, "warn")
        (parked,) = runtime.parked()
        assert (parked.process, parked.instance) == ("hotel.Stay", "g")
        assert parked.cause == "hotel.Stay-g@1.0"
        assert parked.error == "procession.errors.Rejected: nobody is warned"
        want(runtime)
        assert notes(runtime) == ["wanted", "wanted"]


def test_retry_sends_the_command_again_and_skip_drops_it(tmp_path: Path) -> None:
    with Runtime(tmp_path, hotel) as runtime:
        want(runtime, "warn1")
        want(runtime, "warn2")
    with Runtime(tmp_path, hotel) as runtime:
        first, second = runtime.parked()
        runtime.retry(first.id)
        runtime.settle(timeout=10)
        kept, again = runtime.parked()
        assert kept == second
        assert again.cause == first.cause
        Room.is_open = True
        runtime.retry(again.id)
        runtime.skip(second.id)
        runtime.settle(timeout=10)
        assert list(runtime.parked()) == []
        booked = [one.event for one in runtime.events() if isinstance(one.event, Booked)]
        assert booked == [Booked("warn1", "g")]


def test_a_refusal_whose_handler_is_gone_is_parked(tmp_path: Path, clock: VirtualClock) -> None:
    def inn_with(*, listens: bool) -> Domain:
        made = Domain("barn")

        class Night(ProcessManager, correlate="guest"):
            guest: str = ""

            @handle(Wanted, start=True)
            def want(self, event: Wanted) -> None:
                if event.fail:
                    raise ValueError("as the test wanted")
                if event.rooms:
                    self.issue(Book(event.rooms[0], self.guest))

            if listens:

                @rejected(Book)
                def refused(self, command: Book, reason: str) -> None:
                    told.append(reason)

        made.register(Night, Room)
        return made

    told: list[str] = []
    with Runtime(tmp_path, inn_with(listens=True), clock=clock) as runtime:
        want_and_fail(runtime, "full")
        (failed,) = runtime.parked()
    with Runtime(tmp_path, inn_with(listens=False), clock=clock) as runtime:
        runtime.skip(failed.id)
        runtime.settle(timeout=10)
        (parked,) = runtime.parked()
        assert parked.error.startswith("LookupError: barn.Night has no @rejected(Book) method")
    with Runtime(tmp_path, inn_with(listens=True), clock=clock) as runtime:
        runtime.retry(parked.id)
        runtime.settle(timeout=10)
        assert told == [FULL]
        assert list(runtime.parked()) == []
