"""Making an environment's folder: choices of this machine, keys, authority, registry overlay."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import subprocess
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path

from ruamel.yaml import YAML

from infra.folder import MADE_HERE, EnvironmentFolder, home
from tools.authority import Authority
from tools.stages import StageError

LOCAL_NETWORK = "10.77.0.0/16"
LOCAL_PORT = 8443
TEST_NETWORKS = [f"10.{number}.0.0/16" for number in range(100, 200)]
TEST_PORTS = range(18443, 18643)
OBJECT_STORE = "oss"
COPIED_PLAN = "5bd2ea9a050e09ace57dad2ce6458bcc9a009dcf4e87aab7c29646080cd8a1ae"
"""SHA-256 of the plan that was copied into environments' folders before the tracked one ruled them."""


@dataclass(frozen=True)
class MachineChoice:
    """What this machine leaves free, chosen once when the environment is made (`machine.json` in its folder)."""

    network: str
    site_port: int
    site_suffix: str
    private_zone: str

    @property
    def name_server(self) -> str:
        """The address that the local cloud gives its name server: the second of the network."""
        return str(ip_network(self.network)[2])

    @property
    def object_host(self) -> str:
        return f"{OBJECT_STORE}.{self.private_zone}"


@dataclass(frozen=True)
class RegistryOverlay:
    """Tenants' status in one environment, where it differs from production's."""

    statuses: dict[str, str]
    only: list[str] | None = None


LOCAL_OVERLAY = RegistryOverlay(statuses={"330127": "planned"})


def choice_path(folder: EnvironmentFolder) -> Path:
    return folder.root / "machine.json"


def environments_here() -> list[str]:
    return sorted(path.parent.name for path in home().glob("*/machine.json"))


def load_choice(folder: EnvironmentFolder) -> MachineChoice:
    """The environment's choice.

    Raises:
        StageError: there is no such environment on this machine.
    """
    path = choice_path(folder)
    if not path.exists():
        there = ", ".join(environments_here()) or "none"
        raise StageError(
            f"environment {folder.environment} does not exist on this machine (no {path}); there is {there}",
            f"bring it up first: make up ENVIRONMENT={folder.environment}",
        )
    try:
        return MachineChoice(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise StageError(
            f"{path} is not what was written there: {error}",
            "give it back its network, site_port, site_suffix and private_zone: every stack was made with them",
        ) from None


def refuse_production(environment: str, what: str) -> None:
    """`what` makes and removes everything as it likes; production is changed by what is shown and agreed to.

    Raises:
        StageError: it is a production environment.
    """
    if not EnvironmentFolder(environment).made_here:
        raise StageError(
            f"{what} works on local and test environments only, not on {environment}",
            f"production is changed by what is shown and agreed to: yiwang up {environment}, yiwang onboard "
            f"{environment} CODE, yiwang resize {environment} CELL, or the native commands (docs/production.md)",
        )


def bringing_up(folder: EnvironmentFolder) -> str:
    """The command that brings everything to what registry and plan say, and heals it."""
    name = folder.environment
    return f"make up ENVIRONMENT={name}" if folder.made_here else f"yiwang up {name}"


def ensure(folder: EnvironmentFolder, overlay: RegistryOverlay | None = None) -> list[str]:
    """Makes what is missing in the environment's folder. Returns what it made.

    Raises:
        StageError: the network overlaps one of the machine's, or the port is taken.
    """
    done = []
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not choice_path(folder).exists():
        choice = _choose(folder)
        _check_free(choice)
        choice_path(folder).write_text(json.dumps(asdict(choice), indent=2) + "\n")
        done.append(f"network {choice.network}, port {choice.site_port}")
    choice = load_choice(folder)
    for path in (folder.pulumi_backend, folder.pulumi_home, folder.cloud, folder.stacks, folder.logs):
        path.mkdir(parents=True, exist_ok=True)
    if _write_once(folder.passphrase, secrets.token_urlsafe(32)):
        done.append("passphrase")
    if _ensure_ssh_key(folder.ssh_key):
        done.append("SSH key")
    done += _ensure_authority(folder, choice)
    if _withdraw_copied_plan(folder):
        done.append("plan: the tracked one rules")
    if not folder.registry_overlay.exists():
        _write_overlay(folder, overlay or LOCAL_OVERLAY)
        done.append("registry overlay")
    return done


def _withdraw_copied_plan(folder: EnvironmentFolder) -> bool:
    """Removes the copy of `plans/local.json` that environments were once given, unless somebody has changed it: it
    would hide every later change of the tracked plan."""
    if not folder.plan.exists() or hashlib.sha256(folder.plan.read_bytes()).hexdigest() != COPIED_PLAN:
        return False
    folder.plan.unlink()
    return True


def _choose(folder: EnvironmentFolder) -> MachineChoice:
    environment = folder.environment
    if folder.kind == "local":
        network = os.environ.get("YIWANG_NETWORK") or LOCAL_NETWORK
        return MachineChoice(network, _chosen_port() or LOCAL_PORT, "zj.localhost", "local.yiwang.internal")
    taken = [IPv4Network(other.network) for other in _other_choices(environment)] + machine_networks()
    network = os.environ.get("YIWANG_NETWORK") or next(
        candidate for candidate in TEST_NETWORKS if not any(IPv4Network(candidate).overlaps(net) for net in taken)
    )
    used = {other.site_port for other in _other_choices(environment)}
    port = _chosen_port() or next(p for p in TEST_PORTS if p not in used and not port_holder(p))
    return MachineChoice(network, port, f"{environment}.localhost", f"{environment}.yiwang.internal")


def _chosen_port() -> int | None:
    given = os.environ.get("YIWANG_PORT")
    if not given:
        return None
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) < 65536:
        raise StageError(
            f"YIWANG_PORT: {given!r} is no port", "give a number from 1 to 65535: YIWANG_PORT=<port> make up"
        )
    return int(given)


def _other_choices(environment: str) -> list[MachineChoice]:
    others = [other for other in environments_here() if other != environment and re.fullmatch(MADE_HERE, other)]
    return [load_choice(EnvironmentFolder(other)) for other in others]


def _check_free(choice: MachineChoice) -> None:
    try:
        wanted = IPv4Network(choice.network)
    except ValueError as error:
        raise StageError(f"YIWANG_NETWORK: {error}", "give a private network like 10.77.0.0/16") from error
    for network in machine_networks():
        if wanted.overlaps(network):
            raise StageError(
                f"network {choice.network} overlaps {network}, which this machine already routes",
                "choose another: YIWANG_NETWORK=10.<n>.0.0/16 make up",
            )
    holder = port_holder(choice.site_port)
    if holder:
        raise StageError(
            f"port {choice.site_port} on the loopback is taken by {holder}",
            "end that program, or choose another port: YIWANG_PORT=<port> make up",
        )


def machine_networks() -> list[IPv4Network]:
    """The networks that the machine routes, default routes left out."""
    answer = subprocess.run(["ip", "-json", "-4", "route", "show"], capture_output=True, text=True, check=True).stdout
    destinations = [route["dst"] for route in json.loads(answer or "[]")]
    return [IPv4Network(destination, strict=False) for destination in destinations if destination != "default"]


def port_holder(port: int) -> str | None:
    """Who listens on the loopback's `port`: a description, or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            answer = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False)
            users = [line.partition("users:")[2] for line in answer.stdout.splitlines()]
            return (users[0] if users else "") or "another program"
    return None


def _write_once(path: Path, text: str) -> bool:
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return True


def _ensure_ssh_key(path: Path) -> bool:
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "yiwang", "-f", str(path)]
    subprocess.run(command, check=True)
    return True


def _ensure_authority(folder: EnvironmentFolder, choice: MachineChoice) -> list[str]:
    authority = Authority(folder.authority)
    done = ["authority"] if authority.ensure(folder.environment) else []
    if authority.ensure_leaf("site", [f"*.{choice.site_suffix}", choice.site_suffix]):
        done.append("site certificate")
    if authority.ensure_leaf("objects", [choice.object_host, f"*.{choice.object_host}"]):
        done.append("object store certificate")
    return done


def _write_overlay(folder: EnvironmentFolder, overlay: RegistryOverlay) -> None:
    content: dict[str, object] = {"statuses": overlay.statuses}
    if overlay.only is not None:
        content["only"] = overlay.only
    with folder.registry_overlay.open("w") as file:
        file.write("# Tenants' status in this environment, where it differs from the registry's.\n")
        YAML().dump(content, file)
