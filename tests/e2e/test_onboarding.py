"""A county goes live by one command: its own resources and no others, no process anew; its site answers, one person is
invited.
"""

from __future__ import annotations

import io
from contextlib import closing
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from infra.engine import EngineError
from infra.local.recovery import recover
from tests.e2e.clients import trust
from tests.e2e.units import main_pids
from tests.support.living import CHUNAN, Living, preview, touched
from tools import cli
from tools.operator_client import operator_of
from tools.scopes import scopes_of
from tools.stages import StageError

NEVER_RESTARTED = {"pgbouncer", "haproxy", "yiwang-affairs", "yiwang-portal", "yiwang-identity", "yiwang-query",
                   "yiwang-tenants-exporter", "yiwang-pgbouncer-exporter", "prometheus", "prometheus-alertmanager",
                   "yiwang-receiver"}  # fmt: skip


@pytest.mark.timeout(120, func_only=True)
def test_a_county_whose_stack_is_out_of_reach_leaves_what_was_found(living: Living) -> None:
    before = living.life.folder.registry_overlay.read_bytes()
    (state,) = living.life.folder.pulumi_backend.glob(f".pulumi/stacks/*/{living.engine.stack('hangzhou')}.json")
    away = state.rename(state.with_suffix(".away"))
    try:
        with pytest.raises(StageError, match=r"stack \S+\.hangzhou, which 淳安县 would be in, is not there"):
            living.life.onboard(CHUNAN, Console(file=io.StringIO()))
    finally:
        away.rename(state)
    assert living.life.folder.registry_overlay.read_bytes() == before


@pytest.mark.timeout(300, func_only=True)
def test_what_a_failed_update_has_made_is_taken_back(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    before, ids = living.life.folder.registry_overlay.read_bytes(), _ids(living, "hangzhou")

    fault = iter([EngineError("the engine lost its cloud")])

    def fail_at_the_end(*given: Any) -> Any:
        changes = recover(*given)
        for error in fault:  # once: it is there again when all is taken back
            assert _ids(living, "hangzhou") != ids, "it had begun"
            raise error
        return changes

    monkeypatch.setattr("tools.recovering.recover", fail_at_the_end)
    with pytest.raises(StageError, match="lost its cloud"):
        living.life.onboard(CHUNAN, Console(file=io.StringIO()))
    assert living.life.folder.registry_overlay.read_bytes() == before
    assert _ids(living, "hangzhou") == ids
    assert not preview(living, "hangzhou")[0].any


@pytest.mark.timeout(300, func_only=True)
def test_a_planned_county_goes_live_alone(living: Living) -> None:
    before = {scope: _ids(living, scope) for scope in scopes_of(living.life.folder)}
    processes = main_pids(living)
    assert {unit for _, unit in processes} >= NEVER_RESTARTED
    printed = io.StringIO()
    run, invitation = living.life.onboard(CHUNAN, Console(file=printed, width=200))
    assert run.changed
    assert main_pids(living) == processes, "nothing was restarted"
    shown = [line for line in printed.getvalue().splitlines() if "alicloud:" in line]
    assert shown and all(CHUNAN in line for line in shown), "the diff that it prints holds that tenant alone"
    added = {scope: _ids(living, scope) - before[scope] for scope in before}
    assert added.pop("hangzhou"), "the county has resources now"
    assert not any(added.values()), "no other stack has more"
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == CHUNAN)
    assert invitation is not None
    with httpx.Client(verify=trust(living), timeout=30, follow_redirects=True) as browser:
        assert "淳安县" in browser.get(tenant.url).text
        items = browser.get(f"{tenant.url}/api/affairs/items").json()["items"]
        assert len(items) >= 8, "the catalogue was replayed"
        assert browser.get(invitation["link"]).status_code == 200
    changes, written = preview(living, "hangzhou")
    assert not changes.any
    assert touched(written, CHUNAN) == ([], [])


@pytest.mark.timeout(300, func_only=True)
def test_onboarding_a_living_county_changes_nothing_and_invites_nobody(living: Living) -> None:
    run, invitation = living.life.onboard(CHUNAN, Console(file=io.StringIO()))
    assert invitation is None
    assert not run.changed, run.rows


def test_an_invitation_is_given_again_and_revoked(living: Living) -> None:
    words = [living.name, CHUNAN]
    former = _open(living)
    given = CliRunner().invoke(cli.app, ["invitation", "give", *words])
    assert given.exit_code == 0, given.output
    (link,) = (word for word in given.output.split() if "/invitation/" in word)
    with httpx.Client(verify=trust(living), timeout=30) as browser:
        assert browser.get(link).status_code == 200
        (open_now,) = _open(living)
        assert open_now not in former, "the link that was given before has ended"
        assert CliRunner().invoke(cli.app, ["invitation", "revoke", *words]).exit_code == 0
        assert browser.get(link).status_code == 410
    assert _open(living) == []


def _open(living: Living) -> list[str]:
    with closing(operator_of(living.engine, living.outputs)) as operator:
        return [invitation["id"] for invitation in operator.invitations(CHUNAN)["open"]]


def _ids(living: Living, scope: str) -> set[str]:
    stack = living.engine.stack(scope)
    return {record.id for record in living.life.cloud.inventory() if record.owner.stack == stack}
