"""A cell: one unit of capacity and of failure. It names no tenant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pulumi
from pulumi_alicloud import pvtz

from infra import names
from infra.components.cache import MONITORING_ACCOUNT, Cache, CacheArgs
from infra.components.cache import PORT as CACHE_PORT
from infra.components.database import PRIVILEGED_ACCOUNT, Database, DatabaseArgs, OwnedDatabase, OwnedDatabaseArgs
from infra.components.firewall import GATEWAY, MONITORING, Firewall, FirewallArgs
from infra.components.gateway import Gateway, GatewayArgs
from infra.components.hosts import HostGroup, HostGroupArgs
from infra.components.keys import KeptSecret, KeptSecretArgs
from infra.components.logs import LogProject, LogProjectArgs
from infra.components.zones import SiteName, SiteNameArgs
from infra.database_classes import DATABASE_CLASSES
from infra.links import CellLinks, FoundationLinks, publish, read
from infra.outputs import CellOutputs, told
from infra.passwords import Passwords
from infra.plan import CellPlan
from infra.programs.stack import Stack, export_contract
from infra.secret_outputs import CellSecrets, OwnDatabaseSecrets
from infra.services import Service, kind_of, services_of
from infra.settings import CellSettings, SettingsError

ACCESS_LOG = "alb_access"
"""The balancer takes only stores whose name begins so."""


def declare(stack: Stack[CellSettings], plan: CellPlan) -> None:
    settings, cell = stack.settings, stack.name.scope
    services = services_of(kind_of(cell))
    require_instance_types(stack, plan)
    stack.shape_all()
    shared = read(FoundationLinks, stack.name.sibling("foundation"))
    opts = pulumi.ResourceOptions(provider=stack.provider(shared.region))
    physical_name = names.scoped(stack.environment, cell)
    passwords = Passwords(settings.seed, settings.password_versions)
    privileged_password = pulumi.Output.secret(passwords.password("database-privileged"))
    cache_passwords = passwords_of_cache(passwords, services)

    logs = LogProject(
        "logs",
        LogProjectArgs(
            project_name=shared.account_suffix.apply(lambda suffix: names.log_project(stack.environment, cell, suffix)),
            stores=[ACCESS_LOG, "services"],
            retention_days=shared.log_retention_days,
            resource_group_id=shared.resource_group_id,
            description=f"balancer and services of {cell}",
        ),
        opts,
    )
    firewall = Firewall(
        "firewall",
        FirewallArgs(
            physical_name=physical_name,
            vpc_id=shared.vpc_id,
            resource_group_id=shared.resource_group_id,
            roles=list(plan.hosts),
            balancer_cidrs=shared.balancer_cidrs,
            management_cidr=settings.management_cidr,
            management_group_id=shared.management_group_id,
            monitoring_group_id=shared.monitoring_group_id,
        ),
        opts,
    )
    groups = {
        role: HostGroup(
            role,
            HostGroupArgs(
                physical_name=f"{physical_name}-{role}",
                cell=cell,
                role=role,
                count=count,
                instance_type=settings.instance_types[role],
                image_id=settings.image_id,
                zones=shared.zones,
                vswitch_ids=shared.service_vswitch_ids,
                security_group_ids=[
                    firewall.groups[role].id,
                    *([shared.monitoring_group_id] if role == MONITORING else []),
                ],
                key_pair_name=shared.key_pair_name,
                key_id=shared.key_id,
                snapshot_policy_id=shared.snapshot_policy_id,
                resource_group_id=shared.resource_group_id,
                system_disk_gib=settings.system_disk_gib,
                deletion_protection=settings.protect,
            ),
            opts,
        )
        for role, count in plan.hosts.items()
    }
    serving_groups = [group.id for role, group in firewall.groups.items() if role != GATEWAY]
    database = Database(
        "database",
        DatabaseArgs(
            physical_name=physical_name,
            instance_class=plan.database.instance_class,
            storage_gib=plan.database.storage_gib,
            zones=shared.zones,
            vswitch_ids=shared.service_vswitch_ids,
            security_group_ids=serving_groups,
            resource_group_id=shared.resource_group_id,
            key_id=shared.key_id,
            account_id=shared.account_id,
            backup_retention_days=settings.backup_retention_days,
            backup_region=settings.backup_region,
            privileged_password=privileged_password,
            deletion_protection=settings.protect,
        ),
        opts,
    )
    KeptSecret(
        "privileged-password",
        KeptSecretArgs(
            physical_name=f"{physical_name}-database-privileged",
            description=f"password of {PRIVILEGED_ACCOUNT} on {physical_name}",
            value=privileged_password,
            version=passwords.version("database-privileged"),
            key_id=shared.key_id,
            instance_id=shared.kms_instance_id.apply(lambda instance: instance or None),
            recoverable=settings.protect,
        ),
        opts,
    )
    cache = Cache(
        "cache",
        CacheArgs(
            physical_name=physical_name,
            instance_class=plan.cache.instance_class,
            zones=shared.zones,
            vswitch_ids=shared.service_vswitch_ids,
            security_group_ids=serving_groups,
            resource_group_id=shared.resource_group_id,
            passwords={service.name: pulumi.Output.secret(cache_passwords[service.name]) for service in services},
            monitoring_password=pulumi.Output.secret(cache_passwords[MONITORING_ACCOUNT]),
            release_protection=settings.protect,
        ),
        opts,
    )
    gateway = Gateway(
        "gateway-front",
        GatewayArgs(
            physical_name=physical_name,
            vpc_id=shared.vpc_id,
            zones=shared.zones,
            vswitch_ids=shared.balancer_vswitch_ids,
            resource_group_id=shared.resource_group_id,
            certificate_id=shared.certificate_id,
            site_port=shared.site_port,
            hosts=groups[GATEWAY].instances,
            address_type=settings.balancer_address_type,
            edition=settings.balancer_edition,
            log_project=logs.project_name,
            log_store=logs.store(ACCESS_LOG),
            deletion_protection=settings.protect,
        ),
        opts,
    )
    name_hosts(groups.values(), shared, opts)
    own_databases(services, database, passwords, opts)
    name_sites(services, gateway, shared, opts)
    publish(CellLinks, database_instance_id=database.instance.id, balancer_name=gateway.name)
    export_contract(
        CellOutputs,
        {
            "environment": stack.environment,
            "cell": cell,
            "hosts": [host for group in groups.values() for host in group.outputs()],
            "database": {
                "host": database.instance.connection_string,
                "port": database.instance.port.apply(int),
                "instance_class": plan.database.instance_class,
                "max_connections": DATABASE_CLASSES[plan.database.instance_class].max_connections,
                "storage_gib": plan.database.storage_gib,
                "privileged_account": PRIVILEGED_ACCOUNT,
                "databases": {name: names.owner_account(name) for name in with_own_database(services)},
            },
            "cache": {"host": cache.host, "port": CACHE_PORT, "accounts": {name: name for name in cache_passwords}},
            "gateway": {
                "name": gateway.name,
                "address": gateway.address,
                "port": shared.site_port,
                "server_group_id": gateway.server_group.id,
            },
            "database_instance_id": database.instance.id,
            "services": told(services),
        },
    )
    secrets = secrets_of(passwords, services)
    pulumi.export("secrets", pulumi.Output.secret(secrets.model_dump(exclude_none=True)))


def require_instance_types(stack: Stack[CellSettings], plan: CellPlan) -> None:
    missing = [role for role in plan.hosts if role not in stack.settings.instance_types]
    if missing:
        raise SettingsError(
            f"stack {stack.name}: yiwang:instanceTypes names no type for {', '.join(missing)}, "
            "which the plan asks for; nothing was changed.\n"
            f"  pulumi config set --path yiwang:instanceTypes.{missing[0]} ecs.g7.large --stack {stack.name}"
        )


def name_hosts(groups: Iterable[HostGroup], shared: FoundationLinks, opts: pulumi.ResourceOptions) -> None:
    """Each host by its own name inside the network."""
    for group in groups:
        for name, instance in group.named():
            pvtz.ZoneRecord(
                f"{name}-name",
                zone_id=shared.private_zone_id,
                rr=name,
                type="A",
                value=instance.primary_ip_address,
                ttl=60,
                opts=opts,
            )


def name_sites(
    services: Sequence[Service], gateway: Gateway, shared: FoundationLinks, opts: pulumi.ResourceOptions
) -> None:
    for service in services:
        if not service.label:
            continue
        SiteName(
            service.name,
            SiteNameArgs(
                label=service.label,
                public_domain=shared.public_domain,
                site_zone_id=shared.site_zone_id,
                balancer_name=gateway.name,
                remark=service.name,
            ),
            opts,
        )


def with_own_database(services: Iterable[Service]) -> list[str]:
    return [service.name for service in services if service.tables == "own"]


def own_databases(
    services: Sequence[Service], database: Database, passwords: Passwords, opts: pulumi.ResourceOptions
) -> None:
    last: pulumi.Resource = database.privileged
    for service in with_own_database(services):
        last = OwnedDatabase(
            f"{service}-store",
            OwnedDatabaseArgs(
                instance_id=database.instance.id,
                database=service,
                owner_password=pulumi.Output.secret(passwords.password("database-owner", service)),
                description=f"service {service}",
                after=last,
            ),
            opts,
        ).last


def passwords_of_cache(passwords: Passwords, services: Sequence[Service]) -> dict[str, str]:
    """Account → password."""
    accounts = (*(service.name for service in services), MONITORING_ACCOUNT)
    return {account: passwords.password(f"cache-{account}") for account in accounts}


def secrets_of(passwords: Passwords, services: Sequence[Service]) -> CellSecrets:
    wanted = {secret for service in services for secret in service.secrets}
    return CellSecrets(
        database_privileged_password=passwords.password("database-privileged"),
        databases={
            service: OwnDatabaseSecrets(
                owner=passwords.password("database-owner", service),
                application=passwords.password("database-application", service),
            )
            for service in with_own_database(services)
        },
        monitoring_database_password=passwords.password("database-monitoring"),
        cache=passwords_of_cache(passwords, services),
        identity_signing_key=passwords.signing_key("identity-signing") if "signing-key" in wanted else None,
        operator_client_secret=passwords.token("client", "operator") if "clients" in wanted else None,
    )
