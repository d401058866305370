from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra import folder, names
from infra.folder import EnvironmentFolder
from infra.names import StackName, StackNameError
from infra.registry import Registry, load_registry

RDS_ACCOUNT = re.compile(r"^[a-z][a-z0-9_]{0,61}[a-z0-9]$")
RDS_DATABASE = re.compile(r"^[a-z][a-z0-9_-]{0,62}[a-z0-9]$")
BUCKET = re.compile(r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def names_of(environment: str, registry: Registry) -> dict[str, re.Pattern[str]]:
    """Every name of every tenant and scope, with the cloud's rule for it."""
    made = {}
    for code in registry.divisions:
        database = names.tenant_database(code)
        made[database] = RDS_DATABASE
        made[names.owner_account(database)] = RDS_ACCOUNT
        made[names.application_account(database)] = RDS_ACCOUNT
        made[names.bucket(environment, registry.scope_of(code), "zj01")] = BUCKET
    return made


@pytest.mark.parametrize("environment", ["prod", "local", "test-abcdefghijkl"])
def test_names_of_all_tenants_fit_the_clouds_rules(environment: str, registry: Registry) -> None:
    wrong = [name for name, rule in names_of(environment, registry).items() if not rule.match(name)]
    assert wrong == []


def test_the_rules_catch_a_name_that_begins_with_a_digit() -> None:
    assert not RDS_DATABASE.match("330106")


def test_a_stack_name_tells_its_kind() -> None:
    kinds = {scope: StackName("prod", scope).kind for scope in ("foundation", "cell-core", "cell-a", "hangzhou")}
    assert kinds == {"foundation": "foundation", "cell-core": "cell", "cell-a": "cell", "hangzhou": "tenants"}
    assert StackName.parse("test-x1.cell-a").reference == "organization/yiwang/test-x1.cell-a"


@pytest.mark.parametrize(
    "text",
    ["prod", "prod.", "Staging.foundation", "two-words.foundation", "prod.Hangzhou", "test-.foundation", "a.b.c"],
)
def test_a_foreign_stack_is_refused(text: str) -> None:
    with pytest.raises(StackNameError, match=r"expected <environment>\.<scope>"):
        StackName.parse(text)


def test_https_own_port_is_left_out_of_a_url() -> None:
    assert names.site_url("xihu", "zj.example.gov.cn", 443) == "https://xihu.zj.example.gov.cn"
    assert names.site_url("xihu", "zj.localhost", 8443) == "https://xihu.zj.localhost:8443"


def test_a_production_environment_is_any_whose_foundation_has_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("prod", "jiangsu", "local", "test-x"):
        (tmp_path / f"Pulumi.{name}.foundation.yaml").touch()
    monkeypatch.setattr(folder, "SETTINGS", tmp_path)
    assert folder.production_environments() == ["jiangsu", "prod"]
    assert not EnvironmentFolder("jiangsu").made_here and EnvironmentFolder("jiangsu").kind == "production"
    with pytest.raises(ValueError, match="expected local, jiangsu, prod or test-"):
        EnvironmentFolder("hebei")


@pytest.mark.parametrize(("name", "kind"), [("local", "local"), ("test-x1", "test")])
def test_an_environment_of_ours_is_told_by_its_name(name: str, kind: str) -> None:
    assert EnvironmentFolder(name).kind == kind and EnvironmentFolder(name).made_here
