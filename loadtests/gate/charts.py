"""The gate's charts as SVG to stand inside a page: no file, no font, nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.gate.evidence import CPU_CURVE, Evidence
from loadtests.result import LoadResult, Second
from monitoring.objectives import Objectives

SMOOTHING_SECONDS = 5
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gate",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
NAMESPACES = re.compile(r'\s+xmlns(?::xlink)?="[^"]*"')


def charts(objectives: Objectives, load: LoadResult, evidence: Evidence) -> list[tuple[str, str]]:
    """(title, SVG) of each chart; the hold is shaded."""
    drawings: list[tuple[str, Callable[[Axes], None]]] = [
        ("Journeys a second, intended and begun; requests answered", partial(_rates, load)),
        ("95th percentile of latency from the intended start, seconds", partial(_latency, objectives, load)),
        ("CPU of each group's busiest host, as a share of its limit", partial(_cpu, objectives, load, evidence)),
        ("Failed and wrong answers a second", partial(_failures, load)),
    ]
    with mpl.rc_context(STYLE):
        return [(title, _svg(load, draw)) for title, draw in drawings]


def _svg(load: LoadResult, draw: Callable[[Axes], None]) -> str:
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(load.hold_started_at - load.started_at, load.hold_ended_at - load.started_at, color="0.95", zorder=0)
    draw(axes)
    axes.set_xlabel("seconds from the start of the run")
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return inline(text.getvalue())


def inline(svg: str) -> str:
    """What of an SVG file stands inside HTML: without prologue, metadata and the names of namespaces."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return NAMESPACES.sub("", body).replace("<svg", '<svg role="img"', 1)


def _since(load: LoadResult, seconds: Sequence[Second]) -> list[float]:
    return [second.at - load.started_at for second in seconds]


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean of the last few seconds: arrivals are random, a second alone says little."""
    windows = (values[max(0, place - SMOOTHING_SECONDS + 1) : place + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _rates(load: LoadResult, axes: Axes) -> None:
    at = _since(load, load.seconds)
    axes.plot(
        at, _smoothed([second.intended for second in load.seconds]), label="journeys intended", color="0.6", linewidth=3
    )
    axes.plot(at, _smoothed([second.begun for second in load.seconds]), label="journeys begun", color="tab:blue")
    completed = [second.requests - second.failed - second.wrong for second in load.seconds]
    axes.plot(at, _smoothed(completed), label="requests answered well", color="tab:green")


def _latency(objectives: Objectives, load: LoadResult, axes: Axes) -> None:
    timed = [second for second in load.seconds if second.p95 is not None]
    axes.plot(_since(load, timed), [second.p95 or 0 for second in timed], label="p95 of all requests", color="tab:blue")
    for seconds in sorted({service.latency.seconds for service in objectives.services.values()}):
        names = [name for name, service in objectives.services.items() if service.latency.seconds == seconds]
        axes.axhline(seconds, label=f"promised: {', '.join(names)}", linestyle="--", color="tab:red", linewidth=0.8)


def _cpu(objectives: Objectives, load: LoadResult, evidence: Evidence, axes: Axes) -> None:
    for curve in sorted(
        (curve for curve in evidence.curves if curve.name == CPU_CURVE), key=lambda curve: curve.component
    ):
        axes.plot([at - load.started_at for at, _ in curve.points], [y for _, y in curve.points], label=curve.component)
    limit = objectives.saturation.host_cpu
    axes.axhline(limit, label=f"limit {limit:g}", linestyle="--", color="tab:red", linewidth=0.8)
    axes.set_ylim(0, 1.05)


def _failures(load: LoadResult, axes: Axes) -> None:
    at = _since(load, load.seconds)
    axes.bar(at, [second.failed for second in load.seconds], width=1, label="failed", color="tab:red")
    bottom = [second.failed for second in load.seconds]
    axes.bar(at, [second.wrong for second in load.seconds], width=1, bottom=bottom, label="wrong", color="tab:orange")
