from collections import Counter
from collections.abc import Iterator

import pytest

from actors import Command, Event, Rejected, Runtime
from domain_examples.user_onboarding import (
    Account,
    AccountClosed,
    AccountRegistered,
    EmailVerified,
    Letters,
    ProvisioningFailed,
    ProvisionWorkspace,
    RegisterAccount,
    RegistrationWithdrawn,
    SendCode,
    SendWelcome,
    UserOnboarding,
    VerificationCodeSent,
    VerifyEmail,
    WelcomeSent,
    WithdrawRegistration,
    WorkspaceProvisioned,
    onboarding,
)

REGISTER = RegisterAccount(account_id="ada", email="ada@example.org", seats=3, code="1843")
VERIFY = VerifyEmail(account_id="ada", code="1843")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime.ephemeral(onboarding) as running:
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
        VerificationCodeSent,
        EmailVerified,
        WorkspaceProvisioned,
        WelcomeSent,
    ]
    assert status_of(runtime, "ada") == ("onboarded", True)
    *_, last = runtime.events("onboarding::letters-ada")
    assert last.event == WelcomeSent(
        account_id="ada", email="ada@example.org", url="https://ada.example.org"
    )


def test_the_process_waits_until_the_email_is_verified(runtime: Runtime) -> None:
    runtime.ask(REGISTER)
    runtime.settle(timeout=10)

    assert happened(runtime) == [AccountRegistered, VerificationCodeSent]
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
        VerificationCodeSent: 1,
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
        VerificationCodeSent: 1,
        RegistrationWithdrawn: 1,
    }
    with pytest.raises(Rejected, match="withdrawn"):
        runtime.ask(VERIFY)


def test_an_account_without_an_email_address_is_refused_at_once(runtime: Runtime) -> None:
    with pytest.raises(Rejected, match="'ada' is no email address"):
        runtime.ask(RegisterAccount(account_id="ada", email="ada", seats=3, code="1843"))
    runtime.settle(timeout=10)

    assert happened(runtime) == []
    assert runtime.get(Account, "ada") is None
    assert runtime.get(UserOnboarding, "ada") is None


def test_verifying_before_the_code_was_sent_is_no_trouble(runtime: Runtime) -> None:
    runtime.ask(REGISTER)
    runtime.ask(VERIFY)
    runtime.settle(timeout=10)

    assert status_of(runtime, "ada") == ("onboarded", True)
    letters = runtime.get(Letters, "ada")
    assert letters is not None
    assert letters.state["sent"] == 2


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
        VerificationCodeSent: 200,
        EmailVerified: 200,
        WorkspaceProvisioned: 200,
        WelcomeSent: 200,
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
        SendCode(account_id="ada", email="ada@example.org", code="1843"),
        ProvisionWorkspace(owner_id="ada", seats=3),
        SendWelcome(account_id="ada", email="ada@example.org", url="https://a"),
    ]
