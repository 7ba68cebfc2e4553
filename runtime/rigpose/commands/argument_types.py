"""What may be typed for a number, in words where it may not."""

from __future__ import annotations

import argparse


def at_least_zero(text: str) -> int:
    """A whole number from 0 on."""
    return _whole(text, least=0)


def at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    return _whole(text, least=1)


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def positive(text: str, what: str = "a number") -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} above 0")
    return value


def _whole(text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
    return value
