"""New users: an account is registered, its email verified, a workspace provisioned, a welcome sent.

The process waits for a person in the middle: until the email is verified it is only a few lines on
disk, for as long as that takes. Each module holds one aggregate with its commands and events;
`process` ties them together.
"""

from actors import Domain

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
from .letters import Letters, SendCode, SendWelcome, VerificationCodeSent, WelcomeSent
from .process import UserOnboarding
from .workspaces import ProvisioningFailed, ProvisionWorkspace, Workspace, WorkspaceProvisioned

onboarding = Domain("onboarding")
onboarding.register(Account, Letters, Workspace, UserOnboarding)

__all__ = [
    "Account",
    "AccountClosed",
    "AccountRegistered",
    "CloseAccount",
    "EmailVerified",
    "Letters",
    "ProvisionWorkspace",
    "ProvisioningFailed",
    "RegisterAccount",
    "RegistrationWithdrawn",
    "SendCode",
    "SendWelcome",
    "UserOnboarding",
    "VerificationCodeSent",
    "VerifyEmail",
    "WelcomeSent",
    "WithdrawRegistration",
    "Workspace",
    "WorkspaceProvisioned",
    "onboarding",
]
