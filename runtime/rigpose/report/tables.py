"""Tables, lists of facts and large numbers, as every page has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rigpose.report.markup import Html, tag


def facts(told: Mapping[str, str]) -> Html:
    """Names and what is known under them."""
    if not told:
        return nothing("Nothing was said about it.")
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in told.items()), class_="facts")


def large_numbers(told: Sequence[tuple[str, str, str]]) -> Html:
    """The few numbers that matter most: name, value and unit of each."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", tag("b", value), " ", tag("small", unit)))
            for name, value, unit in told
        ),
        class_="numbers",
    )


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str | None] = ()) -> Html:
    """A table whose rows begin with their names. On a narrow screen it scrolls by itself, and the page does not.

    Args:
        caption: What it holds, for those who cannot see it.
        head: Names of the columns.
        rows: Its cells.
        kinds: Per row its class, or none; nothing for none at all.
    """
    top = tag("tr", *(tag("th", name, scope="col") for name in head))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]), class_=kind)
        for row, kind in zip(rows, kinds or [None] * len(rows), strict=True)
    ]
    whole = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def nothing(words: str) -> Html:
    """A sentence in the place of what is not there."""
    return tag("p", words, class_="nothing")
