"""The invitation of a tenant's first administrator: owed until somebody holds the office, given again, revoked."""

from __future__ import annotations

from infra.outputs import TenantOutputs
from tools.counts import counted
from tools.operator_client import Operator
from tools.times import local_time

DEPARTMENT = "政务服务中心"


def standing(operator: Operator, tenant: TenantOutputs) -> str:
    """How far the tenant has come by what identity knows; empty when an invitation is owed."""
    invitations = operator.invitations(tenant.code)
    if invitations["administrators"]:
        return f"{tenant.name} has {counted(invitations['administrators'], 'administrator')}"
    if invitations["open"]:
        return f"{len(invitations['open'])} open, the last until {local_time(invitations['open'][-1]['expires_at'])}"
    return ""


def give(operator: Operator, tenant: TenantOutputs) -> dict[str, str]:
    """A new link. It takes the place of the former: what was given to the same one before is revoked, and so is what
    was made by a request whose answer was lost.
    """
    given = operator.invite(tenant.code, f"{tenant.name}管理员", DEPARTMENT)
    for other in operator.invitations(tenant.code)["open"]:
        same = (other["name"], other["role"]) == (f"{tenant.name}管理员", "administrator")
        if same and other["id"] != given["id"]:
            operator.revoke(other["id"])
    return given
