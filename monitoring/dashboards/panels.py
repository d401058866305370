"""The few shapes of panel that all dashboards share."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${prometheus}")
SHARE, SECONDS, RATE, COUNT, BYTES = "percentunit", "s", "reqps", "short", "bytes"
HALF, THIRD, ALL = 12, 8, 24
HEIGHT = 8


def board(title: str, description: str) -> Dashboard:
    """A dashboard with its data source and its cells to choose from."""
    cells = (
        QueryVariable("cell")
        .query("label_values(up, cell)")
        .datasource(PROMETHEUS)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )
    return (
        Dashboard(f"yiwang: {title}")
        .uid(f"yiwang-{title.replace(' ', '-')}")
        .description(description)
        .tags(["yiwang"])
        .timezone("browser")
        .refresh("10s")
        .time("now-1h", "now")
        .readonly()
        .with_variable(DatasourceVariable("prometheus").type("prometheus"))
        .with_variable(cells)
    )


def lines(
    title: str, expression: str, legend: str, unit: str, *, limit: float | None = None, span: int = HALF
) -> timeseries.Panel:
    """A figure over time; `limit`, from the objectives, is drawn as a line."""
    panel = (
        timeseries.Panel()
        .title(title)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .span(span)
        .height(HEIGHT)
        .fill_opacity(5)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        .with_target(Dataquery().ref_id("A").expr(expression).legend_format(legend).range())
    )
    if limit is not None:
        style = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE)
        panel = panel.thresholds(_limit(limit)).thresholds_style(style)
    return panel


def figure(
    title: str, expression: str, legend: str, unit: str, *, bad_from: float | None = None, span: int = THIRD
) -> stat.Panel:
    """The figure as it is now."""
    panel = (
        stat.Panel()
        .title(title)
        .datasource(PROMETHEUS)
        .unit(unit)
        .span(span)
        .height(HEIGHT // 2)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(Dataquery().ref_id("A").expr(expression).legend_format(legend).instant())
    )
    return panel if bad_from is None else panel.thresholds(_limit(bad_from))


def rows(title: str, expression: str, unit: str, *, span: int = HALF) -> table.Panel:
    """A line for each series, as it is now."""
    query = Dataquery().ref_id("A").expr(expression).instant().format(PromQueryFormat.TABLE)
    panel = table.Panel().title(title).datasource(PROMETHEUS).unit(unit).span(span).height(HEIGHT)
    return panel.show_header(True).with_target(query)


def _limit(value: float) -> ThresholdsConfig:
    steps = [Threshold(value=None, color="green"), Threshold(value=value, color="red")]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
