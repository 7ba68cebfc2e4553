"""A real browser: Debian's chromium, through Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (1280, 390)
"""A laptop and a telephone [px]."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str, width: int, *, dark: bool = False) -> Iterator[tuple[Page, list[str]]]:
    """A page, and everything that its console said or that it asked of other addresses."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    start = address.rsplit("/", 1)[0]

    def asked(url: str) -> None:
        if not url.startswith((start, "blob:", "data:")):
            said.append(f"asked {url}")

    page.on("request", lambda request: asked(request.url))
    page.goto(address)
    yield page, said
    page.close()


def fits(page: Page) -> bool:
    """Whether the page is not wider than its window, and nothing sticks out of its card."""
    return page.evaluate(
        "[document.documentElement, ...document.querySelectorAll('section')]"
        ".every(it => it.scrollWidth <= it.clientWidth)"
    )
