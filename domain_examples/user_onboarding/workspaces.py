"""The workspace: the resources that a user gets.

Workspaces belong to another team, and it calls the user an owner: nothing here speaks of accounts.
The process knows that the owner of a workspace is the account it works for.
"""

from procession import Aggregate, Command, Event, Rejected, apply, handle

MOST_SEATS = 50
"""What is provisioned without a contract."""


class ProvisionWorkspace(Command):
    owner_id: str
    seats: int


class WorkspaceProvisioned(Event):
    owner_id: str
    url: str


class ProvisioningFailed(Event):
    owner_id: str
    reason: str


class Workspace(Aggregate, identity="owner_id"):
    status: str = "new"

    @handle(ProvisionWorkspace)
    def provision(self, command: ProvisionWorkspace) -> WorkspaceProvisioned | ProvisioningFailed:
        if self.status != "new":
            raise Rejected("the workspace was asked for already")
        if command.seats > MOST_SEATS:
            reason = f"{command.seats} seats need a contract"
            return ProvisioningFailed(owner_id=self.id, reason=reason)
        return WorkspaceProvisioned(owner_id=self.id, url=f"https://{self.id}.example.org")

    @apply(WorkspaceProvisioned)
    def _provisioned(self, event: WorkspaceProvisioned) -> None:
        self.status = "provisioned"

    @apply(ProvisioningFailed)
    def _failed(self, event: ProvisioningFailed) -> None:
        self.status = "failed"
