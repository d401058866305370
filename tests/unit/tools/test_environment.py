"""An environment's folder: what is chosen for this machine, what is refused, what is kept."""

from __future__ import annotations

import hashlib
import json
import socket
import stat
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from cryptography import x509

from infra.folder import EnvironmentFolder
from tools import environment
from tools.stages import StageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvironmentFolder:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    monkeypatch.delenv("YIWANG_NETWORK", raising=False)
    monkeypatch.delenv("YIWANG_PORT", raising=False)
    return EnvironmentFolder("test-unit")


def test_made_once_and_then_left_alone(folder: EnvironmentFolder) -> None:
    assert environment.ensure(folder)
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    assert environment.ensure(folder) == []
    assert {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()} == before


def test_a_plan_that_was_copied_gives_way_to_the_tracked_one_and_a_changed_one_stays(
    folder: EnvironmentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.ensure(folder)
    assert not folder.plan.exists()
    monkeypatch.setattr(environment, "COPIED_PLAN", hashlib.sha256(b"{}").hexdigest())
    folder.plan.write_text("{}")
    assert environment.ensure(folder) == ["plan: the tracked one rules"]
    assert not folder.plan.exists()
    folder.plan.write_text('{"changed": "by hand"}')
    assert environment.ensure(folder) == []
    assert folder.plan.exists()


def test_secrets_are_for_the_owner_alone(folder: EnvironmentFolder) -> None:
    environment.ensure(folder)
    for path in (folder.passphrase, folder.ssh_key, folder.authority / "authority.key", folder.authority / "site.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_site_certificate_is_issued_by_the_authority_for_every_site(folder: EnvironmentFolder) -> None:
    environment.ensure(folder)
    authority = x509.load_pem_x509_certificate((folder.authority / "authority.pem").read_bytes())
    leaf = x509.load_pem_x509_certificate((folder.authority / "site.pem").read_bytes())
    leaf.verify_directly_issued_by(authority)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.test-unit.localhost", "test-unit.localhost"]


def test_two_environments_share_neither_network_nor_port(folder: EnvironmentFolder) -> None:
    environment.ensure(folder)
    other = EnvironmentFolder("test-other")
    environment.ensure(other)
    first, second = environment.load_choice(folder), environment.load_choice(other)
    assert first.network != second.network
    assert first.site_port != second.site_port


def test_a_network_that_the_machine_routes_already_is_refused(
    folder: EnvironmentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed = [network for network in environment.machine_networks() if network.prefixlen <= 30]
    wanted = routed[0].supernet(new_prefix=min(routed[0].prefixlen, 16)) if routed else "127.0.0.0/8"
    if not routed:
        monkeypatch.setattr(environment, "machine_networks", lambda: [IPv4Network("127.0.0.0/16")])
    monkeypatch.setenv("YIWANG_NETWORK", str(wanted))
    with pytest.raises(StageError, match="overlaps") as refused:
        environment.ensure(folder)
    assert "YIWANG_NETWORK" in refused.value.way_out
    assert not environment.choice_path(folder).exists()


def test_a_taken_port_is_refused_and_named(folder: EnvironmentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        monkeypatch.setenv("YIWANG_PORT", str(port))
        with pytest.raises(StageError, match=str(port)) as refused:
            environment.ensure(folder)
    assert "YIWANG_PORT" in refused.value.way_out
    assert not environment.choice_path(folder).exists()
    environment.ensure(folder)
    assert json.loads(environment.choice_path(folder).read_text())["site_port"] == port


def test_production_is_refused() -> None:
    with pytest.raises(StageError, match="make works on local and test environments only, not on prod"):
        environment.refuse_production("prod", "make")


def test_an_environment_that_does_not_exist_is_named(folder: EnvironmentFolder) -> None:
    with pytest.raises(StageError, match="test-unit does not exist"):
        environment.load_choice(folder)


def test_the_ssh_key_is_usable(folder: EnvironmentFolder) -> None:
    environment.ensure(folder)
    answer = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", str(folder.ssh_key)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("ssh-ed25519 ")
