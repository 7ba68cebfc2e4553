"""One process at a time: a lock that the operating system lets go of, however the process ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rigpose.errors import ResultError

# Some network drives know no locks; there an analysis goes on as if it were alone, which it nearly always is.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


@contextmanager
def only_process(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs, and delete it in the end.

    A file that a killed process left behind is nobody's, and is taken over.

    Raises:
        ResultError: Another process holds it, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _take(path)
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be written ({os.strerror(error.errno or 0)}); make its folder writable or choose another."
        ) from error
    if file is None:
        raise ResultError(
            f"{path}: another process is analysing this video into the same files; let it finish, or choose another "
            "--destination."
        )
    try:
        yield
    finally:
        _give_back(file, path)


def _take(path: Path) -> int | None:
    """The locked file, or none if it is another's."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock(file):
            os.close(file)
            return None
        if _is_at(file, path):
            return file
        # Between opening and locking, its owner ended and deleted it.
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _give_back(file: int, path: Path) -> None:
        # An open file cannot be deleted; where another process opened it by now, that one deletes it.
        os.close(file)
        with suppress(OSError):
            path.unlink()

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _NO_LOCKS
        return True

    def _give_back(file: int, path: Path) -> None:
        # Deleted while it is still locked, so that nobody locks a file that is about to vanish.
        with suppress(OSError):
            path.unlink()
        os.close(file)
