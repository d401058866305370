"""A city and its counties, or the province's own departments: what exists because these tenants do."""

from __future__ import annotations

import pulumi
from pulumi_alicloud import resourcemanager

from infra import names
from infra.components.keys import Key, KeyArgs
from infra.components.objects import Bucket, BucketArgs
from infra.components.tenant import Tenant, TenantArgs
from infra.links import CellLinks, FoundationLinks, read
from infra.names import StackName
from infra.outputs import TenantsOutputs
from infra.passwords import Passwords
from infra.plan import Placement, Plan
from infra.programs.stack import Stack, export_contract
from infra.registry import Division, Registry
from infra.secret_outputs import TenantSecrets
from infra.services import made_for_tenants, modules_with_tables
from infra.settings import SettingsError, TenantsSettings


def declare(stack: Stack[TenantsSettings], plan: Plan, registry: Registry) -> None:
    settings, scope = stack.settings, stack.name.scope
    divisions = members(stack.name, registry)
    placements = {division.code: plan.placement(division.code, registry) for division in divisions}
    stack.shape_all()
    shared = read(FoundationLinks, stack.name.sibling("foundation"))
    cells = {
        cell: read(CellLinks, stack.name.sibling(cell))
        for cell in sorted({cell for placement in placements.values() for cell in placement.cells})
    }
    opts = pulumi.ResourceOptions(provider=stack.provider(shared.region))
    physical_name = names.scoped(stack.environment, scope)
    passwords = Passwords(settings.seed, settings.password_versions)

    group = resourcemanager.ResourceGroup(
        "group", resource_group_name=physical_name, display_name=physical_name, opts=opts
    )
    key = Key(
        "objects",
        KeyArgs(
            physical_name=physical_name,
            description=f"objects of {scope}",
            instance_id=shared.kms_instance_id.apply(lambda instance: instance or None),
            deletion_protection=settings.protect,
        ),
        opts,
    )
    bucket = Bucket(
        "objects",
        BucketArgs(
            bucket=shared.account_suffix.apply(lambda suffix: names.bucket(stack.environment, scope, suffix)),
            resource_group_id=group.id,
            key_id=key.key_id,
            log_bucket=shared.log_bucket,
            may_lose_objects=not settings.protect,
        ),
        opts,
    )
    last: dict[str, pulumi.Resource] = {}
    tenants: dict[str, Tenant] = {}
    for division in divisions:
        placement = placements[division.code]
        tenant = Tenant(
            f"t{division.code}",
            TenantArgs(
                code=division.code,
                display_name=division.name,
                label=division.label,
                physical_name=names.tenant_identity(stack.environment, division.code),
                serving=placement.serving,
                cells=placement.cells,
                database_instance_ids={cell: cells[cell].database_instance_id for cell in placement.cells},
                balancer_names={cell: cells[cell].balancer_name for cell in placement.cells},
                owner_password=pulumi.Output.secret(passwords.password("database-owner", division.code)),
                bucket=bucket.bucket,
                key_arn=key.arn,
                public_domain=shared.public_domain,
                site_zone_id=shared.site_zone_id,
                may_be_forced=not settings.protect,
                after=dict(last),
            ),
            opts,
        )
        last.update(tenant.last)
        tenants[division.code] = tenant
    export_contract(
        TenantsOutputs,
        {
            "environment": stack.environment,
            "scope": scope,
            "bucket": bucket.bucket,
            "tenants": {
                division.code: descriptor(division, placements[division.code], registry, shared, bucket.bucket)
                for division in divisions
            },
        },
    )
    pulumi.export(
        "secrets",
        pulumi.Output.secret({code: secrets_of(code, passwords, tenant) for code, tenant in tenants.items()}),
    )


def members(stack: StackName, registry: Registry) -> list[Division]:
    """The scope's divisions that have anything in the cloud, in the order of their codes.

    Raises:
        SettingsError: no province or city has the scope's label.
    """
    try:
        return [division for division in registry.in_scope(stack.scope) if division.provisioned]
    except KeyError:
        raise SettingsError(
            f"stack {stack}: no province or city has the label {stack.scope!r}; nothing was changed.\n"
            "  labels: yiwang tenants list"
        ) from None


def descriptor(
    division: Division,
    placement: Placement,
    registry: Registry,
    shared: FoundationLinks,
    bucket: pulumi.Input[str],
) -> dict[str, object]:
    """As `TenantOutputs` has it."""
    database = names.tenant_database(division.code)
    where = pulumi.Output.all(shared.site_suffix, shared.site_port)
    return {
        "code": division.code,
        "name": division.name,
        "level": division.level,
        "parent": division.parent,
        "residents": division.residents,
        "status": division.status,
        "cell": placement.serving,
        "label": division.label,
        "site": shared.site_suffix.apply(lambda suffix: names.site(division.label, suffix)),
        "url": where.apply(
            lambda suffix_and_port: names.site_url(division.label, suffix_and_port[0], int(suffix_and_port[1]))
        ),
        "databases": [
            {
                "cell": cell,
                "name": database,
                "owner": names.owner_account(database),
                "application": names.application_account(database),
            }
            for cell in placement.cells
        ],
        "bucket": bucket,
        "prefix": names.tenant_prefix(division.code),
        "settings": registry.settings_of(division.code).model_dump(),
    }


def secrets_of(code: str, passwords: Passwords, tenant: Tenant) -> pulumi.Output[dict[str, object]]:
    """As `TenantSecrets` has them; the access key is the only one that the cloud makes."""

    def checked(key: list[str]) -> dict[str, object]:
        return TenantSecrets(
            database_owner_password=passwords.password("database-owner", code),
            database_application_password=passwords.password("database-application", code),
            database_passwords={
                account: passwords.password(f"database-{account}", code)
                for account in (*modules_with_tables(), names.MEASURES)
            },
            object_access_key_id=key[0],
            object_access_key_secret=key[1],
            client_secret=passwords.token("client", code),
            check_code_key=passwords.token("check-code", code),
            made={name: passwords.token(f"made-{name}", code) for name in made_for_tenants()},
        ).model_dump()

    return pulumi.Output.all(tenant.access_key.id, tenant.access_key.secret).apply(checked)
