"""Reading Ansible's own account of a run."""

from __future__ import annotations

from tools.deployment import RECAP, Recap

OUTPUT = """
PLAY RECAP *********************************************************************
cell-a-application-1       : ok=12   changed=3    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
localhost                  : ok=4    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
"""


def test_changed_tasks_are_counted_by_host() -> None:
    recap = Recap({match["host"]: int(match["changed"]) for match in RECAP.finditer(OUTPUT)})
    assert recap.changed == {"cell-a-application-1": 3, "localhost": 0}
    assert recap.any
    assert str(recap) == "2 hosts, 3 tasks changed"
    assert str(Recap({"cell-a-application-1": 1})) == "1 host, 1 task changed"
    with_databases = {"cell-a-application-1": 1, "cell-a-gateway-1": 0, "cell-a-database": 2, "cell-core-database": 0}
    assert str(Recap(with_databases)) == "2 hosts and 2 databases, 3 tasks changed"
