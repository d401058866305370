"""The playbooks natively: what a hand has changed is named by check mode and mended by a run, and nothing else is."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from infra.engine import REPOSITORY
from monitoring import objectives, render
from tests.e2e.databases import cell_of, connected
from tests.e2e.leaks import leaked, secrets_of
from tests.e2e.test_isolation import enters, may_connect, password_of
from tests.support.living import CITY, LINAN, XIHU, Living
from tools.deployment import play, variables
from tools.stages import StageError

HOST = "cell-a-application-1"
DRIFTED = "/etc/yiwang/secrets/services/affairs.json"
LOADED = re.compile("^prometheus_config_last_reload_success_timestamp_seconds .*", re.MULTILINE)


def ansible(living: Living, program: str, *arguments: str) -> str:
    """What one of Ansible's own commands prints for the environment."""
    ran = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=REPOSITORY,
        env={**variables(living.engine), "ANSIBLE_NOCOLOR": "1", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-1000:]
    return ran.stdout


@pytest.mark.timeout(300)
def test_what_a_hand_has_changed_is_named_and_mended_and_no_secret_is_printed(living: Living) -> None:
    """Two runs of everything, one changed file on one host: so nothing else was left to change, on any.

    It comes before hosts are killed: one that starts again has the resolver of the local cloud until the next run.
    """
    hosts = {host.name for cell in living.outputs.cells for host in cell.hosts}

    def state() -> str:
        return living.on_host(HOST, f"stat --format '%a %U' {DRIFTED}; sha256sum {DRIFTED}").stdout

    before = state()
    living.on_host(HOST, f"echo >> {DRIFTED} && chmod 644 {DRIFTED}")
    drifted = state()

    log = io.StringIO()
    named = play(living.engine, "site.yml", log, "--check").changed
    assert hosts <= set(named)
    assert only_changed(named) == {HOST: 1}, changed_tasks(log)
    assert state() == drifted != before, "check mode must not touch it"

    log = io.StringIO()
    mended = play(living.engine, "site.yml", log, "-vvv", "--diff").changed
    assert hosts <= set(mended)
    assert only_changed(mended) == {HOST: 1}, changed_tasks(log)
    assert state() == before
    assert leaked(living, log.getvalue()) == set(), "also not as the difference that the file had"


def only_changed(counts: Mapping[str, int]) -> dict[str, int]:
    """Hosts on which something was changed, and how many tasks did it."""
    return {host: count for host, count in counts.items() if count}


def changed_tasks(log: io.StringIO) -> list[str]:
    """Names of the tasks of a run that changed something; what else it printed may hold secrets."""
    told = log.getvalue().split("\nTASK [")[1:]
    return [task.partition("]")[0] for task in told if "\nchanged: [" in task]


def test_the_check_catches_secrets_in_what_ansible_prints(living: Living) -> None:
    """The twin: the same secrets by the same lookup, printed by a task without `no_log`."""
    show = f"msg={{{{ lookup('yiwang_secrets', '{living.name}') }}}}"
    printed = ansible(living, "ansible", "localhost", "-m", "ansible.builtin.debug", "-a", show)
    assert leaked(living, printed) == set(secrets_of(living))


def test_the_inventory_shows_environment_cells_and_roles(living: Living) -> None:
    graph = ansible(living, "ansible-inventory", "--graph")
    for group in (living.name.replace("-", "_"), "cell_core", "cell_a", "gateway", "application"):
        assert f"@{group}:" in graph


def open_by_hand(living: Living) -> None:
    """A database to everybody and another to monitoring; monitoring to all data; a schema to everybody's objects."""
    cell = cell_of(living, "cell-a")
    for code, grant in (
        (CITY, f"GRANT CONNECT ON DATABASE t{CITY} TO PUBLIC"),
        (XIHU, f"GRANT CONNECT ON DATABASE t{XIHU} TO monitoring"),
        (LINAN, "GRANT CREATE ON SCHEMA public TO PUBLIC"),
        (LINAN, f"GRANT USAGE ON SCHEMA affairs TO t{LINAN}_portal"),
    ):
        password = living.secrets("hangzhou")[code]["database_owner_password"]
        with connected(living, cell, f"t{code}_owner", password, f"t{code}") as owner:
            owner.run(grant)
    administrator, password = cell.database.privileged_account, living.secrets("cell-a")["database_privileged_password"]
    with connected(living, cell, administrator, password, "postgres") as privileged:
        privileged.run("GRANT pg_read_all_data TO monitoring")


def opened(living: Living) -> set[str]:
    """Of what `open_by_hand` opens, what is open."""
    cell = cell_of(living, "cell-a")
    watcher = living.secrets("cell-a")["monitoring_database_password"]
    affairs, portal = (password_of(living, LINAN, module) for module in ("affairs", "portal"))
    with connected(living, cell, "monitoring", watcher, "postgres") as connection:
        reads_all = connection.run("SELECT pg_has_role('pg_read_all_data', 'MEMBER')")[0][0]
    with connected(living, cell, f"t{LINAN}_affairs", affairs, f"t{LINAN}") as connection:
        makes = connection.run("SELECT has_schema_privilege('public', 'CREATE')")[0][0]
    with connected(living, cell, f"t{LINAN}_portal", portal, f"t{LINAN}") as connection:
        reaches = connection.run("SELECT has_schema_privilege('affairs', 'USAGE')")[0][0]
    openings = {
        "database": may_connect(living, XIHU, f"t{CITY}"),
        "database to monitoring": enters(living, "monitoring", watcher, f"t{XIHU}"),
        "data": reads_all,
        "schema": makes,
        "another module's schema": reaches,
    }
    return {what for what, is_open in openings.items() if is_open}


@pytest.mark.timeout(180)
def test_what_was_opened_in_a_database_by_hand_is_closed_again(living: Living) -> None:
    """The known-bad twin of the isolation: the play finds it, says so and mends it."""
    assert opened(living) == set()
    open_by_hand(living)
    assert opened(living) == {"database", "database to monitoring", "data", "schema", "another module's schema"}
    database = "cell-a-database"
    recap = play(living.engine, "site.yml", io.StringIO(), "--tags", "tenants", "--limit", database)
    assert recap.changed == {database: 1}
    assert opened(living) == set()


@pytest.mark.timeout(180)
def test_prometheus_never_sees_a_broken_rule(living: Living, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of all runs before: definitions that Prometheus would refuse do not come to where it looks."""
    host = next(host.name for cell in living.outputs.cells for host in cell.hosts if host.role == "monitoring")

    def loaded() -> list[str]:
        return LOADED.findall(httpx.get(f"{living.outputs.prometheus}/metrics", timeout=30, trust_env=False).text)

    broken = {"rules/broken.yml": "groups: [{name: x, rules: [{record: a, expr: 'sum('}]}]"}
    definitions = tmp_path / "broken.json"
    definitions.write_text(json.dumps(render.files(living.outputs, objectives.load()) | broken))
    monkeypatch.setenv("YIWANG_MONITORING", str(definitions))
    before, log = loaded(), io.StringIO()
    with pytest.raises(StageError):
        play(living.engine, "site.yml", log, "--tags", "tenants", "--limit", host)
    assert "refused by `promtool check rules" in log.getvalue()
    assert "broken.yml" not in living.on_host(host, "ls /etc/prometheus/rules").stdout
    assert len(before) == 1 and loaded() == before
