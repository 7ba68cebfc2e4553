"""A converted file under a temporary name until it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rigpose.errors import ConfigError, ResultError


@contextmanager
def new_file(path: Path, *, room: int = 0) -> Iterator[Path]:
    """A temporary path in the same folder, moved to ``path`` at the end and deleted after an error.

    Args:
        path: Where the file is wanted.
        room: About how many bytes it needs, to be asked for beforehand; for libraries that write through h5py, which
            on a full disk complains once for each object that it cannot close.

    Raises:
        ResultError: The disk is full, the folder cannot be written, and the like.
    """
    from tables import HDF5ExtError

    # The suffix stays last: libraries choose the format by it.
    temporary = path.with_name(f"{path.stem}.writing{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if room:
            _check_room(temporary, room)
        yield temporary
        temporary.replace(path)
    except (OSError, HDF5ExtError, RuntimeError) as error:
        # What h5py raises where it cannot write the last of a file tells the system's error number.
        if isinstance(error, RuntimeError) and "errno" not in str(error):
            raise
        raise unwritable(path, getattr(error, "strerror", None)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def unwritable(path: Path, cause: str | None) -> ResultError:
    """The error that a new file cannot be written; without a cause it is most likely the disk."""
    cause = cause or "the disk may be full"
    return ResultError(
        f"{path}: cannot be written ({cause}); make room or choose another --output, then run the same command again."
    )


def _check_room(path: Path, size: int) -> None:
    """Raise ``OSError`` where a file of so many bytes has no room."""
    try:
        with path.open("wb") as file:
            _reserve(file.fileno(), path, size)
    except OSError as error:
        # Some file systems cannot reserve room, which says nothing about how much there is.
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
    finally:
        path.unlink(missing_ok=True)


def _reserve(file: int, path: Path, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise ``ConfigError`` where a file is in the way."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; name a file with --output.")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: exists already; choose another --output, or replace it with --overwrite.")
