"""The few numbers that say how large the local cloud is and where it can be reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CloudSettings:
    """Kept in the environment's store by `Cloud.configure`; later calls of `Cloud` read them from there."""

    site_port: int = 8443  # port of the front door on the machine's loopback; balancers listen on the same one
    cores_per_vcpu: float = 0.044  # ecs.*.xlarge (4 vCPU): 0.176 of a core
    memory_scale: float = 1 / 16  # 16 GiB becomes 1 GiB, 4 GiB becomes 256 MiB
    region: str = "cn-hangzhou"
    object_domain: str = ""  # buckets are <bucket>.<object_domain>; by default a name of the cloud's own
    object_port: int = 0  # 0: 443 with a certificate, else 80
    object_certificate: str = ""  # file names of a PEM chain and its key for *.<object_domain>; without: http
    object_key: str = ""
