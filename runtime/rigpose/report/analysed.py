"""The analysis of one video, gathered from its table, its metadata and, where it can be found, the video itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigpose.bundles.bundle import Display
from rigpose.errors import ResultError
from rigpose.files.results import TRACK_SUFFIXES, ResultFiles, Results, read_results
from rigpose.schema import convert, parse
from rigpose.videos.metadata import read_meta
from rigpose.videos.video import SUFFIXES, Crop


@dataclass(frozen=True)
class Analysed:
    """A video's poses and what is known about how they were made.

    Attributes:
        table: The file that the poses were read from.
        results: The poses.
        video: Where it is; none where nobody knows.
        frames_per_second: Of the video; 0 where nobody knows.
        facts: The metadata; empty where there is none, as beside tables that other tools made.
        display: How the project draws poses.
        skeleton: Pairs of keypoint numbers.
        lost: Rows whose frame could not be decoded.
        crop: The part of the frames that was analysed; none for all of it.
    """

    table: Path
    results: Results
    video: Path | None
    frames_per_second: float
    facts: dict[str, Any]
    display: Display
    skeleton: tuple[tuple[int, int], ...]
    lost: tuple[int, ...]
    crop: Crop | None

    @property
    def name(self) -> str:
        """Of the video, as far as the table's name tells it."""
        if self.video is not None:
            return self.video.name
        return ResultFiles.including(self.table).stem.removesuffix(self.results.scorer)

    @property
    def ours(self) -> dict[str, Any]:
        """What rigpose wrote among the facts; empty where DeepLabCut made them."""
        ours = self.facts.get("rigpose")
        return ours if isinstance(ours, dict) else {}


def read_analysed(table: Path, video: Path | None = None) -> Analysed:
    """Read a table and what belongs to it.

    Args:
        table: ``.h5`` or ``.csv`` in DeepLabCut's layout.
        video: The video; none to look for it beside the table.

    Raises:
        ResultError: The table or its metadata cannot be read, or the table is empty.
        ConfigError: The metadata hold what cannot be.
    """
    results = read_results(table)
    if not len(results.xy):
        raise ResultError(f"{table}: has no frame, so there is nothing to report; analyse its video again.")
    path = ResultFiles.including(table).meta
    facts = read_meta(path) or {}
    ours = convert(dict[str, Any], facts.get("rigpose", {}), where=f"{path}: rigpose")
    named = convert(tuple[tuple[str, str], ...], ours.get("skeleton", []), where=f"{path}: skeleton")
    number = {name: index for index, name in enumerate(results.keypoints)}
    crop = None
    if facts.get("cropping"):
        where = f"{path}: cropping_parameters"
        crop = Crop(*convert(tuple[int, int, int, int], facts.get("cropping_parameters"), where=where))
    rate = facts.get("fps", 0.0)
    return Analysed(
        table=table,
        results=results,
        video=video or _video_of(table, results.scorer),
        frames_per_second=float(rate) if isinstance(rate, (int, float)) and rate > 0 else 0.0,
        facts=facts,
        display=parse(Display, ours.get("display", {}), where=f"{path}: display"),
        skeleton=tuple((number[a], number[b]) for a, b in named if a in number and b in number),
        lost=convert(tuple[int, ...], ours.get("missing_frames", []), where=f"{path}: missing_frames"),
        crop=crop,
    )


def tables_in(folder: Path) -> list[Path]:
    """One table for each analysis in a folder: of several animals the tracks made last.

    Raises:
        ResultError: There is none.
    """
    newest: dict[Path, Path] = {}
    for path in sorted(folder.glob("*.h5")):
        stem = path.stem.removesuffix("_filtered")
        if "DLC_" not in stem or stem != path.stem:
            continue
        analysis = ResultFiles.including(path).h5
        other = newest.get(analysis)
        tracks = path.stem.endswith(TRACK_SUFFIXES)
        if other is None or (tracks and (other == analysis or path.stat().st_mtime_ns > other.stat().st_mtime_ns)):
            newest[analysis] = path
    if not newest:
        raise ResultError(f"{folder}: holds no results of rigpose analyze; name a .h5 table, a bundle or a shuffle.")
    return list(newest.values())


def _video_of(table: Path, scorer: str) -> Path | None:
    """The video whose name and scorer make the table's name; none where it is not beside the table."""
    stem = ResultFiles.including(table).stem
    for path in sorted(table.parent.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.stem + scorer == stem:
            return path
    return None
