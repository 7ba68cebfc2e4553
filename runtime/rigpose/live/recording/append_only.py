"""A file that only grows, by whole pieces."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from rigpose.live.faults import LiveError


class AppendOnlyFile:
    """A new file, open for more.

    What ``append`` was given is the operating system's when it returns, so that it survives the process, whatever ends
    it; after ``sync`` it survives the machine.

    Attributes:
        path: The file.

    Raises:
        LiveError: It exists already, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._end = path, 0
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise LiveError(
                f"{path}: is there already, and no recording takes the place of another; choose another folder."
            ) from error
        except OSError as error:
            raise self._refusal(error) from error

    def append(self, data: bytes) -> None:
        """Write all of ``data`` or, after an error, nothing of it, so that it can be tried again.

        Raises:
            LiveError: The disk is full or gone.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
                self._file.seek(self._end)
            raise self._refusal(error) from error
        self._end += len(data)

    def sync(self) -> None:
        """Have it all on the disk.

        Raises:
            LiveError: The disk is full or gone.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Close it; a second call does nothing."""
        with suppress(OSError):
            self._file.close()

    def _refusal(self, error: OSError) -> LiveError:
        return LiveError(
            f"{self.path}: cannot be written ({error.strerror}); make room, or record into another folder."
        )
