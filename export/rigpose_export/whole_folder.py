"""A folder that has its name only when it is whole: made beside its place, and put there by a rename."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from rigpose.errors import BundleError


def check_free(folder: Path, *, overwrite: bool, mark: str, kind: str) -> None:
    """Make sure that a folder may be written.

    Args:
        folder: Where something shall be.
        overwrite: It may take the place of something of its kind.
        mark: A file, as a pattern, by which that is known: overwriting deletes a whole folder, which may be anything.
        kind: What it is called.

    Raises:
        BundleError: It is taken.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise BundleError(f"{folder}: exists already; give --overwrite to replace it, or another folder.")
    if not any(folder.glob(mark)):
        raise BundleError(f"{folder}: is no {kind} and is not overwritten; remove it or give another folder.")


@contextlib.contextmanager
def whole_folder(folder: Path, *, keep: str | None = None) -> Iterator[Path]:
    """Make a folder, in place of the one that may be there; if anything fails, that one stays and nothing else.

    Args:
        folder: What it is called in the end.
        keep: A name in the one that is there, which the new one takes over.

    Yields:
        An empty folder to fill.

    Raises:
        BundleError: It cannot be written.
    """
    place = folder.absolute()  # so that "." has a name
    part, replaced = (place.with_name(f".{place.name}.{kind}") for kind in ("part", "replaced"))
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if place.exists():
            # One rename, so that there is no moment with half of the old one.
            shutil.rmtree(replaced, ignore_errors=True)
            place.rename(replaced)
        _put(part, place, replaced)
        if keep is not None and (replaced / keep).exists():
            (replaced / keep).rename(place / keep)
    except OSError as error:
        raise BundleError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or choose another place."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)


def _put(part: Path, place: Path, replaced: Path) -> None:
    try:
        part.rename(place)
    except OSError:
        if replaced.exists():
            replaced.rename(place)
        raise
