"""A page that needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rigpose.files.results import whole_file
from rigpose.report.markup import Html, join, tag

LOOK = Path(__file__).with_name("look.css")


def write_page(page: str, path: str | Path) -> Path:
    """Write a page as one file, and return where it is.

    Args:
        page: Its text.
        path: Where. A page that is there already is replaced once the new one is whole.

    Raises:
        ResultError: The disk is full, the folder cannot be written, and the like.
    """
    path = Path(path)
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


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


def section(title: str, content: Html, kind: str | None = None) -> Html:
    """A card of the page."""
    return tag("section", tag("h2", title), tag("div", content), class_=kind)
