"""The page in the browser: its parts, which come anew five times a second."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

from rigpose.live.report import tables
from rigpose.live.report.charts import age_histogram, age_over_time
from rigpose.live.status import RunStatus
from rigpose.report.markup import Html, tag
from rigpose.report.numbers import duration
from rigpose.report.page import LOOK, document
from rigpose.report.tables import facts

FAULTS = 20
"""Of the newest; the report has all."""
_SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
_STYLE = LOOK.read_text(encoding="utf-8") + Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_OWN_SCRIPT = b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
CONTENT_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src blob: data:; "
    f"style-src 'unsafe-inline'; script-src 'sha256-{_OWN_SCRIPT}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
}
"""The browser runs this page's script and nothing else, whatever a name holds."""


def live_parts(status: RunStatus) -> dict[str, Any]:
    """What changes on the page: ``parts`` is HTML by the id of its place."""
    return {
        "state": status.state.value,
        "cameras": list(status.cameras),
        "parts": {
            "state": tables.state(status),
            "time": duration(status.seconds),
            "numbers": tables.numbers(status),
            "histogram": age_histogram(status.histogram, status.stages.get("age"), status.deadline),
            "over-time": age_over_time(status.moments, status.deadline),
            "ledger": tables.ledger(status.cameras),
            "stages": tables.stages(status.stages),
            "outputs": tables.outputs(status.outputs),
            "triggers": tables.triggers(status.triggers),
            "faults": tables.faults(status.faults, status.begun, FAULTS),
            "facts": facts(status.facts),
        },
    }


def live_page(status: RunStatus) -> str:
    """The whole page as it is at this moment."""
    parts: dict[str, Html] = {name: Html(part) for name, part in live_parts(status)["parts"].items()}

    def section(title: str, part: str, kind: str | None = None) -> Html:
        return tag("section", tag("h2", title), tag("div", parts[part], id=part), class_=kind)

    header = tag(
        "header",
        tag("h1", "rigpose live"),
        tag("span", parts["state"], id="state", class_=f"state {status.state.value}", role="status"),
        tag("span", parts["time"], id="time", class_="aside"),
        tag("p", id="lost", role="alert", hidden=""),
    )
    picture = tag(
        "figure",
        tag("div", tag("img", id="picture", alt="Newest frame with its poses", hidden=""), class_="frame"),
        tag(
            "figcaption",
            tag("label", "Camera ", tag("select", id="camera"), id="choice", hidden=""),
            tag("span", "Waiting for the first pose.", id="caption"),
            tag(
                "span",
                *(tag("i", class_="found", aria_hidden="true"), " found "),
                *(tag("i", class_="predicted", aria_hidden="true"), " predicted for "),
                *(tag("span", id="lead"), " ms after exposure"),
                id="key",
                hidden="",
            ),
        ),
    )
    left = tag(
        "div",
        tag("section", picture, class_="picture", aria_label="Picture"),
        section("Triggers", "triggers"),
        section("Faults", "faults"),
        section("Where the frames went", "ledger"),
        section("Outputs", "outputs"),
        section("What runs", "facts"),
    )
    right = tag(
        "div",
        section("Age of the frames when their poses were there", "histogram", "chartbox"),
        section("How long each stage took", "stages"),
        section("Age over time", "over-time", "chartbox"),
    )
    main = tag("main", section("Now", "numbers", "wide strip"), left, right)
    return document("rigpose live", _STYLE, [header, main, tag("script", Html(_SCRIPT))])
