"""The verdict for whoever asks: a person at a terminal or with a browser, a program, a build server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtests.gate.charts import charts
from loadtests.gate.evidence import Evidence
from loadtests.gate.verdict import Check, Verdict, shown
from loadtests.result import LoadResult
from monitoring.objectives import Objectives

COLOURS = {"GO": "green", "NO-GO": "red", "UNSURE": "yellow"}
MOST_REASONS = 12
VERDICT, SCHEMA, JUNIT, PAGE, EVIDENCE = (
    "verdict.json",
    "verdict.schema.json",
    "junit.xml",
    "report.html",
    "evidence.json",
)
LOADER = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def write(folder: Path, verdict: Verdict, objectives: Objectives, load: LoadResult | None, evidence: Evidence) -> Path:
    """Every report into `folder`; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VERDICT).write_text(verdict.model_dump_json(indent=1) + "\n", "utf-8")
    (folder / SCHEMA).write_text(json.dumps(Verdict.model_json_schema(), indent=1) + "\n", "utf-8")
    (folder / EVIDENCE).write_text(evidence.model_dump_json(indent=1) + "\n", "utf-8")
    junit(verdict).write(str(folder / JUNIT), pretty=True)
    page = folder / PAGE
    page.write_text(html(verdict, objectives, load, evidence), "utf-8")
    return page


def headline(verdict: Verdict, load: LoadResult | None) -> str:
    when = f"{datetime.fromtimestamp(verdict.at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    rate = f"{verdict.target_rate:g} journeys a second" if verdict.target_rate else "closed arrival"
    if load is None:
        return f"{rate}, {when}: no load was sent."
    return (
        f"{rate}, held for {load.hold_seconds:.0f} s until {when}: {load.journeys_begun} journeys begun, "
        f"{load.journeys_completed} completed, {load.requests} requests, {load.failed} failed."
    )


def show(console: Console, verdict: Verdict, load: LoadResult | None) -> None:
    """The verdict as text, the most telling reasons first."""
    colour = COLOURS[verdict.verdict]
    console.print(f"[bold {colour}]{verdict.verdict}[/] {verdict.scenario} on {verdict.environment}")
    console.print(headline(verdict, load), soft_wrap=True, markup=False)
    if verdict.reasons:
        table = Table("", "limit", "component", "why", title="reasons", title_justify="left")
        for check in verdict.reasons[:MOST_REASONS]:
            component = f"{check.component} {check.tenant or ''}".strip()
            table.add_row(check.outcome, escape(check.limit), escape(component), escape(check.sentence))
        console.print(table)
        if len(verdict.reasons) > MOST_REASONS:
            console.print(f"and {len(verdict.reasons) - MOST_REASONS} more, on the page and in {VERDICT}")
    if verdict.limiting:
        console.print(f"at its limit: [bold]{escape(verdict.limiting)}[/]")
    if verdict.proof:
        console.print(verdict.proof, soft_wrap=True, markup=False)


def junit(verdict: Verdict) -> JUnitXml:
    """A test case a limit, component and tenant."""
    suite = TestSuite(f"gate {verdict.scenario}")
    suite.timestamp = datetime.fromtimestamp(verdict.at, UTC).isoformat(timespec="seconds")
    suite.add_property("environment", verdict.environment)
    suite.add_property("verdict", verdict.verdict)
    suite.add_property("limiting", verdict.limiting or "")
    for check in (*verdict.reasons, *verdict.kept):
        suite.add_testcase(_case(verdict, check))
    document = JUnitXml("gate")
    document.add_testsuite(suite)
    return document


def _case(verdict: Verdict, check: Check) -> TestCase:
    tenant = f" [{check.tenant}]" if check.tenant else ""
    case = TestCase(f"{check.limit}: {check.component}{tenant}", f"gate.{verdict.scenario}.{check.kind}", 0)
    if check.outcome == "unused":
        case.result = [Skipped(check.sentence)]
    elif check.outcome == "missing":
        case.result = [Error(check.sentence, "missing")]
    elif check.outcome in ("broken", "unsure"):
        case.result = [Failure(check.sentence, check.outcome)]
    return case


def html(verdict: Verdict, objectives: Objectives, load: LoadResult | None, evidence: Evidence) -> str:
    """One page that needs nothing else."""
    return LOADER.get_template("report.html.j2").render(
        verdict=verdict,
        load=load,
        headline=headline(verdict, load),
        charts=charts(objectives, load, evidence) if load and load.seconds else [],
        shown=shown,
    )
