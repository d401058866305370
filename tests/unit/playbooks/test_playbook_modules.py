"""The modules' own decisions, on files of the test and on answers as systemd and HAProxy give them."""

from __future__ import annotations

import grp
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError

from tests.support import provisioned
from tests.support.playbook_plugins import load

files = load("modules", "host_files")
units = load("modules", "host_units")
server = load("modules", "gateway_server")
maps = load("modules", "gateway_maps")
migrations = load("modules", "database_migrations")
access = load("modules", "database_access")
definitions = load("lookup", "yiwang_monitoring")


def entry(path: Path, **values: Any) -> dict[str, Any]:
    """A file entry as Ansible completes it, owned by whoever runs the test."""
    empty = {name: option.get("default") for name, option in files.FILE_OPTIONS.items()}
    mine = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
    return {**empty, **mine, "path": str(path), **values}


def test_a_file_is_written_once_with_its_mode(tmp_path: Path) -> None:
    wanted = entry(tmp_path / "deep" / "file", content="text", mode="0600")
    assert files.differences(wanted) == ["kind"]
    files.write(wanted)
    assert files.differences(wanted) == []
    assert (tmp_path / "deep" / "file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_what_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("other")
    path.chmod(0o666)
    assert files.differences(entry(path, content="text")) == ["content", "mode"]
    assert files.differences(entry(path, content="text", owner="nobody-here")) == ["content", "owner", "mode"]
    assert files.differences(entry(path, link="/elsewhere")) == ["target"]
    assert files.differences(entry(path, folder=True)) == ["kind"]


def test_a_refused_content_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("good")
    with pytest.raises(files.Refused, match="refused by"):
        files.write(entry(path, content="bad", validate="grep -q good %s"))
    files.write(entry(path, content="good again", validate="grep -q good %s"))
    assert path.read_text() == "good again"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_mounted_file_keeps_its_inode(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("old")
    before = path.stat().st_ino
    files.write(entry(path, content="new", in_place=True))
    assert (path.read_text(), path.stat().st_ino) == ("new", before)


def test_a_folder_holds_what_it_may(tmp_path: Path) -> None:
    for name in ("kept.yml", "old.yml"):
        (tmp_path / name).write_text("x")
    (tmp_path / "below").mkdir()
    assert files.differences(entry(tmp_path, folder=True, mode="0700")) == []
    wanted = entry(tmp_path, folder=True, mode="0700", holds=["kept.yml", "new.yml"])
    assert files.differences(wanted) == ["surplus"]
    files.write(wanted)
    assert files.differences(wanted) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "kept.yml"]


def test_an_interrupted_application_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "APPLIED", tmp_path / "applied")
    wanted = entry(tmp_path / "unit", content="text", apply=f"cp {tmp_path}/unit {tmp_path}/used")
    files.write(wanted)
    assert files.differences(wanted) == ["applied"]
    files.apply(wanted)
    assert files.differences(wanted) == [] and (tmp_path / "used").read_text() == "text"
    with pytest.raises(files.Refused, match="failed"):
        files.apply({**wanted, "apply": "false"})
    assert files.differences({**wanted, "apply": "false"}) == ["applied"]


def test_a_diff_shows_content_and_nothing_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.diff_of(entry(path, content="new"), ["kind"])["after"] == "new"
    assert files.diff_of(entry(tmp_path, folder=True), ["mode"]) == {"prepared": f"{tmp_path}: mode\n"}


def state(**values: str) -> dict[str, str]:
    usual = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    return {**usual, "ExecMainStartTimestamp": "Tue 2026-11-24 22:15:01.123456 UTC", **values}


def unit(name: str = "one.service", **values: Any) -> dict[str, Any]:
    return {"name": name, "start": True, "restart": False, "reads": [], "inputs": [], **values}


@pytest.mark.parametrize(
    ("unit_state", "commands"),
    [
        (state(), []),
        (state(ActiveState="inactive"), [["systemctl", "start", "one.service"]]),
        (state(UnitFileState="disabled"), [["systemctl", "enable", "one.service"]]),
        (state(NeedDaemonReload="yes"), [["systemctl", "daemon-reload"]]),
    ],
)
def test_a_unit_is_brought_to_run(unit_state: dict[str, str], commands: list[list[str]]) -> None:
    assert units.work([unit()], {"one.service": unit_state}) == commands


def test_a_unit_that_reads_old_files_is_reloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "MEMORY", tmp_path / "memory")
    settings = tmp_path / "settings"
    settings.write_text("one")
    wanted = unit(reads=[str(settings)])
    assert units.work([wanted], {"one.service": state()}) == [["systemctl", "reload", "one.service"]]
    units.remember(wanted, units.digest_of(wanted))
    assert units.work([wanted], {"one.service": state()}) == []
    settings.write_text("two")
    assert units.reads_old(wanted)


def test_a_service_started_before_its_inputs_changed_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "current"
    path.symlink_to("releases/1")
    started = 1795558501.123456
    os.utime(path, (started - 1, started - 1), follow_symlinks=False)
    assert not units.is_stale(state(), [str(path)])
    os.utime(path, (started + 0.001, started + 0.001), follow_symlinks=False)
    assert units.is_stale(state(), [str(path)])
    assert not units.is_stale(state(ActiveState="inactive"), [str(path)])


def test_a_stale_unit_is_restarted_where_that_harms_nobody(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("newer than the unit's start")
    states = {"one.service": state(ExecMainStartTimestamp="Tue 2001-11-20 22:15:01.123456 UTC")}
    told = unit(inputs=[str(path)])
    assert units.work([told], states) == []
    restarting = {**told, "restart": True, "reads": [str(path)]}
    assert units.work([restarting], states) == [["systemctl", "restart", "one.service"]]
    stopped = {"one.service": state(ActiveState="inactive")}
    assert units.work([restarting], stopped) == [["systemctl", "start", "one.service"]]


def test_a_unit_reads_every_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text("a")
    before = units.digest_of(unit(reads=[str(tmp_path)]))
    (tmp_path / "two.yml").write_text("b")
    assert units.digest_of(unit(reads=[str(tmp_path)])) != before


def seen(status: str, ordered: str = "ready", in_flight: int = 0) -> Any:
    return server.Server("affairs", "host-1", status, in_flight, ordered)


@pytest.mark.parametrize(
    ("reported", "wanted", "so"),
    [
        (seen("DRAIN", "drain"), "drain", True),
        (seen("DRAIN", "drain", in_flight=3), "drain", False),
        (seen("UP"), "drain", False),
        (seen("DOWN"), "drain", False),
        (seen("DOWN", "drain"), "drain", True),
        (seen("UP"), "ready", True),
        (seen("DOWN 1/2"), "ready", False),
        (seen("DOWN", "drain"), "ready", False),
        (seen("no check"), "ready", True),
        (seen("MAINT", "maint"), "maint", True),
    ],
)
def test_a_server_is_out_only_when_nothing_is_in_flight(reported: Any, wanted: str, so: bool) -> None:
    assert server.in_force(reported, wanted) is so


STATISTICS = """# pxname,svname,qcur,qmax,scur,status
affairs,host-1,1,0,2,DOWN
affairs,host-1:unchecked,0,0,0,no check
affairs,host-2,0,0,0,UP
"""
STATES = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
4 affairs 1 host-1 10.0.0.1 0 8 1
4 affairs 2 host-1:unchecked 10.0.0.1 2 1 1
4 affairs 3 host-2 10.0.0.2 2 0 1
"""


def test_what_was_ordered_is_seen_also_of_a_server_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = server.Runtime("/nowhere")
    monkeypatch.setattr(runtime, "ask", lambda command: STATES if "servers state" in command else STATISTICS)
    first, twin = runtime.servers("host-1")
    assert (first.ordered, first.in_flight, twin.ordered) == ("drain", 3, "maint")


def test_a_map_line_is_a_key_and_a_value() -> None:
    assert maps.parse("a.b tenant\n\nc.d 50\n") == {"a.b": "tenant", "c.d": "50"}


def test_a_migration_is_asked_for_each_module_as_the_owner() -> None:
    database = {
        "name": "t330106", "owner": "t330106_owner", "owner_password": "secret", "measures": "t330106_measures",
        "modules": {"affairs": "t330106_affairs", "portal": "t330106_portal"},
    }  # fmt: skip
    first, second = migrations.targets("db", 5432, [database])
    assert (first["module"], second["module"]) == ("affairs", "portal")
    assert first["user"] == "t330106_owner" and first["application_role"] == "t330106_affairs"
    assert second["application_role"] == "t330106_portal"
    assert {first["measures_role"], second["measures_role"]} == {"t330106_measures"}


def database(owners: str = "a", accounts: str = "b", connections: int = 4) -> Any:
    account = access.Account("t1_affairs", accounts, "affairs")
    return access.Database("t1", "t1_owner", owners, connections, (account,))


def mark(made: Any) -> str:
    told: str = made.mark(made.accounts[0])
    return told


def test_the_mark_of_a_role_follows_its_password_and_limit() -> None:
    assert mark(database()) == mark(database(owners="other"))
    assert mark(database()) != mark(database(accounts="c"))
    assert mark(database()) != mark(database(connections=5))


def test_accounts_are_of_the_modules_that_were_told_and_the_rest_only_reads() -> None:
    told = {
        "name": "t1", "owner": "t1_owner", "owner_password": "a", "connections": 4, "former": ["t1_app"],
        "accounts": {"t1_affairs": "b", "t1_measures": "c"}, "modules": {"affairs": "t1_affairs"},
    }  # fmt: skip
    made = access.database_of(told)
    assert [(account.name, account.schema) for account in made.accounts] == [
        ("t1_affairs", "affairs"), ("t1_measures", None)
    ]  # fmt: skip
    assert made.former == ("t1_app",)


def test_the_mark_of_the_watcher_follows_its_password() -> None:
    assert access.Watcher("monitoring", "a").mark != access.Watcher("monitoring", "b").mark


GOOD = {"prometheus.yml": "", "alertmanager.yml": "", "rules/x.yml": "", "targets/host.json": '[{"targets": []}]'}


@pytest.mark.parametrize(
    ("files_made", "said"),
    [
        ({"prometheus.yml": ""}, "no alertmanager.yml"),
        ({**GOOD, "../passwd": ""}, "passwd belongs in none of the folders rules, targets"),
        ({**GOOD, "rules/deep/x.yml": ""}, "belongs in none"),
        ({**GOOD, "targets/host.json": "[{"}, "targets/host.json: Expecting"),
        ({**GOOD, "targets/host.json": '{"targets": []}'}, "not a list of groups with targets"),
    ],
)
def test_definitions_that_prometheus_cannot_read_are_refused(files_made: dict[str, str], said: str) -> None:
    assert definitions.checked(json.dumps(GOOD)) == GOOD
    with pytest.raises(AnsibleError, match=said):
        definitions.checked(json.dumps(files_made))


def test_definitions_are_rendered_from_the_outputs() -> None:
    made = definitions.checked(definitions.rendered(provisioned.outputs().model_dump_json()))
    assert "cell-a-application-2" in made["targets/affairs.json"]
    laid = (Path("playbooks/roles/monitoring/templates") / "files.json.j2").read_text()
    assert {str(Path(name).parent) for name in made} - {"."} == set(definitions.FOLDERS)
    assert all(f"'{folder}'" in laid for folder in definitions.FOLDERS), "the role lays down every folder"
    with pytest.raises(AnsibleError, match=r"monitoring\.render failed"):
        definitions.rendered("{}")
