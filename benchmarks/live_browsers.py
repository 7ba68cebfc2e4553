"""Browsers of the live page without their windows: ``live_browsers.py ADDRESS CAMERA HOW_MANY``.

Each asks for pictures and numbers as often as the page's own script does. Says that it is ready, goes on until its
input ends, and prints how many pictures each got. Unlike a browser it decodes and shows nothing.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

PICTURE_PERIOD, STATUS_PERIOD = 0.066, 0.2
"""Of the page's script [s]."""


class Browser:
    """One page that is open.

    Attributes:
        pictures: How many it got.
    """

    def __init__(self, address: str, camera: str) -> None:
        self.pictures = 0
        self._address, self._camera = address, quote(camera)
        self._last = ""

    def ask_for_numbers(self) -> None:
        """As the page does five times a second."""
        with urlopen(f"{self._address}status.json", timeout=3) as answer:
            json.load(answer)

    def ask_for_a_picture(self) -> None:
        """As the page does fifteen times a second."""
        with urlopen(f"{self._address}picture.jpg?camera={self._camera}&after={self._last}", timeout=3) as answer:
            if answer.status == 200:
                self._last = str(json.loads(answer.headers["X-Picture"])["picture"])
                answer.read()
                self.pictures += 1


def main() -> None:
    """Ask until the input ends."""
    address, camera, many = sys.argv[1:]
    over = threading.Event()
    browsers = [Browser(address, camera) for _ in range(int(many))]

    def again(ask: Callable[[], None], period: float) -> None:
        while not over.wait(period):
            with suppress(URLError, OSError):  # the run has not begun, or is over
                ask()

    threads = [threading.Thread(target=again, args=(b.ask_for_numbers, STATUS_PERIOD)) for b in browsers]
    threads += [threading.Thread(target=again, args=(b.ask_for_a_picture, PICTURE_PERIOD)) for b in browsers]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(*(browser.pictures for browser in browsers), flush=True)


if __name__ == "__main__":
    main()
