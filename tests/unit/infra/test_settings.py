from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from infra.names import StackName
from infra.render import STAND_INS
from infra.settings import KINDS, CellSettings, FoundationSettings, SettingsError, load, secret_keys
from infra.stacks import FOLDER, MACHINE_MADE, PROVIDED, Setting, read, stack_settings

FOUNDATION = StackName("local", "foundation")
SCOPES = {"foundation": "foundation", "cell": "cell-a", "tenants": "hangzhou"}


def given(scope: str, **changes: Any) -> tuple[dict[str, str], set[str]]:
    """A local stack's settings as the engine hands them over; None removes a key."""
    settings = stack_settings("local", scope, STAND_INS)
    for key, value in changes.items():
        full = f"yiwang:{key}"
        if value is None:
            del settings[full]
        else:
            settings[full] = Setting(value, settings[full].secret if full in settings else False)
    return (
        {key: setting.value for key, setting in settings.items()},
        {key for key, setting in settings.items() if setting.secret},
    )


def test_a_local_stacks_settings_hold() -> None:
    settings = load(FOUNDATION, *given("foundation"))
    assert isinstance(settings, FoundationSettings)
    assert settings.zones == ("cn-hangzhou-j", "cn-hangzhou-k")
    assert settings.provider_version == "4.0.0-local"
    assert not settings.protect
    cell = load(StackName("local", "cell-a"), *given("cell-a"))
    assert isinstance(cell, CellSettings)
    assert cell.management_cidr == "10.200.0.1/32"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("cidr", None, "is missing"),
        ("cidr", "10.0.0.0/30", "is a /30"),
        ("cidr", "10.0.0.7/16", "host bits"),
        ("neighbours", '["10.200.0.0/20"]', "overlaps 10.200.0.0/20"),
        ("zones", '["cn-hangzhou-j"]', "names 1 zones"),
        ("zones", "cn-hangzhou-j", "is not JSON"),
        ("sitePort", "70000", "less than or equal to 65535"),
        ("siteSuffix", "-bad-", "match pattern"),
        ("certificate", "nonsense", "is not PEM"),
        ("objectEndpoint", "http://oss", "match pattern"),
        ("sitePrt", "8443", "is no setting of this kind of stack"),
    ],
)
def test_a_wrong_value_is_refused_with_key_stack_and_command(key: str, value: str | None, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(FOUNDATION, *given("foundation", **{key: value}))
    message = str(refused.value)
    # Ranges are checked together, so an overlap is reported at the network's own key.
    named = "cidr" if key == "neighbours" else key
    assert f"yiwang:{named}: " in message
    assert said in message
    assert "stack local.foundation" in message
    assert f"pulumi config {'rm' if value == '8443' else 'set'} yiwang:{named}" in message


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        load(FOUNDATION, *given("foundation", cidr=None, region=None))
    assert "yiwang:cidr" in str(refused.value)
    assert "yiwang:region" in str(refused.value)


def test_a_secret_in_clear_is_refused_and_not_shown() -> None:
    values, _ = given("cell-a")
    with pytest.raises(SettingsError, match="yiwang:seed: is a secret and stands in clear") as refused:
        load(StackName("local", "cell-a"), values, [])
    assert STAND_INS["seed"] not in str(refused.value)
    assert "--secret yiwang:seed" in str(refused.value)


def test_a_wrong_secret_is_not_shown_either() -> None:
    with pytest.raises(SettingsError) as refused:
        load(StackName("local", "cell-a"), *given("cell-a", seed="not-sixty-four-digits"))
    assert "not-sixty-four-digits" not in str(refused.value)


@pytest.mark.parametrize("kind", sorted(SCOPES))
def test_templates_and_machine_made_keys_are_all_and_only_settings(kind: str) -> None:
    stack = StackName("local", SCOPES[kind])
    load(stack, *given(stack.scope))
    template = read(FOLDER / f"template.{kind}.yaml")
    assert not MACHINE_MADE[kind] & set(template)
    assert secret_keys(kind) <= MACHINE_MADE[kind]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("Pulumi.prod.*.yaml")), ids=lambda path: path.name)
def test_production_holds_no_secret_in_clear_and_protects(path: Any) -> None:
    settings = read(path)
    kind = StackName.parse(path.name.removeprefix("Pulumi.").removesuffix(".yaml")).kind
    assert not [key for key in secret_keys(kind) if isinstance(settings.get(key), str)]
    assert settings["protect"] is True
    assert "providerVersion" not in settings
    assert settings["pulumi:disable-default-providers"] == ["alicloud"]


def test_a_missing_machine_made_key_is_a_key_error() -> None:
    values = {key: value for key, value in STAND_INS.items() if key != "cidr"}
    with pytest.raises(KeyError, match="cidr"):
        stack_settings("local", "foundation", values)


def test_stand_ins_cover_what_is_provided() -> None:
    assert set().union(*PROVIDED.values()) <= set(STAND_INS)
    assert json.loads(stack_settings("local", "foundation", STAND_INS)["yiwang:nameServers"].value) == []


def documented(text: str) -> set[str]:
    section = text.split("## Settings")[1].split("## Try")[0]
    return set(re.findall(r"`([a-zA-Z]+)`", section))


def test_every_setting_is_in_the_readme() -> None:
    text = (FOLDER.parent / "README.md").read_text("utf-8")
    keys = {to_camel(name) for kind in KINDS.values() for name in kind.model_fields}
    assert keys - documented(text) == set()
    assert keys - documented(text.replace("`cidr`", "")) == {"cidr"}
