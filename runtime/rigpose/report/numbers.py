"""Numbers as people read them."""

from __future__ import annotations

import math

NOTHING = "\N{EN DASH}"


def count(number: int) -> str:
    """A count, its thousands apart."""
    return f"{number:,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """A count and what was counted: ``1 frame``, ``2 frames``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def ms(milliseconds: float) -> str:
    """Milliseconds without their unit, three digits and at most two of them decimals."""
    if not math.isfinite(milliseconds):
        return NOTHING
    for decimals, below in ((2, 9.995), (1, 99.95)):
        if abs(milliseconds) < below:
            return f"{milliseconds:.{decimals}f}"
    return f"{milliseconds:,.0f}"


def limit(milliseconds: float) -> str:
    """Milliseconds that somebody set, as they were set."""
    return f"{milliseconds:g} ms"


def share(part: int, whole: int) -> str:
    """Percent; a small part is never said to be nothing, nor nearly all to be all."""
    if not whole:
        return NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "under 0.1 %"
    if 99.9 < percent < 100:
        return "over 99.9 %"
    return f"{percent:.1f} %" if 0 < percent < 100 else f"{percent:.0f} %"


def duration(seconds: float) -> str:
    """A length of time: ``12.3 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rate(number: int, seconds: float) -> str:
    """So many per second."""
    if seconds <= 0:
        return NOTHING
    per_second = number / seconds
    return f"{per_second:.1f}" if per_second < 100 else f"{per_second:,.0f}"
