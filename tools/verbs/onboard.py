"""`yiwang onboard`: one planned tenant is live.

Needs: the divisions above it live, its stack, every host and identity within reach, nothing else that waits to be
brought in its stack; in production its file in `tenants/` saying that it is live. All of it is checked before anything
is changed.
Changes: the registry's overlay where the environment is made here, the tenant's stack alone, what hosts know of
tenants, its items, and an invitation for its first administrator. Holds the cells that the tenant's stack touches.
Resumes: until its stack stands a run that fails takes back what it did, where that is safe (decision 12); after that it
stays, and the next run goes on: whatever is there is left as it is, and an invitation that is owed is given.
"""

from __future__ import annotations

from contextlib import ExitStack, closing

from infra.outputs import TenantOutputs
from tools import invitations, onboarding
from tools.locks import holding
from tools.operator_client import Operator, operator_of
from tools.port import Port
from tools.seeding import fill
from tools.stages import Run


def onboard(port: Port, word: str, run: Run) -> tuple[TenantOutputs, dict[str, str] | None]:
    """Brings the planned tenant of that code, name or label live. Gives its outputs and its first administrator's
    invitation, None when it has an administrator, or was invited already.

    Raises:
        StageError: the tenant cannot come, and nothing was changed; or a stage cannot go on or was not agreed to.
    """
    with ExitStack() as held:
        with run.stage("checks") as stage:
            cells = onboarding.touched(port, word)
            held.enter_context(holding(port.folder, f"onboard {word}", cells))
            coming, outputs = onboarding.check(port, word)
            held.enter_context(holding(port.folder, f"onboard {word}", coming.cells - cells))
            with closing(operator_of(port.engine, outputs)) as operator:
                onboarding.check_identity(port.folder, operator, coming.tenant.code)
            state = "is to come" if coming.is_new else "is live already"
            stage.say(f"{coming.tenant.name} {state}; its stack, every host and identity answer", changed=False)
        code = coming.tenant.code
        with onboarding.joining(port, coming, run) as joined:
            wanted = port.agreed(run, coming.scope, alone=code)
            joined.begun = True
            port.update(run, wanted)
        outputs = port.engine.merged_outputs()
        tenant = next(tenant for tenant in outputs.tenants if tenant.code == code)
        port.play(run, "--tags", "tenants", tenant=code)
        fill(run, port.engine, outputs, [tenant])
        with closing(operator_of(port.engine, outputs)) as operator:
            return tenant, _invite(run, operator, tenant, port.folder.environment)


def _invite(run: Run, operator: Operator, tenant: TenantOutputs, environment: str) -> dict[str, str] | None:
    """An invitation if one is owed, whatever this run found to do: an earlier one may have been cut short."""
    with run.stage("invitation") as stage:
        if standing := invitations.standing(operator, tenant):
            another = f"yiwang invitation give {environment} {tenant.code}"
            stage.say(f"{standing}; another: {another}", changed=False)
            return None
        stage.say(f"for {tenant.name}'s first administrator")
        return invitations.give(operator, tenant)
