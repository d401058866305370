"""What a class name means: vCPU and memory of hosts, connections and memory of databases and caches.

Sizes are the cloud's own (ECS instance families; RDS for PostgreSQL primary instance types); the local cloud scales
hosts by its settings and gives managed services small fixed limits of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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


@dataclass(frozen=True)
class DatabaseClass:
    name: str
    vcpus: int
    memory_gib: int

    @property
    def max_connections(self) -> int:
        """2c4g 400, 4c16g 1,600, 8c32g 3,200, 16c64g 6,400: 100 a GiB (help.aliyun.com, RDS instance types)."""
        return 100 * self.memory_gib


_DATABASE_CLASSES = {
    # Names by series: n2/n4/n8 = 2, 4 or 8 GiB a core; 1m, 2c, 1c … as the cloud's table lists them.
    "pg.n2.small.1": (1, 2), "pg.n2.medium.1": (2, 4), "pg.n2.large.1": (4, 8), "pg.n2.xlarge.1": (8, 16),
    "pg.n2.small.2c": (1, 2), "pg.n2.medium.2c": (2, 4), "pg.n2.large.2c": (4, 8), "pg.n2.xlarge.2c": (8, 16),
    "pg.n4.medium.1": (2, 8), "pg.n4.large.1": (4, 16), "pg.n4.xlarge.1": (8, 32), "pg.n4.2xlarge.1": (16, 64),
    "pg.n4.medium.2c": (2, 8), "pg.n4.large.2c": (4, 16), "pg.n4.xlarge.2c": (8, 32), "pg.n4.2xlarge.2c": (16, 64),
    "pg.n8.medium.1": (2, 16), "pg.n8.large.1": (4, 32), "pg.n8.xlarge.1": (8, 64),
    "pg.n8.medium.2c": (2, 16), "pg.n8.large.2c": (4, 32), "pg.n8.xlarge.2c": (8, 64),
}  # fmt: skip
_DATABASE_SIZE = re.compile(
    r"^pg\.(?P<series>n2|n4|n8|x2|x4|x8)[a-z]*\.(?P<size>small|medium|large|xlarge|\dxlarge|\d+large)\.(?:1|2c)$"
)

# General-purpose classes, as infra/database_classes.py has them: pg.n4.2c.2m is 2 cores with 4 GiB each.
_DATABASE_GENERAL = re.compile(r"^pg\.n(?P<gib>[248])\.(?P<cores>\d+)c\.[12]m$")


def database_class(name: str) -> DatabaseClass:
    """
    Raises:
        CloudError: InvalidDBInstanceClass.NotFound, no such class.
    """
    if name in _DATABASE_CLASSES:
        return DatabaseClass(name, *_DATABASE_CLASSES[name])
    general = _DATABASE_GENERAL.match(name)
    if general:
        return DatabaseClass(name, int(general["cores"]), int(general["cores"]) * int(general["gib"]))
    match = _DATABASE_SIZE.match(name)
    if not match:
        raise CloudError("InvalidDBInstanceClass.NotFound", f"{name!r} is no PostgreSQL instance class of this cloud")
    cores = {"small": 1, "medium": 2, "large": 4, "xlarge": 8}.get(match["size"])
    if cores is None:
        cores = 8 * int(match["size"].removesuffix("xlarge").removesuffix("large"))
    return DatabaseClass(name, cores, cores * int(match["series"][1]))


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
