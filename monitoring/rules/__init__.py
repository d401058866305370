"""Recording rules and alerts, made from the objectives and from what the environment has been given."""

from __future__ import annotations

from collections.abc import Iterator

from infra.outputs import EnvironmentOutputs
from monitoring import modules
from monitoring.objectives import Objectives
from monitoring.rules import databases, given, hosts, services, tenants, watch
from monitoring.rules.model import Alert, Group, Recording


def groups(objectives: Objectives, outputs: EnvironmentOutputs) -> dict[str, list[Group]]:
    """Rule file → its groups."""
    return {
        "given": given.groups(objectives, outputs),
        "services": services.groups(objectives),
        "tenants": tenants.groups(objectives),
        "hosts": hosts.groups(objectives),
        "databases": databases.groups(objectives),
        "watch": watch.groups(),
        "modules": [Group("modules", [alert for module in modules.everybodys() for alert in module.alerts])],
    }


def recordings(files: dict[str, list[Group]]) -> Iterator[Recording]:
    return (rule for file in files.values() for group in file for rule in group.recordings)


def alerts(files: dict[str, list[Group]]) -> Iterator[Alert]:
    return (rule for file in files.values() for group in file for rule in group.alerts)
