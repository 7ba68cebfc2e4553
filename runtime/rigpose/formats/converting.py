"""One result file -> one file of another format; what cannot be done is said before the first byte is written."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path

from rigpose.errors import ConfigError, MissingExtraError
from rigpose.files.results import Results
from rigpose.formats.beside import Asked, find_footage, find_skeleton
from rigpose.formats.deeplabcut import write_csv, write_h5
from rigpose.formats.new_file import check_free
from rigpose.formats.nwb import check_nwb, write_nwb
from rigpose.formats.parquet import write_parquet
from rigpose.formats.slp import check_slp, write_slp
from rigpose.formats.tracks_table import TracksTable, join_tracks_table, read_poses
from rigpose.writable import check_writable

_LIBRARIES = {"nwb": ("pynwb", "ndx_pose"), "slp": ("sleap_io",), "parquet": ("pyarrow",)}
_EXTRAS = {"nwb": "nwb", "slp": "sleap", "parquet": "parquet"}


@dataclass(frozen=True)
class Conversion:
    """What is wanted of a result.

    Attributes:
        to: One of ``rigpose.formats.FORMATS``.
        output: The new file; none for one beside the results.
        overwrite: Whether it may replace a file.
        bundle: Whose skeleton it gets; none for that in the metadata.
        asked: What the user says about the recording.
    """

    to: str
    output: Path | None = None
    overwrite: bool = False
    bundle: Path | None = None
    asked: Asked = field(default_factory=Asked)


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        path: The new file.
        frames: How many it tells of.
        individuals: How many.
        notes: Sentences about what is less than exact.
    """

    path: Path
    frames: int
    individuals: int
    notes: tuple[str, ...] = ()


def convert_results(results: Path, wanted: Conversion) -> Converted:
    """Write a result in another format.

    Raises:
        ConfigError: Something that the format needs is not known, or the new file exists already.
        MissingExtraError: The format's library is not installed.
        ResultError: The results cannot be read, or the new file cannot be written.
    """
    check_installed(wanted.to)
    path = wanted.output or results.with_suffix(f".{wanted.to}")
    if path.absolute() == results.absolute():
        raise ConfigError(f"{results}: is a .{wanted.to} already; name another format, or another file with --output.")
    check_free(path, overwrite=wanted.overwrite)
    check_writable(path.parent, str(path))
    found = read_poses(results)
    if wanted.to in ("csv", "h5"):
        write = write_csv if wanted.to == "csv" else write_h5
        write(path, found)
        return Converted(path, len(found.xy), len(found.individuals))
    return _convert_with_times(results, found, path, wanted)


def check_installed(to: str) -> None:
    """Raise ``MissingExtraError`` unless the libraries of a format are there."""
    for library in _LIBRARIES.get(to, ()):
        try:
            importlib.import_module(library)
        except ImportError as error:  # noqa: PERF203
            extra = _EXTRAS[to]
            raise MissingExtraError(
                f"--to {to} needs {(error.name or library).split('.')[0]}, which the plain install leaves out; install "
                f'it with: pip install "rigpose[{extra}]" (in a clone of rigpose: pip install ".[{extra}]").'
            ) from error


def _convert_with_times(results: Path, found: Results, path: Path, wanted: Conversion) -> Converted:
    footage = find_footage(results, found, wanted.asked)
    skeleton = find_skeleton(results, wanted.bundle)
    tracks = join_tracks_table(results, found, footage, skeleton)
    if wanted.to == "nwb":
        check_nwb(tracks)
        write_nwb(path, tracks)
    elif wanted.to == "slp":
        check_slp(tracks)
        write_slp(path, tracks)
    else:
        write_parquet(path, tracks)
    notes = [*footage.notes, *_left_out(tracks, wanted.to)]
    if not skeleton.pairs:
        notes.append("no skeleton is known (--bundle names the model's)")
    return Converted(path, len(tracks), len(tracks.individuals), tuple(notes))


def _left_out(tracks: TracksTable, to: str) -> list[str]:
    if to == "slp" and not tracks.regular:
        return ["SLEAP knows a frame rate and no time of each frame: frames keep their numbers only"]
    return []
