"""Everything that the cloud keeps and does not run: keys, secrets, log projects, trails, alarms, resource groups."""

from __future__ import annotations

from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Record
from infra.local.cloud.specs.kept import KeptSpec

# Quotas that are known, by the provider's type (docs: cloud limits).
_QUOTAS = {
    "alicloud:resourcemanager/resourceGroup:ResourceGroup": 30,
    "alicloud:log/project:Project": 50,
    "alicloud:actiontrail/trail:Trail": 5,
}


class KeptThings(Kind[KeptSpec]):
    name = "Kept"
    prefix = "kept"
    spec_type = KeptSpec

    def physical(self, spec: KeptSpec) -> str | None:
        return f"{spec.type}:{spec.unique_name}" if spec.unique_name else None

    def check(self, record: Record[KeptSpec]) -> None:
        quota = _QUOTAS.get(record.spec.type)
        others = [kept for kept in self.list() if kept.spec.type == record.spec.type and kept.id != record.id]
        if quota is not None and len(others) >= quota:
            raise CloudError("QuotaExceeded", f"{record.owner.name}: {quota} of {record.spec.type}, the quota")
