"""New users: an account is registered, its email verified, a workspace provisioned, a welcome sent.

The process waits for a person in the middle: until the email is verified it is only a few lines on
disk. It does not wait for ever: after `PATIENCE` it withdraws the registration. Each module holds
one aggregate with its commands and events; `process` ties them together, `post` sends the letters,
and `identity` is an event from outside.
"""

from procession import Domain

from .accounts import (
    Account,
    AccountClosed,
    AccountRegistered,
    CloseAccount,
    EmailVerified,
    RegisterAccount,
    RegistrationWithdrawn,
    VerifyEmail,
    WithdrawRegistration,
)
from .identity import EmailConfirmed
from .letters import CodeWritten, Letters, WelcomeWritten, WriteCode, WriteWelcome
from .post import Outbox, Post
from .process import PATIENCE, UserOnboarding
from .workspaces import ProvisioningFailed, ProvisionWorkspace, Workspace, WorkspaceProvisioned

onboarding = Domain("onboarding")
onboarding.register(EmailConfirmed, Account, Letters, Workspace, UserOnboarding, Post)

__all__ = [
    "PATIENCE",
    "Account",
    "AccountClosed",
    "AccountRegistered",
    "CloseAccount",
    "CodeWritten",
    "EmailConfirmed",
    "EmailVerified",
    "Letters",
    "Outbox",
    "Post",
    "ProvisionWorkspace",
    "ProvisioningFailed",
    "RegisterAccount",
    "RegistrationWithdrawn",
    "UserOnboarding",
    "VerifyEmail",
    "WelcomeWritten",
    "WithdrawRegistration",
    "Workspace",
    "WorkspaceProvisioned",
    "WriteCode",
    "WriteWelcome",
    "onboarding",
]
