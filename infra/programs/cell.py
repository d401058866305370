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
    require_instance_types(stack, plan)
    stack.shape_all()
    cell = Cell(stack, plan)
    logs = cell.logs()
    firewall = cell.firewall()
    groups = cell.hosts(firewall)
    database = cell.database(firewall)
    cache = cell.cache(firewall)
    gateway = cell.gateway(groups[GATEWAY], logs)
    name_hosts(groups.values(), cell.shared, cell.opts)
    own_databases(cell.services, database, cell.passwords, cell.opts)
    name_sites(cell.services, gateway, cell.shared, cell.opts)
    publish(CellLinks, database_instance_id=database.instance.id, balancer_name=gateway.name)
    cell.export(groups.values(), database, cache, gateway)


class Cell:
    """The parts of one cell, and what they have in common."""

    def __init__(self, stack: Stack[CellSettings], plan: CellPlan) -> None:
        self.environment, self.name = stack.environment, stack.name.scope
        self.settings, self.plan = stack.settings, plan
        self.services = services_of(kind_of(self.name))
        self.shared = read(FoundationLinks, stack.name.sibling("foundation"))
        self.opts = pulumi.ResourceOptions(provider=stack.provider(self.shared.region))
        self.physical_name = names.scoped(self.environment, self.name)
        self.passwords = Passwords(self.settings.seed, self.settings.password_versions)
        self.privileged_password = pulumi.Output.secret(self.passwords.password("database-privileged"))
        self.cache_passwords = passwords_of_cache(self.passwords, self.services)

    def logs(self) -> LogProject:
        project_name = self.shared.account_suffix.apply(
            lambda suffix: names.log_project(self.environment, self.name, suffix)
        )
        return LogProject(
            "logs",
            LogProjectArgs(
                project_name=project_name,
                stores=[ACCESS_LOG, "services"],
                retention_days=self.shared.log_retention_days,
                resource_group_id=self.shared.resource_group_id,
                description=f"balancer and services of {self.name}",
            ),
            self.opts,
        )

    def firewall(self) -> Firewall:
        return Firewall(
            "firewall",
            FirewallArgs(
                physical_name=self.physical_name,
                vpc_id=self.shared.vpc_id,
                resource_group_id=self.shared.resource_group_id,
                roles=list(self.plan.hosts),
                balancer_cidrs=self.shared.balancer_cidrs,
                management_cidr=self.settings.management_cidr,
                management_group_id=self.shared.management_group_id,
                monitoring_group_id=self.shared.monitoring_group_id,
            ),
            self.opts,
        )

    def hosts(self, firewall: Firewall) -> dict[str, HostGroup]:
        """By role."""
        return {role: self._host_group(firewall, role, count) for role, count in self.plan.hosts.items()}

    def _host_group(self, firewall: Firewall, role: str, count: int) -> HostGroup:
        watching = [self.shared.monitoring_group_id] if role == MONITORING else []
        return HostGroup(
            role,
            HostGroupArgs(
                physical_name=f"{self.physical_name}-{role}",
                cell=self.name,
                role=role,
                count=count,
                instance_type=self.settings.instance_types[role],
                image_id=self.settings.image_id,
                zones=self.shared.zones,
                vswitch_ids=self.shared.service_vswitch_ids,
                security_group_ids=[firewall.groups[role].id, *watching],
                key_pair_name=self.shared.key_pair_name,
                key_id=self.shared.key_id,
                snapshot_policy_id=self.shared.snapshot_policy_id,
                resource_group_id=self.shared.resource_group_id,
                system_disk_gib=self.settings.system_disk_gib,
                deletion_protection=self.settings.protect,
            ),
            self.opts,
        )

    def database(self, firewall: Firewall) -> Database:
        """The instance, and where its privileged password is kept."""
        KeptSecret(
            "privileged-password",
            KeptSecretArgs(
                physical_name=f"{self.physical_name}-database-privileged",
                description=f"password of {PRIVILEGED_ACCOUNT} on {self.physical_name}",
                value=self.privileged_password,
                version=self.passwords.version("database-privileged"),
                key_id=self.shared.key_id,
                instance_id=self.shared.kms_instance_id.apply(lambda instance: instance or None),
                recoverable=self.settings.protect,
            ),
            self.opts,
        )
        return Database(
            "database",
            DatabaseArgs(
                physical_name=self.physical_name,
                instance_class=self.plan.database.instance_class,
                storage_gib=self.plan.database.storage_gib,
                zones=self.shared.zones,
                vswitch_ids=self.shared.service_vswitch_ids,
                security_group_ids=serving_groups(firewall),
                resource_group_id=self.shared.resource_group_id,
                key_id=self.shared.key_id,
                account_id=self.shared.account_id,
                backup_retention_days=self.settings.backup_retention_days,
                backup_region=self.settings.backup_region,
                privileged_password=self.privileged_password,
                deletion_protection=self.settings.protect,
            ),
            self.opts,
        )

    def cache(self, firewall: Firewall) -> Cache:
        passwords = {account: pulumi.Output.secret(password) for account, password in self.cache_passwords.items()}
        return Cache(
            "cache",
            CacheArgs(
                physical_name=self.physical_name,
                instance_class=self.plan.cache.instance_class,
                zones=self.shared.zones,
                vswitch_ids=self.shared.service_vswitch_ids,
                security_group_ids=serving_groups(firewall),
                resource_group_id=self.shared.resource_group_id,
                passwords={service.name: passwords[service.name] for service in self.services},
                monitoring_password=passwords[MONITORING_ACCOUNT],
                release_protection=self.settings.protect,
            ),
            self.opts,
        )

    def gateway(self, hosts: HostGroup, logs: LogProject) -> Gateway:
        return Gateway(
            "gateway-front",
            GatewayArgs(
                physical_name=self.physical_name,
                vpc_id=self.shared.vpc_id,
                zones=self.shared.zones,
                vswitch_ids=self.shared.balancer_vswitch_ids,
                resource_group_id=self.shared.resource_group_id,
                certificate_id=self.shared.certificate_id,
                site_port=self.shared.site_port,
                hosts=hosts.instances,
                address_type=self.settings.balancer_address_type,
                edition=self.settings.balancer_edition,
                log_project=logs.project_name,
                log_store=logs.store(ACCESS_LOG),
                deletion_protection=self.settings.protect,
            ),
            self.opts,
        )

    def export(self, groups: Iterable[HostGroup], database: Database, cache: Cache, gateway: Gateway) -> None:
        instance_class = self.plan.database.instance_class
        export_contract(
            CellOutputs,
            {
                "environment": self.environment,
                "cell": self.name,
                "hosts": [host for group in groups for host in group.outputs()],
                "database": {
                    "host": database.instance.connection_string,
                    "port": database.instance.port.apply(int),
                    "instance_class": instance_class,
                    "max_connections": DATABASE_CLASSES[instance_class].max_connections,
                    "storage_gib": self.plan.database.storage_gib,
                    "privileged_account": PRIVILEGED_ACCOUNT,
                    "databases": {name: names.owner_account(name) for name in with_own_database(self.services)},
                },
                "cache": {
                    "host": cache.host,
                    "port": CACHE_PORT,
                    "accounts": {name: name for name in self.cache_passwords},
                },
                "gateway": {
                    "name": gateway.name,
                    "address": gateway.address,
                    "port": self.shared.site_port,
                    "server_group_id": gateway.server_group.id,
                },
                "database_instance_id": database.instance.id,
                "services": told(self.services, self.plan.together),
            },
        )
        secrets = secrets_of(self.passwords, self.services)
        pulumi.export("secrets", pulumi.Output.secret(secrets.model_dump(exclude_none=True)))


def serving_groups(firewall: Firewall) -> list[pulumi.Output[str]]:
    """Of all roles but the gateways: who may reach the cell's database and cache."""
    return [group.id for role, group in firewall.groups.items() if role != GATEWAY]


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
        services={
            service.name: {name: passwords.token(f"service-{service.name}", name) for name in service.own_secrets}
            for service in services
            if service.own_secrets
        },
        identity_signing_key=passwords.signing_key("identity-signing") if "signing-key" in wanted else None,
        operator_client_secret=passwords.token("client", "operator") if "clients" in wanted else None,
    )
