"""The report: what a run was, on one page that needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rigpose.files.results import whole_file
from rigpose.live.report import tables
from rigpose.live.report.charts import age_histogram, age_over_time
from rigpose.live.report.markup import Html, join, tag
from rigpose.live.report.numbers import duration
from rigpose.live.report.verdict import Sentence, verdict
from rigpose.live.status import RunStatus

LOOK = Path(__file__).with_name("look.css")
_LAYOUT = """
.verdict { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: minmax(0, 1fr); gap: 7px; }
.verdict li { display: grid; grid-template-columns: 1.4em minmax(0, 1fr); color: var(--ink); overflow-wrap: anywhere; }
.verdict li::before { grid-column: 1; font-weight: 700; }
.verdict .good::before { color: var(--good); }
.verdict .bad::before { color: var(--bad); }
.verdict .note::before { color: var(--quiet); }
@media print { body { background: none; } section { break-inside: avoid; } }
"""


def write_report(status: RunStatus, path: str | Path) -> Path:
    """Write the report of a run as one HTML page, and return where it is.

    Args:
        status: How the run stands, best at its end.
        path: Where. A page that is there already is replaced once the new one is whole.

    Raises:
        ResultError: The disk is full, the folder cannot be written, and the like.
    """
    path = Path(path)
    with whole_file(path) as temporary:
        temporary.write_text(report_page(status), encoding="utf-8")
    return path


def report_page(status: RunStatus) -> str:
    """The page's text."""
    left = tag(
        "div",
        _section("In words", _verdict(verdict(status))),
        _section("Where the frames went", tables.ledger(status.cameras)),
        _section("Outputs", tables.outputs(status.outputs)),
    )
    right = tag(
        "div",
        _section("Age of the frames when their poses were there", _histogram(status), "chartbox"),
        _section("Age over time", age_over_time(status.moments, status.deadline), "chartbox"),
        _section("Faults", tables.faults(status.faults, status.begun)),
        _section("Triggers at the end", tables.triggers(status.triggers)),
    )
    main = tag(
        "main",
        _section("In numbers", tables.numbers(status), "wide strip"),
        left,
        right,
        _section("How long each stage took", tables.stages(status.stages), "wide"),
        _section("What ran", tables.facts(status.facts), "wide"),
    )
    header = tag(
        "header",
        tag("h1", "Live run"),
        tag("span", tables.state(status), class_=f"state {status.state.value}"),
        tag("span", duration(status.seconds), class_="aside"),
    )
    return document("Live run · rigpose", LOOK.read_text(encoding="utf-8") + _LAYOUT, [header, main])


def document(title: str, style: str, body: Sequence[Html]) -> Html:
    """A page that loads nothing from anywhere, not even an icon.

    Args:
        title: Of the page.
        style: CSS, of our own.
        body: What is on it.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    return join([Html("<!doctype html>\n"), tag("html", head, tag("body", *body), lang="en")])


def _verdict(sentences: Sequence[Sentence]) -> Html:
    return tag(
        "ul", *(tag("li", tag("span", one.text), class_=one.weight.value) for one in sentences), class_="verdict"
    )


def _histogram(status: RunStatus) -> Html:
    return age_histogram(status.histogram, status.stages.get("age"), status.deadline)


def _section(title: str, content: Html, kind: str | None = None) -> Html:
    return tag("section", tag("h2", title), tag("div", content), class_=kind)
