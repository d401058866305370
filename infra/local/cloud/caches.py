"""Redis (Tair): Redis 7 in a container; accounts may use every key of the instance, as in the cloud."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import Context, write_atomically
from infra.local.cloud.databases import check_password
from infra.local.cloud.errors import CloudError
from infra.local.cloud.instance_types import cache_memory_mib
from infra.local.cloud.kind import Kind
from infra.local.cloud.networks import allocate_address, network_of
from infra.local.cloud.records import Record, fixed, fixed_reference, reference, secret
from infra.local.images import CLOUD_IMAGE

_ADMINISTRATOR = "yw_cloud"
_PORT = 6379
_CORES, _MEMORY_MIB, _DATA_MIB = 0.5, 192, 128
_RIGHTS = {
    # Neither may administer the instance; the cloud keeps that for itself.
    "RoleReadWrite": "+@all -@admin",
    "RoleReadOnly": "+@read +@connection +info -@admin",
}


@dataclass(frozen=True)
class CacheSpec:
    instance_class: str = ""
    engine_version: str = "7.0"
    switch_id: str = fixed_reference("Switch", "")
    security_ips: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = reference("SecurityGroup", ())
    password: str = secret("")  # of the default account; none: it is off
    release_protection: bool = False
    name: str = ""
    tags: Mapping[str, str] | None = None


class Caches(Kind[CacheSpec]):
    name = "Cache"
    prefix = "r"
    spec_type = CacheSpec
    not_found = "InvalidInstanceId.NotFound"

    def check(self, record: Record[CacheSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.engine_version not in ("7.0", "6.0", "5.0"):
            raise CloudError("InvalidEngineVersion.Malformed", f"cache {owner}: {spec.engine_version!r}")
        cache_memory_mib(spec.instance_class)
        if spec.password:
            check_password(spec.password, f"cache {owner}")
        for entry in spec.security_ips:
            network_of(entry, "InvalidSecurityIPList.Format")

    def check_delete(self, record: Record[CacheSpec]) -> None:
        if record.spec.release_protection:
            message = f"cache {record.owner.name} is protected: set its release protection to false first"
            raise CloudError("InstanceReleaseProtection", message)

    def realise(self, record: Record[CacheSpec]) -> Mapping[str, Any]:
        address = allocate_address(self.context, record.spec.switch_id, record.id)
        dns_name = f"{record.id}.redis.{self.context.domain}"
        attributes = {
            "address": address,
            "addresses": [address],
            "dns_name": dns_name,
            "connection_domain": dns_name,
            "port": _PORT,
            "status": "Normal",
        }
        self.run(dataclasses.replace(record, attributes=attributes))
        return attributes

    def after_change(self, record: Record[CacheSpec]) -> None:
        self.context.renew_firewall()
        self.context.renew_names()

    def observe(self, record: Record[CacheSpec]) -> Record[CacheSpec] | None:
        if self.context.stopped:
            return record
        seen = self.context.containers.look(self.container_name(record))
        if seen is None:
            return None
        attributes = {**record.attributes, "status": "Normal" if seen.alive else "Inactive"}
        return dataclasses.replace(record, attributes=attributes)

    def withdraw(self, record: Record[CacheSpec]) -> None:
        self.context.containers.remove(self.container_name(record))
        shutil.rmtree(self.folder(record), ignore_errors=True)

    # --- the container

    def container_name(self, record: Record[CacheSpec]) -> str:
        return self.context.containers.name(record.id)

    def folder(self, record: Record[CacheSpec]) -> Path:
        return self.context.root / "caches" / record.id

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
        return redis.Redis(host=host, port=_PORT, username=_ADMINISTRATOR, password=password, socket_timeout=10)

    def _prepared(self, record: Record[CacheSpec]) -> Path:
        folder = self.folder(record)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write_accounts(self, record: Record[CacheSpec]) -> bool:
        lines = [_account(_ADMINISTRATOR, _password(self.context), "+@all")]
        if record.spec.password:
            lines += [_account(name, record.spec.password, _RIGHTS["RoleReadWrite"]) for name in ("default", record.id)]
        else:
            lines.append("user default off resetkeys -@all")
        for account in self.store.of_kind("CacheAccount"):
            if account.spec.instance_id == record.id:
                spec = account.spec
                lines.append(_account(spec.account_name, spec.password, _RIGHTS[spec.privilege]))
        return write_atomically(self._prepared(record) / "users.acl", "\n".join(lines) + "\n")

    def _container(self, record: Record[CacheSpec]) -> Container:
        options = (
            *self.context.network_options(record.attributes["address"]),
            *self.context.resolver_options(),
            *("--volume", f"{self.folder(record)}:/settings:ro", "--sysctl", "net.core.somaxconn=1024"),
        )
        boot = "exec setpriv --reuid redis --regid redis --clear-groups redis-server /settings/redis.conf"
        return Container(
            name=self.container_name(record),
            image=(CLOUD_IMAGE,),
            options=options,
            command=("/bin/sh", "-ec", boot),
            labels=self.context.labels(record),
            cores=_CORES,
            memory_mib=_MEMORY_MIB,
        )

    def _wait(self, record: Record[CacheSpec]) -> None:
        failing = retry_if_exception_type(redis.RedisError)
        again = retry(stop=stop_after_delay(30), wait=wait_fixed(0.1), retry=failing, reraise=True)
        try:
            again(self.administrator(record).ping)()
        except redis.RedisError as error:
            logs = self.context.containers.logs(self.container_name(record))
            raise CloudError("InternalError", f"cache {record.owner.name} does not answer: {error}\n{logs}") from error


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


@dataclass(frozen=True)
class CacheAccountSpec:
    instance_id: str = fixed_reference("Cache")
    account_name: str = fixed()
    password: str = secret("")
    privilege: str = "RoleReadWrite"
    description: str = ""


class CacheAccounts(Kind[CacheAccountSpec]):
    name = "CacheAccount"
    prefix = "ra"
    spec_type = CacheAccountSpec
    not_found = "InvalidAccountName.NotFound"
    quota_per_instance = 18

    @property
    def _caches(self) -> Caches:
        caches = self.context.kinds["Cache"]
        assert isinstance(caches, Caches)
        return caches

    def physical(self, spec: CacheAccountSpec) -> str:
        return f"{spec.instance_id}:{spec.account_name}"

    def exclusive(self, spec: CacheAccountSpec) -> AbstractContextManager[None]:
        return self._operation(spec.instance_id)

    @contextmanager
    def _operation(self, instance: str) -> Iterator[None]:
        with self.store.try_lock(f"operation-{instance}") as mine:
            if not mine:
                message = f"another operation on {instance} is in progress: wait for it and try again"
                raise CloudError("IncorrectDBInstanceState", message)
            yield

    def check(self, record: Record[CacheAccountSpec]) -> None:
        spec = record.spec
        if not spec.account_name.isascii() or not spec.account_name.replace("_", "a").isalnum():
            raise CloudError("InvalidAccountName.Format", f"cache account {spec.account_name!r}: a-z, 0-9 and _")
        if spec.account_name != spec.account_name.lower() or not 1 <= len(spec.account_name) <= 100:
            message = f"cache account {spec.account_name!r}: lower case, 100 at most"
            raise CloudError("InvalidAccountName.Format", message)
        if spec.account_name in (_ADMINISTRATOR, "default"):
            raise CloudError("InvalidAccountName.Forbid", f"cache account {spec.account_name!r} is reserved")
        if spec.privilege not in _RIGHTS:
            raise CloudError("InvalidPrivilege.Format", f"cache account {spec.account_name}: {spec.privilege!r}")
        check_password(spec.password, f"cache account {spec.account_name}")
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
