"""What a class name means: vCPU and memory of hosts, connections and memory of databases and caches.

Sizes are the cloud's own; the local cloud scales hosts by its settings and gives managed services small fixed limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.database_classes import DATABASE_CLASSES
from infra.local.cloud.errors import CloudError
from infra.local.cloud.settings import CloudSettings

_FAMILY_GIB_PER_VCPU = {"c": 2, "u1-c1m2": 2, "g": 4, "u1-c1m4": 4, "r": 8, "u1-c1m8": 8}
_VCPUS = {"large": 2, "xlarge": 4}
_ECS = re.compile(r"^ecs\.(?P<family>[a-z]+|u1-c1m[248])(?P<generation>\d*[a-z]*)\.(?P<size>large|xlarge|\d+xlarge)$")


@dataclass(frozen=True)
class HostType:
    name: str
    vcpus: int
    memory_gib: float

    def limits(self, settings: CloudSettings) -> tuple[float, int]:
        """Cores and MiB that the container gets."""
        return round(self.vcpus * settings.cores_per_vcpu, 4), int(self.memory_gib * 1024 * settings.memory_scale)


def host_type(name: str) -> HostType:
    """
    Raises:
        CloudError: InvalidInstanceType.ValueNotSupported, no such type.
    """
    match = _ECS.match(name)
    family = (match["family"] if match["family"].startswith("u1") else match["family"][:1]) if match else ""
    if not match or family not in _FAMILY_GIB_PER_VCPU:
        raise CloudError("InvalidInstanceType.ValueNotSupported", f"{name!r} is no instance type of this cloud")
    size = match["size"]
    vcpus = _VCPUS.get(size) or 4 * int(size.removesuffix("xlarge"))
    return HostType(name, vcpus, vcpus * _FAMILY_GIB_PER_VCPU[family])


def type_with_limits(cores: float, memory_mib: int, settings: CloudSettings) -> str:
    """The type that has these limits, or a description of them: what somebody set by hand."""
    for family in ("ecs.c7", "ecs.g7", "ecs.r7"):
        for size in ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge"):
            candidate = host_type(f"{family}.{size}")
            if candidate.limits(settings) == (round(cores, 4), memory_mib):
                return candidate.name
    return f"custom-{cores:g}-cores-{memory_mib}-MiB"


def max_connections(name: str) -> int:
    """Connections of a database class.

    Raises:
        CloudError: InvalidDBInstanceClass.NotFound, no such class.
    """
    if name not in DATABASE_CLASSES:
        raise CloudError("InvalidDBInstanceClass.NotFound", f"{name!r} is no PostgreSQL instance class of this cloud")
    return DATABASE_CLASSES[name].max_connections


_CACHE_CLASS = re.compile(r"^(redis|tair)\.[a-z0-9]+(\.[a-z0-9]+)*$")
_CACHE_MIB = {"micro": 256, "small": 1024, "mid": 2048, "stand": 4096, "large": 8192, "2xlarge": 16384}


def cache_memory_mib(name: str) -> int:
    """Memory of a cache class in the cloud, MiB.

    Raises:
        CloudError: InvalidInstanceClass.NotFound, no such class.
    """
    if not _CACHE_CLASS.match(name):
        raise CloudError("InvalidInstanceClass.NotFound", f"{name!r} is no cache class of this cloud")
    explicit = re.search(r"\.(\d+)g\b", name)
    if explicit:
        return 1024 * int(explicit[1])
    for part in name.split("."):
        if part in _CACHE_MIB:
            return _CACHE_MIB[part]
    return 1024
