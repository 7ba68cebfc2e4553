"""Where every captured frame went."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from rigpose.live.faults import LiveError
from rigpose.live.status import FrameCounts

_CHUNK = 1 << 16
"""Bytes of number ranges that are set aside at a time."""
_MOST = 64 << 20
"""Bytes of number ranges per camera and fate: at two bytes for a range, a hundred ranges a second for four days."""


class Fate(Enum):
    """Why a frame has no poses."""

    SUPERSEDED = "superseded"
    STALE = "stale"
    FAILED = "failed"
    DROPPED = "dropped by device"


@dataclass(frozen=True)
class Missing:
    """The numbers of one camera's frames that have no poses for one reason.

    Attributes:
        ranges: Rising pairs of first and last number, both included.
        not_listed: How many more there were after the last of them, when even ranges became too many.
    """

    ranges: tuple[tuple[int, int], ...]
    not_listed: int = 0


class Ledger:
    """Counts of all cameras and the numbers of what was not inferred, under one lock: closed at every moment.

    Each frame is ``captured`` once and then exactly one of ``inferred``, ``stale``, ``failed`` or, by the next frame
    of its camera, superseded.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._books = {camera: _Book() for camera in cameras}

    def captured(self, camera: str, number: int, *, superseded: int | None = None) -> None:
        """One more frame, which perhaps takes the place of one that nobody took.

        Raises:
            LiveError: The camera's count did not rise.
        """
        book = self._books[camera]
        with self._lock:
            before = book.newest
            if number <= before:
                raise LiveError(
                    f"{camera}: counted frame {number} after frame {before}, so that nobody can know which frames are "
                    "missing; restart the camera."
                )
            book.newest = number
            book.captured += 1
            if number > before + 1 and book.captured > 1:
                book.dropped += number - before - 1
                book.missing[Fate.DROPPED].add(before + 1, number - 1)
            if superseded is not None:
                book.superseded += 1
                book.missing[Fate.SUPERSEDED].add(superseded, superseded)

    def inferred(self, camera: str) -> None:
        """One frame became poses."""
        with self._lock:
            self._books[camera].inferred += 1

    def stale(self, camera: str, number: int) -> None:
        """A frame was too old when it was taken, or nobody will take it any more."""
        book = self._books[camera]
        with self._lock:
            book.stale += 1
            book.missing[Fate.STALE].add(number, number)

    def failed(self, camera: str, number: int) -> None:
        """Inference of a frame raised."""
        book = self._books[camera]
        with self._lock:
            book.failed += 1
            book.missing[Fate.FAILED].add(number, number)

    def counts(self) -> dict[str, FrameCounts]:
        """Of all cameras at one moment."""
        with self._lock:
            return {camera: book.counts for camera, book in self._books.items()}

    def missing(self, camera: str) -> dict[Fate, Missing]:
        """The numbers of one camera's frames without poses; those that wait at this moment are in none."""
        with self._lock:
            return {fate: runs.missing for fate, runs in self._books[camera].missing.items()}


class _Book:
    """One camera's page."""

    def __init__(self) -> None:
        self.captured = self.inferred = self.superseded = self.stale = self.failed = self.dropped = 0
        self.newest = -1  # a camera may begin to count anywhere from 0 on
        self.missing = {fate: _Runs() for fate in Fate}

    @property
    def counts(self) -> FrameCounts:
        return FrameCounts(
            captured=self.captured,
            inferred=self.inferred,
            superseded=self.superseded,
            stale=self.stale,
            failed=self.failed,
            waiting=self.captured - self.inferred - self.superseded - self.stale - self.failed,
            dropped_by_device=self.dropped,
        )


class _Runs:
    """Rising numbers as runs, each written as the gap before it and its length less one, seven bits to a byte.

    Most runs take two bytes, so that a day at a hundred runs a second is 17 MB.
    """

    def __init__(self) -> None:
        self._written = bytearray(_CHUNK)
        self._end = 0
        self._last_written = -1  # the number at the end of the last run that is written
        self._first: int | None = None  # of the run that may still grow
        self._last = -1
        self._not_listed = 0

    def add(self, first: int, last: int) -> None:
        """Numbers after all that came before."""
        if self._first is not None and first == self._last + 1:
            self._last = last
            return
        self._write()
        self._first, self._last = first, last

    @property
    def missing(self) -> Missing:
        ranges = list(self._ranges())
        if self._first is not None and not self._not_listed:
            ranges.append((self._first, self._last))
            return Missing(tuple(ranges))
        return Missing(tuple(ranges), self._not_listed + self._open)

    @property
    def _open(self) -> int:
        return 0 if self._first is None else self._last - self._first + 1

    def _write(self) -> None:
        """Write the run down that will not grow any more."""
        if self._first is None:
            return
        if self._end + 20 > _MOST or self._not_listed:  # two numbers of 64 bits are at most 20 bytes
            self._not_listed += self._open
            return
        if self._end + 20 > len(self._written):
            self._written.extend(bytes(_CHUNK))
        self._write_number(self._first - self._last_written - 1)
        self._write_number(self._last - self._first)
        self._last_written = self._last

    def _write_number(self, number: int) -> None:
        while number > 127:
            self._written[self._end] = 128 | (number & 127)
            number >>= 7
            self._end += 1
        self._written[self._end] = number
        self._end += 1

    def _ranges(self) -> Iterator[tuple[int, int]]:
        numbers = self._numbers()
        last = -1
        for gap in numbers:
            first = last + 1 + gap
            last = first + next(numbers)
            yield first, last

    def _numbers(self) -> Iterator[int]:
        number, shift = 0, 0
        for byte in memoryview(self._written)[: self._end]:
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                yield number
                number, shift = 0, 0
