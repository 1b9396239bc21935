import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain_examples.user_onboarding import (
    PATIENCE,
    Account,
    AccountClosed,
    AccountRegistered,
    CodeWritten,
    EmailConfirmed,
    EmailVerified,
    Letters,
    Outbox,
    ProvisioningFailed,
    ProvisionWorkspace,
    RegisterAccount,
    RegistrationWithdrawn,
    UserOnboarding,
    VerifyEmail,
    WelcomeWritten,
    WithdrawRegistration,
    WorkspaceProvisioned,
    WriteCode,
    WriteWelcome,
    onboarding,
    post,
)
from procession import Command, Event, Rejected, Runtime
from procession.store import LmdbStore
from procession.testing import Simulation, VirtualClock, at_end, explore

REGISTER = RegisterAccount(account_id="ada", email="ada@example.org", seats=3, code="1843")
VERIFY = VerifyEmail(account_id="ada", code="1843")


CONFIRMED = EmailConfirmed(account_id="ada")


@pytest.fixture(autouse=True)
def outbox(monkeypatch: pytest.MonkeyPatch) -> Outbox:
    made = Outbox()
    monkeypatch.setattr(post, "outbox", made)
    return made


@pytest.fixture
def runtime(outbox: Outbox, clock: VirtualClock) -> Iterator[Runtime]:
    with Runtime.ephemeral(onboarding, clock=clock) as running:
        yield running


def happened(runtime: Runtime) -> list[type[Event]]:
    return [type(stored.event) for stored in runtime.events()]


def status_of(runtime: Runtime, account_id: str) -> tuple[str, bool]:
    process = runtime.get(UserOnboarding, account_id)
    assert process is not None
    return process.state["status"], process.is_complete


def test_a_verified_user_gets_a_workspace_and_a_welcome(runtime: Runtime) -> None:
    runtime.ask(REGISTER)
    runtime.settle(timeout=10)
    runtime.ask(VERIFY)
    runtime.settle(timeout=10)

    assert happened(runtime) == [
        AccountRegistered,
        CodeWritten,
        EmailVerified,
        WorkspaceProvisioned,
        WelcomeWritten,
    ]
    assert status_of(runtime, "ada") == ("onboarded", True)
    *_, last = runtime.events("onboarding::letters-ada")
    assert last.event == WelcomeWritten(
        account_id="ada", email="ada@example.org", url="https://ada.example.org"
    )


def test_the_process_waits_until_the_email_is_verified(runtime: Runtime) -> None:
    runtime.ask(REGISTER)
    runtime.settle(timeout=10)

    assert happened(runtime) == [AccountRegistered, CodeWritten]
    assert status_of(runtime, "ada") == ("awaiting_verification", False)


def test_a_wrong_code_is_refused_and_the_right_one_still_works(runtime: Runtime) -> None:
    runtime.ask(REGISTER)
    with pytest.raises(Rejected, match="the code is wrong"):
        runtime.ask(VerifyEmail(account_id="ada", code="1234"))
    runtime.settle(timeout=10)
    assert status_of(runtime, "ada") == ("awaiting_verification", False)

    runtime.ask(VERIFY)
    runtime.settle(timeout=10)
    assert status_of(runtime, "ada") == ("onboarded", True)


def test_a_workspace_that_cannot_be_provisioned_closes_the_account(runtime: Runtime) -> None:
    runtime.ask(RegisterAccount(account_id="ada", email="ada@example.org", seats=51, code="1843"))
    runtime.ask(VERIFY)
    runtime.settle(timeout=10)

    assert Counter(happened(runtime)) == {
        AccountRegistered: 1,
        CodeWritten: 1,
        EmailVerified: 1,
        ProvisioningFailed: 1,
        AccountClosed: 1,
    }
    assert status_of(runtime, "ada") == ("closed", True)
    *_, last = runtime.events("onboarding::account-ada")
    assert last.event == AccountClosed(account_id="ada", reason="51 seats need a contract")


def test_a_withdrawn_registration_ends_without_a_workspace(runtime: Runtime) -> None:
    runtime.ask(REGISTER)
    runtime.ask(WithdrawRegistration(account_id="ada"))
    runtime.settle(timeout=10)

    assert status_of(runtime, "ada") == ("withdrawn", True)
    assert Counter(happened(runtime)) == {
        AccountRegistered: 1,
        CodeWritten: 1,
        RegistrationWithdrawn: 1,
    }
    with pytest.raises(Rejected, match="withdrawn"):
        runtime.ask(VERIFY)


def test_the_process_ends_when_the_email_is_never_verified(
    runtime: Runtime, clock: VirtualClock
) -> None:
    runtime.ask(REGISTER)
    runtime.settle(timeout=10)
    clock.advance(PATIENCE - timedelta(microseconds=1))
    runtime.settle(timeout=10)
    assert status_of(runtime, "ada") == ("awaiting_verification", False)

    clock.advance(timedelta(microseconds=1))
    runtime.settle(timeout=10)

    assert status_of(runtime, "ada") == ("withdrawn", True)
    assert happened(runtime) == [AccountRegistered, CodeWritten, RegistrationWithdrawn]
    with pytest.raises(Rejected, match="the account is withdrawn"):
        runtime.ask(VERIFY)


def test_an_email_that_is_verified_in_time_is_not_withdrawn_later(
    runtime: Runtime, clock: VirtualClock
) -> None:
    runtime.ask(REGISTER)
    runtime.settle(timeout=10)
    clock.advance(PATIENCE - timedelta(microseconds=1))
    runtime.ask(VERIFY)
    runtime.settle(timeout=10)
    clock.advance(PATIENCE)
    runtime.settle(timeout=10)

    assert status_of(runtime, "ada") == ("onboarded", True)
    assert RegistrationWithdrawn not in happened(runtime)


def test_a_person_who_verifies_as_the_timeout_is_due_leaves_one_outcome() -> None:
    @at_end
    def one_outcome(run: Simulation) -> None:
        process = run.get(UserOnboarding, "ada")
        assert process is not None
        assert process.is_complete
        made = [type(stored.event) for stored in run.events()]
        assert made.count(EmailVerified) + made.count(RegistrationWithdrawn) == 1
        assert (process.state["status"] == "withdrawn") == (RegistrationWithdrawn in made)
        assert list(run.parked()) == []

    # Both are under way at that moment, in every order.
    explore(onboarding, [[REGISTER, PATIENCE, VERIFY]], [one_outcome])


def test_an_account_without_an_email_address_is_refused_at_once(runtime: Runtime) -> None:
    with pytest.raises(Rejected, match="'ada' is no email address"):
        runtime.ask(RegisterAccount(account_id="ada", email="ada", seats=3, code="1843"))
    runtime.settle(timeout=10)

    assert happened(runtime) == []
    assert runtime.get(Account, "ada") is None
    assert runtime.get(UserOnboarding, "ada") is None


def test_verifying_before_the_code_was_written_is_no_trouble(runtime: Runtime) -> None:
    runtime.ask(REGISTER)
    runtime.ask(VERIFY)
    runtime.settle(timeout=10)

    assert status_of(runtime, "ada") == ("onboarded", True)
    letters = runtime.get(Letters, "ada")
    assert letters is not None
    assert letters.state["written"] == 2


def test_users_who_register_at_once_are_all_onboarded(runtime: Runtime) -> None:
    names = [f"user{number}" for number in range(200)]
    runtime.tell_many(
        RegisterAccount(account_id=name, email=f"{name}@example.org", seats=1, code=name)
        for name in names
    )
    runtime.tell_many(VerifyEmail(account_id=name, code=name) for name in names)
    runtime.settle(timeout=60)

    assert {status_of(runtime, name) for name in names} == {("onboarded", True)}
    assert Counter(happened(runtime)) == {
        AccountRegistered: 200,
        CodeWritten: 200,
        EmailVerified: 200,
        WorkspaceProvisioned: 200,
        WelcomeWritten: 200,
    }
    assert runtime.stats()["parked"] == 0


def test_the_process_can_be_driven_by_hand_without_a_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = UserOnboarding("ada", account_id="ada")
    issued: list[Command] = []
    monkeypatch.setattr(process, "issue", lambda *commands: issued.extend(commands))

    process.on_account_registered(
        AccountRegistered(account_id="ada", email="ada@example.org", seats=3, code="1843")
    )
    process.on_email_verified(EmailVerified(account_id="ada"))
    process.on_workspace_provisioned(WorkspaceProvisioned(owner_id="ada", url="https://a"))
    assert process.status == "welcoming"
    assert issued == [
        WriteCode(account_id="ada", email="ada@example.org", code="1843"),
        ProvisionWorkspace(owner_id="ada", seats=3),
        WriteWelcome(account_id="ada", email="ada@example.org", url="https://a"),
    ]


# The identity provider


def confirm(runtime: Runtime) -> None:
    runtime.publish(CONFIRMED, stream="identity::person-ada", event_id="confirmed-ada")
    runtime.settle(timeout=10)


def test_an_email_that_was_confirmed_before_the_registration_needs_no_code(
    runtime: Runtime,
) -> None:
    confirm(runtime)
    assert runtime.get(UserOnboarding, "ada") is None

    runtime.ask(REGISTER)
    runtime.settle(timeout=10)

    assert status_of(runtime, "ada") == ("onboarded", True)
    assert Counter(happened(runtime)) == {
        EmailConfirmed: 1,
        AccountRegistered: 1,
        CodeWritten: 1,
        EmailVerified: 1,
        WorkspaceProvisioned: 1,
        WelcomeWritten: 1,
    }
    assert [step.handler for step in runtime.history(UserOnboarding, "ada")][:2] == [
        "on_account_registered",
        "on_email_confirmed",
    ]


def test_what_is_held_for_a_registration_survives_closing_the_store(tmp_path: Path) -> None:
    with Runtime(tmp_path, onboarding, durability="none") as runtime:
        confirm(runtime)
    with Runtime(tmp_path, onboarding, durability="none") as runtime:
        runtime.ask(REGISTER)
        runtime.settle(timeout=10)
        assert status_of(runtime, "ada") == ("onboarded", True)


def test_an_email_that_is_confirmed_after_the_registration_is_verified_as_well(
    runtime: Runtime,
) -> None:
    runtime.ask(REGISTER)
    runtime.settle(timeout=10)
    confirm(runtime)

    assert status_of(runtime, "ada") == ("onboarded", True)


def test_a_confirmation_that_meets_a_person_who_withdrew_changes_nothing(
    runtime: Runtime,
) -> None:
    confirm(runtime)
    runtime.tell_many([REGISTER, WithdrawRegistration(account_id="ada")])
    runtime.settle(timeout=10)

    # Whichever the account heard first has won, and the other one was refused.
    status, is_complete = status_of(runtime, "ada")
    assert is_complete
    counts = Counter(happened(runtime))
    assert counts[EmailVerified] + counts[RegistrationWithdrawn] == 1
    assert (status == "withdrawn") == bool(counts[RegistrationWithdrawn])
    assert counts[WorkspaceProvisioned] == counts[EmailVerified]
    assert runtime.stats()["parked"] == 0


def test_a_confirmation_of_an_email_that_is_verified_already_is_refused_and_harmless(
    runtime: Runtime,
) -> None:
    runtime.ask(REGISTER)
    runtime.publish(CONFIRMED, stream="identity::person-ada")
    runtime.publish(CONFIRMED, stream="identity::person-ada")
    runtime.settle(timeout=10)

    assert status_of(runtime, "ada") == ("onboarded", True)
    assert Counter(happened(runtime))[EmailVerified] == 1
    assert runtime.stats()["parked"] == 0


# The post


def test_both_letters_are_really_sent(runtime: Runtime, outbox: Outbox) -> None:
    runtime.ask(REGISTER)
    runtime.settle(timeout=10)
    assert list(outbox.letters.values()) == ["Your code is 1843."]

    runtime.ask(VERIFY)
    runtime.settle(timeout=10)
    assert list(outbox.letters.values()) == [
        "Your code is 1843.",
        "Welcome! Come in: https://ada.example.org",
    ]
    assert {email for _, email in outbox.letters} == {"ada@example.org"}


def test_a_mail_server_that_is_down_is_tried_again_and_holds_nobody_up(
    runtime: Runtime, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    class Down(Outbox):
        def send(self, key: str, email: str, text: str) -> None:
            raise ConnectionError("the mail server is down")

    monkeypatch.setattr(post, "outbox", Down())
    runtime.ask(REGISTER)
    runtime.ask(VERIFY)
    runtime.settle(timeout=10)
    assert status_of(runtime, "ada") == ("onboarded", True)

    monkeypatch.setattr(post, "outbox", outbox)
    clock.advance(timedelta(seconds=10))
    runtime.settle(timeout=10)
    assert len(outbox.letters) == 2
    assert runtime.stats()["parked"] == 0


def test_a_letter_that_a_crash_sends_twice_is_one_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    sent, may_go_on = threading.Event(), threading.Event()

    class Slow(Outbox):
        def send(self, key: str, email: str, text: str) -> None:
            outbox.send(key, email, text)
            sent.set()
            assert may_go_on.wait(10)

    monkeypatch.setattr(post, "outbox", Slow())
    copy = tmp_path / "copy"
    copy.mkdir()
    with Runtime(tmp_path / "store", onboarding, durability="none") as runtime:
        runtime.ask(REGISTER)
        assert sent.wait(10)
        # The letter has gone out, and the store does not know it yet.
        assert isinstance(runtime._store, LmdbStore)
        runtime._store._file.environment.env.copy(str(copy))
        may_go_on.set()

    again = Outbox()
    monkeypatch.setattr(post, "outbox", again)
    with Runtime(copy, onboarding, durability="none") as runtime:
        runtime.settle(timeout=10)
    assert again.letters == outbox.letters
    assert len(outbox.letters) == 1
