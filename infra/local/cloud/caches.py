"""Redis (Tair): Redis 7 in a container; accounts may use every key of the instance, as in the cloud."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from infra.local.cloud.container_kind import ContainerKind
from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import Context, write_atomically
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.instance_part import InstancePart
from infra.local.cloud.instance_types import cache_memory_mib
from infra.local.cloud.networks import network_of
from infra.local.cloud.records import Record
from infra.local.cloud.specs.accounts import ADMINISTRATOR, password_fault
from infra.local.cloud.specs.caches import (
    ACCOUNT_NAME,
    RESERVED_ACCOUNTS,
    RIGHTS,
    CacheAccountSpec,
    CacheSpec,
)

_PORT = 6379
_DATA_MIB = 128


class Caches(ContainerKind[CacheSpec]):
    name = "Cache"
    prefix = "r"
    spec_type = CacheSpec
    not_found = "InvalidInstanceId.NotFound"
    word = "cache"
    folder_name = "caches"
    alive, dead = "Normal", "Inactive"
    protected_by = "release_protection"
    protection_code = "InstanceReleaseProtection"
    limits = (0.5, 192)

    def check(self, record: Record[CacheSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.engine_version not in ("7.0", "6.0", "5.0"):
            raise CloudError("InvalidEngineVersion.Malformed", f"cache {owner}: {spec.engine_version!r}")
        cache_memory_mib(spec.instance_class)
        if spec.password:
            refuse("InvalidAccountPassword.Format", f"password of cache {owner}", password_fault(spec.password))
        for entry in spec.security_ips:
            network_of(entry, "InvalidSecurityIPList.Format")

    def attributes(self, record: Record[CacheSpec]) -> Mapping[str, Any]:
        dns_name = f"{record.id}.redis.{self.context.domain}"
        return {
            **self.placed(record, record.spec.switch_id, dns_name),
            "connection_domain": dns_name,
            "port": _PORT,
        }

    # --- the container

    def run(self, record: Record[CacheSpec], seen: Seen | None = None) -> bool:
        """Make Redis run with its accounts and wait until it answers; True where something was done."""
        settings = write_atomically(self._prepared(record) / "redis.conf", _settings(record.spec))
        accounts = self._write_accounts(record)
        made = self.context.containers.ensure(self._container(record), seen, fresh=settings)
        if made:
            self._wait(record)
        elif accounts:
            self.administrator(record).acl_load()
        return made or accounts

    def load_accounts(self, record: Record[CacheSpec]) -> None:
        with self.store.lock(f"accounts-{record.id}"):
            if self._write_accounts(record):
                self.administrator(record).acl_load()

    def administrator(self, record: Record[CacheSpec]) -> redis.Redis:
        password = _password(self.context)
        host = record.attributes["address"]
        return redis.Redis(host=host, port=_PORT, username=ADMINISTRATOR, password=password, socket_timeout=10)

    def _prepared(self, record: Record[CacheSpec]) -> Path:
        folder = self.folder(record)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write_accounts(self, record: Record[CacheSpec]) -> bool:
        lines = [_account(ADMINISTRATOR, _password(self.context), "+@all")]
        if record.spec.password:
            lines += [_account(name, record.spec.password, RIGHTS["RoleReadWrite"]) for name in ("default", record.id)]
        else:
            lines.append("user default off resetkeys -@all")
        for account in self.store.of_kind("CacheAccount"):
            if account.spec.instance_id == record.id:
                spec = account.spec
                lines.append(_account(spec.account_name, spec.password, RIGHTS[spec.privilege]))
        return write_atomically(self._prepared(record) / "users.acl", "\n".join(lines) + "\n")

    def _container(self, record: Record[CacheSpec]) -> Container:
        options = ("--volume", f"{self.folder(record)}:/settings:ro", "--sysctl", "net.core.somaxconn=1024")
        boot = "exec setpriv --reuid redis --regid redis --clear-groups redis-server /settings/redis.conf"
        return self.managed(record, options, command=("/bin/sh", "-ec", boot))

    def _wait(self, record: Record[CacheSpec]) -> None:
        failing = retry_if_exception_type(redis.RedisError)
        again = retry(stop=stop_after_delay(30), wait=wait_fixed(0.1), retry=failing, reraise=True)
        try:
            again(self.administrator(record).ping)()
        except redis.RedisError as error:
            raise self.unanswered(record, error) from error


def _password(context: Context) -> str:
    return context.store.sealed_fact("cache-administrator", lambda: secrets.token_urlsafe(32))


def _account(name: str, password: str, rights: str) -> str:
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user {name} on #{digest} ~* &* {rights}"


def _settings(spec: CacheSpec) -> str:
    data = min(cache_memory_mib(spec.instance_class), _DATA_MIB)
    return (
        f'port {_PORT}\nbind 0.0.0.0\nprotected-mode no\nappendonly no\nsave ""\ndir /tmp\n'
        f"aclfile /settings/users.acl\nmaxmemory {data}mb\nmaxmemory-policy volatile-lru\n"
        'maxclients 10000\ntcp-keepalive 60\nlogfile ""\n'
    )


class CacheAccounts(InstancePart[CacheAccountSpec]):
    name = "CacheAccount"
    prefix = "ra"
    spec_type = CacheAccountSpec
    not_found = "InvalidAccountName.NotFound"
    busy = "IncorrectDBInstanceState"
    quota_per_instance = 18

    @property
    def _caches(self) -> Caches:
        return Caches(self.context)

    def physical(self, spec: CacheAccountSpec) -> str:
        return f"{spec.instance_id}:{spec.account_name}"

    def check(self, record: Record[CacheAccountSpec]) -> None:
        spec = record.spec
        what = f"cache account {spec.account_name!r}"
        refuse("InvalidAccountName.Format", what, ACCOUNT_NAME.fault(spec.account_name))
        refuse("InvalidAccountName.Forbid", what, "is reserved" if spec.account_name in RESERVED_ACCOUNTS else None)
        if spec.privilege not in RIGHTS:
            raise CloudError("InvalidPrivilege.Format", f"cache account {spec.account_name}: {spec.privilege!r}")
        refuse("InvalidAccountPassword.Format", f"password of {what}", password_fault(spec.password))
        others = [
            account
            for account in self.list()
            if account.spec.instance_id == spec.instance_id and account.id != record.id
        ]
        if len(others) >= self.quota_per_instance:
            message = f"cache {spec.instance_id} has {self.quota_per_instance} accounts, the quota"
            raise CloudError("QuotaExceeded.Account", message)

    def after_change(self, record: Record[CacheAccountSpec]) -> None:
        cache = self.store.get(record.spec.instance_id)
        if cache is not None and not self.context.stopped:
            self._caches.load_accounts(cache)

    def observe(self, record: Record[CacheAccountSpec]) -> Record[CacheAccountSpec] | None:
        cache = self.store.get(record.spec.instance_id)
        if cache is None:
            return None
        if self.context.stopped:
            return record
        try:
            users = self._caches.administrator(cache).acl_users()
        except redis.RedisError:
            return None if self._caches.read(cache.id) is None else record
        return record if record.spec.account_name in users else None
