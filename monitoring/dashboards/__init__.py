"""Grafana dashboards as code: what each shows, in the order in which one asks."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.dashboards import capacity, overview, tenants
from monitoring.objectives import Objectives


def dashboards(objectives: Objectives) -> dict[str, Dashboard]:
    """File name → dashboard."""
    return {
        "overview": overview.dashboard(objectives),
        "tenants": tenants.dashboard(objectives),
        "capacity": capacity.dashboard(objectives),
    }
