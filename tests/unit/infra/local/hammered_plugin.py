"""A fresh process with the provider in it, called from 32 threads at once: nothing of it has been imported before.

python -m tests.unit.infra.local.hammered_plugin STACK      prints the ids of what it made; refusals and errors end it
"""

from __future__ import annotations

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from infra.local.plugin.protocol import spare_the_sdk

THREADS = 32
CLASSES: dict[str, dict[str, Any]] = {
    "alicloud:log/project:Project": {"projectName": "yw-{}"},
    "alicloud:kms/key:Key": {"description": "{}"},
    "alicloud:kms/secret:Secret": {"secretName": "s-{}", "secretData": "x", "versionId": "v1"},
    "alicloud:ram/user:User": {"name": "u-{}"},
    "alicloud:resourcemanager/resourceGroup:ResourceGroup": {"displayName": "{}", "resourceGroupName": "g-{}"},
    "alicloud:ecs/autoSnapshotPolicy:AutoSnapshotPolicy": {
        "repeatWeekdays": ["1"],
        "retentionDays": -1,
        "timePoints": ["1"],
    },
    "alicloud:cen/instance:Instance": {"cenInstanceName": "{}"},
    "alicloud:dms/enterpriseUser:EnterpriseUser": {"uid": "{}"},
}


class Context:
    def abort(self, code: Any, message: str) -> None:
        raise RuntimeError(message)

    def is_active(self) -> bool:
        return True


def main(stack: str) -> list[str]:
    spare_the_sdk()
    from pulumi.runtime.proto import provider_pb2 as wire

    from infra.local.plugin.logs import EngineLog
    from infra.local.plugin.provider import LocalProvider
    from infra.local.plugin.values import to_struct, transform

    sys.setswitchinterval(1e-6)
    gc.set_threshold(200, 2, 2)
    provider, together = LocalProvider(EngineLog(None)), threading.Barrier(THREADS)

    def life(number: int) -> str:
        """One resource's check, create, diff and read."""
        token = list(CLASSES)[number % len(CLASSES)]
        name = f"{stack.partition('.')[2]}-{number}"
        inputs = transform(CLASSES[token], lambda value: value.format(name) if isinstance(value, str) else value)
        urn = f"urn:pulumi:{stack}::yiwang::{token}::{name}"
        together.wait(60)
        checked = provider.Check(wire.CheckRequest(urn=urn, news=to_struct(inputs)), Context())
        if checked.failures:
            raise RuntimeError(f"{urn}: {checked.failures}")
        given = checked.inputs
        made = provider.Create(wire.CreateRequest(urn=urn, properties=given), Context())
        provider.Diff(wire.DiffRequest(urn=urn, id=made.id, old_inputs=given, news=given), Context())
        read = provider.Read(wire.ReadRequest(urn=urn, id=made.id, inputs=given, properties=given), Context())
        return str(read.id)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(life, range(THREADS)))


if __name__ == "__main__":
    print("\n".join(main(sys.argv[1])))
