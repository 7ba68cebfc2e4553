"""HTML and SVG, written so that no name can become markup."""

from __future__ import annotations

from html import escape
from typing import TypeAlias


class Html(str):
    """Text that is markup already; any other text is escaped on its way into a ``tag``."""

    __slots__ = ()


Attribute: TypeAlias = "str | float | None"
_VOID = frozenset({"img", "link", "meta"})


def tag(name: str, *children: str, **attributes: Attribute) -> Html:
    """An element.

    Args:
        name: Of the element.
        children: Its content, in order.
        attributes: ``class_`` is ``class``, and other underscores are hyphens; none leaves an attribute out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: tuple[str, ...] | list[str]) -> Html:
    """Pieces one after the other, escaped unless they are markup."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def _attribute(value: str | float) -> str:
    if isinstance(value, float):
        # A hundredth of a pixel is below what any screen shows.
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(str(value))
