"""The report: what a run was, on one page that needs nothing but a browser."""

from __future__ import annotations

from pathlib import Path

from rigpose.live.report import tables
from rigpose.live.report.charts import age_histogram, age_over_time
from rigpose.live.report.verdict import verdict
from rigpose.live.status import RunStatus
from rigpose.report.markup import Html, tag
from rigpose.report.numbers import duration
from rigpose.report.page import LOOK, document, section, write_page
from rigpose.report.sentences import verdict_list
from rigpose.report.tables import facts


def write_report(status: RunStatus, path: str | Path) -> Path:
    """Write the report of a run as one HTML page, and return where it is.

    Args:
        status: How the run stands, best at its end.
        path: Where. A page that is there already is replaced once the new one is whole.

    Raises:
        ResultError: The disk is full, the folder cannot be written, and the like.
    """
    return write_page(report_page(status), path)


def report_page(status: RunStatus) -> str:
    """The page's text."""
    left = tag(
        "div",
        section("In words", verdict_list(verdict(status))),
        section("Where the frames went", tables.ledger(status.cameras)),
        section("Outputs", tables.outputs(status.outputs)),
        section("Triggers at the end", tables.triggers(status.triggers)),
    )
    right = tag(
        "div",
        section("Age of the frames when their poses were there", _histogram(status), "chartbox"),
        section("Age over time", age_over_time(status.moments, status.deadline), "chartbox"),
        section("Faults", tables.faults(status.faults, status.begun)),
    )
    main = tag(
        "main",
        section("In numbers", tables.numbers(status), "wide strip"),
        left,
        right,
        section("How long each stage took", tables.stages(status.stages), "wide"),
        section("What ran", facts(status.facts), "wide"),
    )
    header = tag(
        "header",
        tag("h1", "Live run"),
        tag("span", tables.state(status), class_=f"state {status.state.value}"),
        tag("span", duration(status.seconds), class_="aside"),
    )
    return document("Live run · rigpose", LOOK.read_text(encoding="utf-8"), [header, main])


def _histogram(status: RunStatus) -> Html:
    return age_histogram(status.histogram, status.stages.get("age"), status.deadline)
