"""A county goes live by one command: its own resources and no others, no process anew; its site answers, one person is
invited.
"""

from __future__ import annotations

import io

import httpx
import pytest
from rich.console import Console

from tests.e2e.clients import trust
from tests.e2e.units import main_pids
from tests.living import CHUNAN, Living, preview, touched
from tools.lifecycle import scopes_of

NEVER_RESTARTED = {"pgbouncer", "haproxy", "yiwang-affairs", "yiwang-portal", "yiwang-identity", "yiwang-query",
                   "yiwang-tenants-exporter", "yiwang-pgbouncer-exporter", "prometheus", "prometheus-alertmanager",
                   "yiwang-receiver"}  # fmt: skip


@pytest.mark.timeout(300)
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
    tenant = next(one for one in living.outputs.tenants if one.code == CHUNAN)
    assert invitation is not None
    with httpx.Client(verify=trust(living), timeout=30, follow_redirects=True) as browser:
        assert "淳安县" in browser.get(tenant.url).text
        items = browser.get(f"{tenant.url}/api/affairs/items").json()["items"]
        assert len(items) >= 8, "the catalogue was replayed"
        assert browser.get(invitation["link"]).status_code == 200
    changes, written = preview(living, "hangzhou")
    assert not changes.any
    assert touched(written, CHUNAN) == ([], [])


@pytest.mark.timeout(300)
def test_onboarding_a_living_county_changes_nothing_and_invites_nobody(living: Living) -> None:
    run, invitation = living.life.onboard(CHUNAN, Console(file=io.StringIO()))
    assert invitation is None
    assert not run.changed, run.rows


def _ids(living: Living, scope: str) -> set[str]:
    stack = living.engine.stack(scope)
    return {record.id for record in living.life.cloud.inventory() if record.owner.stack == stack}
