"""What monitoring sees of an environment: the stage that proves it after a deployment, and the alerts for `status`."""

from __future__ import annotations

from typing import Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from infra.outputs import EnvironmentOutputs
from monitoring.prometheus import Prometheus, PrometheusError
from tools.counts import counted
from tools.stages import StageError

SIGHT_SECONDS = 90.0


def await_sight(outputs: EnvironmentOutputs) -> str:
    """Waits until Prometheus scrapes every host that was provisioned, each target with success.

    Raises:
        StageError: a host or target stays out of sight; names it and what the scrape says.
    """
    if outputs.prometheus is None:
        return "no monitoring host in the plan"
    waiting = Retrying(
        stop=stop_after_delay(SIGHT_SECONDS),
        wait=wait_fixed(1.0),
        retry=retry_if_result(bool),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else ["nothing was asked"],
    )
    with Prometheus(outputs.prometheus) as prometheus:
        if missing := waiting(unseen, prometheus, outputs):
            raise StageError(
                f"monitoring does not see {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
                f"see {outputs.receiver}/targets and make logs HOST=<host>; then run make up again",
            )
        hosts = sum(len(cell.hosts) for cell in outputs.cells)
        try:
            targets = prometheus.targets()
        except PrometheusError as error:
            raise StageError(str(error), "it answered a moment ago: run the same command again") from None
        return f"{counted(len(targets), 'target')} of {counted(hosts, 'host')} scraped"


def unseen(prometheus: Prometheus, outputs: EnvironmentOutputs) -> list[str]:
    """What was provisioned and is not scraped with success, or is scraped and no longer there; each with why."""
    try:
        targets = prometheus.targets()
    except PrometheusError as error:
        return [str(error)]
    hosts = {host.name for cell in outputs.cells for host in cell.hosts}
    missing = [f"{host} (no target)" for host in sorted(hosts - {target.host for target in targets})]
    gone = [f"{target.host} (still a target, no host)" for target in targets if target.host not in hosts]
    return (
        missing
        + gone
        + [f"{target.host} {target.job}: {target.error or 'not yet'}" for target in targets if not target.up]
    )


def firing(outputs: EnvironmentOutputs) -> list[dict[str, Any]] | None:
    """Alerts that fire now; None when there is nobody to ask, which is no all-clear."""
    if outputs.prometheus is None:
        return None
    try:
        with Prometheus(outputs.prometheus) as prometheus:
            alerts = prometheus.alerts()
    except PrometheusError:
        return None
    return [
        {"name": alert.name, "summary": alert.summary, "labels": dict(alert.labels)}
        for alert in alerts
        if alert.state == "firing"
    ]
